/**
 * How a service wants to be called: timeouts, retries and hedging by method, as gRPC's service configs say it.
 *
 * **Details**
 *
 * - A retry repeats a call whose attempt failed before the server had answered with headers, for one of the statuses that
 *   are named, after a wait that grows. `grpc-retry-pushback-ms` of the server counts more than the policy.
 * - A hedge makes the call again beside itself, without waiting for a failure, and takes the first good answer. The server
 *   must stand to do the work more than once.
 * - What a stream of requests has sent is kept for another attempt up to 1 MiB; beyond that there is none.
 *
 * Retrying by a schedule of your own needs none of this: see `GrpcRetry`.
 *
 * **Example** (Retrying reads)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Grpc, GrpcSchema } from "hawser"
 *
 * const program = Effect.gen(function*() {
 *   const grpc = yield* Grpc.Grpc
 *   return yield* grpc.connect({
 *     url: "https://orders.internal",
 *     schema: GrpcSchema.fromFile("protos/orders.proto"),
 *     serviceConfig: {
 *       methods: [{
 *         names: ["acme.Orders/Get"],
 *         timeout: "2 seconds",
 *         retry: {
 *           maxAttempts: 3,
 *           initialBackoff: "100 millis",
 *           maxBackoff: "1 second",
 *           backoffMultiplier: 2,
 *           retryableStatuses: ["Unavailable"]
 *         }
 *       }]
 *     }
 *   })
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { GrpcErrorReason } from "../errors/GrpcError.ts"
import type { MethodConfig, ServiceConfig, StatusName } from "../internal/grpc/client/serviceConfig.ts"

export type {
  /**
   * Makes several attempts, each some time after the other, and takes the first good answer (gRFC A6).
   *
   * @category models
   * @since 0.1.0
   */
  HedgingPolicy,
  /**
   * What is said of some methods.
   *
   * @category models
   * @since 0.1.0
   */
  MethodConfig,
  /**
   * Makes a call again when an attempt has failed (gRFC A6).
   *
   * @category models
   * @since 0.1.0
   */
  RetryPolicy,
  /**
   * How a service wants to be called.
   *
   * @category models
   * @since 0.1.0
   */
  ServiceConfig,
  /**
   * The names of the statuses that are not OK, such as `"Unavailable"`.
   *
   * @category models
   * @since 0.1.0
   */
  StatusName
} from "../internal/grpc/client/serviceConfig.ts"

/** `"1.5s"`, the JSON form of google.protobuf.Duration. */
const JsonDuration = Schema.String.check(Schema.isPattern(/^\d{1,12}(\.\d{1,9})?s$/))

const millisOf = (text: string): Duration.Duration => Duration.millis(Number(text.slice(0, -1)) * 1000)

const statuses = GrpcErrorReason.members.map((member, index) => ({
  name: member.fields._tag.schema.literal,
  code: index + 1
}))

/** `"RESOURCE_EXHAUSTED"` for `"ResourceExhausted"`. */
const jsonName = (name: string) => name.replace(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase()

/** A name in any case, or a number. */
const JsonStatus = Schema.Union([Schema.String, Schema.Int]).check(
  Schema.makeFilter((given) => statusOf(given) === undefined ? "it should be the name or the code of a status" : true)
)

const statusOf = (given: string | number): StatusName | undefined =>
  statuses.find(({ code, name }) => given === code || String(given).toUpperCase() === jsonName(name))?.name

const Json = Schema.Struct({
  methodConfig: Schema.optional(Schema.Array(Schema.Struct({
    name: Schema.optional(
      Schema.Array(Schema.Struct({ service: Schema.optional(Schema.String), method: Schema.optional(Schema.String) }))
    ),
    timeout: Schema.optional(JsonDuration),
    waitForReady: Schema.optional(Schema.Boolean),
    maxRequestMessageBytes: Schema.optional(Schema.Int),
    maxResponseMessageBytes: Schema.optional(Schema.Int),
    retryPolicy: Schema.optional(Schema.Struct({
      maxAttempts: Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)),
      initialBackoff: JsonDuration,
      maxBackoff: JsonDuration,
      backoffMultiplier: Schema.Finite.check(Schema.isGreaterThan(0)),
      retryableStatusCodes: Schema.NonEmptyArray(JsonStatus)
    })),
    hedgingPolicy: Schema.optional(Schema.Struct({
      maxAttempts: Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)),
      hedgingDelay: Schema.optional(JsonDuration),
      nonFatalStatusCodes: Schema.optional(Schema.Array(JsonStatus))
    }))
  }))),
  retryThrottling: Schema.optional(
    Schema.Struct({
      maxTokens: Schema.Finite.check(Schema.isGreaterThan(0)),
      tokenRatio: Schema.Finite.check(Schema.isGreaterThan(0))
    })
  )
})

type JsonMethod = NonNullable<(typeof Json.Type)["methodConfig"]>[number]

const namesOf = (given: ReadonlyArray<string | number> | undefined): ReadonlyArray<StatusName> =>
  (given ?? []).flatMap((status) => statusOf(status) ?? [])

const methodConfig = (json: JsonMethod): MethodConfig => {
  const { hedgingPolicy, retryPolicy } = json
  return {
    names: (json.name ?? []).map(({ method, service = "" }) => method === undefined ? service : `${service}/${method}`),
    timeout: json.timeout === undefined ? undefined : millisOf(json.timeout),
    waitForReady: json.waitForReady,
    maxRequestSize: json.maxRequestMessageBytes,
    maxResponseSize: json.maxResponseMessageBytes,
    retry: retryPolicy === undefined ? undefined : {
      maxAttempts: retryPolicy.maxAttempts,
      initialBackoff: millisOf(retryPolicy.initialBackoff),
      maxBackoff: millisOf(retryPolicy.maxBackoff),
      backoffMultiplier: retryPolicy.backoffMultiplier,
      retryableStatuses: namesOf(retryPolicy.retryableStatusCodes)
    },
    hedging: hedgingPolicy === undefined ? undefined : {
      maxAttempts: hedgingPolicy.maxAttempts,
      hedgingDelay: hedgingPolicy.hedgingDelay === undefined ? undefined : millisOf(hedgingPolicy.hedgingDelay),
      nonFatalStatuses: namesOf(hedgingPolicy.nonFatalStatusCodes)
    }
  }
}

/**
 * Understands the JSON form of a service config (gRFC A2 and A6: `methodConfig`, `retryThrottling`), as text or as what
 * `JSON.parse` gave. What it says beside that, such as a load balancing policy, is left alone. Error: `SchemaError`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromJson = (json: unknown): Effect.Effect<ServiceConfig, Schema.SchemaError> =>
  Effect.map(
    typeof json === "string"
      ? Schema.decodeEffect(Schema.fromJsonString(Json))(json)
      : Schema.decodeUnknownEffect(Json)(json),
    ({ methodConfig: methods, retryThrottling }) => ({ methods: methods?.map(methodConfig), retryThrottling })
  )
