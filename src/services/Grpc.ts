/**
 * gRPC over any path: a channel to a server, opened through the Dialer and closed with the scope.
 *
 * **Details**
 *
 * - `connect` returns when the server has answered in HTTP/2, so a server that is not there, a wrong certificate or a peer
 *   that accepts and says nothing are a `DialError` of `connect`, with the hop that failed.
 * - A `https` URL is TLS inside whatever path the Dialer takes; names are checked against the URL's host. `tls` says more.
 * - The environment (`http_proxy` and the like) has no say; use `Proxy` layers.
 *
 * **Example** (Calling a method through a jump host)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Dialer, Grpc, GrpcSchema, SshAuth, SshTunnel } from "hawser"
 *
 * const Live = Grpc.layer.pipe(
 *   Layer.provide(SshTunnel.layer({ host: "bastion", username: "ops", auth: SshAuth.privateKey({ key: "~/.ssh/id_ed25519" }) })),
 *   Layer.provide(Dialer.layer)
 * )
 *
 * const program = Effect.gen(function*() {
 *   const grpc = yield* Grpc.Grpc
 *   const channel = yield* grpc.connect({
 *     url: "https://orders.internal:443",
 *     schema: GrpcSchema.fromFile("protos/orders.proto")
 *   })
 *   return yield* channel.unary("acme.Orders/Get", { id: 42n }, { timeout: "2 seconds" })
 * }).pipe(Effect.scoped, Effect.provide(Live))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { cast } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Dns from "effect/net/Dns"
import { formatHost, isHostPort } from "effect/net/Host"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DialError, type DialErrorReason } from "../errors/DialError.ts"
import type { GrpcErrorReason } from "../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../errors/GrpcSchemaError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import { dropEvent, EventSink } from "../internal/events.ts"
import { type Address, parseTarget, parseUrl, refuse } from "../internal/grpc/client/address.ts"
import * as ChannelBackoff from "../internal/grpc/client/backoff.ts"
import type { CallError } from "../internal/grpc/client/callOptions.ts"
import { Calls } from "../internal/grpc/client/calls.ts"
import type { Balancing } from "../internal/grpc/client/channel.ts"
import * as GrpcChannels from "../internal/grpc/client/channel.ts"
import { healthWatch } from "../internal/grpc/client/healthWatch.ts"
import type { CallInfo, Middleware } from "../internal/grpc/client/middleware.ts"
import type { Settings } from "../internal/grpc/client/prepare.ts"
import * as Reflection from "../internal/grpc/client/reflection.ts"
import * as Resolver from "../internal/grpc/client/resolver.ts"
import * as ServiceConfigs from "../internal/grpc/client/serviceConfig.ts"
import * as FakeChannel from "../internal/grpc/fake/channel.ts"
import * as FakeServer from "../internal/grpc/fake/server.ts"
import { emptySchema, type GrpcSchema } from "../internal/grpc/proto/schema.ts"
import type { Compression } from "../internal/grpc/wire/compression.ts"
import { addMetadata, type MetadataInput } from "../internal/grpc/wire/metadata.ts"
import type { KeepAliveSettings } from "../internal/net/keepAlive.ts"
import * as Resolve from "../internal/net/resolve.ts"
import type { DialTarget } from "../internal/net/target.ts"
import * as Target from "../internal/net/target.ts"
import { tlsHop } from "../internal/tls/handshake.ts"
import * as TlsOptions from "../internal/tls/options.ts"
import * as Dialer from "./Dialer.ts"
import * as GrpcChannel from "./GrpcChannel.ts"
import type * as GrpcServer from "./GrpcServer.ts"
import type { ServiceConfig } from "./GrpcServiceConfig.ts"

/**
 * How a dead connection is noticed.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeepAlive {
  /** Time between pings (HTTP/2 PING) while calls are under way. Default 6 minutes; many servers refuse less than 5. */
  readonly interval?: Duration.Input | undefined
  /** How long an answer may take before the connection is given up. Default 20 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** Ping while no call is under way too. Default false. */
  readonly withoutCalls?: boolean | undefined
}

