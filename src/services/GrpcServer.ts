/**
 * Serves gRPC: handlers are Effects and Streams, over whatever the `Listener` below listens on.
 *
 * A service is a definition and a handler for each of its methods, `GrpcServer.service`; `GrpcServer.layer` serves any
 * number of them for as long as it lives.
 *
 * **Details**
 *
 * - Each call is handled in a fiber of its own, which is interrupted when nobody waits for the answer any more: the client
 *   cancelled the call or is gone, its deadline has passed, or the server stops and `drainTimeout` is over.
 * - A handler fails with a reason of `GrpcError`, such as `new GrpcError.NotFound({ message })`: that is the status that the
 *   client gets, with message, details and trailers. `onError` says which reason other errors are. All that is left, and
 *   every bug, is `Unknown` without a word of it to the client, and logged.
 * - The deadline of a call holds for the calls that its handler makes, too: they have what is left of it.
 * - A handler that does not pull holds the client back by flow control, and a client that does not read holds back the
 *   handler's stream; what is in between is bounded by `flowControlWindow`.
 * - When its layer ends, a server listens no longer and tells its clients to go elsewhere. Calls under way get
 *   `drainTimeout`; then they end as `Unavailable` and their handlers are interrupted.
 * - Each call has a span named `pkg.Service/Method`, a child of the client's where it sent `traceparent`, and the metrics
 *   `hawser_grpc_server_*` count. The log gets `accepted` and `closed` for each connection and `completed` or `failed` for
 *   each call.
 *
 * **Gotchas**
 *
 * - A `GrpcError` that a handler got from another server is not passed on: what went wrong there is `Unknown` to the client
 *   of this one, who may not even know that there is another. To pass it on on purpose, fail with its reason:
 *   `Effect.unwrapReason("GrpcError")`.
 * - When a request stream cannot be read further (a message that is too large or no message), the call ends with that
 *   status and the handler is interrupted: request streams have no errors.
 *
 * **Example** (Serving a definition that is read at run time)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { GrpcError, GrpcSchema, GrpcServer, Listener } from "hawser"
 *
 * const orders = GrpcServer.service(GrpcSchema.fromFile("protos/orders.proto"), "acme.Orders", {
 *   Get: GrpcServer.unary((request) =>
 *     request["id"] === 42n
 *       ? Effect.succeed({ id: 42n, customer: "ann" })
 *       : Effect.fail(new GrpcError.NotFound({ message: "no such order" }))
 *   ),
 *   Watch: GrpcServer.serverStream(() => Stream.make({ id: 1n }, { id: 2n }))
 * })
 *
 * const Live = GrpcServer.layer({ services: [orders], port: 50051 }).pipe(Layer.provide(Listener.layer))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { cast } from "effect/Function"
import * as Layer from "effect/Layer"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type * as Types from "effect/Types"
import type { GrpcErrorReason } from "../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../errors/GrpcSchemaError.ts"
import { TcpError, Unknown } from "../errors/TcpError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import type { MethodKind } from "../internal/grpc/definition.ts"
import type { Values } from "../internal/grpc/proto/describe.ts"
import type { GrpcSchema } from "../internal/grpc/proto/schema.ts"
import type {
  BidiHandler,
  ClientStreamHandler,
  HandlerOf,
  KindHandler,
  ServerStreamHandler,
  UnaryHandler
} from "../internal/grpc/server/handler.ts"
import { type Implemented, implementNamed, implementTyped } from "../internal/grpc/server/implement.ts"
import { Reporter } from "../internal/grpc/server/observe.ts"
import { offer } from "../internal/grpc/server/offer.ts"
import { serve } from "../internal/grpc/server/serve.ts"
import type { SessionSettings } from "../internal/grpc/server/session.ts"
import type { ErrorOf, Handlers, Known, NamedHandlers, ServicesOf } from "../internal/grpc/server/typedHandlers.ts"
import type { TypedService } from "../internal/grpc/typed/definitions.ts"
import type { SchemaService } from "../internal/grpc/typed/effectSchema.ts"
import type { Compression } from "../internal/grpc/wire/compression.ts"
import type { DialTarget } from "../internal/net/target.ts"
import type { ProxyProtocolOptions } from "../internal/proxy/proxyProtocol.ts"
import { opening } from "../internal/server/opening.ts"
import type { TlsOptions } from "../internal/tls/options.ts"
import * as Listener from "./Listener.ts"

export type {
  /**
   * Handles a call in which both sides send streams.
   *
   * @category models
   * @since 0.1.0
   */
  BidiHandler,
  /**
   * Handles a call in which the client sends a stream and gets one message.
   *
   * @category models
   * @since 0.1.0
   */
  ClientStreamHandler,
  /**
   * A handler that knows the kind of its method: what `unary` and the others make.
   *
   * @category models
   * @since 0.1.0
   */
  KindHandler,
  /**
   * What a handler knows of its call, and can say beside the response.
   *
   * @category models
   * @since 0.1.0
   */
  ServerCall,
  /**
   * Handles a call in which the client sends one message and gets a stream.
   *
   * @category models
   * @since 0.1.0
   */
  ServerStreamHandler,
  /**
   * Handles a call in which the client sends one message and gets one.
   *
   * @category models
   * @since 0.1.0
   */
  UnaryHandler
} from "../internal/grpc/server/handler.ts"

