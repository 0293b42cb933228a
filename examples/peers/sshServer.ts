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
import type { AuthContext, Connection, ServerChannel, Session } from "ssh2"
import { inOnePiece } from "../../src/internal/ssh2Identification.ts"

/** Settings of the server. */
export interface SshServerOptions {
  /** Who may log in. Default "demo". */
  readonly username?: string
  /** The password, where one is accepted. Default: none is. */
  readonly password?: string
  /** Public keys that may log in, as lines of an authorized_keys file. */
  readonly authorizedKeys?: ReadonlyArray<string>
  /** Ask for a key and then for the password, as multi-factor servers do. Default false: either will do. */
  readonly bothRequired?: boolean
  /** The host's private keys. Default: a new Ed25519 key. */
  readonly hostKeys?: ReadonlyArray<string>
  /** Send everything in pieces of this many bytes. Default: as it comes. */
  readonly fragment?: number
}

/** A server that is running. */
export interface SshServer {
  readonly port: number
  /** Of its first host key, as `ssh-keygen -l` prints it. */
  readonly hostKeyFingerprint: string
  /** A line for a known_hosts file. */
  readonly knownHostsLine: (host: string, port?: number) => string
  /** How many connections are open. */
  readonly connections: () => number
  /** Breaks every connection, without a word. */
  readonly kill: Effect.Effect<void>
  /** Serves a connection that came by another way than the port. */
  readonly serve: (duplex: Duplex) => void
}

/** A new Ed25519 key: the private part as a file holds it, the public part as a line of authorized_keys. */
export const generateKey = (passphrase?: Redacted.Redacted): { readonly private: string; readonly public: string } =>
  passphrase === undefined
    ? Ssh2.utils.generateKeyPairSync("ed25519")
    : Ssh2.utils.generateKeyPairSync("ed25519", {
      passphrase: Redacted.value(passphrase),
      cipher: "aes256-ctr",
      rounds: 4
    })

const parse = (key: string) => {
  const parsed = Ssh2.utils.parseKey(key)
  if (parsed instanceof Error) throw parsed
  return parsed
}

const fingerprint = (publicKey: Buffer) =>
  `SHA256:${Crypto.createHash("sha256").update(publicKey).digest("base64").replace(/=+$/, "")}`

/** The commands: what each does with its arguments, its environment and its channel. */
const commands: Record<string, (channel: ServerChannel, argument: string, env: Map<string, string>) => void> = {
  echo: (channel, text) => finish(channel, 0, `${text}\n`),
  cat: (channel) => {
    channel.on("data", (chunk: Buffer) => {
      if (!channel.write(chunk)) channel.pause()
    }).on("drain", () => channel.resume()).on("end", () => finish(channel, 0))
  },
  count: (channel) => {
    let bytes = 0
    channel.on("data", (chunk: Buffer) => bytes += chunk.length).on("end", () => finish(channel, 0, `${bytes}\n`))
  },
  exit: (channel, code) => finish(channel, Number(code)),
  env: (channel, name, env) => finish(channel, 0, `${env.get(name) ?? ""}\n`),
  // writes N bytes of zeros, no faster than they are taken
  bytes: (channel, count) => produce(channel, Number(count)),
  stderr: (channel, text) => {
    channel.stderr.write(`${text}\n`)
    finish(channel, 1)
  },
  // fills the error output before it writes a word to the other
  flood: (channel, count) => void channel.stderr.write(Buffer.alloc(Number(count)), () => finish(channel, 0, "done\n")),
  killed: (channel, signal) => {
    channel.exit(signal.replace("SIG", ""))
    channel.end()
  },
  // says nothing about how it ended
  vanish: (channel) => void channel.end("gone\n"),
  // writes a word and then waits for the end of the world
  wait: (channel) => void channel.write("waiting\n")
}

const finish = (channel: ServerChannel, code: number, output = "") =>
  channel.write(output, () => {
    channel.exit(code)
    channel.end()
  })

