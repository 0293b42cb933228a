/** The SSH server of the library's own tests: that of `TestPeers.sshServer`, with what only they need. */
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import { createRequire } from "node:module"
import type { Duplex } from "node:stream"
import Ssh2, { type Connection, type ParsedKey, type ServerChannel } from "ssh2"
import { fingerprint } from "../../src/internal/ssh/hostKeys/publicKey.ts"
import type { CommandHandler, Running } from "../../src/internal/ssh/testServer/command.ts"
import type { Forwarding } from "../../src/internal/ssh/testServer/forwarding.ts"
import * as Keys from "../../src/internal/ssh/testServer/keys.ts"
import * as Login from "../../src/internal/ssh/testServer/login.ts"
import type * as Model from "../../src/internal/ssh/testServer/model.ts"
import * as Server from "../../src/internal/ssh/testServer/server.ts"
import { serveFiles, type SftpOptions } from "../../src/internal/ssh/testServer/sftp.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Peer from "../../src/testing/peers/peer.ts"
import { diskFiles } from "./diskFiles.ts"
import { type Host, program, shell } from "./sshPrograms.ts"

/** How the server answers clients that want it to listen for them; `forbidden` says why, as OpenSSH does. */
export type RemoteForwarding = "served" | "refused" | "forbidden" | "unanswered"

export type { QuestionRound } from "../../src/internal/ssh/testServer/model.ts"

/** Settings of the server. */
export interface SshServerOptions {
  /** Who may log in. Default "demo". */
  readonly username?: string
  /** The password, where one is accepted. Default: none is. */
  readonly password?: string | undefined
  /** Public keys that may log in, as lines of an authorized_keys file. */
  readonly authorizedKeys?: ReadonlyArray<string>
  /** Ask for a key and then for the password, as servers with two factors do. Default false: either will do. */
  readonly bothRequired?: boolean
  /** The host's private keys. Default: a new Ed25519 key. */
  readonly hostKeys?: readonly [string, ...ReadonlyArray<string>]
  /** Show this public key (a line of an authorized_keys file) as if it were the host's, as an impostor would. */
  readonly claimedHostKey?: string
  /** Demand a new password of whoever knows the old one. Default false. */
  readonly passwordExpired?: boolean
  /** The new password that is accepted then; others are asked for again. Default: none is. */
  readonly newPassword?: string
  /** What is asked by keyboard-interactive, in rounds, with the answers that let in. Default: nothing, there is no such way. */
  readonly questions?: ReadonlyArray<Model.QuestionRound>
  /** Never answer a login. Default false. */
  readonly stallLogin?: boolean
  /** Runs commands that are none of the server's own. Default: they are refused. */
  readonly otherCommands?: CommandHandler
  /** How to answer who wants the server to listen: on this machine's loopback, with a refusal, or never. Default "served". */
  readonly remoteForwarding?: RemoteForwarding
  /** The folder that SFTP serves, and how. Default: there is no SFTP. */
  readonly sftp?: Omit<SftpOptions, "files"> & { readonly root: string }
  /** Let no command ask its user's agent. Default false. */
  readonly withoutAgents?: boolean
}

/** A server that is running. */
export interface SshServer {
  readonly port: number
  /** Of its first host key, as `ssh-keygen -l` prints it. */
  readonly hostKeyFingerprint: string
  /** Shows another key (a private one) of the same type from now on, instead of the first. */
  readonly changeHostKey: (privateKey: string) => void
  /** A line for a known_hosts file. */
  readonly knownHostsLine: (host: string, port?: number) => string
  /** How many connections are open. */
  readonly connections: () => number
  /** Those who are connected. */
  readonly clients: ReadonlySet<Connection>
  /** How many commands are running, SFTP among them. */
  readonly running: () => number
  /** How many logins were tried. */
  readonly logins: () => number
  /** How often a client and the server have agreed on new keys. */
  readonly rekeys: () => number
  /** How many bytes the command `bytes` has sent. */
  readonly produced: () => number
  /** Breaks every connection, without a word. */
  readonly kill: Effect.Effect<void>
  /** Takes leave of every client, as a server does that is shut down. */
  readonly leave: Effect.Effect<void>
  /** Reads nothing from anybody any more, and so answers nothing. */
  readonly freeze: Effect.Effect<void>
}

/** A new key: the private part as a file holds it, the public part as a line of authorized_keys. */
export const generateKey: (passphrase?: Redacted.Redacted) => Model.KeyPair = Keys.generate

/** A new host key of another type than `generateKey`'s. */
export const generateEcdsaKey = (): Model.KeyPair => Ssh2.utils.generateKeyPairSync("ecdsa", { bits: 256 })

const { sendPacket } = createRequire(import.meta.url)("ssh2/lib/protocol/utils.js")

/** Says something for people to read (SSH_MSG_DEBUG), for which ssh2's servers have no way. */
const say = ({ _protocol: protocol }: any, words: string): void => {
  const { write } = protocol._packetRW
  const text = Buffer.from(words)
  const packet: Buffer = write.alloc(1 + 1 + 4 + text.length + 4)
  const start: number = write.allocStart
  packet[start] = 4
  packet[start + 1] = 0
  packet.writeUInt32BE(text.length, start + 2)
  packet.set(text, start + 6)
  packet.writeUInt32BE(0, start + 6 + text.length)
  sendPacket(protocol, write.finalize(packet))
}

