/**
 * Serves TCP connections, each in a scope and a fiber of its own.
 *
 * The server takes its network from the `Listener` below: the operating system's or the test network's.
 *
 * **Details**
 *
 * - `serve` runs the handler for each connection and closes the connection when the handler is done. A handler that fails
 *   or dies is logged and does not disturb the others.
 * - At most `maxConnections` are served at once. With `overflow: "wait"` further ones wait, unread, until one is done;
 *   with `"reject"` they are closed at once.
 * - Interrupting `serve` drains: the server stops listening, handlers get `drainTimeout` to finish, then they are
 *   interrupted and their connections closed.
 * - With `tls`, the handshake is done in the connection's own fiber and must be complete within 10 seconds; a client that
 *   is slow or speaks no TLS costs one connection, not the server.
 *
 * **Gotchas**
 *
 * A server listens from when its layer is built, so that `address` is known before `serve` runs, and no longer than the
 * first `serve` or `accept` does: a server serves once.
 *
 * **Example** (An echo server)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { Listener, TcpServer } from "hawser"
 *
 * const echo = TcpServer.TcpServer.use((server) =>
 *   server.serve((connection) => Stream.run(connection.reads, connection.writes))
 * )
 *
 * const Live = TcpServer.layer({ port: 7000, maxConnections: 500 }).pipe(Layer.provide(Listener.layer))
 *
 * const program = echo.pipe(Effect.provide(Live))
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import { TcpError } from "../errors/TcpError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import { closed } from "../internal/net/duplex.ts"
import type { DialTarget } from "../internal/net/target.ts"
import { server as tlsServer } from "../internal/tls/handshake.ts"
import { type ResolvedTls, resolveServer, type TlsOptions } from "../internal/tls/options.ts"
import * as Connection from "./Connection.ts"
import * as Listener from "./Listener.ts"

/**
 * How to serve.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The port to listen on. Default 0: the system chooses one, see `address`. */
  readonly port?: number | undefined
  /** The name or address to listen on. Default `"127.0.0.1"`: only this machine. `"0.0.0.0"` or `"::"` is everywhere. */
  readonly host?: string | undefined
  /** A unix socket to listen on, instead of host and port. */
  readonly path?: string | undefined
  /** How many connections are served at once. Default 100. */
  readonly maxConnections?: number | undefined
  /** What happens to further ones: they wait for their turn, or are closed. Default `"wait"`. */
  readonly overflow?: "wait" | "reject" | undefined
  /** TLS on every connection: `cert` and `key` are required. Default none. */
  readonly tls?: TlsOptions | undefined
  /** How long handlers may go on after `serve` was interrupted. Default 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * The service.
 *
 * **Details**
 *
 * - `address` is where it listens, with the real port.
 * - `serve` never ends by itself. Errors: `TcpError`, reason `Closed`, when the listener is gone. Errors of the handler
 *   are not errors of `serve`.
 * - `accept` gives the connections as a stream, for programs that want to run them on their own; each lives until it is
 *   closed or the stream ends, and counts towards `maxConnections` until then.
 *
 * @category services
 * @since 0.1.0
 */
export class TcpServer extends Context.Service<TcpServer, {
  readonly address: SocketAddress
  readonly serve: <E, R>(
    handler: (connection: Connection.Connection) => Effect.Effect<void, E, R>
  ) => Effect.Effect<never, TcpError, Exclude<R, Scope.Scope>>
  readonly accept: Stream.Stream<Connection.Connection, TcpError>
}>()("hawser/TcpServer") {}

/** How long a client may take for its TLS handshake. */
const handshakeTimeout = "10 seconds"

const encrypt = (
  duplex: Duplex,
  tls: ResolvedTls
): Effect.Effect<Option.Option<Duplex>, never, Scope.Scope> =>
  tlsServer(duplex, tls).pipe(
    Effect.timeout(handshakeTimeout),
    Effect.tapError((error) => Effect.logDebug("the TLS handshake with a client failed", error)),
    Effect.option
  )

/** A handler that lost its peer is the network's everyday life; any other failure is the program's. */
const logFailure = (cause: Cause.Cause<unknown>) =>
  Cause.hasInterruptsOnly(cause)
    ? Effect.void
    : Option.getOrUndefined(Cause.findErrorOption(cause)) instanceof TcpError
    ? Effect.logDebug("a connection ended early", cause)
    : Effect.logWarning("a connection's handler failed", cause)