/**
 * How long a channel waits between attempts to connect (gRPC's connection backoff).
 *
 * @category models
 * @since 0.1.0
 */
export interface Backoff {
  /** From the start of the first attempt to that of the second. Default 1 second. */
  readonly initial?: Duration.Input | undefined
  /** How many times as long each further wait is. Default 1.6. */
  readonly multiplier?: number | undefined
  /** Default 2 minutes. */
  readonly max?: Duration.Input | undefined
  /** The part by which each wait is made longer or shorter at random, from 0 to 1. Default 0.2. */
  readonly jitter?: number | undefined
}

/**
 * Where to connect, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectOptions {
  /** `"http://host:port"`, `"https://host:port"` (ports 80 and 443 when left out) or `"unix:/path"`. */
  readonly url: string
  /**
   * The addresses of the server's instances, or a stream of lists of them, the latest of which counts. Each is dialled
   * through the Dialer; the authority, and the name that certificates are checked for, stay those of the URL. Default: the
   * URL's own host and port.
   */
  readonly endpoints?: ReadonlyArray<DialTarget> | Stream.Stream<ReadonlyArray<DialTarget>, DialError> | undefined
  /**
   * How calls are spread over `endpoints`: all to the first one that can be reached (`"pickFirst"`), or to all that can
   * be, in turn (`"roundRobin"`). Default `"pickFirst"`.
   */
  readonly balancing?: Balancing | undefined
  /**
   * What the server offers; one of the `GrpcSchema` constructors can stand here as it is: what is fetched from a URL is
   * fetched over the same Dialer, and `GrpcSchema.fromReflection()` asks the server itself. Typed clients of generated code
   * need none. Default: nothing.
   */
  readonly schema?:
    | GrpcSchema
    | Effect.Effect<GrpcSchema, GrpcSchemaError | DialError | TlsConfigError, Dialer.Dialer>
    | Reflection.FromReflection
    | undefined
  /** TLS options, for `https` and for TLS over `unix`. Default: those of `Tls`, with ALPN `h2`. */
  readonly tls?: TlsOptions.TlsOptions | undefined
  /** Sent with every call; `setMetadata` of the channel replaces it. */
  readonly metadata?: MetadataInput | undefined
  /** Asked for more metadata before every attempt of a call, such as a token that is renewed. Its error is the call's. */
  readonly credentials?: ((call: CallInfo) => Effect.Effect<MetadataInput, CallError>) | undefined
  /** Wraps every call; the first is the outermost. Calls that `open` made are not wrapped. Default none. */
  readonly middleware?: ReadonlyArray<Middleware> | undefined
  /** What requests carry as `:authority`. Default: the URL's host and port; `"localhost"` for `unix`. */
  readonly authority?: string | undefined
  /** What requests carry as `user-agent`. Default `"hawser"`. */
  readonly userAgent?: string | undefined
  /** How long connecting may take, from the first byte to the server's HTTP/2 settings. Default: the Dialer's. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Connect when the first call is made, and not before `connect` returns. Default false. */
  readonly lazy?: boolean | undefined
  /** Calls wait for a connection where there is none, instead of failing. Default false. */
  readonly waitForReady?: boolean | undefined
  /** How messages are compressed. Answers are understood in any way. Default `"identity"`: not at all. */
  readonly compression?: Compression | undefined
  /** The largest message that is accepted, in bytes. Larger ones fail with `ResourceExhausted`. Default 4 MiB. */
  readonly maxReceiveSize?: number | undefined
  /** The largest message that is sent, in bytes. Larger ones fail with `ResourceExhausted`. Default: no limit. */
  readonly maxSendSize?: number | undefined
  /** How many bytes the server may send ahead of the reader (HTTP/2 flow control). Default 1 MiB. */
  readonly flowControlWindow?: number | undefined
  /** How a dead connection is noticed, or `false` for not at all. */
  readonly keepAlive?: KeepAlive | false | undefined
  /** After how long without calls the connections are closed; the next call connects again. Default 30 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
  /** How long the channel waits between attempts to connect. */
  readonly backoff?: Backoff | undefined
  /** How long calls under way may go on when the scope closes, before they are cancelled. Default: not at all. */
  readonly drainTimeout?: Duration.Input | undefined
  /**
   * Use only servers that say that they serve this service, such as `"acme.Orders"`, or `""` for a server as a whole: each
   * connection watches the server's health service (gRFC A17). Servers without one are used. Meanwhile calls go to other
   * `endpoints`, with `"roundRobin"`, or fail with a `DialError`. Default: whoever can be reached is used.
   */
  readonly healthCheck?: string | undefined
  /** Timeouts, retries and hedging by method, see `GrpcServiceConfig`. Default: nothing. */
  readonly serviceConfig?: ServiceConfig | undefined
}

