/** OpenSSH's sshd for the user who runs this, with keys and files of its own in a folder in memory. */
import { execFileSync } from "node:child_process"
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import type { Address } from "../../harness/benchmark.ts"
import { sshd } from "../openSsh.ts"
import { lasting } from "./lasting.ts"

/** The algorithms of all contenders, since the server offers no others. */
const algorithms = `
KexAlgorithms curve25519-sha256
HostKeyAlgorithms ssh-ed25519
Ciphers aes128-gcm@openssh.com
Compression no
`

const serverConfig = (folder: string, port: number) => `
Port ${port}
ListenAddress 127.0.0.1
HostKey ${folder}/host_key
AuthorizedKeysFile ${folder}/id.pub
PidFile none
LogLevel ERROR
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
PrintLastLog no
# the folder is in a place that everybody may write to
StrictModes no
MaxStartups 1000
# it counts a command until it has noticed its end
MaxSessions 1000
Subsystem sftp internal-sftp
# shells take these for reasons not to run what the user has for the start of a session, which takes its time
SetEnv HOME=${folder} SHLVL=2
`

/** For the programs of OpenSSH of the folder, as which more follow. */
const clientConfig = (folder: string) => `
Host *
  HostName 127.0.0.1
  User ${userInfo().username}
  IdentityFile ${folder}/id
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile ${folder}/known_hosts
  GlobalKnownHostsFile none
  UpdateHostKeys no
  LogLevel ERROR
`

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = Net.createServer().on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = address === null || typeof address === "string" ? 0 : address.port
      server.close(() => resolve(port))
    })
  })

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = Net.connect(port, "127.0.0.1")
    const settle = (accepted: boolean) => () => {
      socket.destroy()
      resolve(accepted)
    }
    // its greeting says that it is no other server
    socket.on("data", settle(true)).on("error", settle(false)).on("close", settle(false))
  })

const memory = "/dev/shm"

const makeFolder = (): string => {
  const folder = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), "hawser-bench-"))
  for (const name of ["host_key", "id"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)])
  }
  writeFileSync(join(folder, "ssh_config"), clientConfig(folder))
  writeFileSync(join(folder, "known_hosts"), "")
  return folder
}

/** Tells the clients of the folder at which port they find a server. */
export const announce = (folder: string, name: string, port: number): void => {
  const [type, key] = readFileSync(join(folder, "host_key.pub"), "utf8").split(" ")
  appendFileSync(join(folder, "known_hosts"), `[127.0.0.1]:${port} ${type} ${key}\n`)
  appendFileSync(join(folder, "ssh_config"), `Host ${name}\n  Port ${port}\n`)
}

/** Starts one more server of the folder, with more settings; its clients know it by the name. */
export const start = async (folder: string, name: string, config: string): Promise<number> => {
  const port = await freePort()
  const file = join(folder, `sshd_config-${name}`)
  const log = join(folder, `sshd-${name}.log`)
  writeFileSync(file, serverConfig(folder, port) + config)
  lasting([sshd(), "-D", "-f", file, "-E", log], ["rm", "-rf", folder])
  for (const until = performance.now() + 10_000; !await accepts(port); await setTimeout(20)) {
    if (performance.now() > until) throw new Error(`sshd does not listen: ${readFileSync(log, "utf8")}`)
  }
  announce(folder, name, port)
  return port
}

/** Starts it. The folder has a private key that it accepts (`id`), and `known_hosts` and `ssh_config` for its clients. */
export const serve = async (): Promise<Address & { readonly folder: string }> => {
  // what sshd wants to have where root runs it, and what is gone after each start of the system
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 })
  const folder = makeFolder()
  return { port: await start(folder, "bench", algorithms), folder }
}
