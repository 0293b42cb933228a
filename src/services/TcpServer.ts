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
 * - With `tls` or `proxyProtocol`, the handshake is done in the connection's own fiber. A client in its handshake counts
 *   as a connection, so that what clients cost is bounded; one that has not finished within `handshakeTimeout` is closed,
 *   however slowly it goes on, so that silent clients hold no place for longer.
 * - With `idleTimeout`, a connection on which no byte comes or goes for so long is closed, at most a tenth of that later.
 *   Its handler is interrupted.
 * - The log gets `rejected`, `handshake failed` and `idle` beside what each connection reports. Each connection has a span
 *   `TcpServer.connection` of its own, and the metrics `hawser_server_rejected_total`,
 *   `hawser_server_handshakes_failed_total` and `hawser_server_idle_total` count.
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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { formatSocketAddress, type SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import { TcpError } from "../errors/TcpError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import { addressOf, closed } from "../internal/net/duplex.ts"
import type { DialTarget } from "../internal/net/target.ts"
import { traced } from "../internal/observe.ts"
import type { ProxyProtocolOptions } from "../internal/proxy/proxyProtocol.ts"
import * as Cluster from "../internal/server/cluster.ts"
import { IdleSweep, progressOf } from "../internal/server/idle.ts"
import { type Opening, opening } from "../internal/server/opening.ts"
import { reporter } from "../internal/server/report.ts"
import * as Serving from "../internal/server/serving.ts"
import type { TlsOptions } from "../internal/tls/options.ts"
import * as Connection from "./Connection.ts"
import type { Framing } from "./Framing.ts"
import * as Listener from "./Listener.ts"
import * as Mailbox from "./Mailbox.ts"

export type {
  /**
   * Whose PROXY headers a server believes.
   *
   * @category models
   * @since 0.1.0
   */
  ProxyProtocolOptions
}

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
  /** A unix socket to listen on, instead of host and port. Its file is removed at the end. */
  readonly path?: string | undefined
  /** The permissions of a unix socket's file, such as `0o660`. Default: what the process's umask leaves. */
  readonly mode?: number | undefined
  /** How many connections are served at once, those in their handshake among them. Default 100. */
  readonly maxConnections?: number | undefined
  /** What happens to further ones: they wait for their turn, or are closed. Default `"wait"`. */
  readonly overflow?: "wait" | "reject" | undefined
  /** How long no byte may come or go before the handler is interrupted and the connection closed. Default: for ever. */
  readonly idleTimeout?: Duration.Input | undefined
  /** TLS on every connection: `cert` and `key` are required. Default none. */
  readonly tls?: TlsOptions | undefined
  /** Whose PROXY headers are believed; they come before TLS. Default: nobody's, and none is looked for. */
  readonly proxyProtocol?: ProxyProtocolOptions | undefined
  /** How long a client may take for its PROXY header and its TLS handshake together. Default 10 seconds. */
  readonly handshakeTimeout?: Duration.Input | undefined
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
 * - `mailbox` gives all of them as one mailbox of bytes, `mailboxOf` as one of frames; see `Mailbox`. It serves, and its
 *   connections live, until its scope ends.
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
  readonly mailbox: Effect.Effect<Mailbox.ByteMailbox, never, Scope.Scope>
  readonly mailboxOf: <A>(framing: Framing<A>) => Effect.Effect<Mailbox.Mailbox<A>, never, Scope.Scope>
}>()("hawser/TcpServer") {}

/** A handler that lost its peer is the network's everyday life; any other failure is the program's. */
const logFailure = (cause: Cause.Cause<unknown>) =>
  Cause.hasInterruptsOnly(cause)
    ? Effect.void
    : Option.getOrUndefined(Cause.findErrorOption(cause)) instanceof TcpError
    ? Effect.logDebug("a connection ended early", cause)
    : Effect.logWarning("a connection's handler failed", cause)

/** What runs for each connection. It also gets the stream that carries it. */
type Handler<E, R> = (connection: Connection.Connection, stream: Duplex) => Effect.Effect<void, E, R>

const accepted = { role: "accepted" } as const

