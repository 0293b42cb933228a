/**
 * A small SSH server for demonstrations and tests: it runs a few harmless commands of its own and forwards to this machine.
 * Not a server to put on a network.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import Ssh2 from "ssh2"
import type { AuthContext, Connection, KeyboardAuthContext, PasswordAuthContext, ServerChannel } from "ssh2"
import { inOnePiece } from "../../src/internal/ssh/identification.ts"
import { serveChannel, type SftpServerOptions } from "./sftpServer.ts"
import { type Commands, serveSession } from "./sshCommands.ts"
import { type RemoteForwarding, serveForwarding } from "./sshForwarding.ts"

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
  readonly questions?: ReadonlyArray<QuestionRound>
  /** Never answer a login. Default false. */
  readonly stallLogin?: boolean
  /** Runs commands that are none of the server's own. Default: they are refused. */
  readonly otherCommands?: (channel: ServerChannel, command: string) => void
  /** How to answer who wants the server to listen: on this machine's loopback, with a refusal, or never. Default "served". */
  readonly remoteForwarding?: RemoteForwarding
  /** The files that SFTP serves. Default: there is no SFTP. */
  readonly sftp?: SftpServerOptions
  /** Let no command ask its user's agent. Default false. */
  readonly withoutAgents?: boolean
  /** Send everything in pieces of this many bytes. Default: as it comes. */
  readonly fragment?: number
}

/** What is asked at once. */
export interface QuestionRound {
  readonly title?: string
  readonly instruction?: string
  readonly prompts: ReadonlyArray<{ readonly prompt: string; readonly echo: boolean; readonly answer: string }>
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
  /** How many commands have an open channel, SFTP among them. */
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
  /** Serves a connection that came by another way than the port. */
  readonly serve: (duplex: Duplex) => void
}

/** A new key: the private part as a file holds it, the public part as a line of authorized_keys. */
export const generateKey = (passphrase?: Redacted.Redacted): { readonly private: string; readonly public: string } => {
  const protection = passphrase === undefined ? undefined : Redacted.value(passphrase)
  const pair = protection === undefined
    ? Ssh2.utils.generateKeyPairSync("ed25519")
    : Ssh2.utils.generateKeyPairSync("ed25519", { passphrase: protection, cipher: "aes256-ctr", rounds: 4 })
  // one in some hundred of the keys that ssh2 makes is not one that ssh2 can read
  return Ssh2.utils.parseKey(pair.private, protection) instanceof Error ? generateKey(passphrase) : pair
}

/** A new host key of another type than `generateKey`'s. */
export const generateEcdsaKey = (): { readonly private: string; readonly public: string } =>
  Ssh2.utils.generateKeyPairSync("ecdsa", { bits: 256 })

const parse = (key: string) => {
  const parsed = Ssh2.utils.parseKey(key)
  if (parsed instanceof Error) throw parsed
  return parsed
}

const fingerprint = (publicKey: Buffer) =>
  `SHA256:${Crypto.createHash("sha256").update(publicKey).digest("base64").replace(/=+$/, "")}`

/** Asks for a new password until it is the right one. */
const changePassword = (context: PasswordAuthContext, wanted: string | undefined): void =>
  context.requestChange(
    "New password:",
    (given) => given === wanted ? context.accept() : changePassword(context, wanted)
  )

/** Asks round after round. */
const ask = (
  context: KeyboardAuthContext,
  [round, ...rounds]: ReadonlyArray<QuestionRound>,
  refuse: () => void
): void => {
  if (round === undefined) return context.accept()
  const { instruction = "", prompts, title = "" } = round
  const shown = prompts.map(({ echo, prompt }) => ({ echo, prompt }))
  context.prompt(shown, title, instruction, (answers) => {
    // an error where the client goes on to another method: the question is over
    if (!Array.isArray(answers)) return
    const areRight = answers.length === prompts.length && prompts.every(({ answer }, i) => answers[i] === answer)
    if (areRight) ask(context, rounds, refuse)
    else refuse()
  })
}

const authenticate = (options: SshServerOptions) => {
  const keys = (options.authorizedKeys ?? []).map(parse)
  const username = options.username ?? "demo"
  let keyShown = false
  return (context: AuthContext) => {
    const passwordToo = options.bothRequired !== true || keyShown
    const methods = [
      ...(keys.length > 0 && !keyShown ? ["publickey" as const] : []),
      ...(options.password !== undefined && passwordToo ? ["password" as const] : []),
      ...(options.questions === undefined ? [] : ["keyboard-interactive" as const])
    ]
    const refuse = () => context.reject(methods)
    if (context.username !== username || !methods.some((method) => method === context.method)) return refuse()
    if (context.method === "password") {
      if (context.password !== options.password) return refuse()
      return options.passwordExpired === true ? changePassword(context, options.newPassword) : context.accept()
    }
    if (context.method === "keyboard-interactive") return ask(context, options.questions ?? [], refuse)
    if (context.method !== "publickey") return refuse()
    const { blob, hashAlgo, key: { data }, signature } = context
    const key = keys.find((key) => key.getPublicSSH().equals(data))
    if (key === undefined) return refuse()
    // first the client only asks whether the key would do
    if (signature === undefined || blob === undefined) return context.accept()
    if (!key.verify(blob, signature, hashAlgo)) return refuse()
    if (options.bothRequired !== true) return context.accept()
    keyShown = true
    return context.reject(["password"], true)
  }
}