export type {
  /**
   * What handlers fail with, beside reasons of `GrpcError`.
   *
   * @category models
   * @since 0.1.0
   */
  ErrorOf,
  /**
   * A handler for each method of a service that has types: the requests are what the service's decoders give, and the
   * responses what its encoders take.
   *
   * @category models
   * @since 0.1.0
   */
  Handlers,
  /**
   * Handlers by the names of their methods, for a service that only a definition read at run time knows.
   *
   * @category models
   * @since 0.1.0
   */
  NamedHandlers,
  /**
   * What handlers need. Each call has a scope of its own.
   *
   * @category models
   * @since 0.1.0
   */
  ServicesOf
} from "../internal/grpc/server/typedHandlers.ts"

const TypeId = "~hawser/GrpcServer/Service"

/**
 * A service with its handlers, for `layer`. `E` is what handlers fail with that is no reason of `GrpcError`; `R` is what
 * they need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Service<out E = never, out R = never> {
  readonly [TypeId]: { readonly _E: Types.Covariant<E>; readonly _R: Types.Covariant<R> }
  /** @internal */
  readonly implemented: Effect.Effect<Implemented, GrpcSchemaError>
}

/**
 * A schema, or what reads one.
 *
 * @category models
 * @since 0.1.0
 */
export type SchemaInput = GrpcSchema | Effect.Effect<GrpcSchema, GrpcSchemaError>

const kindHandler = <Kind extends MethodKind, E, R>(
  kind: Kind,
  handler: HandlerOf<never, unknown, E, R>[Kind]
): KindHandler<Kind, E, R> => ({ kind, handler })

/**
 * The handler of a unary method of a service that only a definition read at run time knows. Messages are plain objects,
 * see `GrpcSchema`.
 *
 * @category handlers
 * @since 0.1.0
 */
export const unary = <E, R>(handler: UnaryHandler<Values, object, E, R>): KindHandler<"unary", E, R> =>
  kindHandler("unary", handler)

/**
 * The same for a method that answers with a stream.
 *
 * @category handlers
 * @since 0.1.0
 */
export const serverStream = <E, R>(
  handler: ServerStreamHandler<Values, object, E, R>
): KindHandler<"serverStream", E, R> => kindHandler("serverStream", handler)

/**
 * The same for a method that takes a stream.
 *
 * @category handlers
 * @since 0.1.0
 */
export const clientStream = <E, R>(
  handler: ClientStreamHandler<Values, object, E, R>
): KindHandler<"clientStream", E, R> => kindHandler("clientStream", handler)

/**
 * The same for a method that takes a stream and answers with one.
 *
 * @category handlers
 * @since 0.1.0
 */
export const bidi = <E, R>(handler: BidiHandler<Values, object, E, R>): KindHandler<"bidi", E, R> =>
  kindHandler("bidi", handler)

