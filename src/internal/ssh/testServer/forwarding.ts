import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { formatHostPort, hostPortFromInput } from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { Connection, ServerChannel } from "ssh2"
import type { DialError } from "../../../errors/DialError.ts"
import type { TcpError } from "../../../errors/TcpError.ts"
import type { Bound } from "../../net/listen.ts"
import { relay } from "../../net/relay.ts"
import type { DialTarget } from "../../net/target.ts"
import { ChannelStream } from "./channel.ts"

/** How a server reaches others for its clients, and others its clients. */
export interface Forwarding {
  /** Whether a client may have a target (`"db:5432"`, or the path of a socket) dialled, or an address listened on. */
  readonly allows: (target: string) => boolean
  /** Connects to a target. Default: nothing can be reached. */
  readonly dial: ((target: DialTarget) => Effect.Effect<Duplex, DialError, Scope.Scope>) | undefined
  /** Listens for clients. Default: requests to listen are refused. */
  readonly bind: ((address: DialTarget) => Effect.Effect<Bound, TcpError, Scope.Scope>) | undefined
}

type Run = (effect: Effect.Effect<void>) => void

/** What is said of a channel that is not opened: the number of RFC 4254, section 5.1, and words as OpenSSH has them. */
interface Refusal {
  readonly code: number
  readonly words: string
}

const prohibited: Refusal = { code: 1, words: "open failed" }
const failed = (words: string): Refusal => ({ code: 2, words })

const refusalOf = ({ reason }: DialError): Refusal => {
  switch (reason._tag) {
    case "Refused":
      return failed("Connection refused")
    case "NameNotFound":
      return failed("Name or service not known")
    case "Unreachable":
      return failed(reason.code === "ENETUNREACH" ? "Network is unreachable" : "No route to host")
    case "ConnectTimeout":
      return failed("Connection timed out")
    default:
      return failed(reason.message)
  }
}

/** Refuses a channel in words. ssh2 has none: they are put in where it sends its own. */
const refuse = (client: Connection, reject: () => void, { code, words }: Refusal): void => {
  const protocol: unknown = Reflect.get(client, "_protocol")
  if (typeof protocol !== "object" || protocol === null) return reject()
  const send: unknown = Reflect.get(protocol, "channelOpenFail")
  if (typeof send !== "function") return reject()
  Reflect.set(protocol, "channelOpenFail", (channel: number) => Reflect.apply(send, protocol, [channel, code, words]))
  reject()
  Reflect.deleteProperty(protocol, "channelOpenFail")
}

/** Passes on between a channel and a stream until both have ended. SSH has no word for a break, so its channels only end. */
const pass = (channel: ServerChannel, stream: Duplex) => Effect.ignore(relay(new ChannelStream(channel, "end"), stream))

const serveDials = (client: Connection, { allows, dial }: Forwarding, run: Run): void => {
  const serve = (target: DialTarget, name: string, accept: () => ServerChannel, reject: () => void) => {
    if (!allows(name)) return refuse(client, reject, prohibited)
    if (dial === undefined) return refuse(client, reject, failed("the server has no Dialer"))
    run(
      dial(target).pipe(
        Effect.matchEffect({
          onFailure: (error) => Effect.sync(() => refuse(client, reject, refusalOf(error))),
          onSuccess: (stream) => Effect.suspend(() => pass(accept(), stream))
        }),
        Effect.scoped
      )
    )
  }
  client
    .on("tcpip", (accept, reject, { destIP, destPort }) => {
      const target = hostPortFromInput({ host: destIP, port: destPort })
      if (Result.isFailure(target)) return refuse(client, reject, failed("Name or service not known"))
      serve(target.success, formatHostPort(target.success), accept, reject)
    })
    .on("openssh.streamlocal", (accept, reject, { socketPath }) => {
      serve(NetAddress.unixPathAddress(socketPath), socketPath, accept, reject)
    })
}