/** What a server knows about itself. */
interface State {
  readonly clients: Set<Connection>
  readonly commands: Commands
  logins: number
  rekeys: number
}

const serveClient = (options: SshServerOptions, state: State) => (client: Connection) => {
  state.clients.add(client.on("error", () => {}).once("close", () => state.clients.delete(client)))
  client.on("rekey", () => void state.rekeys++)
  const login = authenticate(options)
  client.on("authentication", (context) => {
    state.logins++
    if (options.stallLogin !== true) login(context)
  })
  client.on("session", (accept) => {
    const session = accept()
    serveSession(session, client, state.commands)
    session.on("subsystem", (accept, reject, { name }) => {
      if (name !== "sftp" || options.sftp === undefined) return reject()
      const channel = accept()
      state.commands.channels.add(channel.once("close", () => state.commands.channels.delete(channel)))
      serveChannel(options.sftp, channel)
    })
  })
  serveForwarding(client, options.remoteForwarding ?? "served")
}

const inFragments = <D extends Duplex>(duplex: D, size: number): D => {
  const write = duplex.write.bind(duplex) as (chunk: Uint8Array) => boolean
  duplex.write = ((chunk: Uint8Array) => {
    let more = true
    for (let at = 0; at < chunk.length; at += size) more = write(chunk.subarray(at, at + size))
    return more
  }) as D["write"]
  return duplex
}

/** A host key that may claim to be another one, and be exchanged for another one. */
const hostKeyOf = (privateKey: string, claimed: string | undefined) => {
  let own = parse(privateKey)
  let shown = claimed === undefined ? own : parse(claimed)
  // the library takes keys that are parsed already; its types know texts only
  const key: any = Object.assign(parse(privateKey), {
    getPublicSSH: () => shown.getPublicSSH(),
    sign: (data: Buffer, algorithm?: any) => own.sign(data, algorithm)
  })
  return {
    key,
    change: (to: string) => {
      own = shown = parse(to)
    }
  }
}

/** Runs a server on a free port of this machine for as long as the scope lives. */
export const make = Effect.fnUntraced(function*(options: SshServerOptions = {}) {
  const [hostKey, ...others] = options.hostKeys ?? [generateKey().private]
  const firstKey = hostKeyOf(hostKey, options.claimedHostKey)
  const state: State = {
    clients: new Set(),
    commands: { channels: new Set(), produced: 0, others: options.otherCommands, withoutAgents: options.withoutAgents },
    logins: 0,
    rekeys: 0
  }
  const ssh = new Ssh2.Server({ hostKeys: [{ key: firstKey.key }, ...others] }, serveClient(options, state))
  // any stream will do; the types know sockets only
  const inject = (stream: any) => ssh.injectSocket(stream)
  const open = new Set<Duplex>()
  const serve = (duplex: Duplex): void => {
    open.add(duplex.on("error", () => {}).once("close", () => open.delete(duplex)))
    inOnePiece(duplex)
    inject(options.fragment === undefined ? duplex : inFragments(duplex, options.fragment))
  }
  const kill = Effect.sync(() => {
    for (const duplex of open) duplex.destroy()
  })
  const listener = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const listener = Net.createServer({ noDelay: true }, serve)
      listener.listen(0, "127.0.0.1", () => resume(Effect.succeed(listener)))
    }),
    (listener) => Effect.andThen(Effect.sync(() => void listener.close()), kill)
  )
  const address = listener.address()
  const port = address === null || typeof address === "string" ? 0 : address.port
  const publicKey = parse(hostKey).getPublicSSH()
  const server: SshServer = {
    port,
    hostKeyFingerprint: fingerprint(publicKey),
    knownHostsLine: (host, at = port) =>
      `${at === 22 ? host : `[${host}]:${at}`} ${parse(hostKey).type} ${publicKey.toString("base64")}`,
    changeHostKey: firstKey.change,
    connections: () => open.size,
    clients: state.clients,
    running: () => state.commands.channels.size,
    logins: () => state.logins,
    rekeys: () => state.rekeys,
    produced: () => state.commands.produced,
    kill,
    leave: Effect.sync(() => {
      for (const client of state.clients) client.end()
    }),
    freeze: Effect.sync(() => {
      for (const duplex of open) duplex.pause()
    }),
    serve
  }
  return server
})
