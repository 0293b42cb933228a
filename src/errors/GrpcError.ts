/**
 * What a gRPC call can end with: the sixteen statuses that are not OK, each a reason that can be caught by name.
 *
 * **Details**
 *
 * Every reason carries the status `code`, the server's `message` (empty when it gave none), the `trailers`, the metadata
 * that came with the status, and the `details` that the server gave in the form of `google.rpc`, see `GrpcDetail`.
 * Statuses that this side makes (a deadline, a cancelled call, a connection that was lost) look the same, with no trailers.
 *
 * On a server, the same reasons are what a handler fails with: `Effect.fail(new GrpcError.NotFound({ message: "no such
 * order" }))`. All fields have defaults.
 *
 * A connection that cannot be made is a `DialError`, not `Unavailable`.
 *
 * **Example** (A default for what does not exist)
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { GrpcChannel } from "hawser"
 *
 * const userName = (channel: GrpcChannel.GrpcChannel, id: string) =>
 *   channel.unary("acme.Users/Get", { id }, { timeout: "2 seconds" }).pipe(
 *     Effect.map((user) => String(user["name"])),
 *     Effect.catchReason("GrpcError", "NotFound", () => Effect.succeed("nobody"))
 *   )
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { GrpcDetail } from "./GrpcDetail.ts"

/**
 * Metadata that came from the server. Names are lower-case; one name can have several values. Names that end in `-bin`
 * are in `binary`, all others in `text`.
 *
 * @category models
 * @since 0.1.0
 */
export const Metadata = Schema.Struct({
  text: Schema.Record(Schema.String, Schema.Array(Schema.String)),
  binary: Schema.Record(Schema.String, Schema.Array(Schema.Uint8Array))
})

/**
 * Metadata that came from the server. Names are lower-case; one name can have several values. Names that end in `-bin`
 * are in `binary`, all others in `text`.
 *
 * @category models
 * @since 0.1.0
 */
export type Metadata = typeof Metadata.Type

const noMetadata = (): Metadata => ({ text: {}, binary: {} })

const status = <const Code extends number>(code: Code) => ({
  code: Schema.tag(code),
  message: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed(""))),
  trailers: Metadata.pipe(Schema.withConstructorDefault(Effect.sync(noMetadata))),
  details: Schema.Array(GrpcDetail).pipe(Schema.withConstructorDefault(Effect.succeed([])))
})

/**
 * The call was cancelled, by this side or by the server.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Cancelled extends Schema.TaggedError<Cancelled>("hawser/GrpcError/Cancelled")("Cancelled", status(1)) {}

/**
 * The server failed and did not say how, or sent a status that does not exist.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unknown extends Schema.TaggedError<Unknown>("hawser/GrpcError/Unknown")("Unknown", status(2)) {}

/**
 * The request makes no sense, whatever the state of the server.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidArgument
  extends Schema.TaggedError<InvalidArgument>("hawser/GrpcError/InvalidArgument")("InvalidArgument", status(3))
{}

/**
 * The call's `timeout` passed. The server may have done the work all the same.
 *
 * @category reasons
 * @since 0.1.0
 */
export class DeadlineExceeded
  extends Schema.TaggedError<DeadlineExceeded>("hawser/GrpcError/DeadlineExceeded")("DeadlineExceeded", status(4))
{}

/**
 * What was asked for does not exist.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotFound extends Schema.TaggedError<NotFound>("hawser/GrpcError/NotFound")("NotFound", status(5)) {}

/**
 * What was to be created exists.
 *
 * @category reasons
 * @since 0.1.0
 */
export class AlreadyExists
  extends Schema.TaggedError<AlreadyExists>("hawser/GrpcError/AlreadyExists")("AlreadyExists", status(6))
{}

/**
 * The caller is known and may not do this.
 *
 * @category reasons
 * @since 0.1.0
 */
export class PermissionDenied
  extends Schema.TaggedError<PermissionDenied>("hawser/GrpcError/PermissionDenied")("PermissionDenied", status(7))
{}