const isSchema = (input: TypedService | SchemaInput): input is SchemaInput =>
  Effect.isEffect(input) || "method" in input && typeof input.method === "function"

const serviceOf = (
  partial: boolean,
  first: TypedService | SchemaInput,
  rest: ReadonlyArray<unknown>
): Service => {
  const implemented = Effect.gen(function*() {
    if (!isSchema(first)) return yield* implementTyped(first, undefined, cast(rest[0]), partial)
    const schema = Effect.isEffect(first) ? yield* first : first
    const service = cast<unknown, string | SchemaService>(rest[0])
    return typeof service === "string"
      ? yield* implementNamed(schema, service, cast(rest[1]), partial)
      : yield* implementTyped(service, schema, cast(rest[1]), partial)
  })
  return { [TypeId]: cast(undefined), implemented }
}

/**
 * A service: what describes it, and a handler for each of its methods.
 *
 * What describes it is one of:
 *
 * - a definition that was generated for grpc-js, or a service of protobuf-es: `service(definition, handlers)`;
 * - a `GrpcService` of Effect schemas over the `GrpcSchema` that it belongs to: `service(schema, definition, handlers)`;
 * - a service of a `GrpcSchema`, by name, whose handlers are made with `unary`, `serverStream`, `clientStream` and `bidi`:
 *   `service(schema, "acme.Orders", handlers)`.
 *
 * Where there are types, handlers are held to them, and a method that is forgotten is a type error; by name, it is
 * `UnhandledMethod` when the layer is built. See `partial`.
 *
 * Errors of the layer, beside those of reading the schema: `UnknownMethod` for a service or a handler that is not in it,
 * `WrongKind`, `UnhandledMethod`, `MissingPackage`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const service: {
  <const H extends NamedHandlers>(schema: SchemaInput, service: string, handlers: H): Service<ErrorOf<H>, ServicesOf<H>>
  <S extends SchemaService, H extends Handlers<S>>(
    schema: SchemaInput,
    service: S,
    handlers: Known<H, Handlers<S>>
  ): Service<ErrorOf<H>, ServicesOf<H>>
  <S extends Exclude<TypedService, SchemaService>, H extends Handlers<S>>(
    service: S,
    handlers: Known<H, Handlers<S>>
  ): Service<ErrorOf<H>, ServicesOf<H>>
} = (first: TypedService | SchemaInput, ...rest: ReadonlyArray<unknown>): Service => serviceOf(false, first, rest)

/**
 * A service of which some methods have no handler: they are `Unimplemented`. Otherwise as `service`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const partial: {
  <const H extends NamedHandlers>(schema: SchemaInput, service: string, handlers: H): Service<ErrorOf<H>, ServicesOf<H>>
  <S extends SchemaService, H extends Partial<Handlers<S>>>(
    schema: SchemaInput,
    service: S,
    handlers: Known<H, Handlers<S>>
  ): Service<ErrorOf<H>, ServicesOf<H>>
  <S extends Exclude<TypedService, SchemaService>, H extends Partial<Handlers<S>>>(
    service: S,
    handlers: Known<H, Handlers<S>>
  ): Service<ErrorOf<H>, ServicesOf<H>>
} = (first: TypedService | SchemaInput, ...rest: ReadonlyArray<unknown>): Service => serviceOf(true, first, rest)

/**
 * How dead clients are noticed, and how often clients may ask whether the server is there.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeepAlive {
  /** Time between pings (HTTP/2 PING) to each client. Default 2 hours. */
  readonly interval?: Duration.Input | undefined
  /** How long an answer may take before the connection is given up. Default 20 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * The least time between two pings of a client. One that is too early three times, while nothing is sent to it, is sent
   * away (GOAWAY `too_many_pings`). Default 5 minutes.
   */
  readonly clientInterval?: Duration.Input | undefined
  /** Whether clients may ping as often when no call is under way; otherwise once in 2 hours. Default false. */
  readonly clientWithoutCalls?: boolean | undefined
}

/** Any service. */
type AnyService = Service<unknown, unknown>

type ServiceError<S> = S extends Service<infer E, infer _R> ? E : never
type ServiceContext<S> = S extends Service<infer _E, infer R> ? R : never