/** A server of the connections that something gives. */
const make = Effect.fnUntraced(function*(
  bound: Listener.Bound,
  stopListening: Effect.Effect<void>,
  options: Options,
  stopRequested?: Effect.Effect<void>
) {
  const open = yield* opening({
    proxyProtocol: options.proxyProtocol,
    tls: options.tls,
    timeout: Duration.fromInputUnsafe(options.handshakeTimeout ?? "10 seconds")
  })
  const source: Serving.Source = {
    bound,
    stopListening,
    maxConnections: options.maxConnections ?? 100,
    reject: options.overflow === "reject",
    served: 0
  }
  const name = formatSocketAddress(bound.address)

  const run = <E, R>(
    handler: Handler<E, R>,
    drainTimeout: Duration.Input
  ): Effect.Effect<never, TcpError, Exclude<R, Scope.Scope>> =>
    Effect.contextWith((context: Context.Context<never>) => {
      const report = reporter(name, context)
      const sweep = options.idleTimeout === undefined ? undefined : new IdleSweep(options.idleTimeout)

      const handle = (connection: Connection.Connection, stream: Duplex) => {
        const handled = traced("TcpServer.connection", () => ({
          "hawser.connection": connection.id,
          "server.address": name,
          ...Option.match(connection.remoteAddress, {
            onNone: () => ({}),
            onSome: (address) => ({ "client.address": formatSocketAddress(address) })
          })
        }), "server")(handler(connection, stream))
        return sweep === undefined
          ? handled
          : sweep.watch(handled, progressOf(connection.stats, stream), () => report.idle(connection.remoteAddress))
      }

      /** A connection whose client has to get through a handshake first. */
      const opened = (duplex: Duplex, open: Opening) => {
        // a socket that is closed has forgotten
        const client = addressOf(duplex, "remote")
        return Effect.matchEffect(open(duplex), {
          onFailure: (error) =>
            Effect.andThen(
              Effect.sync(() => report.handshakeFailed(client, error)),
              Effect.logDebug("the handshake with a client failed", error)
            ),
          onSuccess: ({ localAddress, remoteAddress, stream }) =>
            Effect.flatMap(
              Connection.fromDuplex(stream, { role: "accepted", localAddress, remoteAddress }),
              (connection) => handle(connection, stream)
            )
        })
      }

      const serving = Serving.serve(source, {
        run: (duplex) =>
          open === undefined
            ? Effect.flatMap(
              Connection.fromDuplex(duplex, accepted),
              (connection) => handle(connection, duplex)
            )
            : opened(duplex, open),
        failed: logFailure,
        rejected: (duplex) => report.rejected(addressOf(duplex, "remote")),
        drainTimeout
      })
      const swept = sweep === undefined ? serving : Effect.raceFirst(serving, sweep.run)
      return stopRequested === undefined
        ? swept
        : Effect.raceFirst(swept, Effect.andThen(stopRequested, Effect.interrupt))
    })

  const serve: TcpServer["Service"]["serve"] = Effect.fn("TcpServer.serve")((handler) =>
    run(handler, options.drainTimeout ?? "10 seconds")
  )

  const accept: TcpServer["Service"]["accept"] = Stream.unwrap(Effect.gen(function*() {
    const connections = yield* Queue.unbounded<Connection.Connection, TcpError>()
    const serving = run(
      (connection, stream) => Effect.andThen(Queue.offer(connections, connection), closed(stream)),
      0
    )
    yield* Effect.forkScoped(
      Effect.onError(serving, (cause) => Queue.failCause(connections, cause)),
      { startImmediately: true }
    )
    return Stream.fromQueue(connections)
  }))

  const unattended = (handler: Handler<TcpError, Scope.Scope>) => run(handler, 0)
  return TcpServer.of({
    address: bound.address,
    serve,
    accept,
    mailbox: Mailbox.bytes(unattended),
    mailboxOf: (framing) => Mailbox.frames(unattended, framing)
  })
})

