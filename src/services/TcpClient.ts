/**
 * Opens TCP connections: over whatever path its Dialer takes.
 *
 * **Details**
 *
 * - `connect` gives a `Connection` for as long as the scope lives; `request` opens one, asks, reads the answer and closes.
 * - TLS and proxies are layers under the client. For one call that needs another path, `tls` and `proxy` wrap the layer's
 *   Dialer: first the proxy, then TLS to the target inside it.
 *
 * **Example** (Asking a line-based server through a proxy)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Dialer, Proxy, TcpClient } from "hawser"
 *
 * const Live = TcpClient.layer.pipe(
 *   Layer.provide(Proxy.layer("socks5://127.0.0.1:1080")),
 *   Layer.provide(Dialer.layer)
 * )
 *
 * const program = TcpClient.TcpClient.use((tcp) => tcp.requestString("db.internal:5000", "STATUS\n")).pipe(
 *   Effect.provide(Live)
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { cast } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { Duplex } from "node:stream"
import type { DialError, DialErrorReason } from "../errors/DialError.ts"
import { type Encoding, ReadTimeout, TcpError } from "../errors/TcpError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import { decode, encode } from "../internal/bytes/text.ts"
import * as FakeDial from "../internal/fakes/dial.ts"
import { within } from "../internal/net/deadline.ts"
import * as Hop from "../internal/net/hop.ts"
import type { DialTarget } from "../internal/net/target.ts"
import * as Target from "../internal/net/target.ts"
import * as Observe from "../internal/observe.ts"
import { proxyHop } from "../internal/proxy/hop.ts"
import type { ProxyInput } from "../internal/proxy/settings.ts"
import * as EffectSocket from "../internal/socket.ts"
import { tlsHop } from "../internal/tls/handshake.ts"
import { resolve, type ResolvedTls, type TlsOptions } from "../internal/tls/options.ts"
import * as Connection from "./Connection.ts"
import * as Dialer from "./Dialer.ts"

/**
 * How to connect.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectOptions {
  /** How long the whole path may take. Default: that of the Dialer, 10 seconds for `Dialer.layer`. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * TLS to the target, in addition to what the layer's Dialer does. `true` is TLS with the defaults. Default none. What the
   * options name is read when they are used first: connections with the same object resume each other's sessions.
   */
  readonly tls?: TlsOptions | true | undefined
  /** A proxy to go through, in addition to what the layer's Dialer does. Default none. */
  readonly proxy?: ProxyInput | undefined
}

/**
 * How to make a request.
 *
 * @category models
 * @since 0.1.0
 */
export interface RequestOptions extends ConnectOptions {
  /** What the answer ends with; it is part of what is given. Text is in the request's encoding. Default `"\n"`. */
  readonly marker?: string | Uint8Array | undefined
  /** How long the peer may take for the request, and then again for the answer. Default 30 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** The longest answer in bytes; longer ones fail with `FrameTooLarge`. Default 1 MiB. */
  readonly maxSize?: number | undefined
}

/**
 * The service.
 *
 * **Details**
 *
 * - `connect` opens a connection. Errors: `DialError`; `TlsConfigError` for `tls` options that cannot be used.
 * - `request` connects, writes `data` (text in UTF-8), reads until `marker` or the end of the stream, and closes. Also
 *   fails with `TcpError`: `WriteTimeout`, `ReadTimeout`, `FrameTooLarge`, `EndOfStream` (no answer at all), `Reset`.
 * - `requestString` is the same as text. Default encoding UTF-8, for both directions; also fails with `Encoding`.
 *
 * @category services
 * @since 0.1.0
 */
export class TcpClient extends Context.Service<TcpClient, {
  readonly connect: (
    target: DialTarget,
    options?: ConnectOptions
  ) => Effect.Effect<Connection.Connection, DialError | TlsConfigError, Scope.Scope>
  readonly request: (
    target: DialTarget,
    data: Uint8Array | string,
    options?: RequestOptions
  ) => Effect.Effect<Uint8Array, DialError | TcpError | TlsConfigError>
  readonly requestString: (
    target: DialTarget,
    data: string,
    options?: RequestOptions & { readonly encoding?: string | undefined }
  ) => Effect.Effect<string, DialError | TcpError | TlsConfigError>
}>()("hawser/TcpClient") {}

const readAnswer = Effect.fnUntraced(function*(connection: Connection.Connection, options: RequestOptions) {
  return yield* connection.readUntil(options.marker ?? "\n", { maxSize: options.maxSize, includeMarker: true }).pipe(
    // a peer that ends instead has said all it wants to say
    Effect.catchReason(
      "TcpError",
      "EndOfStream",
      (reason) => reason.received === 0 ? Effect.fail(new TcpError({ reason })) : connection.takeBuffered
    )
  )
})

