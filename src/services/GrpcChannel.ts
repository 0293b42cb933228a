/**
 * A connection to a gRPC server whose methods are called by name, with plain objects, or through a typed client.
 *
 * **Details**
 *
 * - A method is named as `"pkg.Service/Method"`. Requests and responses are plain objects, see `GrpcSchema` for how fields
 *   and values map. `client` gives functions with types instead.
 * - A request is checked against the schema before anything is sent; what does not fit is a `GrpcSchemaError`.
 * - A status other than OK is a `GrpcError` whose reason is the status. A connection that is lost is made again by the
 *   next call; when that fails, the call fails with the `DialError`.
 * - Interrupting a call cancels it on the wire, and so does ending a stream of responses early. A deadline (`timeout`) is
 *   told to the server. Calls that a handler of `GrpcServer` makes inherit what is left of the handler's deadline.
 * - Streams have backpressure both ways: some 64 KiB of responses wait for the reader, and what HTTP/2's flow control lets
 *   the server send ahead; requests are pulled as the server takes them.
 * - Messages that came before an error are delivered before it.
 * - A call that the server refuses without having looked at it (it is going away) is made again at once.
 *
 * **Gotchas**
 *
 * After a failed attempt to connect, the next one waits: 1 second at first, up to 2 minutes. Calls in between fail at
 * once with the same `DialError`; `waitForReady` makes them wait instead.
 *
 * **Example** (The four kinds of calls)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import type { GrpcChannel } from "hawser"
 *
 * const program = (channel: GrpcChannel.GrpcChannel) =>
 *   Effect.gen(function*() {
 *     const order = yield* channel.unary("acme.Orders/Get", { id: 42n }, { timeout: "2 seconds" })
 *     yield* channel.serverStream("acme.Orders/Watch", { id: order["id"] }).pipe(
 *       Stream.take(10),
 *       Stream.runForEach(Effect.log)
 *     )
 *     const items = Stream.make({ sku: "a" }, { sku: "b" })
 *     const total = yield* channel.clientStream("acme.Orders/Add", items)
 *     const prices = yield* Stream.runCollect(channel.bidi("acme.Orders/Prices", items))
 *     return { total, prices }
 *   })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Metadata } from "../errors/GrpcError.ts"
import { GrpcSchemaError, WrongKind } from "../errors/GrpcSchemaError.ts"
import type { CallError, CallOptions } from "../internal/grpc/client/callOptions.ts"
import type { Calls } from "../internal/grpc/client/calls.ts"
import type { Channel, ConnectivityState } from "../internal/grpc/client/channel.ts"
import * as Health from "../internal/grpc/client/health.ts"
import type { HealthStatus } from "../internal/grpc/client/health.ts"
import type { MethodKind } from "../internal/grpc/definition.ts"
import type { GrpcSchema, Method, Service, Values } from "../internal/grpc/proto/schema.ts"
import { addMetadata, decodeMetadata, type MetadataInput } from "../internal/grpc/wire/metadata.ts"
import * as GrpcClient from "./GrpcClient.ts"

export type {
  /**
   * What a call can fail with: no connection, a status that is not OK, or a request that does not fit the schema.
   *
   * @category errors
   * @since 0.1.0
   */
  CallError,
  /**
   * Options of one call.
   *
   * @category models
   * @since 0.1.0
   */
  CallOptions
} from "../internal/grpc/client/callOptions.ts"

export type {
  /**
   * Where a channel is: `idle` (nobody needs it), `connecting`, `ready`, `transientFailure` (it could not connect and will
   * try again) or `shutdown`.
   *
   * @category models
   * @since 0.1.0
   */
  ConnectivityState
} from "../internal/grpc/client/channel.ts"

export type {
  /**
   * What a server says of a service: that it wants calls, that it wants none, that it does not know the service (only to
   * who watches), or that it does not know how it is.
   *
   * @category models
   * @since 0.1.0
   */
  HealthStatus
} from "../internal/grpc/client/health.ts"

export type {
  /**
   * How a message is packed (`grpc-encoding`).
   *
   * @category models
   * @since 0.1.0
   */
  Compression
} from "../internal/grpc/wire/compression.ts"