/** A server of an address. */
const listen = Effect.fnUntraced(function*(options: Options, stopRequested?: Effect.Effect<void>) {
  const listener = yield* Listener.Listener
  const address: DialTarget = options.path === undefined
    ? { host: options.host ?? "127.0.0.1", port: options.port ?? 0 }
    : { path: options.path }
  // a scope of its own, so that draining can stop listening before the layer goes
  const listening = yield* Scope.fork(yield* Effect.scope)
  const bound = yield* Scope.provide(listener.bind(address, { mode: options.mode }), listening)
  return yield* make(bound, Scope.close(listening, Exit.void), options, stopRequested)
})

/**
 * A server. Listens when the layer is built and stops when it goes. Errors: `TcpError` (`AddressInUse`,
 * `PermissionDenied`, `Unknown` for options that make no sense), `TlsConfigError`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<TcpServer, TcpError | TlsConfigError, Listener.Listener> =>
  Layer.fresh(Layer.effect(TcpServer, listen(options)))

/**
 * How to serve with several processes.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClusterOptions extends Options {
  /** How many processes serve. Default: as many as the machine has processors for this one. */
  readonly workers?: number | undefined
  /**
   * When a worker that has ended is started again. Default: after 100 milliseconds, then after twice as long each time up
   * to 5 seconds, for as long as it takes.
   */
  readonly restart?: Schedule.Schedule<unknown> | undefined
}

/**
 * A server of several processes on one port, with `node:cluster`: for work that one processor does not do fast enough.
 *
 * The program runs in all of them. In the first process, the primary, this layer starts the workers and keeps them
 * alive, and `serve`, `accept` and the mailboxes only wait: no connection ever comes there. In a worker it is the server,
 * and gets its share of the connections in turn.
 *
 * **Details**
 *
 * - `maxConnections` and all other limits are each worker's.
 * - The layer is built in the primary when a worker listens. When none can, it fails as `layer` does, with `Unknown` where
 *   the reason is not about the address. `serve` fails in the primary when `restart` has given a worker up.
 * - When its scope closes in the primary, the workers drain: they stop listening, their `serve` is interrupted, handlers
 *   get `drainTimeout`, and with the end of the program the process ends. One that takes 5 seconds more is killed.
 * - A worker whose primary is gone ends at once.
 *
 * **Gotchas**
 *
 * - Only the system's network has ports that processes can share: provide `Listener.layer`.
 * - What is not for each process, such as a migration at the start, goes where `node:cluster`'s `isPrimary` is true.
 * - `node:cluster` loses a connection that it hands to a worker in the very moment in which that one ends or stops: the
 *   client hears nothing until the primary ends. Clients need timeouts, as ever.
 * - Should all workers of a server with port 0 end at once, those that replace them get another port.
 *
 * **Example** (An echo server on every processor)
 *
 * ```ts
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Effect, Layer, Stream } from "effect"
 * import { Listener, TcpServer } from "hawser"
 *
 * const Live = TcpServer.layerCluster({ port: 7000 }).pipe(Layer.provide(Listener.layer))
 *
 * const program = TcpServer.TcpServer.use((server) =>
 *   server.serve((connection) => Stream.run(connection.reads, connection.writes))
 * )
 *
 * NodeRuntime.runMain(Effect.provide(program, Live))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerCluster = (
  options: ClusterOptions
): Layer.Layer<TcpServer, TcpError | TlsConfigError, Listener.Listener> =>
  Layer.fresh(Layer.effect(TcpServer, Cluster.isWorker ? work(options) : supervise(options)))

const work = Effect.fnUntraced(function*(options: ClusterOptions) {
  yield* Effect.addFinalizer(() => Cluster.leave)
  const drainRequested = yield* Cluster.drainRequests
  return yield* Effect.tapError(listen(options, drainRequested), Cluster.reportFailure)
})

const supervise = Effect.fnUntraced(function*(options: ClusterOptions) {
  const { address, failure } = yield* Cluster.supervise({
    workers: options.workers,
    restart: options.restart,
    drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "10 seconds")
  })
  return TcpServer.of({
    address,
    serve: () => failure,
    accept: Stream.fromEffect(failure),
    mailbox: Mailbox.bytes(() => failure),
    mailboxOf: (framing) => Mailbox.frames(() => failure, framing)
  })
})
