/** OpenSSH's sshd, and keys made by its ssh-keygen. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as HostKeys from "../../../src/services/HostKeys.ts"
import * as SshAuth from "../../../src/services/SshAuth.ts"
import type * as SshSettings from "../../../src/services/SshSettings.ts"
import { loginUser } from "./loginUser.ts"
import { files, folder, onFreePorts, services, start } from "./peer.ts"
import { runSshd, sshKeygen } from "./sshd.ts"

// RekeyLimit: every megabyte both sides agree on new keys. The second port wants a key and then a password.
const config = (strictPort: number, folder: string) => `
HostKey ${folder}/host_ed25519
HostKey ${folder}/host_rsa
HostKey ${folder}/host_ecdsa
AuthorizedKeysFile ${folder}/authorized_keys
RekeyLimit 1M
Banner ${folder}/banner
AcceptEnv LANG LC_* PEER_*
Match LocalPort ${strictPort}
  AuthenticationMethods publickey,password
`

const make = Effect.gen(function*() {
  const directory = yield* folder("openssh")
  const user = yield* loginUser
  const fs = yield* FileSystem.FileSystem
  const keygen = sshKeygen(directory)
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

  yield* files(directory, { banner: "Wölcome\n" })
  const { ports: [port, strictPort], sessions } = yield* runSshd({
    directory,
    ports: 2,
    config: ([, strictPort]) => config(strictPort!, directory)
  })

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
    port: port!,
    strictPort: strictPort!,
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
    sessions,
    /** SHA-256 of the ed25519 host key, as OpenSSH prints it. */
    fingerprint
  }
})

/** A running sshd. */
export class OpenSsh extends Context.Service<OpenSsh, Effect.Success<typeof make>>()("test/peers/OpenSsh") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

/** How to log in to it with the Ed25519 key, with changes. */
export const sshSettings = (
  changes: Partial<SshSettings.SshSettings> = {}
): Effect.Effect<SshSettings.SshSettings, never, OpenSsh> =>
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