/**
 * A quota or a limit is used up; also a message that is larger than this side or the server accepts.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ResourceExhausted
  extends Schema.TaggedError<ResourceExhausted>("hawser/GrpcError/ResourceExhausted")("ResourceExhausted", status(8))
{}

/**
 * The state of the system does not permit it; something must be mended first.
 *
 * @category reasons
 * @since 0.1.0
 */
export class FailedPrecondition
  extends Schema.TaggedError<FailedPrecondition>("hawser/GrpcError/FailedPrecondition")("FailedPrecondition", status(9))
{}

/**
 * A conflict, such as a transaction that lost; the caller must start again from the beginning.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Aborted extends Schema.TaggedError<Aborted>("hawser/GrpcError/Aborted")("Aborted", status(10)) {}

/**
 * Past the end of what there is.
 *
 * @category reasons
 * @since 0.1.0
 */
export class OutOfRange
  extends Schema.TaggedError<OutOfRange>("hawser/GrpcError/OutOfRange")("OutOfRange", status(11))
{}

/**
 * The server has no such method.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unimplemented
  extends Schema.TaggedError<Unimplemented>("hawser/GrpcError/Unimplemented")("Unimplemented", status(12))
{}

/**
 * Something is broken on either side: a message that cannot be decoded, a stream that was reset.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Internal extends Schema.TaggedError<Internal>("hawser/GrpcError/Internal")("Internal", status(13)) {}

/**
 * The server cannot serve at present, or the connection was lost while it was.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unavailable
  extends Schema.TaggedError<Unavailable>("hawser/GrpcError/Unavailable")("Unavailable", status(14))
{}

/**
 * Data was lost or corrupted beyond repair.
 *
 * @category reasons
 * @since 0.1.0
 */
export class DataLoss extends Schema.TaggedError<DataLoss>("hawser/GrpcError/DataLoss")("DataLoss", status(15)) {}

/**
 * The caller did not prove who it is.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unauthenticated
  extends Schema.TaggedError<Unauthenticated>("hawser/GrpcError/Unauthenticated")("Unauthenticated", status(16))
{}

// in the order of their codes, from 1
const reasons = [
  Cancelled,
  Unknown,
  InvalidArgument,
  DeadlineExceeded,
  NotFound,
  AlreadyExists,
  PermissionDenied,
  ResourceExhausted,
  FailedPrecondition,
  Aborted,
  OutOfRange,
  Unimplemented,
  Internal,
  Unavailable,
  DataLoss,
  Unauthenticated
] as const

/**
 * The sixteen statuses that are not OK.
 *
 * @category models
 * @since 0.1.0
 */
export const GrpcErrorReason = Schema.Union(reasons)

/**
 * The sixteen statuses that are not OK.
 *
 * @category models
 * @since 0.1.0
 */
export type GrpcErrorReason = typeof GrpcErrorReason.Type

/**
 * The reason for a status code. Codes that do not exist are `Unknown`, as gRPC demands.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reasonFromCode = (
  code: number,
  message: string,
  trailers: Metadata = noMetadata(),
  details: ReadonlyArray<GrpcDetail> = []
): GrpcErrorReason => {
  const Reason = reasons[code - 1]
  return Reason === undefined
    ? new Unknown({ message: `status ${code}: ${message}`, trailers, details })
    : new Reason({ message, trailers, details })
}

/**
 * A call ended with a status that is not OK. `method` is the one that was called, as `"pkg.Service/Method"`.
 *
 * @category errors
 * @since 0.1.0
 */
export class GrpcError extends Schema.TaggedError<GrpcError>("hawser/GrpcError")("GrpcError", {
  method: Schema.String,
  reason: GrpcErrorReason
}) {
  /** The reason, so that tools which print causes show it. */
  override readonly cause = this.reason

  /**
   * Whether the same call could succeed: only `Unavailable`, which gRPC defines as "retry this call". `Aborted` wants a
   * retry of more than the call, `ResourceExhausted` and `DeadlineExceeded` would make an overload worse, and the others
   * stay as they are.
   */
  get isRetryable(): boolean {
    return this.reason._tag === "Unavailable"
  }

  override get message(): string {
    const { _tag, message } = this.reason
    return message === "" ? `${this.method}: ${_tag}` : `${this.method}: ${_tag}: ${message}`
  }
}