const bytesOf = (data: Uint8Array | string): Uint8Array => typeof data === "string" ? Buffer.from(data) : data

const tlsDefaults: TlsOptions = {}

type Connect = TcpClient["Service"]["connect"]

/** Connects over a Dialer. */
const connectOver = (base: Dialer.Dialer["Service"]): Connect => {
  /** With what was read for them goes what was agreed on in earlier handshakes: the next one resumes a session. */
  const known = new WeakMap<TlsOptions, ResolvedTls>()

  const resolved = Effect.fnUntraced(function*(options: TlsOptions) {
    const before = known.get(options)
    if (before !== undefined) return before
    const made = yield* resolve(options)
    known.set(options, made)
    return made
  })

  const pathOf = Effect.fnUntraced(function*(options: ConnectOptions) {
    const proxied = options.proxy === undefined ? base : Dialer.through(base, proxyHop(options.proxy))
    return options.tls === undefined
      ? proxied
      : Dialer.through(proxied, tlsHop(yield* resolved(options.tls === true ? tlsDefaults : options.tls)))
  })

  return (target, options = {}) => {
    const dial = options.tls === undefined && options.proxy === undefined
      ? base.dial(target, options)
      : Effect.flatMap(pathOf(options), (path) => path.dial(target, options))
    return Effect.flatMap(dial, (duplex) => Connection.fromDuplex(duplex, { target })).pipe(
      Observe.traced("TcpClient.connect")
    )
  }
}

type Request = TcpClient["Service"]["request"]

/** Asks on a connection of its own. */
const requestOn = (connect: Connect): Request =>
  Effect.fn("TcpClient.request")(
    function*(target, data, options = {}) {
      const connection = yield* connect(target, options)
      const after = Duration.fromInputUnsafe(options.timeout ?? "30 seconds")
      yield* connection.write(data, { timeout: after })
      return yield* within(readAnswer(connection, options), after, () =>
        Effect.flatMap(
          connection.takeBuffered,
          (late) => Effect.fail(new TcpError({ reason: new ReadTimeout({ after, received: late.length }) }))
        ))
    },
    Effect.scoped
  )

/** All that a client can do, by what connects. */
const make = (connect: Connect, request: Request = requestOn(connect)): TcpClient["Service"] =>
  TcpClient.of({
    connect,
    request,
    requestString: Effect.fn("TcpClient.requestString")(function*(target, data, options = {}) {
      const encoding = options.encoding ?? "utf-8"
      const question = yield* orEncodingError(encode(data, encoding))
      const { marker = "\n" } = options
      const end = typeof marker === "string" ? yield* orEncodingError(encode(marker, encoding)) : marker
      return yield* orEncodingError(decode(yield* request(target, question, { ...options, marker: end }), encoding))
    })
  })

const orEncodingError = <A>(result: Result.Result<A, Encoding>): Effect.Effect<A, TcpError> =>
  Effect.mapError(Effect.fromResult(result), (reason) => new TcpError({ reason }))

/**
 * The client over the Dialer below.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<TcpClient, never, Dialer.Dialer> = Layer.fresh(
  Layer.effect(TcpClient, Effect.map(Dialer.Dialer, (dialer) => make(connectOver(dialer))))
)

/**
 * What a test has on the other side of its connections: it reads what the client writes and writes what the client reads.
 * When it is done, its side is closed. A `TcpError` ends it too, as when the client goes away.
 *
 * @category testing
 * @since 0.1.0
 */
export type TestServer<R = never> = (connection: Connection.Connection) => Effect.Effect<unknown, TcpError, R>

/**
 * Who answers in a test, and how.
 *
 * @category testing
 * @since 0.1.0
 */
export interface TestHandlers<R = never> {
  /** Who answers at which target: `{ "db.internal:5432": (connection) => ... }`. Default: nobody. */
  readonly servers?: Readonly<Record<string, TestServer<R>>> | undefined
  /**
   * Says who answers at any other target (`"db.internal:5432"`), or why nobody can be reached. It has as long as the
   * caller's `connectTimeout`, 10 seconds by default. Default: `NameNotFound`, and `Refused` for an address and for another
   * port of a server.
   */
  readonly connect?:
    | ((target: string, options: ConnectOptions) => Effect.Effect<TestServer<R>, DialErrorReason, R>)
    | undefined
  /**
   * Answers `request` and `requestString` without a connection: what it gives is the whole answer. Default: they connect,
   * write and read.
   */
  readonly request?:
    | ((
      target: string,
      data: Uint8Array,
      options: RequestOptions
    ) => Effect.Effect<Uint8Array | string, DialError | TcpError, R>)
    | undefined
}

