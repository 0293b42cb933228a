/**
 * What can go wrong on an open connection or a listener.
 *
 * A read that fails loses nothing: what had arrived stays buffered for the next read.
 *
 * **Example** (Reading what there is when the rest is late)
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { Connection } from "hawser"
 *
 * const line = (connection: Connection.Connection) =>
 *   connection.read({ marker: "\n", timeout: "2 seconds" }).pipe(
 *     Effect.catchReason("TcpError", "ReadTimeout", () => connection.takeBuffered)
 *   )
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * The peer ended its side before what was asked for had arrived. `received` bytes are still buffered.
 *
 * @category reasons
 * @since 0.1.0
 */
export class EndOfStream extends Schema.TaggedError<EndOfStream>("hawser/TcpError/EndOfStream")(
  "EndOfStream",
  { received: Schema.Int }
) {
  /** Whether the same operation on a new connection could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return this.received === 0
      ? "the peer has ended the stream"
      : `the peer has ended the stream after ${this.received} of the bytes that were expected`
  }
}

/**
 * What was asked for did not arrive within `after`. `received` bytes of it are still buffered.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ReadTimeout extends Schema.TaggedError<ReadTimeout>("hawser/TcpError/ReadTimeout")(
  "ReadTimeout",
  { after: Schema.Duration, received: Schema.Int }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `nothing complete arrived within ${Duration.format(this.after)}; ${this.received} bytes are buffered`
  }
}

/**
 * The peer did not take what was written within `after`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class WriteTimeout extends Schema.TaggedError<WriteTimeout>("hawser/TcpError/WriteTimeout")(
  "WriteTimeout",
  { after: Schema.Duration }
) {
  /** Whether the same operation on a new connection could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `the peer did not take the data within ${Duration.format(this.after)}`
  }
}

/**
 * A line or frame is longer than the limit of `maxSize` bytes. What has arrived of it is still buffered.
 *
 * @category reasons
 * @since 0.1.0
 */
export class FrameTooLarge extends Schema.TaggedError<FrameTooLarge>("hawser/TcpError/FrameTooLarge")(
  "FrameTooLarge",
  { maxSize: Schema.Int }
) {
  /** Whether the same operation on a new connection could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `a frame is longer than the limit of ${this.maxSize} bytes`
  }
}

/**
 * The connection broke: the peer reset it or the network lost it. What had arrived before can still be read.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Reset extends Schema.TaggedError<Reset>("hawser/TcpError/Reset")(
  "Reset",
  { code: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether the same operation on a new connection could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `the connection broke (${this.code})`
  }
}

/**
 * This side has closed the connection, or the direction that the operation needs.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Closed extends Schema.TaggedError<Closed>("hawser/TcpError/Closed")("Closed", {}) {
  /** Whether the same operation on a new connection could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return "the connection is closed on this side"
  }
}

/**
 * Another fiber is reading from this connection. Bytes have one order, so there can be one reader at a time.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConcurrentRead extends Schema.TaggedError<ConcurrentRead>("hawser/TcpError/ConcurrentRead")(
  "ConcurrentRead",
  {}
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return "another fiber is already reading from this connection"
  }
}

/**
 * `received` bytes had arrived before the connection was to be upgraded to TLS and nobody has read them. Somebody on the
 * path may have put them there (STARTTLS injection, CVE-2011-0411), so they are neither kept nor taken for encrypted ones.
 *
 * @category reasons
 * @since 0.1.0
 */
export class PlaintextBuffered extends Schema.TaggedError<PlaintextBuffered>("hawser/TcpError/PlaintextBuffered")(
  "PlaintextBuffered",
  { received: Schema.Int }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `${this.received} unread bytes arrived before the upgrade to TLS, which could be an injection`
  }
}

/**
 * Another program, or another listener of this one, has the address.
 *
 * @category reasons
 * @since 0.1.0
 */
export class AddressInUse extends Schema.TaggedError<AddressInUse>("hawser/TcpError/AddressInUse")(
  "AddressInUse",
  { address: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `the address ${this.address} is in use`
  }
}

/**
 * The operating system does not permit it, such as a port below 1024 or a socket file in a protected folder.
 *
 * @category reasons
 * @since 0.1.0
 */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>("hawser/TcpError/PermissionDenied")(
  "PermissionDenied",
  { address: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the system does not permit listening on ${this.address}`
  }
}

/**
 * No connection of the server's mailbox has this id: there never was one, or it was closed and everything it had sent was
 * read.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnknownConnection extends Schema.TaggedError<UnknownConnection>("hawser/TcpError/UnknownConnection")(
  "UnknownConnection",
  { id: Schema.String }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the server has no connection ${this.id}`
  }
}

/**
 * Bytes are not text in `encoding`, or a character cannot be written in it. Nothing was consumed or sent.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Encoding extends Schema.TaggedError<Encoding>("hawser/TcpError/Encoding")(
  "Encoding",
  { encoding: Schema.String, detail: Schema.String }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `${this.detail} (encoding ${this.encoding})`
  }
}

/**
 * Bytes are no frame of `framing`, or something cannot be a frame of it. `detail` says why, in at most 200 characters and
 * without the payload. Nothing was consumed or sent.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Malformed extends Schema.TaggedError<Malformed>("hawser/TcpError/Malformed")(
  "Malformed",
  { framing: Schema.String, detail: Schema.String }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `${this.detail} (framing ${this.framing})`
  }
}

/**
 * Something this library has no name for; `cause` is the system's error.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unknown extends Schema.TaggedError<Unknown>("hawser/TcpError/Unknown")(
  "Unknown",
  { detail: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether the same operation could succeed later. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return this.detail
  }
}

/**
 * Everything that can go wrong on an open connection or a listener.
 *
 * @category models
 * @since 0.1.0
 */
export const TcpErrorReason = Schema.Union([
  EndOfStream,
  ReadTimeout,
  WriteTimeout,
  FrameTooLarge,
  Reset,
  Closed,
  ConcurrentRead,
  PlaintextBuffered,
  AddressInUse,
  PermissionDenied,
  UnknownConnection,
  Encoding,
  Malformed,
  Unknown
])

/**
 * Everything that can go wrong on an open connection or a listener.
 *
 * @category models
 * @since 0.1.0
 */
export type TcpErrorReason = typeof TcpErrorReason.Type

/**
 * An operation on an open connection or a listener failed.
 *
 * @category errors
 * @since 0.1.0
 */
export class TcpError extends Schema.TaggedError<TcpError>("hawser/TcpError")("TcpError", { reason: TcpErrorReason }) {
  /** The reason, so that tools which print causes show it. */
  override readonly cause = this.reason

  /** Whether the same operation, on a new connection where this one is gone, could succeed. */
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return this.reason.message
  }
}