/**
 * What to serve, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Services extends ReadonlyArray<AnyService> = ReadonlyArray<AnyService>> {
  /** What `service` makes. Where two have the same method, the first counts. */
  readonly services: Services
  /** The port to listen on. Default 0: the system chooses one, see `address`. */
  readonly port?: number | undefined
  /** The name or address to listen on. Default `"127.0.0.1"`: only this machine. `"0.0.0.0"` or `"::"` is everywhere. */
  readonly host?: string | undefined
  /** A unix socket to listen on, instead of host and port. Its file is removed at the end. */
  readonly path?: string | undefined
  /** The permissions of a unix socket's file, such as `0o660`. Default: what the process's umask leaves. */
  readonly mode?: number | undefined
  /** TLS on every connection: `cert` and `key` are required. Default none. `alpn` is `["h2"]` if it is left out. */
  readonly tls?: TlsOptions | undefined
  /** Whose PROXY headers are believed; they come before TLS. Default: nobody's, and none is looked for. */
  readonly proxyProtocol?: ProxyProtocolOptions | undefined
  /** Serve `grpc.reflection.v1.ServerReflection` and `v1alpha`, so that tools can ask what there is. Default true. */
  readonly reflection?: boolean | undefined
  /** Serve `grpc.health.v1.Health`; see `health` of the service. Default true. */
  readonly health?: boolean | undefined
  /** The largest message that is accepted, in bytes. Larger ones end the call with `ResourceExhausted`. Default 4 MiB. */
  readonly maxReceiveSize?: number | undefined
  /** The largest message that is sent, in bytes. Larger ones end the call with `ResourceExhausted`. Default 2 GiB. */
  readonly maxSendSize?: number | undefined
  /** How many calls a connection may have under way. Further ones wait on the client's side. Default 1000. */
  readonly maxConcurrentStreams?: number | undefined
  /** How many connections there may be. Further ones wait. Default 10,000. */
  readonly maxConnections?: number | undefined
  /** How many bytes a client may send ahead of the handler, for each call (HTTP/2 flow control). Default 1 MiB. */
  readonly flowControlWindow?: number | undefined
  /** How dead clients are noticed, and how often clients may ping; `false` for neither. */
  readonly keepAlive?: KeepAlive | false | undefined
  /**
   * When clients are told to connect anew, so that they find other servers; calls under way go on. Less or more by up to a
   * tenth, so that not all come at once. Default: never.
   */
  readonly maxConnectionAge?: Duration.Input | undefined
  /** How long a client may take for its TLS handshake, and until its first HTTP/2 frame. Default 10 seconds. */
  readonly handshakeTimeout?: Duration.Input | undefined
  /** How long calls may go on when the layer ends. Default 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
  /** How responses are packed, for clients that understand it. `call.setCompression` says otherwise. Default none. */
  readonly compression?: Compression | undefined
  /** Which status an error of a handler is that is no reason of `GrpcError`. Default: `Unknown`, and it is logged. */
  readonly onError?: ((error: ServiceError<Services[number]>) => GrpcErrorReason | undefined) | undefined
}

/**
 * The service: a server that listens.
 *
 * **Details**
 *
 * - `address` is where it listens, with the real port.
 * - `setHealth` is what health checks are told of a service from now on; `""` is the server as a whole. Everything is
 *   `"SERVING"` at first, and `"NOT_SERVING"` for good as soon as the server stops.
 *
 * @category services
 * @since 0.1.0
 */
export class GrpcServer extends Context.Service<GrpcServer, {
  readonly address: SocketAddress
  readonly setHealth: (service: string, status: "SERVING" | "NOT_SERVING") => Effect.Effect<void>
}>()("hawser/GrpcServer") {}