/**
 * The service: `connect` opens a channel for as long as the scope lives. Errors: `DialError`, also when the URL makes no
 * sense (`InvalidTarget`); `GrpcSchemaError` from the schema and the metadata; `TlsConfigError` from `tls`.
 *
 * @category services
 * @since 0.1.0
 */
export class Grpc extends Context.Service<Grpc, {
  readonly connect: (
    options: ConnectOptions
  ) => Effect.Effect<GrpcChannel.GrpcChannel, DialError | GrpcSchemaError | TlsConfigError, Scope.Scope>
}>()("hawser/Grpc") {}

const keepAliveOf = (given: KeepAlive | false | undefined): KeepAliveSettings | undefined =>
  given === false ? undefined : {
    interval: Duration.fromInputUnsafe(given?.interval ?? "6 minutes"),
    timeout: Duration.fromInputUnsafe(given?.timeout ?? "20 seconds"),
    withoutCalls: given?.withoutCalls ?? false
  }

const backoffOf = ({ initial, jitter, max, multiplier }: Backoff): ChannelBackoff.Backoff => ({
  initial: initial === undefined ? ChannelBackoff.defaults.initial : Duration.fromInputUnsafe(initial),
  multiplier: multiplier ?? ChannelBackoff.defaults.multiplier,
  max: max === undefined ? ChannelBackoff.defaults.max : Duration.fromInputUnsafe(max),
  jitter: jitter ?? ChannelBackoff.defaults.jitter
})

const endpointsOf = (
  given: ConnectOptions["endpoints"],
  target: Target.Target
): Effect.Effect<GrpcChannels.Settings["endpoints"], DialError> => {
  if (given === undefined) return Effect.succeed([target])
  const parseAll = Effect.forEach((input: DialTarget) => parseTarget(input))
  return Stream.isStream(given) ? Effect.succeed(Stream.mapEffect(given, parseAll)) : parseAll(given)
}

/**
 * The addresses of a name, for `endpoints`: asked of Effect's `Dns` now and whenever `interval` (30 seconds by default) has
 * passed. A name without a port has that of `https`. Error: `DialError`, hop `dns`, reason `NameNotFound`, or
 * `InvalidTarget`; the channel keeps the addresses that it had and asks again.
 *
 * **Example** (Spreading calls over all instances behind a name)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Dns } from "effect/net"
 * import { Grpc } from "hawser"
 *
 * const program = Effect.gen(function*() {
 *   const grpc = yield* Grpc.Grpc
 *   return yield* grpc.connect({
 *     url: "https://orders.internal",
 *     endpoints: Stream.provideService(Grpc.dns("orders.internal:443"), Dns.Dns, yield* Dns.Dns),
 *     balancing: "roundRobin"
 *   })
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const dns = (
  target: string,
  options: { readonly interval?: Duration.Input | undefined } = {}
): Stream.Stream<ReadonlyArray<DialTarget>, DialError, Dns.Dns> =>
  Stream.unwrap(Effect.gen(function*() {
    const parsed = yield* parseTarget(/:\d+$/.test(target) ? target : `${target}:443`)
    if (!isHostPort(parsed)) return yield* refuse(target, "it should be a name and a port")
    return Resolver.dns(formatHost(parsed.host), parsed.port, {
      interval: Duration.fromInputUnsafe(options.interval ?? "30 seconds"),
      resolver: Resolve.fromDns(yield* Dns.Dns)
    })
  }))

/** What all calls of a channel have in common, whatever carries them. */
type CallSettings = Omit<Settings, "channel">