export type {
  /**
   * Metadata to send: names to text, to secrets, or, for names that end in `-bin`, to bytes. A name can have several
   * values.
   *
   * @category models
   * @since 0.1.0
   */
  MetadataInput,
  /**
   * One value of metadata to send.
   *
   * @category models
   * @since 0.1.0
   */
  MetadataValue
} from "../internal/grpc/wire/metadata.ts"

/**
 * How one message is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendOptions {
  /** Whether it is compressed, on a call with `compression`. Default true. */
  readonly compress?: boolean | undefined
}

/**
 * A call under way, driven by hand. It suits every kind of method: those with one request take one `send`.
 *
 * @category models
 * @since 0.1.0
 */
export interface GrpcCall {
  /**
   * Sends a message; ready when there is room for more, which is how a slow server holds the sender back. Once the call
   * has ended, what is sent goes nowhere: `receive` says how it ended. Errors: `GrpcSchemaError` when the message does not
   * fit, `GrpcError` with `ResourceExhausted` when it is too large; the call goes on.
   */
  readonly send: (values: object, options?: SendOptions) => Effect.Effect<void, CallError>
  /** Says that no more messages come (half-close). Methods with one request need it too. */
  readonly completeSend: Effect.Effect<void>
  /** The next message, or none when the call has ended well. Fails as the call does. Interruption loses nothing. */
  readonly receive: Effect.Effect<Option.Option<Values>, CallError>
  /** The messages that `receive` has not taken, for one reader. */
  readonly messages: Stream.Stream<Values, CallError>
  /** The server's headers, as soon as they are there, which can be before any message. Fails when the call does first. */
  readonly headers: Effect.Effect<Metadata, CallError>
  /** The server's trailers, once the call has ended, however it has: messages have to be received for that. */
  readonly trailers: Effect.Effect<Metadata>
  /** Cancels the call when it has not ended. Closing its scope does the same. */
  readonly close: Effect.Effect<void>
}

/**
 * An open channel. Where nothing else is said, errors are `CallError`s: `GrpcError` with the status; `DialError` when
 * there is no connection and none can be made; `GrpcSchemaError` with `UnknownMethod`, `WrongKind`, `UnknownField` or
 * `WrongType`.
 *
 * @category models
 * @since 0.1.0
 */
export interface GrpcChannel {
  /** Sends a request and waits for the response. */
  readonly unary: (method: string, request: object, options?: CallOptions) => Effect.Effect<Values, CallError>

  /** As `unary`, with the metadata that came back. */
  readonly exchange: (
    method: string,
    request: object,
    options?: CallOptions
  ) => Effect.Effect<GrpcClient.Exchange<Values>, CallError>

  /** Sends a request and gives the responses as they come. Each run of the stream is a call of its own. */
  readonly serverStream: (method: string, request: object, options?: CallOptions) => Stream.Stream<Values, CallError>

  /**
   * Sends a stream of requests and waits for the one response. A stream that fails cancels the call, which fails with the
   * same error; a response that comes early ends the stream.
   */
  readonly clientStream: <E, R>(
    method: string,
    requests: Stream.Stream<object, E, R>,
    options?: CallOptions
  ) => Effect.Effect<Values, CallError | E, R>

  /** Sends a stream of requests and gives the responses as they come; neither waits for the other. */
  readonly bidi: <E, R>(
    method: string,
    requests: Stream.Stream<object, E, R>,
    options?: CallOptions
  ) => Stream.Stream<Values, CallError | E, R>

  /** Opens a call of any kind to be driven by hand. Closing the scope cancels it. */
  readonly open: (method: string, options?: CallOptions) => Effect.Effect<GrpcCall, CallError, Scope.Scope>

  /**
   * A client with types, of code that was generated for grpc-js or by protobuf-es, or of a `GrpcService`, which is laid over
   * the channel's schema. Errors: `UnknownMethod`, `WrongKind` and `InvalidMessage` where the two do not agree;
   * `MissingPackage` for a service of protobuf-es without `@bufbuild/protobuf`.
   */
  readonly client: <Service extends GrpcClient.TypedService>(
    service: Service
  ) => Effect.Effect<GrpcClient.Client<Service>, GrpcSchemaError>

  /** The schema that the channel was given, or that the server gave: types, JSON Schemas, descriptors. */
  readonly schema: GrpcSchema

  /** What the schema offers. */
  readonly services: ReadonlyArray<Service>