const make = Effect.fnUntraced(function*(options: Options) {
  const tls = options.tls === undefined ? undefined : yield* resolveServer(options.tls)
  const listener = yield* Listener.Listener
  const drainTimeout = options.drainTimeout ?? "10 seconds"
  const address: DialTarget = options.path === undefined
    ? { host: options.host ?? "127.0.0.1", port: options.port ?? 0 }
    : { path: options.path }
  // a scope of its own, so that draining can stop listening before the layer goes
  const listening = yield* Scope.fork(yield* Effect.scope)
  const bound = yield* Scope.provide(listener.bind(address), listening)
  const stopListening = Scope.close(listening, Exit.void)
  const places = yield* Semaphore.make(options.maxConnections ?? 100)
  const reject = options.overflow === "reject"
  const next = reject ? bound.accept : Effect.andThen(places.takeScoped(1), bound.accept)

  /** Accepts one connection in a scope of its own under `parent`, which also holds its place, and leaves both to `run`. */
  const acceptOne = <A, R>(
    parent: Scope.Scope,
    run: (duplex: Duplex, scope: Scope.Closeable) => Effect.Effect<A, never, R>
  ) =>
    Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
      const scope = yield* Scope.fork(parent)
      const duplex = yield* restore(Scope.provide(next, scope)).pipe(
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
      if (reject) {
        if (!(yield* places.takeIfAvailable(1))) return yield* Scope.close(scope, Exit.void)
        yield* Scope.addFinalizer(scope, places.release(1))
      }
      return yield* run(duplex, scope)
    }))

  /** The connection and the stream that carries it, or none when the client did not get through the TLS handshake. */
  const open = Effect.fnUntraced(function*(duplex: Duplex) {
    const stream = tls === undefined ? Option.some(duplex) : yield* encrypt(duplex, tls)
    if (Option.isNone(stream)) return undefined
    return { connection: yield* Connection.fromDuplex(stream.value, { role: "accepted" }), stream: stream.value }
  })

  const serve: TcpServer["Service"]["serve"] = Effect.fn("TcpServer.serve")(function*(handler) {
    // finalizers run last first: stop listening, let handlers finish, interrupt those that did not, close what is left
    const connections = yield* Scope.fork(yield* Effect.scope)
    const handlers = yield* FiberSet.make<void>()
    yield* Effect.addFinalizer(() =>
      Effect.andThen(stopListening, Effect.timeoutOption(FiberSet.awaitEmpty(handlers), drainTimeout))
    )
    return yield* Effect.forever(
      acceptOne(connections, (duplex, scope) =>
        FiberSet.run(
          handlers,
          open(duplex).pipe(
            Effect.flatMap((opened) => opened === undefined ? Effect.void : handler(opened.connection)),
            Effect.catchCause(logFailure),
            Scope.provide(scope),
            Effect.onExit((exit) => Scope.close(scope, exit))
          ),
          { startImmediately: true }
        ))
    )
  }, Effect.scoped)

  /** A connection whose scope closes when the connection does. */
  const adopt = Effect.fnUntraced(function*({ duplex, scope }: { duplex: Duplex; scope: Scope.Closeable }) {
    const opened = yield* Scope.provide(open(duplex), scope)
    // it ends by itself: closing the scope, from wherever, closes the stream
    const over = opened === undefined ? Effect.void : closed(opened.stream)
    yield* Effect.forkDetach(Effect.andThen(over, Scope.close(scope, Exit.void)))
    return Option.fromUndefinedOr(opened?.connection)
  })

  const accept: TcpServer["Service"]["accept"] = Stream.unwrap(Effect.gen(function*() {
    const parent = yield* Effect.scope
    yield* Effect.addFinalizer(() => stopListening)
    return Stream.fromEffectRepeat(
      acceptOne(parent, (duplex, scope) => Effect.succeed({ duplex, scope }))
    ).pipe(
      // unordered, so that nobody waits for another client's handshake
      Stream.mapEffect((accepted) => accepted === undefined ? Effect.succeedNone : adopt(accepted), {
        concurrency: "unbounded",
        unordered: true
      }),
      Stream.filterMap(Result.fromOption(() => undefined))
    )
  }))

  return TcpServer.of({ address: bound.address, serve, accept })
})

/**
 * A server. Listens when the layer is built and stops when it goes. Errors: `TcpError` (`AddressInUse`,
 * `PermissionDenied`), `TlsConfigError`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<TcpServer, TcpError | TlsConfigError, Listener.Listener> =>
  Layer.fresh(Layer.effect(TcpServer, make(options)))
