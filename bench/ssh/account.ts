/** How to log in to the peer's sshd. */
import { readFileSync } from "node:fs"
import { userInfo } from "node:os"
import type { Address } from "../harness/benchmark.ts"

/** The folder that sshd and its clients share. */
export const folderOf = ({ folder }: Address): string => {
  if (folder === undefined) throw new Error("the peer is no sshd")
  return folder
}

/** Behind a tunnel, the address is that of the target. */
export const portOf = ({ port, via }: Address): number => via ?? port

export const username: string = userInfo().username

/** The private key that sshd accepts, as a path. */
export const keyOf = (address: Address): string => `${folderOf(address)}/id`

export const knownHostsOf = (address: Address): string => `${folderOf(address)}/known_hosts`

/** The key that sshd shows, in SSH's own format. */
export const hostKeyOf = (address: Address): Buffer =>
  Buffer.from(readFileSync(`${folderOf(address)}/host_key.pub`, "utf8").split(" ")[1] ?? "", "base64")
