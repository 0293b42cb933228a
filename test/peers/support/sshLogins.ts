/** Three sshd that accept logins of all kinds, and the keys, certificates and agents to log in with. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Crypto from "node:crypto"
import * as HostKeys from "../../../src/services/HostKeys.ts"
import * as SshAgent from "../../../src/services/SshAgent.ts"
import type * as SshSettings from "../../../src/services/SshSettings.ts"
import { loginUser } from "./loginUser.ts"
import { files, folder, run, services, start } from "./peer.ts"
import { runSshd, sshKeygen } from "./sshd.ts"

/** Types of key, as ssh-keygen makes them. */
export const types = ["rsa", "ecdsa256", "ecdsa384", "ecdsa521", "ed25519"] as const

export type KeyType = (typeof types)[number]

const generation: Readonly<Record<KeyType, ReadonlyArray<string>>> = {
  rsa: ["-t", "rsa", "-b", "2048"],
  ecdsa256: ["-t", "ecdsa", "-b", "256"],
  ecdsa384: ["-t", "ecdsa", "-b", "384"],
  ecdsa521: ["-t", "ecdsa", "-b", "521"],
  ed25519: ["-t", "ed25519"]
}

/** Formats of files, as ssh-keygen writes them; Ed25519 keys only in the first. */
export const formats = ["RFC4716", "PEM", "PKCS8"] as const

export const passphrase = "key päss"

const main = (folder: string, [, twoFactors]: ReadonlyArray<number>) => `
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/authorized_keys
TrustedUserCAKeys ${folder}/ca.pub
RevokedKeys ${folder}/revoked
Match LocalPort ${twoFactors}
  AuthenticationMethods publickey,password
`

const sha1Only = (folder: string) => `
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/authorized_keys
PubkeyAcceptedAlgorithms ssh-rsa
`

const withPam = (folder: string, [, twoFactors]: ReadonlyArray<number>) => `
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/authorized_keys
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication yes
Match LocalPort ${twoFactors}
  AuthenticationMethods publickey,keyboard-interactive
`

const make = Effect.gen(function*() {
  const directory = yield* folder("ssh-logins")
  const user = yield* loginUser
  const fs = yield* FileSystem.FileSystem
  const keygen = sshKeygen(directory)
  const read = (name: string) => Effect.orDie(fs.readFileString(`${directory}/${name}`))
  const path = (name: string) => `${directory}/${name}`
  const generate = (type: KeyType, name: string) => keygen("-q", ...generation[type], "-N", "", "-C", name, "-f", name)

  yield* Effect.all([
    ...["host", "ca", "other_ca", "ed25519_revoked", "stranger"].map((name) => generate("ed25519", name)),
    ...types.flatMap((type) => [generate(type, type), generate(type, `${type}_certified`)])
  ], { concurrency: 4 })

  // each key again in each format, plain and encrypted
  for (const type of types) {
    for (const format of formats.filter((format) => type !== "ed25519" || format === "RFC4716")) {
      for (const secret of ["", passphrase]) {
        const name = `${type}_${format}_${secret === "" ? "plain" : "encrypted"}`
        yield* Effect.orDie(fs.copyFile(path(type), path(name)))
        yield* Effect.orDie(fs.chmod(path(name), 0o600))
        yield* keygen("-q", "-p", "-m", format, "-P", "", "-N", secret, "-f", name)
      }
    }
  }
  const ed25519 = Crypto.generateKeyPairSync("ed25519")
  const raw = Buffer.from(ed25519.publicKey.export({ format: "jwk" }).x ?? "", "base64url")
  const prefix = Buffer.from("0000000b7373682d6564323535313900000020", "hex")
  yield* files(directory, {
    ed25519_PKCS8_plain: ed25519.privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    ed25519_PKCS8_encrypted: ed25519.privateKey.export({
      format: "pem",
      type: "pkcs8",
      cipher: "aes-256-cbc",
      passphrase
    }).toString()
  })

  const certify = (name: string, ca: string, ...options: ReadonlyArray<string>) =>
    keygen("-q", "-s", ca, "-I", `id of ${name}`, ...options, `${name}.pub`)
  for (const type of types) yield* certify(`${type}_certified`, "ca", "-n", user.username)

  const authorized = yield* Effect.forEach([...types, "ed25519_revoked"], (name) => read(`${name}.pub`))
  yield* files(directory, {
    authorized_keys: [...authorized, `ssh-ed25519 ${Buffer.concat([prefix, raw]).toString("base64")}\n`].join(""),
    revoked: yield* read("ed25519_revoked.pub")
  })
  const fingerprint = /SHA256:\S+/.exec(yield* keygen("-l", "-f", "host.pub"))![0]
  yield* Effect.orDie(Effect.forEach(["pam", "sha1"], (name) => fs.makeDirectory(path(name))))
  const { ports: [port, twoFactors] } = yield* runSshd({
    directory,
    ports: 2,
    config: (ports) => main(directory, ports)
  })
  const { ports: [pam, pamTwoFactors] } = yield* runSshd({
    directory: path("pam"),
    ports: 2,
    config: (ports) => withPam(directory, ports)
  })

  const { ports: [sha1] } = yield* runSshd({ directory: path("sha1"), config: () => sha1Only(directory) })

  /** The settings to log in with these ways; `port` by name. */
  const settings = (
    auth: SshSettings.SshSettings["auth"],
    at: "main" | "twoFactors" | "sha1" | "pam" | "pamTwoFactors" = "main"
  ): SshSettings.SshSettings => ({
    host: "127.0.0.1",
    port: { main: port!, twoFactors: twoFactors!, sha1: sha1!, pam: pam!, pamTwoFactors: pamTwoFactors! }[at],
    username: user.username,
    auth,
    hostKeys: HostKeys.fingerprint(fingerprint)
  })
  const authorize = (line: string) =>
    Effect.orDie(fs.writeFileString(path("authorized_keys"), `${line}\n`, { flag: "a" }))
  return { ...user, path, read, keygen, certify, generate, settings, authorize }
})

export class SshLogins extends Context.Service<SshLogins, Effect.Success<typeof make>>()("test/peers/SshLogins") {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

let agents = 0

/** Starts OpenSSH's ssh-agent; gives it, and the way to add keys to it. */
export const sshAgent = Effect.gen(function*() {
  const { path } = yield* SshLogins
  const socket = path(`agent-${++agents}`)
  yield* start({ command: "ssh-agent", package: "openssh-client" }, { args: ["-D", "-a", socket], cwd: "/", ports: [] })
  const agent = SshAgent.socket(socket)
  yield* Effect.retry(SshAgent.keys(agent), { times: 1000, schedule: Schedule.spaced("10 millis") })
  const add = (...args: ReadonlyArray<string>) =>
    run({ command: "ssh-add", package: "openssh-client" }, ["-q", ...args], {
      env: { SSH_AUTH_SOCK: socket },
      extendEnv: true
    })
  return { agent, socket, add }
})
