/** OpenSSH servers with different host keys, and what OpenSSH's client and ours say about them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Stream from "effect/Stream"
import * as Dialer from "../../../src/services/Dialer.ts"
import type * as HostKeys from "../../../src/services/HostKeys.ts"
import * as Ssh from "../../../src/services/Ssh.ts"
import * as SshAuth from "../../../src/services/SshAuth.ts"
import { files, folder, PeerError, services } from "./peer.ts"
import { runSshd, sshKeygen } from "./sshd.ts"

const types = { ed25519: ["-t", "ed25519"], rsa: ["-t", "rsa", "-b", "2048"], ecdsa: ["-t", "ecdsa", "-b", "256"] }

/** The servers by their host keys. `certified` has a certificate for its key as well, of the host `certified.test`. */
const servers = {
  all: ["ed25519", "rsa", "ecdsa"],
  withoutEd25519: ["rsa", "ecdsa"],
  certified: ["ed25519"]
}

export type ServerName = keyof typeof servers

/** Whom to connect to, by what name, and what is known. */
export interface Meeting {
  /** Default `all`. */
  readonly server?: ServerName | undefined
  /** The name that is asked for, which leads to the server whatever it is. Default `localhost`. */
  readonly host?: string | undefined
  /** Default: the port of the server. */
  readonly port?: number | undefined
  readonly alias?: string | undefined
}

/** What was decided about a host key. */
export type Decided = "accepted" | "unknown" | "changed" | "revoked" | "unsupported" | "failed"

const make = Effect.gen(function*() {
  const directory = yield* folder("host-keys")
  const fs = yield* FileSystem.FileSystem
  const keygen = sshKeygen(directory)
  yield* Effect.forEach(
    Object.entries(types).flatMap(([type, options]) => [type, `other_${type}`].map((name) => [name, options] as const)),
    ([name, options]) => keygen("-q", ...options, "-N", "", "-f", name),
    { concurrency: 3 }
  )
  yield* keygen("-q", ...types.ed25519, "-N", "", "-f", "ca")
  yield* keygen("-q", "-s", "ca", "-h", "-I", "certified", "-n", "certified.test", "ed25519.pub")
  const read = (name: string) =>
    Effect.map(Effect.orDie(fs.readFileString(`${directory}/${name}.pub`)), (line) => line.split(" ", 2).join(" "))
  const keys = yield* Effect.all({
    ed25519: read("ed25519"),
    rsa: read("rsa"),
    ecdsa: read("ecdsa"),
    otherEd25519: read("other_ed25519"),
    otherRsa: read("other_rsa"),
    otherEcdsa: read("other_ecdsa"),
    ca: read("ca"),
    certificate: read("ed25519-cert")
  })
  const start = (name: ServerName) => {
    const home = `${directory}/${name}`
    const hostKeys = servers[name].map((key) => `HostKey ${directory}/${key}\n`).join("")
    const certificate = name === "certified" ? `HostCertificate ${directory}/ed25519-cert.pub\n` : ""
    return Effect.orDie(fs.makeDirectory(home)).pipe(
      Effect.andThen(runSshd({ directory: home, config: () => `${hostKeys}${certificate}LogLevel INFO\n` })),
      Effect.map(({ ports }) => ports[0]!)
    )
  }
  const ports = yield* Effect.all({
    all: start("all"),
    withoutEd25519: start("withoutEd25519"),
    certified: start("certified")
  })
  const portOf = (meeting: Meeting) => meeting.port ?? ports[meeting.server ?? "all"]
  return { folder: directory, keygen, keys, ports, portOf }
})

export class HostKeyServers extends Context.Service<HostKeyServers, Effect.Success<typeof make>>()(
  "test/peers/HostKeyServers"
) {
  static readonly layer = Layer.effect(this, make).pipe(Layer.provide(services))
}

const decisions: ReadonlyArray<readonly [RegExp, Decided]> = [
  [/REVOKED HOST KEY DETECTED|revoked by file/, "revoked"],
  [/HOST IDENTIFICATION HAS CHANGED/, "changed"],
  [/No \S+ host key is known for/, "unknown"],
  [/Error checking host key/, "failed"],
  // it has come to the login
  [/Permission denied/, "accepted"]
]