const settingsOf = (options: Options, context: Context.Context<never>, traced: boolean): SessionSettings => {
  const { keepAlive } = options
  const duration = (input: Duration.Input | undefined, otherwise: Duration.Input) =>
    Duration.fromInputUnsafe(input ?? otherwise)
  return {
    context,
    clock: Context.get(context, Clock.Clock),
    reporter: new Reporter(context),
    traced,
    maxReceiveSize: options.maxReceiveSize ?? 4 * 1024 * 1024,
    maxSendSize: options.maxSendSize ?? 2 ** 31 - 1,
    compression: options.compression ?? "identity",
    onError: cast(options.onError),
    maxConcurrentStreams: options.maxConcurrentStreams ?? 1000,
    flowControlWindow: options.flowControlWindow ?? 1024 * 1024,
    handshakeTimeout: duration(options.handshakeTimeout, "10 seconds"),
    keepAlive: keepAlive === false ? undefined : {
      interval: duration(keepAlive?.interval, "2 hours"),
      timeout: duration(keepAlive?.timeout, "20 seconds"),
      withoutCalls: true
    },
    pings: keepAlive === false ? undefined : {
      interval: duration(keepAlive?.clientInterval, "5 minutes"),
      withoutCalls: keepAlive?.clientWithoutCalls ?? false
    },
    maxAge: options.maxConnectionAge === undefined ? undefined : Duration.fromInputUnsafe(options.maxConnectionAge)
  }
}

/** Within what HTTP/2 has room for in its settings. */
const checkLimits = ({ flowControlWindow, maxConcurrentStreams }: SessionSettings): Effect.Effect<void, TcpError> => {
  const problem = !Number.isInteger(flowControlWindow) || flowControlWindow < 1 || flowControlWindow > 2 ** 31 - 1
    ? `a flowControlWindow of ${flowControlWindow}`
    : !Number.isInteger(maxConcurrentStreams) || maxConcurrentStreams < 1 || maxConcurrentStreams > 2 ** 32 - 1
    ? `maxConcurrentStreams of ${maxConcurrentStreams}`
    : undefined
  return problem === undefined
    ? Effect.void
    : Effect.fail(new TcpError({ reason: new Unknown({ detail: `HTTP/2 has no ${problem}` }) }))
}

const listen = Effect.fnUntraced(function*(options: Options) {
  const listener = yield* Listener.Listener
  // a call is no part of the span of a server that runs for months
  const context = Context.omit(Tracer.ParentSpan, Scope.Scope)(yield* Effect.context())
  const services = yield* Effect.forEach(options.services, ({ implemented }) => implemented)
  const { health, routes } = yield* offer(services, options)
  // only a tracer that somebody provided is there
  const traced = yield* Effect.withFiber((fiber) => Effect.succeed(fiber.cache.tracer !== undefined))
  const settings = settingsOf(options, context, traced)
  yield* checkLimits(settings)
  const open = yield* opening({
    proxyProtocol: options.proxyProtocol,
    tls: options.tls === undefined ? undefined : { ...options.tls, alpn: options.tls.alpn ?? ["h2"] },
    timeout: settings.handshakeTimeout
  })

  const address: DialTarget = options.path === undefined
    ? { host: options.host ?? "127.0.0.1", port: options.port ?? 0 }
    : { path: options.path }
  // a scope of its own, so that draining can stop listening before the layer goes
  const listening = yield* Scope.fork(yield* Effect.scope)
  const bound = yield* Scope.provide(listener.bind(address, { mode: options.mode }), listening)
  const serving = serve({
    bound,
    open,
    settings,
    routes,
    stopListening: Effect.andThen(Scope.close(listening, Exit.void), health.drain),
    maxConnections: options.maxConnections ?? 10_000,
    drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "10 seconds")
  })
  yield* Effect.forkScoped(serving, { startImmediately: true })
  return GrpcServer.of({ address: bound.address, setHealth: health.setStatus })
})

/**
 * A server. Listens and serves when the layer is built, and drains when it goes. Errors: `TcpError` (`AddressInUse`,
 * `PermissionDenied`, `Unknown` for options that make no sense), `TlsConfigError`, `GrpcSchemaError` where a service does
 * not fit its definition.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Services extends ReadonlyArray<AnyService>>(
  options: Options<Services>
): Layer.Layer<
  GrpcServer,
  TcpError | TlsConfigError | GrpcSchemaError,
  Listener.Listener | ServiceContext<Services[number]>
> => Layer.fresh(Layer.effect(GrpcServer, listen(cast(options))))
