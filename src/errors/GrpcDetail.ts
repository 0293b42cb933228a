/**
 * What a server can say about an error beside its status: the messages of `google/rpc/error_details.proto`, which come as
 * `google.rpc.Status` in the trailer `grpc-status-details-bin`.
 *
 * **Details**
 *
 * - Details of a type that is not one of these ten come as `Other`, with their bytes; so do details of these types whose
 *   bytes cannot be read.
 * - A server sends details by failing with a reason of `GrpcError` that has them.
 * - `GrpcRetry` heeds `RetryInfo`.
 *
 * **Gotchas**
 *
 * Details travel in the trailers, which many servers, clients and proxies limit to 8 KiB altogether.
 *
 * **Example** (Saying which fields were refused)
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { GrpcChannel } from "hawser"
 *
 * const refusedFields = (channel: GrpcChannel.GrpcChannel, order: object) =>
 *   channel.unary("acme.Orders/Create", order).pipe(
 *     Effect.as([]),
 *     Effect.catchReason("GrpcError", "InvalidArgument", ({ details }) =>
 *       Effect.succeed(details.flatMap((detail) =>
 *         detail._tag === "BadRequest" ? detail.fieldViolations.map(({ field }) => field) : []
 *       )))
 *   )
 * ```
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const localized = { locale: Schema.String, message: Schema.String }

/**
 * Which fields of the request are wrong, and why. `field` is a path such as `"order.items[2].colour"`. `reason` is a
 * constant for programs, in upper case (`"INVALID_COLOUR"`), and `localizedMessage` the description for a person.
 *
 * @category models
 * @since 0.1.0
 */
export const BadRequest = Schema.TaggedStruct("BadRequest", {
  fieldViolations: Schema.Array(Schema.Struct({
    field: Schema.String,
    description: Schema.String,
    reason: Schema.optional(Schema.String),
    localizedMessage: Schema.optional(Schema.Struct(localized))
  }))
})

/**
 * How long to wait, at least, before the call is made again. Exact to the nanosecond.
 *
 * @category models
 * @since 0.1.0
 */
export const RetryInfo = Schema.TaggedStruct("RetryInfo", { retryDelay: Schema.Duration })

/**
 * Why, for programs: `reason` is a constant within `domain`, such as `"API_DISABLED"` of `"googleapis.com"`.
 *
 * @category models
 * @since 0.1.0
 */
export const ErrorInfo = Schema.TaggedStruct("ErrorInfo", {
  reason: Schema.String,
  domain: Schema.String,
  metadata: Schema.Record(Schema.String, Schema.String)
})

/**
 * What the server's developers want to know.
 *
 * @category models
 * @since 0.1.0
 */
export const DebugInfo = Schema.TaggedStruct("DebugInfo", {
  stackEntries: Schema.Array(Schema.String),
  detail: Schema.String
})

const isInt64 = Schema.isBetweenBigInt({ minimum: -(2n ** 63n), maximum: 2n ** 63n - 1n })

/**
 * Which quotas are used up, and by whom (`subject`, such as `"clientip:192.0.2.7"`). `apiService`, `quotaMetric`, `quotaId`
 * and `quotaDimensions` name the quota, `quotaValue` is its value, and `futureQuotaValue` what it is being changed to.
 *
 * @category models
 * @since 0.1.0
 */
export const QuotaFailure = Schema.TaggedStruct("QuotaFailure", {
  violations: Schema.Array(Schema.Struct({
    subject: Schema.String,
    description: Schema.String,
    apiService: Schema.optional(Schema.String),
    quotaMetric: Schema.optional(Schema.String),
    quotaId: Schema.optional(Schema.String),
    quotaDimensions: Schema.optional(Schema.Record(Schema.String, Schema.String)),
    quotaValue: Schema.optional(Schema.BigInt.check(isInt64)),
    futureQuotaValue: Schema.optional(Schema.BigInt.check(isInt64))
  }))
})

/**
 * What has to be true first, such as terms that must be accepted.
 *
 * @category models
 * @since 0.1.0
 */
export const PreconditionFailure = Schema.TaggedStruct("PreconditionFailure", {
  violations: Schema.Array(
    Schema.Struct({ type: Schema.String, subject: Schema.String, description: Schema.String })
  )
})

/**
 * What to quote when asking the server's people about this request.
 *
 * @category models
 * @since 0.1.0
 */
export const RequestInfo = Schema.TaggedStruct("RequestInfo", {
  requestId: Schema.String,
  servingData: Schema.String
})

/**
 * Which resource it is about.
 *
 * @category models
 * @since 0.1.0
 */
export const ResourceInfo = Schema.TaggedStruct("ResourceInfo", {
  resourceType: Schema.String,
  resourceName: Schema.String,
  owner: Schema.String,
  description: Schema.String
})

/**
 * Where help can be found.
 *
 * @category models
 * @since 0.1.0
 */
export const Help = Schema.TaggedStruct("Help", {
  links: Schema.Array(Schema.Struct({ description: Schema.String, url: Schema.String }))
})

/**
 * The error for a person, in the language `locale` (such as `"fr-CH"`).
 *
 * @category models
 * @since 0.1.0
 */
export const LocalizedMessage = Schema.TaggedStruct("LocalizedMessage", localized)

/**
 * A detail of another type, as it came (`google.protobuf.Any`).
 *
 * @category models
 * @since 0.1.0
 */
export const Other = Schema.TaggedStruct("Other", { typeUrl: Schema.String, value: Schema.Uint8Array })

/**
 * One detail of an error.
 *
 * @category models
 * @since 0.1.0
 */
export const GrpcDetail = Schema.Union([
  BadRequest,
  RetryInfo,
  ErrorInfo,
  DebugInfo,
  QuotaFailure,
  PreconditionFailure,
  RequestInfo,
  ResourceInfo,
  Help,
  LocalizedMessage,
  Other
])

/**
 * One detail of an error.
 *
 * @category models
 * @since 0.1.0
 */
export type GrpcDetail = typeof GrpcDetail.Type
