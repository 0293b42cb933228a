import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { DialError } from "../../../errors/DialError.ts"
import type { GrpcError, Metadata } from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import type { Compression } from "../wire/compression.ts"
import type { MetadataInput } from "../wire/metadata.ts"

/** Options of one call. */
export interface CallOptions {
  /**
   * How long the call may take. The server is told (`grpc-timeout`), and the call fails with `DeadlineExceeded`. For a
   * stream it is the time until its end. Within a handler of `GrpcServer` it is at most what is left of the handler's own.
   * Default: no limit.
   */
  readonly timeout?: Duration.Input | undefined
  /** Metadata to send beside that of the channel. */
  readonly metadata?: MetadataInput | undefined
  /** Wait for a connection instead of failing when there is none. Best with a `timeout`. Default: the channel's, or false. */
  readonly waitForReady?: boolean | undefined
  /** How messages are compressed. Default: the channel's, or `"identity"`, which is not at all. */
  readonly compression?: Compression | undefined
  /** The largest message that is accepted, in bytes; larger ones fail with `ResourceExhausted`. Default: the channel's. */
  readonly maxReceiveSize?: number | undefined
  /** The largest message that is sent, in bytes; larger ones fail with `ResourceExhausted`. Default: the channel's. */
  readonly maxSendSize?: number | undefined
  /** Told the server's headers when they have come, before any message. */
  readonly onHeaders?: ((headers: Metadata) => Effect.Effect<void>) | undefined
  /** Told the server's trailers when the call has ended, also when with an error. */
  readonly onTrailers?: ((trailers: Metadata) => Effect.Effect<void>) | undefined
}

/** What a call can fail with: no connection, a status that is not OK, or a request that does not fit the schema. */
export type CallError = DialError | GrpcError | GrpcSchemaError
