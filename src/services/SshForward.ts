/**
 * Port forwarding over SSH: connections that are made on one side of a session lead to a target on the other side.
 *
 * A session has a Dialer, which dials from its server, and a Listener, which listens there. A forward relays what is accepted
 * by the one side's Listener to what the other side's Dialer dials: `forwardLocal` (`ssh -L`) listens here and dials there,
 * `forwardRemote` (`ssh -R`) listens there and dials here. `forwardDynamic` (`ssh -D`) is a SOCKS server here whose clients
 * say what is dialled there, and `forwardRemoteDynamic` is one there. Each is host and port, or a unix socket.
 *
 * **Details**
 *
 * - A forward listens for as long as its scope lives, and closes its connections with it. When the session is lost it stops
 *   listening, its connections are reset, and its `events` fail with `ConnectionLost`.
 * - What goes wrong with a single connection is an event and harms nothing else: the target cannot be reached, a SOCKS client
 *   talks nonsense, one side breaks. All events also go to the `ConnectionLog`.
 * - An end of one side is passed on as an end (half-close), a break as a reset. A side that does not read holds the other
 *   side back.
 * - Beyond `maxConnections` further connections wait, and then are closed.
 *
 * **Gotchas**
 *
 * - Where a server really listens is its own affair: most listen on their loopback only, whatever they are asked for
 *   (`GatewayPorts` of sshd_config).
 * - OpenSSH leaves the file of a unix socket behind that it listened on, and does not listen where there is one
 *   (`StreamLocalBindUnlink` of sshd_config).
 *
 * **Example** (A database behind a server, and a port of that server that leads back)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { Dialer, Listener, Ssh, SshAuth } from "hawser"
 *
 * const program = Effect.scoped(Effect.gen(function*() {
 *   const ssh = yield* Ssh.Ssh
 *   const session = yield* ssh.connect({ host: "bastion", username: "ops", auth: SshAuth.none })
 *   const database = yield* session.forwardLocal("127.0.0.1:5432", "db.internal:5432")
 *   yield* session.forwardRemote("localhost:8080", { path: "/run/app.sock" })
 *   yield* session.forwardDynamic("127.0.0.1:1080")
 *   yield* Stream.runForEach(database.events, (event) => Effect.log(event._tag, event.target))
 * })).pipe(
 *   Effect.provide(Ssh.layer),
 *   Effect.provide(Layer.merge(Dialer.layer, Listener.layer))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SocketAddress } from "effect/net/NetAddress"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { type ConnectionLost, SshError, type SshErrorReason, Unknown } from "../errors/SshError.ts"
import { ReadTimeout, TcpError } from "../errors/TcpError.ts"
import { within } from "../internal/net/deadline.ts"
import { scopedUnlessFailed } from "../internal/net/duplex.ts"
import type { DialTarget } from "../internal/net/target.ts"
import * as Target from "../internal/net/target.ts"
import * as SocksServer from "../internal/proxy/socksServer.ts"
import type { Connection } from "../internal/ssh/connection.ts"
import * as Forwarding from "../internal/ssh/forward/forwarding.ts"
import * as Remote from "../internal/ssh/forward/listen.ts"
import { Dialer } from "./Dialer.ts"
import { Listener, parseAddress } from "./Listener.ts"

export type {
  /**
   * Both sides of a connection have ended.
   *
   * @category models
   * @since 0.1.0
   */
  ForwardClosed,
  /**
   * A connection that was made to a forward: its number, who made it, and where it leads to.
   *
   * @category models
   * @since 0.1.0
   */
  Forwarded,
  /**
   * What happens to the connections of a forward. Each that is `Opened` is `Closed` or has `Failed` later, unless the forward
   * is closed before.
   *
   * @category models
   * @since 0.1.0
   */
  ForwardEvent,
  /**
   * The target was not reached, what the client said is no SOCKS (`Malformed`), or one of the sides broke (`Reset`).
   *
   * @category models
   * @since 0.1.0
   */
  ForwardFailed,
  /**
   * The target was reached, and bytes go both ways.
   *
   * @category models
   * @since 0.1.0
   */
  ForwardOpened
} from "../internal/ssh/forward/forwarding.ts"

/**
 * A forward that is running.
 *
 * **Details**
 *
 * - `address` is where it listens, with the port that was chosen where 0 was asked for. Of a server only its port is known
 *   for sure.
 * - `connections` are how many are open now.
 * - `events` are what happens from now on to its connections, for any number of subscribers; one that is more than 1024 events
 *   behind misses the oldest. They end with the scope of the forward, and fail with `ConnectionLost` with its session.
 *
 * @category models
 * @since 0.1.0
 */
export interface Forward {
  readonly address: SocketAddress
  readonly connections: Effect.Effect<number>
  readonly events: Stream.Stream<Forwarding.ForwardEvent, SshError>
}

/**
 * Settings of a forward.
 *
 * @category models
 * @since 0.1.0
 */
