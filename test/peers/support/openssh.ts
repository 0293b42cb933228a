/** OpenSSH's sshd, and keys made by its ssh-keygen. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type { ChildProcessHandle } from "effect/process/ChildProcessSpawner"
import * as HostKeys from "../../../src/services/HostKeys.ts"
import type * as Ssh from "../../../src/services/Ssh.ts"
import * as SshAuth from "../../../src/services/SshAuth.ts"
import { loginUser } from "./loginUser.ts"
import { files, folder, onFreePorts, run, services, start } from "./peer.ts"

// it starts itself again for each session and therefore wants its absolute path
const sshd = { command: "/usr/sbin/sshd", package: "openssh-server" }
const sshKeygen = { command: "ssh-keygen", package: "openssh-client" }

// UsePAM no: with PAM a wrong password costs three seconds. StrictModes no: the keys are in a temporary folder.
// RekeyLimit: every megabyte both sides agree on new keys. The second port wants a key and then a password.
const config = (port: number, strictPort: number, folder: string) => `
Port ${port}
Port ${strictPort}
ListenAddress 127.0.0.1
HostKey ${folder}/host_ed25519
HostKey ${folder}/host_rsa
HostKey ${folder}/host_ecdsa
PidFile none
LogLevel VERBOSE
UsePAM no
StrictModes no
UseDNS no
PasswordAuthentication yes
KbdInteractiveAuthentication no
PubkeyAuthentication yes
AuthorizedKeysFile ${folder}/authorized_keys
MaxStartups 100:30:200
RekeyLimit 1M
Banner ${folder}/banner
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
AcceptEnv LANG LC_* PEER_*
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
Match LocalPort ${strictPort}
  AuthenticationMethods publickey,password
`

/** The processes that serve a connection each. */
const sessions = (pid: number) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const children = yield* fs.readFileString(`/proc/${pid}/task/${pid}/children`)
    return children.split(" ").filter((child) => /^\d+$/.test(child)).map(Number)
  }).pipe(Effect.orDie, Effect.provide(services))

// they outlive the listener, in process groups of their own
const stopSessions = (handle: ChildProcessHandle) =>
  Effect.map(sessions(handle.pid), (pids) => pids.forEach((pid) => process.kill(pid, "SIGTERM"))).pipe(
    Effect.ignoreCause
  )

