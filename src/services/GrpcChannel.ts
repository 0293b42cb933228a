/**
 * A connection to a gRPC server whose methods are called by name, with plain objects.
 *
 * **Details**
 *
 * - A method is named as `"pkg.Service/Method"`. Requests and responses are plain objects, see `GrpcSchema` for how fields
 *   and values map.
 * - A request is checked against the schema before anything is sent; what does not fit is a `GrpcSchemaError`.
 * - A status other than OK is a `GrpcError` whose reason is the status. A connection that is lost is made again by the
 *   next call; when that fails, the call fails with the `DialError`.
 * - Interrupting a call cancels it on the wire. Closing the channel's scope cancels all of its calls (`Cancelled`).
 *
 * **Gotchas**
 *
 * - After a failed attempt to connect, the next one waits: 1 second at first, up to 2 minutes. Calls in between fail at
 *   once with the same `DialError`; `waitForReady` makes them wait instead.
 * - When a stream of messages ends with an error, messages that nobody has read yet can be lost: that is how grpc-js works.
 *
 * **Example** (A call and a stream)
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
 *   })
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { DialError } from "../errors/DialError.ts"
import type { GrpcError, Metadata } from "../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../errors/GrpcSchemaError.ts"
import type { Method, Service, Values } from "../internal/grpc/proto/schema.ts"
import type { MetadataInput } from "../internal/grpc/wire/metadata.ts"

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
 * Options of one call.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions {
  /**
   * How long the call may take. The server is told (`grpc-timeout`), and the call fails with `DeadlineExceeded`. For a
   * stream it is the time until its end. Default: no limit.
   */
  readonly timeout?: Duration.Input | undefined
  /** Metadata to send beside that of the channel. */
  readonly metadata?: MetadataInput | undefined
  /** Wait for a connection instead of failing when there is none. Best with a `timeout`. Default false. */
  readonly waitForReady?: boolean | undefined
}

/**
 * A response with what came around it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange {
  readonly value: Values
  /** Metadata that came before the response. */
  readonly headers: Metadata
  /** Metadata that came with the status. */
  readonly trailers: Metadata
}

/**
 * What a call can fail with: no connection, a status that is not OK, or a request that does not fit the schema.
 *
 * @category errors
 * @since 0.1.0
 */
export type CallError = DialError | GrpcError | GrpcSchemaError

/**
 * An open channel.
 *
 * @category models
 * @since 0.1.0
 */
export interface GrpcChannel {
  /**
   * Sends a request and waits for the response. Errors: `GrpcError`; `DialError` when there is no connection and none can
   * be made; `GrpcSchemaError` with `UnknownMethod`, `WrongKind`, `UnknownField` or `WrongType`.
   */
  readonly unary: (method: string, request: object, options?: CallOptions) => Effect.Effect<Values, CallError>

  /** As `unary`, with the metadata that came back. */
  readonly exchange: (method: string, request: object, options?: CallOptions) => Effect.Effect<Exchange, CallError>

  /**
   * Sends a request and gives the responses as they come. Each run of the stream is a call of its own; up to 16 messages
   * are read ahead, further ones are held back by flow control. Ending the stream early cancels the call. Errors as for
   * `unary`.
   */
  readonly serverStream: (method: string, request: object, options?: CallOptions) => Stream.Stream<Values, CallError>

  /** What the schema offers. */
  readonly services: ReadonlyArray<Service>

  /** The methods of one service, such as `"acme.Orders"`; none when the schema does not have it. */
  readonly methods: (service: string) => ReadonlyArray<Method>

  /** One method with the fields of its messages. Error: `GrpcSchemaError` with `UnknownMethod`. */
  readonly describe: (method: string) => Effect.Effect<Method, GrpcSchemaError>
}