export interface ForwardOptions {
  /** How many connections are relayed at a time; further ones wait. Default 256. */
  readonly maxConnections?: number | undefined
  /** How long it may take to reach the target. Default: that of the Dialer which dials it. */
  readonly connectTimeout?: Duration.Input | undefined
  /** The permissions of a unix socket's file that is listened on here. Default: what the process's umask leaves. */
  readonly mode?: number | undefined
}

/**
 * Settings of a SOCKS server. It speaks SOCKS5 (RFC 1928), SOCKS4 and SOCKS4a, and knows CONNECT only.
 *
 * @category models
 * @since 0.1.0
 */
export interface DynamicOptions extends ForwardOptions {
  /** Who may use it (RFC 1929). SOCKS4, which has no passwords, is then refused. Default: everybody. */
  readonly credentials?:
    | { readonly username: string; readonly password: Redacted.Redacted }
    | undefined
  /** How long a client may take to say where it wants to. Default 10 seconds. */
  readonly handshakeTimeout?: Duration.Input | undefined
}

/**
 * A forward as data: listens at `bind` here (`Local`, `Dynamic`) or on the server (`Remote`, `RemoteDynamic`), and leads to
 * `target` on the other side, or to where the clients of a SOCKS server want to.
 *
 * @category models
 * @since 0.1.0
 */
export type ForwardSettings =
  | { readonly _tag: "Local"; readonly bind: DialTarget; readonly target: DialTarget }
  | { readonly _tag: "Remote"; readonly bind: DialTarget; readonly target: DialTarget }
  | { readonly _tag: "Dynamic"; readonly bind: DialTarget }
  | { readonly _tag: "RemoteDynamic"; readonly bind: DialTarget }

/**
 * `ssh -L` as data.
 *
 * @category constructors
 * @since 0.1.0
 */
export const local = (bind: DialTarget, target: DialTarget): ForwardSettings => ({ _tag: "Local", bind, target })

/**
 * `ssh -R` as data.
 *
 * @category constructors
 * @since 0.1.0
 */
export const remote = (bind: DialTarget, target: DialTarget): ForwardSettings => ({ _tag: "Remote", bind, target })

/**
 * `ssh -D` as data.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dynamic = (bind: DialTarget): ForwardSettings => ({ _tag: "Dynamic", bind })

/**
 * `ssh -R` without a target as data: a SOCKS server on the server.
 *
 * @category constructors
 * @since 0.1.0
 */
export const remoteDynamic = (bind: DialTarget): ForwardSettings => ({ _tag: "RemoteDynamic", bind })

/**
 * What an `SshSession` can do in the way of forwarding.
 *
 * **Details**
 *
 * Errors of all of them: `ConnectionLost`, and `Unknown` for a target that cannot be understood. Those that listen here also
 * fail as `Listener.bind` does, those that listen on the server with `ForwardRefused`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshForwards {
  /**
   * Listens on the server, as `ssh -R` does, so that a `TcpServer` can serve there; unix sockets too where the server is
   * OpenSSH. Ends with the session. Names other than `localhost` are resolved by the server.
   *
   * `pending` (default 16) connections may wait for `accept`, each with up to 2 MiB that its client has sent; further ones are
   * refused. `backlog` and `mode` are the server's to choose.
   *
   * SSH servers need not say why they do not listen, and all but OpenSSH do not. `PermissionDenied`: the server said that it
   * is not allowed. `AddressInUse`: it said nothing. The cause of both is the `ForwardRefused`.
   */
  readonly listener: Listener["Service"]
  /** Listens here and dials the target from the server, as `ssh -L` does. */
  readonly forwardLocal: (
    bind: DialTarget,
    target: DialTarget,
    options?: ForwardOptions
  ) => Effect.Effect<Forward, TcpError | SshError, Scope.Scope | Listener>
  /** Listens on the server and dials the target from here, as `ssh -R` does. */
  readonly forwardRemote: (
    bind: DialTarget,
    target: DialTarget,
    options?: ForwardOptions
  ) => Effect.Effect<Forward, SshError, Scope.Scope | Dialer>
  /** A SOCKS server here that dials from the server, as `ssh -D` does. */
  readonly forwardDynamic: (
    bind: DialTarget,
    options?: DynamicOptions
  ) => Effect.Effect<Forward, TcpError | SshError, Scope.Scope | Listener>
  /** A SOCKS server on the server that dials from here, as `ssh -R` without a target does. */
  readonly forwardRemoteDynamic: (
    bind: DialTarget,
    options?: DynamicOptions
  ) => Effect.Effect<Forward, SshError, Scope.Scope | Dialer>
  /** Starts several that are given as data, in their order: all of them or, where one of them fails, none. */
  readonly forward: (
    forwards: ReadonlyArray<ForwardSettings>,
    options?: DynamicOptions
  ) => Effect.Effect<ReadonlyArray<Forward>, TcpError | SshError, Scope.Scope | Listener | Dialer>
}

/** How many connections to a Listener on the server may wait: each may hold a whole window of a channel. */
const defaultPending = 16

