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
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DialError, InvalidTarget } from "../errors/DialError.ts"
import type { GrpcError } from "../errors/GrpcError.ts"
import { GrpcSchemaError, WrongKind } from "../errors/GrpcSchemaError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import * as GrpcCall from "../internal/grpc/call.ts"
import type { MethodKind } from "../internal/grpc/definition.ts"
import type { GrpcSchema, Method } from "../internal/grpc/proto/schema.ts"
import * as GrpcTransport from "../internal/grpc/transport.ts"
import * as GrpcMetadata from "../internal/grpc/oldMetadata.ts"
import * as Target from "../internal/net/target.ts"
import { tlsHop } from "../internal/tls/handshake.ts"
import * as TlsOptions from "../internal/tls/options.ts"
import * as Dialer from "./Dialer.ts"
import type { CallError, CallOptions, GrpcChannel } from "./GrpcChannel.ts"

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
 * Where to connect, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectOptions {
  /** `"http://host:port"`, `"https://host:port"` (ports 80 and 443 when left out) or `"unix:/path"`. */
  readonly url: string
  /** What the server offers; one of the `GrpcSchema` constructors can stand here as it is. */
  readonly schema: GrpcSchema | Effect.Effect<GrpcSchema, GrpcSchemaError>
  /** TLS options, for `https` and for TLS over `unix`. Default: those of `Tls`, with ALPN `h2`. */
  readonly tls?: TlsOptions.TlsOptions | undefined
  /** Sent with every call. */
  readonly metadata?: GrpcMetadata.MetadataInput | undefined
  /** What requests carry as `:authority`. Default: the URL's host and port; `"localhost"` for `unix`. */
  readonly authority?: string | undefined
  /** How long connecting may take, from the first byte to the server's first HTTP/2 frame. Default: the Dialer's. */
  readonly connectTimeout?: Duration.Input | undefined
  /** The largest message that is accepted, in bytes. Larger ones fail with `ResourceExhausted`. Default 4 MiB. */
  readonly maxReceiveSize?: number | undefined
  /** How many bytes the server may send ahead of the reader (HTTP/2 flow control). Default 1 MiB. */
  readonly flowControlWindow?: number | undefined
  /** How a dead connection is noticed, or `false` for not at all. */
  readonly keepAlive?: KeepAlive | false | undefined
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
  ) => Effect.Effect<GrpcChannel, DialError | GrpcSchemaError | TlsConfigError, Scope.Scope>
}>()("hawser/Grpc") {}

interface Address {
  readonly target: Target.Target
  readonly authority: string
  readonly secure: boolean
}

const refuse = (input: string, why: string) =>
  Effect.fail(new DialError({ target: input, hop: "grpc", reason: new InvalidTarget({ input, why }) }))

const parseTarget = (input: Target.DialTarget) =>
  Effect.mapError(
    Effect.fromResult(Target.parse(input)),
    (reason) => new DialError({ target: reason.input, hop: "grpc", reason })
  )

const parseUrl = Effect.fnUntraced(function*(
  { authority, tls, url }: ConnectOptions
): Effect.fn.Return<Address, DialError> {
  const parsed = URL.parse(url)
  switch (parsed?.protocol) {
    case "unix:":
      return {
        target: yield* parseTarget({ path: decodeURIComponent(parsed.pathname) }),
        authority: authority ?? "localhost",
        secure: tls !== undefined
      }
    case "http:":
    case "https:": {
      const secure = parsed.protocol === "https:"
      // without what could be a password
      const shown = `${parsed.protocol}//${parsed.host}`
      if (parsed.username !== "" || parsed.password !== "") return yield* refuse(shown, "credentials go into metadata")
      if (parsed.pathname !== "/" || parsed.search !== "" || parsed.hash !== "") {
        return yield* refuse(shown, "gRPC has no path after the host")
      }
      if (!secure && tls !== undefined) return yield* refuse(shown, "tls needs https")
      const port = parsed.port === "" ? secure ? "443" : "80" : parsed.port
      return {
        target: yield* parseTarget(`${parsed.hostname}:${port}`),
        authority: authority ?? parsed.host,
        secure
      }
    }
    default:
      return yield* refuse(
        parsed === null ? url : `${parsed.protocol}...`,
        "it should be http://host:port, https://host:port or unix:/path"
      )
  }
})

const channelOptions = (options: ConnectOptions) => {
  const millis = (input: Duration.Input) => Duration.toMillis(input)
  const keepAlive = options.keepAlive ?? {}
  return {
    "grpc.max_receive_message_length": options.maxReceiveSize ?? 4 * 1024 * 1024,
    "grpc-node.flow_control_window": options.flowControlWindow ?? 1024 * 1024,
    ...(keepAlive === false ? {} : {
      "grpc.keepalive_time_ms": millis(keepAlive.interval ?? "6 minutes"),
      "grpc.keepalive_timeout_ms": millis(keepAlive.timeout ?? "20 seconds"),
      "grpc.keepalive_permit_without_calls": keepAlive.withoutCalls === true ? 1 : 0
    })
  }
}