const make = Effect.gen(function*() {
  const directory = yield* folder("openssh")
  const user = yield* loginUser
  const fs = yield* FileSystem.FileSystem
  const keygen = (...args: ReadonlyArray<string>) => run(sshKeygen, args, { cwd: directory })
  const passphrase = "key päss"
  yield* Effect.all([
    keygen("-q", "-t", "ed25519", "-N", "", "-f", "host_ed25519"),
    keygen("-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", "host_rsa"),
    keygen("-q", "-t", "ecdsa", "-b", "256", "-N", "", "-f", "host_ecdsa"),
    keygen("-q", "-t", "ed25519", "-N", "", "-f", "other_host"),
    keygen("-q", "-t", "ed25519", "-N", "", "-f", "id_ed25519"),
    keygen("-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", "id_rsa"),
    keygen("-q", "-t", "ecdsa", "-b", "256", "-N", "", "-f", "id_ecdsa"),
    keygen("-q", "-t", "ed25519", "-N", passphrase, "-f", "id_encrypted"),
    keygen("-q", "-t", "ed25519", "-N", "", "-f", "id_stranger")
  ], { concurrency: 4 })
  const read = (name: string) => Effect.orDie(fs.readFileString(`${directory}/${name}`))
  const authorized = yield* Effect.forEach(
    ["id_ed25519", "id_rsa", "id_ecdsa", "id_encrypted"],
    (name) => read(`${name}.pub`)
  )
  yield* files(directory, { authorized_keys: authorized.join("") })

  // privilege separation wants this folder, which is not there after a fresh boot
  yield* Effect.orDie(fs.makeDirectory("/run/sshd", { recursive: true, mode: 0o755 }))
  const { pid, port, strictPort } = yield* onFreePorts(2, ([port, strictPort]) =>
    Effect.gen(function*() {
      yield* files(directory, { sshd_config: config(port!, strictPort!, directory), banner: "Wölcome\n" })
      const { pid } = yield* start(sshd, {
        args: ["-D", "-e", "-f", `${directory}/sshd_config`],
        cwd: directory,
        ports: [port!, strictPort!],
        beforeStop: stopSessions
      })
      return { pid, port: port!, strictPort: strictPort! }
    }))

  const hosts = `[127.0.0.1]:${port},[127.0.0.1]:${strictPort}`
  const line = (publicKey: string) => `${hosts} ${publicKey.split(" ", 2).join(" ")}\n`
  const hostKeys = yield* Effect.forEach(["host_ed25519", "host_rsa", "host_ecdsa"], (name) => read(`${name}.pub`))
  yield* files(directory, {
    known_hosts: hostKeys.map(line).join(""),
    known_hosts_hashed: hostKeys.map(line).join(""),
    known_hosts_rsa: line(hostKeys[1]!),
    known_hosts_other: line(yield* read("other_host.pub")),
    known_hosts_empty: ""
  })
  yield* keygen("-H", "-f", "known_hosts_hashed")
  const fingerprint = /SHA256:\S+/.exec(yield* keygen("-l", "-f", "host_ed25519.pub"))![0]
  return {
    folder: directory,
    host: "127.0.0.1",
    port,
    strictPort,
    ...user,
    /** Private key files that the server accepts for the user; `encrypted` has `passphrase`, `stranger` is refused. */
    keys: {
      ed25519: `${directory}/id_ed25519`,
      rsa: `${directory}/id_rsa`,
      ecdsa: `${directory}/id_ecdsa`,
      encrypted: `${directory}/id_encrypted`,
      stranger: `${directory}/id_stranger`
    },
    passphrase,
    /** Files with all of its host keys, the same hashed, its RSA key only, another server's key for it, and none. */
    knownHosts: {
      all: `${directory}/known_hosts`,
      hashed: `${directory}/known_hosts_hashed`,
      rsa: `${directory}/known_hosts_rsa`,
      other: `${directory}/known_hosts_other`,
      empty: `${directory}/known_hosts_empty`
    },
    /** The processes that serve a connection each. */
    sessions: sessions(pid),
    /** SHA-256 of the ed25519 host key, as OpenSSH prints it. */
    fingerprint
  }
})

/** A running sshd. */
export class OpenSsh extends Context.Service<OpenSsh, Effect.Success<typeof make>>()("test/peers/OpenSsh") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

/** How to log in to it with the Ed25519 key, with changes. */
export const sshSettings = (changes: Partial<Ssh.SshSettings> = {}): Effect.Effect<Ssh.SshSettings, never, OpenSsh> =>
  Effect.map(OpenSsh, ({ host, keys, knownHosts, port, username }) => ({
    host,
    port,
    username,
    auth: SshAuth.privateKey({ key: keys.ed25519 }),
    hostKeys: HostKeys.knownHosts({ files: [knownHosts.all] }),
    ...changes
  }))

const ssh = { command: "ssh", package: "openssh-client" }

/** OpenSSH's own client as a SOCKS server (`ssh -D`), which connects through sshd; gives its port. */
export const sshDynamic = Effect.gen(function*() {
  const { folder, host, keys, knownHosts, port, username } = yield* OpenSsh
  const settings = {
    IdentitiesOnly: "yes",
    BatchMode: "yes",
    UserKnownHostsFile: knownHosts.all,
    ExitOnForwardFailure: "yes"
  }
  return yield* onFreePorts(1, ([socksPort]) =>
    Effect.as(
      start(ssh, {
        args: ["-F", "/dev/null", "-N", "-D", `127.0.0.1:${socksPort}`, "-p", `${port}`, "-i", keys.ed25519]
          .concat(Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]))
          .concat(`${username}@${host}`),
        cwd: folder,
        ports: [socksPort!]
      }),
      socksPort!
    ))
})