/** Leads all connections to one target. */
const toTarget = (dialer: Dialer["Service"], target: Target.Target, options: ForwardOptions): Forwarding.Route => {
  const name = Target.format(target)
  return (_duplex, to) => {
    to(name)
    return dialer.dial(target, { connectTimeout: options.connectTimeout })
  }
}

/**
 * Leads each connection to where its SOCKS client wants to.
 *
 * @internal
 */
export const bySocks = (dialer: Dialer["Service"], options: DynamicOptions): Forwarding.Route => {
  const after = Duration.fromInputUnsafe(options.handshakeTimeout ?? "10 seconds")
  const late = Effect.fail(new ReadTimeout({ after, received: 0 }))
  return Effect.fnUntraced(function*(duplex, to) {
    const request = yield* Effect.mapError(
      within(SocksServer.request(duplex, options.credentials), after, () => late),
      (reason) => new TcpError({ reason })
    )
    to(Target.format(request.target))
    const reached = yield* Effect.tapError(
      dialer.dial(request.target, { connectTimeout: options.connectTimeout }),
      ({ reason }) => Effect.sync(() => request.refuse(reason))
    )
    request.grant()
    return reached
  })
}

/**
 * Forwards over a connection whose server `dialer` dials from.
 *
 * @internal
 */
export const make = (
  connection: Connection,
  server: string,
  dialer: Dialer["Service"],
  lost: Effect.Effect<ConnectionLost>
): SshForwards => {
  const far = new Remote.RemoteListener(connection)
  const failed = (reason: SshErrorReason) => new SshError({ server, reason })

  const run = <E>(
    listen: Forwarding.Options<E>["listen"],
    route: Forwarding.Route,
    options: ForwardOptions
  ) =>
    Forwarding.forward({
      server,
      observer: connection.observer,
      listen,
      route,
      lost,
      maxConnections: options.maxConnections ?? 256
    })

  const understood = (target: DialTarget) =>
    Result.match(Target.parse(target), {
      onSuccess: Effect.succeed,
      onFailure: ({ message }) => Effect.fail(failed(new Unknown({ detail: `cannot forward: ${message}` })))
    })

  const here = Effect.fnUntraced(function*(bind: DialTarget, route: Forwarding.Route, options: ForwardOptions) {
    const reason = connection.lost()
    if (reason !== undefined) return yield* failed(reason)
    const listener = yield* Listener
    return yield* run(listener.bind(bind, { mode: options.mode }), route, options)
  })

  const there = Effect.fnUntraced(function*(bind: DialTarget, route: Forwarding.Route, options: ForwardOptions) {
    const address = yield* Effect.mapError(
      parseAddress(bind),
      ({ message }) => failed(new Unknown({ detail: message }))
    )
    return yield* run(Effect.mapError(far.bind(address, defaultPending), failed), route, options)
  })

  const forwardLocal = Effect.fn("SshSession.forwardLocal")(
    function*(bind: DialTarget, target: DialTarget, options: ForwardOptions = {}) {
      return yield* here(bind, toTarget(dialer, yield* understood(target), options), options)
    }
  )
  const forwardRemote = Effect.fn("SshSession.forwardRemote")(
    function*(bind: DialTarget, target: DialTarget, options: ForwardOptions = {}) {
      return yield* there(bind, toTarget(yield* Dialer, yield* understood(target), options), options)
    }
  )
  const forwardDynamic = Effect.fn("SshSession.forwardDynamic")(
    (bind: DialTarget, options: DynamicOptions = {}) => here(bind, bySocks(dialer, options), options)
  )
  const forwardRemoteDynamic = Effect.fn("SshSession.forwardRemoteDynamic")(
    function*(bind: DialTarget, options: DynamicOptions = {}) {
      return yield* there(bind, bySocks(yield* Dialer, options), options)
    }
  )

  const start = (
    settings: ForwardSettings,
    options: DynamicOptions | undefined
  ): Effect.Effect<Forward, TcpError | SshError, Scope.Scope | Listener | Dialer> => {
    switch (settings._tag) {
      case "Local":
        return forwardLocal(settings.bind, settings.target, options)
      case "Remote":
        return forwardRemote(settings.bind, settings.target, options)
      case "Dynamic":
        return forwardDynamic(settings.bind, options)
      default:
        return forwardRemoteDynamic(settings.bind, options)
    }
  }

  return {
    listener: {
      bind: Effect.fn(`Listener.bind ${server}`)(function*(input, options) {
        const address = yield* parseAddress(input)
        return yield* Effect.mapError(
          far.bind(address, options?.pending ?? defaultPending),
          (refusal) => new TcpError({ reason: Remote.tcpReasonOf(refusal, address) })
        )
      })
    },
    forwardLocal,
    forwardRemote,
    forwardDynamic,
    forwardRemoteDynamic,
    forward: (forwards, options) => scopedUnlessFailed(Effect.forEach(forwards, (settings) => start(settings, options)))
  }
}
