/** Where OpenSSH is on this machine. */
import { accessSync, constants } from "node:fs"
import { join } from "node:path"

const path = (process.env["PATH"] ?? "").split(":").filter((folder) => folder !== "")

/** Servers are not always on the path of those who are not root. */
const folders = [...path, "/usr/sbin", "/usr/local/sbin"]

const find = (program: string, among: ReadonlyArray<string>): string | undefined =>
  among.map((folder) => join(folder, program)).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })

/** sshd starts itself anew for each connection and therefore wants to be called by its whole path. */
export const sshd = (): string => find("sshd", folders) ?? "sshd"

/** Why these benchmarks cannot be run, if so. */
export const missing = (): string | undefined => {
  const absent = ["ssh", "sftp", "scp", "ssh-keygen"].filter((program) => find(program, path) === undefined)
  if (find("sshd", folders) === undefined) absent.push("sshd")
  return absent.length === 0
    ? undefined
    : `OpenSSH's ${absent.join(", ")} cannot be found: install its client and server ` +
      "(Debian, Ubuntu: apt-get install openssh-client openssh-server; Fedora: dnf install openssh-clients openssh-server; " +
      "Alpine: apk add openssh)"
}