/** The ends of a connection, where its stream knows them. */
interface Ends {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** A place that a client has the server listen on. */
interface Place {
  readonly name: string
  readonly address: DialTarget
  /** What it is called once it is known, by the client that no longer wants it. */
  readonly key: (port: number) => string
  /** Has the client open a channel for a connection that was made there. */
  readonly open: (
    port: number,
    from: Ends,
    done: (error: Error | undefined, channel: ServerChannel) => void
  ) => unknown
}

const placeOf = (client: Connection, info: object): Place => {
  if ("bindAddr" in info && "bindPort" in info) {
    const host = String(info.bindAddr)
    const key = (port: number) => `${host}:${port}`
    return {
      name: key(Number(info.bindPort)),
      // for this machine alone, whatever the client wishes, as OpenSSH has it unless it is told otherwise
      address: { host: "127.0.0.1", port: Number(info.bindPort) },
      key,
      open: (port, { remoteAddress = "", remotePort = 0 }, done) =>
        client.forwardOut(host, port, remoteAddress, remotePort, done)
    }
  }
  const path = "socketPath" in info ? String(info.socketPath) : ""
  return {
    name: path,
    address: { path },
    key: () => path,
    open: (_port, _from, done) => client.openssh_forwardOutStreamLocal(path, done)
  }
}

const portOf = (address: NetAddress.SocketAddress) => NetAddress.isInetAddress(address) ? address.port : 0

const serveListeners = (
  client: Connection,
  allows: Forwarding["allows"],
  bind: NonNullable<Forwarding["bind"]>,
  scope: Scope.Scope,
  run: Run
): void => {
  const listening = new Map<string, Deferred.Deferred<() => void>>()

  const passOn = (place: Place, port: number, stream: Duplex & Ends) =>
    Effect.callback<ServerChannel | undefined>((resume) => {
      place.open(
        port,
        stream,
        (error, channel) => resume(Effect.succeed(error === undefined ? channel : undefined))
      )
    }).pipe(Effect.flatMap((channel) => channel === undefined ? Effect.void : pass(channel, stream)))

  /** Takes one connection and passes it on by the side. */
  const acceptOne = (place: Place, { accept, address }: Bound) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const own = yield* Scope.fork(scope)
        const stream = yield* Effect.onError(
          restore(Scope.provide(accept, own)),
          (cause) => Scope.close(own, Exit.failCause(cause))
        )
        run(Effect.onExit(passOn(place, portOf(address), stream), (exit) => Scope.close(own, exit)))
      })
    )

  const listen = (place: Place, accept: (port: number) => void, reject: () => void) =>
    Effect.gen(function*() {
      const bound = yield* bind(place.address)
      const port = portOf(bound.address)
      const cancelled = yield* Deferred.make<() => void>()
      listening.set(place.key(port), cancelled)
      accept(port)
      return yield* Effect.raceFirst(Effect.forever(acceptOne(place, bound)), Deferred.await(cancelled))
    }).pipe(
      Effect.scoped,
      Effect.matchEffect({
        onFailure: () => Effect.sync(reject),
        onSuccess: (answer) => Effect.sync(answer)
      })
    )

  client.on("request", (accept, reject, name, info) => {
    const place = placeOf(client, info)
    if (name.startsWith("cancel-")) {
      const key = place.key("bindPort" in info ? info.bindPort : 0)
      const cancelled = listening.get(key)
      listening.delete(key)
      // what was accepted goes on
      if (cancelled === undefined) reject?.()
      else Deferred.doneUnsafe(cancelled, Effect.succeed(() => accept?.()))
    } else if (allows(place.name)) run(listen(place, (port) => accept?.(port), () => reject?.()))
    else reject?.()
  })
}

/** Forwards for a client, whose connection has this scope. */
export const serve = (client: Connection, forwarding: Forwarding, scope: Scope.Scope, run: Run): void => {
  serveDials(client, forwarding, run)
  if (forwarding.bind !== undefined) serveListeners(client, forwarding.allows, forwarding.bind, scope, run)
}
