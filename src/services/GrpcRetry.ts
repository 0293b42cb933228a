/**
 * Retrying gRPC calls by a `Schedule`: which errors are worth it, how long to wait, and what the server says about both.
 *
 * A server can say how long to wait, in the error's details (`RetryInfo`) or in the trailer `grpc-retry-pushback-ms`, and
 * in the latter also that it does not want to be called again. `GrpcRetry.schedule` heeds both; `GrpcRetry.respect` makes
 * a schedule of your own heed them.
 *
 * **Details**
 *
 * - These are ordinary schedules for `Effect.retry` and `Stream.retry`. The last error is what the caller gets.
 * - `RetryInfo` is the least time to wait: the schedule's own delay counts when it is longer. The trailer is the exact time
 *   (gRFC A6); when it is negative, no number or there twice, the call is not made again.
 * - Retries by the service config of a channel come first, within one call: this retries what they gave up.
 *
 * **Gotchas**
 *
 * - A retried call may be done twice: with `Unavailable` the server can have begun. Retry what may be repeated.
 * - The server's delay has no upper limit. Put `Effect.timeout` around the whole where that matters. A call's `timeout` is
 *   that of each attempt.
 * - `Stream.retry` begins the stream again: what was received before comes twice. It starts the schedule afresh once an
 *   element has come.
 * - A request stream is run again for each attempt.
 *
 * **Example** (Patience with a server that restarts)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { type GrpcChannel, GrpcRetry } from "hawser"
 *
 * const order = (channel: GrpcChannel.GrpcChannel, id: bigint) =>
 *   channel.unary("acme.Orders/Get", { id }, { timeout: "2 seconds" }).pipe(
 *     Effect.retry(GrpcRetry.schedule({ maxAttempts: 10, statuses: ["Unavailable", "ResourceExhausted"] })),
 *     Effect.timeout("1 minute")
 *   )
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { DialError } from "../errors/DialError.ts"
import { GrpcError, type GrpcErrorReason } from "../errors/GrpcError.ts"

/**
 * When to retry. The names are those of a `retryPolicy` in a service config.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many attempts there are, together with the first. Default 5. */
  readonly maxAttempts?: number | undefined
  /** The delay after the first attempt. Each delay is varied by up to a fifth, up or down. Default 100 milliseconds. */
  readonly initialBackoff?: Duration.Input | undefined
  /** The longest delay, unless the server says otherwise. Default 10 seconds. */
  readonly maxBackoff?: Duration.Input | undefined
  /** How much longer each delay is than the one before. Default 2. */
  readonly backoffMultiplier?: number | undefined
  /**
   * Which statuses are worth another attempt. Default only `Unavailable`, see `GrpcError.isRetryable`. A `DialError` is
   * when its `isRetryable` says so; all other errors are not.
   */
  readonly statuses?: ReadonlyArray<GrpcErrorReason["_tag"]> | undefined
}

const isGrpcError = Schema.is(GrpcError)
const isDialError = Schema.is(DialError)

const isWorthIt = (error: unknown, statuses: Options["statuses"]) => {
  if (isGrpcError(error)) return statuses?.includes(error.reason._tag) ?? error.isRetryable
  return isDialError(error) && error.isRetryable
}

/**
 * Retries calls with growing delays, as often and for such errors as the options say, and as the server says. It takes any
 * error, so that it also fits calls whose requests come from a stream with errors of its own: those are not retried.
 *
 * @category constructors
 * @since 0.1.0
 */
export const schedule = (options: Options = {}): Schedule.Schedule<Duration.Duration> => {
  const { backoffMultiplier = 2, initialBackoff = "100 millis", maxAttempts = 5, maxBackoff = "10 seconds" } = options
  const longest = Duration.fromInputUnsafe(maxBackoff)
  return Schedule.exponential(initialBackoff, backoffMultiplier).pipe(
    Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, longest))),
    Schedule.jittered,
    Schedule.upTo({ times: maxAttempts - 1 }),
    Schedule.while(({ input }: Schedule.Metadata<Duration.Duration>) => isWorthIt(input, options.statuses)),
    respect
  )
}

/** What a server says about another attempt: exactly when, not before, or never. */
type Word =
  | { readonly _tag: "Exactly" | "AtLeast"; readonly delay: Duration.Duration }
  | { readonly _tag: "Never" }

const wordOf = (error: unknown): Word | undefined => {
  if (!isGrpcError(error)) return undefined
  const { details, trailers } = error.reason
  const pushback = trailers.text["grpc-retry-pushback-ms"]
  if (pushback !== undefined) {
    const [millis, second] = pushback
    return millis !== undefined && second === undefined && /^\d{1,10}$/.test(millis)
      ? { _tag: "Exactly", delay: Duration.millis(Number(millis)) }
      : { _tag: "Never" }
  }
  const info = details.find((detail) => detail._tag === "RetryInfo")
  return info && { _tag: "AtLeast", delay: info.retryDelay }
}

const delayOf = (own: Duration.Duration, word: Word | undefined) => {
  if (word === undefined || word._tag === "Never") return own
  return word._tag === "Exactly" ? word.delay : Duration.max(own, word.delay)
}

/**
 * The same schedule, but it waits as long as the server says, and ends where the server does not want to be called again.
 * Which errors are retried and how often is the schedule's affair.
 *
 * @category combinators
 * @since 0.1.0
 */
export const respect = <Output, Input, Error, Env>(
  self: Schedule.Schedule<Output, Input, Error, Env>
): Schedule.Schedule<Output, Input, Error, Env> =>
  self.pipe(
    Schedule.while(({ input }) => wordOf(input)?._tag !== "Never"),
    Schedule.modifyDelay(({ duration, input }) => Effect.succeed(delayOf(duration, wordOf(input))))
  )