/** What carries the calls of channels: a network, or handlers. */
interface Means {
  /** What schemas are fetched over. */
  readonly dialer: Dialer.Dialer["Service"]
  readonly open: (
    options: ConnectOptions,
    address: Address,
    settings: CallSettings
  ) => Effect.Effect<FakeChannel.FakeChannel, DialError | TlsConfigError, Scope.Scope>
}

const make = ({ dialer, open }: Means): Grpc["Service"] => ({
  connect: Effect.fn("Grpc.connect")(function*(options) {
    const sink = yield* EventSink
    const address = yield* parseUrl(options)
    const { authority, secure } = address
    const given = options.schema === undefined
      ? emptySchema
      : Effect.isEffect(options.schema)
      ? yield* Effect.provideService(options.schema, Dialer.Dialer, dialer)
      : options.schema
    let metadata = options.metadata
    // said now and not at each call
    yield* Effect.fromResult(addMetadata({}, metadata))
    const policies = ServiceConfigs.policies(options.serviceConfig)
    const settings: CallSettings = {
      authority,
      secure,
      userAgent: options.userAgent ?? "hawser",
      metadata: () => metadata,
      waitForReady: options.waitForReady ?? false,
      compression: options.compression ?? "identity",
      maxReceiveSize: options.maxReceiveSize ?? 4 * 1024 * 1024,
      maxSendSize: options.maxSendSize ?? Infinity,
      credentials: options.credentials,
      middleware: options.middleware ?? [],
      policyOf: policies.of,
      throttle: policies.throttle,
      report: sink === dropEvent
        ? undefined
        : (event: string, detail: string) => sink({ source: "grpc", id: authority, event, detail })
    }
    const channel = yield* open(options, address, settings)
    const calls = new Calls({ ...settings, channel })
    // a channel that closes while it connects is interrupted with its scope
    if (options.lazy !== true) {
      yield* Effect.catchTag(channel.connection(false), "ChannelClosed", () => Effect.never)
    }
    const schema = "_tag" in given ? yield* Reflection.read(calls, given.options) : given
    return GrpcChannel.make(calls, channel, schema, (replacement) => metadata = replacement)
  })
})

/** Channels over the connections of a Dialer. */
const over = (dialer: Dialer.Dialer["Service"]): Means => ({
  dialer,
  open: Effect.fnUntraced(function*(options, { authority, host, secure, target }, settings) {
    const tls = secure
      ? tlsHop(
        yield* TlsOptions.resolve({
          ...options.tls,
          alpn: options.tls?.alpn ?? ["h2"],
          ...(options.endpoints === undefined ? {} : { servername: options.tls?.servername ?? host })
        })
      )
      : undefined
    const backoff = backoffOf(options.backoff ?? {})
    return yield* GrpcChannels.open({
      path: tls === undefined ? dialer : Dialer.through(dialer, tls),
      endpoints: yield* endpointsOf(options.endpoints, target),
      balancing: options.balancing ?? "pickFirst",
      authority,
      connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? dialer.connectTimeout),
      flowControlWindow: options.flowControlWindow ?? 1024 * 1024,
      keepAlive: keepAliveOf(options.keepAlive),
      backoff,
      idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "30 minutes"),
      drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "0 seconds"),
      onConnected: options.healthCheck === undefined
        ? undefined
        : healthWatch(settings, options.healthCheck, backoff)
    })
  })
})

/**
 * gRPC over the Dialer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Grpc, never, Dialer.Dialer> = Layer.fresh(
  Layer.effect(Grpc, Effect.map(Dialer.Dialer, (dialer) => make(over(dialer))))
)

/** Any service. */
type AnyService = GrpcServer.Service<unknown, unknown>