/** Connects to a client's agent. ssh2's servers know how to say it, and have no way to ask for it. */
export const openAgent = (client: any, done: (error: Error | undefined, channel: ServerChannel) => void): void => {
  const opened = Object.assign(
    (error: Error | undefined, channel: ServerChannel) => done(error, channel),
    { type: "auth-agent@openssh.com" }
  )
  client._protocol.openssh_authAgent(client._chanMgr.add(opened), 2 * 1024 * 1024, 32 * 1024)
}

/** A host key that may claim to be another one, and be exchanged for another one. */
const hostKeyOf = (privateKey: string, claimed: string | undefined) => {
  let own = Keys.parse(privateKey)
  let shown = claimed === undefined ? own : Keys.parse(claimed)
  const key: ParsedKey = Object.assign(Keys.parse(privateKey), {
    getPublicSSH: () => shown.getPublicSSH(),
    sign: (data: Buffer, algorithm?: any) => own.sign(data, algorithm)
  })
  return {
    key,
    change: (to: string) => {
      own = shown = Keys.parse(to)
    }
  }
}

/** Reaches this machine, whatever network the server is on, and never `stalled.test`. */
const forwarding = Effect.gen(function*() {
  const { dial } = yield* Dialer.Dialer
  const { bind } = yield* Listener.Listener
  const forwarding: Forwarding = {
    allows: (target) => /^(?:127\.0\.0\.1|localhost|stalled\.test):|^\//.test(target),
    dial: (target) =>
      typeof target === "object" && "host" in target && target.host === "stalled.test" ? Effect.never : dial(target),
    bind
  }
  return forwarding
}).pipe(Effect.provide([Dialer.layer, Listener.layer]))

const answerListeners = (client: Connection, answer: Exclude<RemoteForwarding, "served">): void => {
  client.on("request", (_accept, reject) => {
    if (answer === "forbidden") say(client, "Server has disabled port forwarding.")
    if (answer !== "unanswered") reject?.()
  })
}

/** A server that listens nowhere yet. */
const define = Effect.fnUntraced(function*(options: SshServerOptions = {}) {
  const { newPassword, password, remoteForwarding = "served", sftp } = options
  const [hostKey, ...others] = options.hostKeys ?? [generateKey().private]
  const firstKey = hostKeyOf(hostKey, options.claimedHostKey)
  const clients = new Set<Connection>()
  const open = new Set<Duplex>()
  const commands: Array<Running> = []
  const host: Host = { clients, produced: 0 }
  let logins = 0
  let rekeys = 0
  const login: Login.LoginOptions = {
    username: options.username ?? "demo",
    password: password === undefined ? undefined : Redacted.make(password),
    newPassword: options.passwordExpired === true ? Redacted.make(newPassword ?? "nobody knows it") : undefined,
    keys: (options.authorizedKeys ?? []).map(Keys.parse),
    questions: options.questions,
    all: options.bothRequired === true
  }
  const forwards = yield* forwarding
  const settings: Server.ServerOptions = {
    hostKeys: [firstKey.key, ...others.map(Keys.parse)],
    authenticate: () => {
      const authenticate = Login.authenticate(login, () => {})
      return (context) => {
        logins++
        if (options.stallLogin !== true) authenticate(context)
      }
    },
    env: {},
    allowsAgents: options.withoutAgents !== true,
    decide: ({ command, kind }) => {
      if (kind === "shell") return shell
      if (kind === "subsystem") {
        return command === "sftp" && sftp !== undefined
          ? serveFiles({ ...sftp, files: diskFiles(sftp.root) })
          : "refuse"
      }
      if (command.startsWith("stall")) return "ignore"
      return program(command, host) ?? options.otherCommands ?? "refuse"
    },
    onCommand: (running) => commands.push(running),
    forwarding: remoteForwarding === "served" ? forwards : { ...forwards, bind: undefined },
    onClient: (client) => {
      clients.add(client.once("close", () => clients.delete(client)))
      client.on("rekey", () => void rekeys++)
      if (remoteForwarding !== "served") answerListeners(client, remoteForwarding)
    }
  }
  const publicKey = Keys.parse(hostKey).getPublicSSH()
  return {
    serve: (duplex: Duplex) => {
      open.add(duplex)
      return Effect.ensuring(Server.serve(settings, duplex), Effect.sync(() => open.delete(duplex)))
    },
    hostKeyFingerprint: fingerprint(publicKey),
    knownHostsLine: (host: string, port: number) =>
      `${port === 22 ? host : `[${host}]:${port}`} ${Keys.publicLine(Keys.parse(hostKey))}`,
    changeHostKey: firstKey.change,
    connections: () => open.size,
    clients,
    running: () => commands.filter(({ status }) => status._tag === "Running").length,
    logins: () => logins,
    rekeys: () => rekeys,
    produced: () => host.produced,
    kill: Effect.sync(() => {
      for (const duplex of open) duplex.destroy()
    }),
    leave: Effect.sync(() => {
      for (const client of clients) client.end()
    }),
    freeze: Effect.sync(() => {
      for (const duplex of open) duplex.pause()
    })
  }
})

/** Runs a server on the network that is there, on a free port of 127.0.0.1, for as long as the scope lives. */
export const listen = Effect.fnUntraced(function*(options?: SshServerOptions) {
  const { knownHostsLine, serve, ...defined } = yield* define(options)
  const { address } = yield* Effect.orDie(Peer.start({}, serve))
  const port = NetAddress.isInetAddress(address) ? address.port : 0
  const server: SshServer = {
    ...defined,
    port,
    knownHostsLine: (host, at = port) => knownHostsLine(host, at)
  }
  return server
})

/** The same on this machine's own loopback. */
export const make = (options?: SshServerOptions) => Effect.provide(listen(options), Listener.layer)