  /** The methods of one service, such as `"acme.Orders"`; none when the schema does not have it. */
  readonly methods: (service: string) => ReadonlyArray<Method>

  /** One method with the fields of its messages. Error: `GrpcSchemaError` with `UnknownMethod`. */
  readonly describe: (method: string) => Effect.Effect<Method, GrpcSchemaError>

  /** Where the channel is, now and whenever that changes. Ends when the channel is closed. */
  readonly state: Stream.Stream<ConnectivityState>

  /**
   * What the server says of the health of a service, such as `"acme.Orders"`, or without a name of itself
   * (`grpc.health.v1.Health/Check`). The schema need not have it. Errors also: `NotFound` when the server does not know the
   * service; `Unimplemented` when it does not tell.
   */
  readonly health: (service?: string, options?: CallOptions) => Effect.Effect<HealthStatus, CallError>

  /** The same now and whenever it changes (`Watch`). It does not end by itself; a service can become known later. */
  readonly watchHealth: (service?: string, options?: CallOptions) => Stream.Stream<HealthStatus, CallError>

  /** Replaces the metadata that is sent with every call. Error: `GrpcSchemaError` when it cannot be sent. */
  readonly setMetadata: (metadata: MetadataInput) => Effect.Effect<void, GrpcSchemaError>
}

/**
 * A channel whose calls go through `calls`.
 *
 * @internal
 */
export const make = (
  calls: Calls,
  channel: Pick<Channel, "changes">,
  schema: GrpcSchema,
  replaceMetadata: (metadata: MetadataInput) => void
): GrpcChannel => {
  const methodOf = (path: string, kind: MethodKind): Result.Result<Method, GrpcSchemaError> =>
    Result.flatMap(schema.method(path), (method) =>
      method.kind === kind ? Result.succeed(method) : Result.fail(
        new GrpcSchemaError({ reason: new WrongKind({ method: method.path, kind: method.kind, calledAs: kind }) })
      ))

  const unary = (path: string, request: object, options: CallOptions | undefined) => {
    const method = methodOf(path, "unary")
    return Result.isFailure(method) ? Effect.fail(method.failure) : calls.unary(method.success, request, options)
  }

  const streamOf = <E, R>(
    path: string,
    kind: MethodKind,
    stream: (method: Method) => Stream.Stream<Values, CallError | E, R>
  ) => {
    const method = methodOf(path, kind)
    return Result.isFailure(method) ? Stream.fail(method.failure) : stream(method.success)
  }

  return {
    unary: (path, request, options) => Effect.map(unary(path, request, options), ({ value }) => value),
    exchange: (path, request, options) =>
      Effect.map(unary(path, request, options), ({ headers, trailers, value }) => ({
        value,
        headers: decodeMetadata(headers),
        trailers: decodeMetadata(trailers)
      })),
    serverStream: (path, request, options) =>
      streamOf(path, "serverStream", (method) => calls.serverStream(method, request, options)),
    clientStream: (path, requests, options) => {
      const method = methodOf(path, "clientStream")
      return Result.isFailure(method)
        ? Effect.fail(method.failure)
        : Effect.map(calls.clientStream(method.success, requests, options), ({ value }) => value)
    },
    bidi: (path, requests, options) => streamOf(path, "bidi", (method) => calls.bidi(method, requests, options)),
    open: Effect.fn("GrpcChannel.open")(function*(path, options) {
      const method = yield* Effect.fromResult(schema.method(path))
      const handle = yield* calls.open(method, options)
      return {
        send: (values, options) => handle.send([values], options?.compress === false ? "identity" : undefined),
        completeSend: handle.completeSend,
        receive: handle.receive,
        messages: handle.messages,
        headers: handle.headers,
        trailers: handle.trailers,
        close: handle.cancel
      }
    }),
    client: (service) => GrpcClient.make(service, schema, calls),
    schema,
    services: schema.services,
    methods: (name) => schema.services.find((service) => service.name === name)?.methods ?? [],
    describe: (path) => Effect.fromResult(schema.method(path)),
    state: channel.changes,
    health: (service = "", options) => Health.check(calls, service, options),
    watchHealth: (service = "", options) => Health.watch(calls, service, options),
    setMetadata: (metadata) => Effect.map(Effect.fromResult(addMetadata({}, metadata)), () => replaceMetadata(metadata))
  }
}