const produce = (channel: ServerChannel, left: number): void => {
  const chunk = Buffer.alloc(Math.min(left, 32_768))
  if (left === 0) return void finish(channel, 0)
  // the callback comes when the client's window had room for it
  channel.write(chunk, () => setImmediate(produce, channel, left - chunk.length))
}

const serveSession = (session: Session) => {
  const env = new Map<string, string>()
  session.on("env", (accept, _reject, { key, val }) => {
    env.set(key, val)
    // not every client asks for an answer
    accept?.()
  })
  session.on("exec", (accept, reject, { command }) => {
    const space = command.indexOf(" ")
    const name = space < 0 ? command : command.slice(0, space)
    const run = commands[name]
    if (run === undefined) return reject()
    const channel = accept()
    channel.on("error", () => {})
    run(channel, space < 0 ? "" : command.slice(space + 1), env)
  })
}

const isThisMachine = (host: string) => host === "127.0.0.1" || host === "localhost"

const forward = (target: Net.NetConnectOpts, accept: () => ServerChannel, reject: () => void) => {
  const socket = Net.connect({ ...target, allowHalfOpen: true })
  socket.once("error", reject)
  socket.once("connect", () => {
    const channel = accept()
    socket.off("error", reject).on("error", () => channel.close())
    channel.on("error", () => {}).on("close", () => socket.destroy())
    socket.pipe(channel)
    channel.pipe(socket)
  })
}

const authenticate = (options: SshServerOptions) => {
  const keys = (options.authorizedKeys ?? []).map(parse)
  const username = options.username ?? "demo"
  let keyShown = false
  return (context: AuthContext) => {
    const partial = options.bothRequired === true && !keyShown
    const methods = [
      ...(keys.length > 0 && !keyShown ? ["publickey" as const] : []),
      ...(options.password !== undefined && !partial ? ["password" as const] : [])
    ]
    const mayPass = context.username === username && methods.some((method) => method === context.method)
    if (!mayPass) return context.reject(methods)
    if (context.method === "password") {
      return context.password === options.password ? context.accept() : context.reject(methods)
    }
    if (context.method !== "publickey") return context.reject(methods)
    const key = keys.find((key) => key.getPublicSSH().equals(context.key.data))
    if (key === undefined) return context.reject(methods)
    // first the client only asks whether the key would do
    if (context.signature === undefined || context.blob === undefined) return context.accept()
    if (!key.verify(context.blob, context.signature, context.hashAlgo)) return context.reject(methods)
    if (options.bothRequired !== true) return context.accept()
    keyShown = true
    return context.reject(["password"], true)
  }
}

const serveClient = (options: SshServerOptions) => (client: Connection) => {
  client.on("error", () => {})
  client.on("authentication", authenticate(options))
  client.on("session", (accept) => serveSession(accept()))
  client.on(
    "tcpip",
    (accept, reject, { destIP, destPort }) =>
      isThisMachine(destIP) ? forward({ host: "127.0.0.1", port: destPort }, accept, reject) : reject()
  )
  client.on("openssh.streamlocal", (accept, reject, { socketPath }) => forward({ path: socketPath }, accept, reject))
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

/** Runs a server on a free port of this machine for as long as the scope lives. */
export const make = Effect.fnUntraced(function*(options: SshServerOptions = {}) {
  const [first, ...others] = options.hostKeys ?? []
  const hostKey = first ?? generateKey().private
  const parsed = parse(hostKey)
  const publicKey = parsed.getPublicSSH()
  const ssh = new Ssh2.Server({ hostKeys: [hostKey, ...others] }, serveClient(options))
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
  const server: SshServer = {
    port,
    hostKeyFingerprint: fingerprint(publicKey),
    knownHostsLine: (host, at = port) =>
      `${at === 22 ? host : `[${host}]:${at}`} ${parsed.type} ${publicKey.toString("base64")}`,
    connections: () => open.size,
    kill,
    serve
  }
  return server
})