/** What handlers need. */
type TestServices<H> = H extends TestHandlers<infer R> ? unknown extends R ? never : Exclude<R, Scope.Scope> : never

/**
 * A client for unit tests: handlers answer, and nothing is sent anywhere.
 *
 * **Details**
 *
 * - A handler has the server's side of a connection: whatever `Connection` can do works on both sides, with half-close and
 *   backpressure. It runs until it is done, or until the layer goes.
 * - `tls` and `proxy` of a call are not looked at: there is no way on which they could be. Handlers of `connect` see them.
 * - Time is that of Effect's clock, so timeouts are tested with `TestClock`.
 * - A handler that dies breaks its connection: reads on the client's side fail with `Unknown`, which says why.
 *
 * To see how a program stands a bad network use `TestNetwork` of `hawser/testing`.
 *
 * **Example** (A server that answers lines)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { DialError, TcpClient } from "hawser"
 *
 * const Test = TcpClient.layerTest({
 *   servers: {
 *     "status.internal:5000": (connection) =>
 *       Effect.flatMap(connection.readLine(), (question) => connection.write(`${question}: fine\n`))
 *   },
 *   connect: (target) => Effect.fail(new DialError.Refused({ address: target }))
 * })
 *
 * const program = TcpClient.TcpClient.use((tcp) => tcp.requestString("status.internal:5000", "STATUS\n")).pipe(
 *   Effect.provide(Test)
 * )
 * ```
 *
 * @category testing
 * @since 0.1.0
 */
export const layerTest = <const H extends TestHandlers<unknown>>(
  handlers: H
): Layer.Layer<TcpClient, never, TestServices<H>> =>
  Layer.fresh(Layer.effect(
    TcpClient,
    Effect.gen(function*() {
      const { connect: connecting, request, servers = {} }: TestHandlers = cast(handlers)
      const scope = yield* Effect.scope
      const context = Context.omit(Scope.Scope)(yield* Effect.context())
      const known = new Map(Object.entries(servers).map(([target, server]) => [FakeDial.keyOf(target), server]))

      const serverAt = (target: Target.Target, options: ConnectOptions) => {
        const name = Target.format(target)
        const server = known.get(name)
        return server === undefined
          ? connecting?.(name, options) ?? Effect.fail(FakeDial.nobodyAt(target, [...known.keys()]))
          : Effect.succeed(server)
      }
      const connect: Connect = (target, options = {}) =>
        FakeDial.dial((target) =>
          Effect.map(serverAt(target, options), (server) => (duplex: Duplex) => serve(duplex, server)).pipe(
            Effect.provideContext(context)
          ), scope)(target, options).pipe(
            Effect.flatMap((duplex) =>
              Connection.fromDuplex(duplex, { target })
            ),
            Observe.traced("TcpClient.connect")
          )
      const serve = (duplex: Duplex, server: TestServer) =>
        Effect.flatMap(Connection.fromDuplex(duplex, { role: "accepted" }), server).pipe(
          Effect.catchTag("TcpError", () => Effect.void),
          Effect.provideContext(context)
        )
      const answer = (asked: NonNullable<TestHandlers["request"]>): Request => (target, data, options = {}) =>
        Hop.parseTarget(target, "direct").pipe(
          Effect.flatMap((target) => asked(Target.format(target), bytesOf(data), options)),
          Effect.map(bytesOf),
          Effect.provideContext(context)
        )
      return make(connect, request === undefined ? undefined : answer(request))
    })
  ))

const openError = (cause: DialError | TlsConfigError) =>
  new Socket.SocketError({
    reason: new Socket.SocketOpenError({
      kind: cause._tag === "DialError" && cause.reason._tag === "ConnectTimeout" ? "Timeout" : "Unknown",
      cause
    })
  })

/**
 * A socket of Effect's own (`effect/socket`) to a target, for programs that are written for those, such as the clients of
 * Effect's RPC. As its interface demands it connects when its reader is acquired, each time anew, and a write waits until
 * it is open. An end is a `SocketCloseError` with code 1000; other errors have Hawser's as their `cause`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeSocket = (
  target: DialTarget,
  options?: ConnectOptions
): Effect.Effect<Socket.Socket, never, TcpClient> =>
  Effect.map(TcpClient, (tcp) => EffectSocket.make(Effect.mapError(tcp.connect(target, options), openError)))

/**
 * The same as a layer: whatever needs a `Socket` of Effect's runs over the path of the client's Dialer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSocket = (
  target: DialTarget,
  options?: ConnectOptions
): Layer.Layer<Socket.Socket, never, TcpClient> => Layer.fresh(Layer.effect(Socket.Socket, makeSocket(target, options)))