type ServiceError<S> = S extends GrpcServer.Service<infer E, infer _R> ? E : never
type ServiceContext<S> = S extends GrpcServer.Service<infer _E, infer R> ? R : never

/**
 * Who answers in a test, and how.
 *
 * @category testing
 * @since 0.1.0
 */
export interface TestHandlers<Services extends ReadonlyArray<AnyService> = ReadonlyArray<AnyService>> {
  /** What `GrpcServer.service` and `GrpcServer.partial` make. Where two have the same method, the first counts. */
  readonly services: Services
  /** Says why a URL cannot be reached: what it fails with, `connect` fails with. Default: all can be. */
  readonly connect?: ((url: string, options: ConnectOptions) => Effect.Effect<void, DialErrorReason>) | undefined
  /** Which status an error of a handler is that is no reason of `GrpcError`. Default: `Unknown`, and it is logged. */
  readonly onError?: ((error: ServiceError<Services[number]>) => GrpcErrorReason | undefined) | undefined
}

const noNetwork: Dialer.Dialer["Service"] = {
  connectTimeout: Duration.seconds(10),
  dial: () => Effect.die(new Error("Grpc.layerTest: there is no network to fetch a schema over"))
}

/**
 * gRPC for unit tests: handlers answer, and nothing is sent anywhere.
 *
 * **Details**
 *
 * - The services are those of a `GrpcServer`, with health and reflection; all URLs lead to them. A method that none of them
 *   has is `Unimplemented`.
 * - All that a client and a server do beside HTTP/2 is done: messages are encoded and decoded, so what does not fit the
 *   schema fails as it would; metadata, deadlines, retries, compression, limits, middleware and spans are as always. An
 *   interrupted call interrupts its handler.
 * - What is about connections has no meaning and is not looked at: `tls`, `endpoints`, `keepAlive`, `backoff` and the like.
 * - Time is that of Effect's clock, so deadlines and retries are tested with `TestClock`.
 * - Handlers that still run when the layer goes are interrupted.
 *
 * Errors: `GrpcSchemaError` where a service does not fit its definition.
 *
 * **Example** (A service of which a test needs one method)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Grpc, GrpcError, GrpcSchema, GrpcServer } from "hawser"
 *
 * const schema = GrpcSchema.fromFile("protos/orders.proto")
 *
 * const Test = Grpc.layerTest({
 *   services: [
 *     GrpcServer.partial(schema, "acme.Orders", {
 *       Get: GrpcServer.unary((request) =>
 *         request["id"] === 42n
 *           ? Effect.succeed({ id: 42n, customer: "ann" })
 *           : Effect.fail(new GrpcError.NotFound({ message: "no such order" }))
 *       )
 *     })
 *   ]
 * })
 *
 * const program = Effect.gen(function*() {
 *   const grpc = yield* Grpc.Grpc
 *   const channel = yield* grpc.connect({ url: "https://orders.internal", schema })
 *   return yield* channel.unary("acme.Orders/Get", { id: 42n })
 * }).pipe(Effect.scoped, Effect.provide(Test))
 * ```
 *
 * @category testing
 * @since 0.1.0
 */
export const layerTest = <const Services extends ReadonlyArray<AnyService>>(
  handlers: TestHandlers<Services>
): Layer.Layer<Grpc, GrpcSchemaError, ServiceContext<Services[number]>> =>
  Layer.fresh(Layer.effect(
    Grpc,
    Effect.gen(function*() {
      const services = yield* Effect.forEach(handlers.services, ({ implemented }) => implemented)
      const server = yield* FakeServer.make(services, {}, cast(handlers.onError))
      const reach = ({ target }: Address, options: ConnectOptions) =>
        Effect.mapError(
          handlers.connect?.(options.url, options) ?? Effect.void,
          (reason) => new DialError({ target: Target.format(target), hop: "direct", reason })
        )
      return make({
        dialer: noNetwork,
        open: (options, address) => Effect.andThen(reach(address, options), FakeChannel.open(server))
      })
    })
  ))