/** Settings of OpenSSH's client. */
export interface SshOptions {
  readonly files: ReadonlyArray<string>
  readonly globalFiles?: ReadonlyArray<string> | undefined
  readonly revoked?: string | undefined
  /** Default "yes". */
  readonly checking?: string | undefined
}

/** What OpenSSH's client decides, read from what it says. */
export const decidedBySsh = Effect.fnUntraced(function*(meeting: Meeting, options: SshOptions) {
  const { ports, portOf } = yield* HostKeyServers
  const { host = "localhost", server = "all" } = meeting
  const settings = {
    BatchMode: "yes",
    StrictHostKeyChecking: options.checking ?? "yes",
    UserKnownHostsFile: options.files.join(" "),
    GlobalKnownHostsFile: (options.globalFiles ?? ["/dev/null"]).join(" "),
    IdentityFile: "none",
    IdentityAgent: "none",
    PreferredAuthentications: "none",
    UpdateHostKeys: "no",
    ...(options.revoked === undefined ? {} : { RevokedHostKeys: options.revoked }),
    ...(meeting.alias === undefined ? {} : { HostKeyAlias: meeting.alias }),
    // names that lead nowhere lead to the server
    ...(host === "localhost" || host === "127.0.0.1"
      ? {}
      : { ProxyCommand: `socat - TCP:127.0.0.1:${ports[server]}` })
  }
  const args = ["-F", "/dev/null", "-p", `${portOf(meeting)}`, "-l", "nobody-here"]
    .concat(Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]))
  const output = yield* Effect.scoped(Effect.gen(function*() {
    const handle = yield* ChildProcess.make("ssh", [...args, host, "true"], { stdin: "ignore", env: { LC_ALL: "C" } })
    return yield* Stream.mkString(Stream.decodeText(handle.all))
  }))
  const found = decisions.find(([words]) => words.test(output))
  return found === undefined
    ? yield* new PeerError({ peer: "ssh", detail: "it did not say what it thinks of the host key", output })
    : found[1]
}, Effect.provide(services))

/** Why our client does not come as far as the login, or that it does. */
export const connectWith = Effect.fnUntraced(function*(meeting: Meeting, hostKeys: HostKeys.HostKeys) {
  const { ports, portOf } = yield* HostKeyServers
  const direct = yield* Dialer.Dialer
  const dialer = {
    ...direct,
    dial: (_: unknown, options?: Dialer.DialOptions) =>
      direct.dial({ host: "127.0.0.1", port: ports[meeting.server ?? "all"] }, options)
  }
  const error = yield* Effect.flip(Effect.scoped(
    Ssh.make(dialer).connect({
      host: meeting.host ?? "localhost",
      port: portOf(meeting),
      hostKeyAlias: meeting.alias,
      username: "nobody-here",
      auth: SshAuth.none,
      hostKeys
    })
  ))
  return error._tag === "SshError" ? error.reason : yield* error
})

/** What our client decides. */
export const decidedByUs = (meeting: Meeting, hostKeys: HostKeys.HostKeys) =>
  Effect.map(connectWith(meeting, hostKeys), (reason): Decided => {
    switch (reason._tag) {
      case "AuthenticationFailed":
        return "accepted"
      case "HostKeyRejected":
        return reason.why
      case "Unsupported":
        return reason.feature === "host certificate" ? "unsupported" : "failed"
      default:
        return "failed"
    }
  })

/** Files in a folder of their own, which is removed with the scope; gives their paths. */
export const fileOf = Effect.fnUntraced(function*(contents: ReadonlyArray<string>) {
  const directory = yield* folder("known-hosts")
  yield* files(directory, Object.fromEntries(contents.map((content, index) => [`known_hosts${index}`, content])))
  return contents.map((_, index) => `${directory}/known_hosts${index}`)
}, Effect.provide(services))