/** How a call shows in traces. The stack is left out: taking it costs more than the rest of the call's bookkeeping. */
const spanOptions = (method: string) => ({
  kind: "client" as const,
  attributes: { "rpc.system": "grpc", "rpc.method": method },
  captureStackTrace: false
})

const callAs: Record<MethodKind, string> = {
  unary: "a unary method",
  serverStream: "a server stream",
  clientStream: "a client stream",
  bidi: "a bidirectional stream"
}

const makeChannel = (
  transport: GrpcTransport.Transport,
  schema: GrpcSchema,
  channelMetadata: GrpcMetadata.MetadataInput | undefined
): GrpcChannel => {
  /** Everything about a call that can be wrong before it starts. */
  const prepare = (
    path: string,
    kind: MethodKind,
    values: object,
    options: CallOptions | undefined
  ): Result.Result<GrpcCall.Request, GrpcSchemaError> => {
    const found = schema.method(path)
    if (Result.isFailure(found)) return Result.fail(found.failure)
    const method = found.success
    if (method.kind !== kind) {
      const reason = new WrongKind({ method: method.path, kind: callAs[method.kind], calledAs: callAs[kind] })
      return Result.fail(new GrpcSchemaError({ reason }))
    }
    const message = method.request.encode(values)
    if (Result.isFailure(message)) return Result.fail(message.failure)
    return Result.map(
      GrpcMetadata.toGrpc([channelMetadata, options?.metadata], { waitForReady: options?.waitForReady ?? false }),
      (metadata) => ({
        method,
        message: Buffer.from(message.success),
        metadata,
        timeout: options?.timeout === undefined ? undefined : Duration.fromInputUnsafe(options.timeout)
      })
    )
  }

  const decode = (method: Method, bytes: Uint8Array) =>
    Result.mapError(method.response.decode(bytes), (error) => GrpcCall.undecodable(method.path, error.message))

  const call = <A>(
    span: string,
    path: string,
    values: object,
    options: CallOptions | undefined,
    onReply: (reply: GrpcCall.Reply, method: Method) => Result.Result<A, GrpcError>
  ): Effect.Effect<A, CallError> =>
    Effect.suspend((): Effect.Effect<A, CallError> => {
      const request = prepare(path, "unary", values, options)
      return Result.isFailure(request)
        ? Effect.fail(request.failure)
        : Effect.flatMap(
          GrpcCall.unary(transport, request.success),
          (reply) => Effect.fromResult(onReply(reply, request.success.method))
        )
    }).pipe(Effect.withSpan(span, spanOptions(path)))

  return {
    exchange: (path, values, options) =>
      call(
        "GrpcChannel.exchange",
        path,
        values,
        options,
        (reply, method) =>
          Result.map(decode(method, reply.message), (value) => ({
            value,
            headers: GrpcMetadata.fromGrpc(reply.headers),
            trailers: GrpcMetadata.fromGrpc(reply.trailers)
          }))
      ),
    unary: (path, values, options) =>
      call("GrpcChannel.unary", path, values, options, (reply, method) => decode(method, reply.message)),
    serverStream: (path, values, options) =>
      Effect.suspend(() => Effect.fromResult(prepare(path, "serverStream", values, options))).pipe(
        Effect.flatMap((request) =>
          Effect.map(
            GrpcCall.serverStream(transport, request),
            Effect.flatMap((batch) =>
              Effect.fromResult(Result.all(Arr.map(batch, (bytes) => decode(request.method, bytes))))
            )
          )
        ),
        Stream.fromPull,
        Stream.scoped,
        Stream.withSpan("GrpcChannel.serverStream", spanOptions(path))
      ),
    services: schema.services,
    methods: (name) => schema.services.find((service) => service.name === name)?.methods ?? [],
    describe: (path) => Effect.fromResult(schema.method(path))
  }
}

/**
 * gRPC over the Dialer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Grpc, never, Dialer.Dialer> = Layer.fresh(Layer.effect(
  Grpc,
  Effect.gen(function*() {
    const dialer = yield* Dialer.Dialer
    return {
      connect: Effect.fn("Grpc.connect")(function*(options) {
        const { authority, secure, target } = yield* parseUrl(options)
        const schema = Effect.isEffect(options.schema) ? yield* options.schema : options.schema
        // said now and not at each call
        yield* Effect.fromResult(GrpcMetadata.toGrpc([options.metadata], {}))
        const tls = secure
          ? tlsHop(yield* TlsOptions.resolve({ ...options.tls, alpn: options.tls?.alpn ?? ["h2"] }))
          : undefined
        const transport = yield* GrpcTransport.open({
          path: tls === undefined ? dialer : Dialer.through(dialer, tls),
          target,
          authority,
          secure,
          connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? dialer.connectTimeout),
          options: channelOptions(options)
        })
        return makeChannel(transport, schema, options.metadata)
      })
    }
  })
))
