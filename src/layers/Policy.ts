/**
 * How dials behave when targets are slow, broken or not to be troubled too much: tries again, limits how many dials and
 * connections there are, leaves a broken target alone for a while, dials no more often than allowed.
 *
 * `Policy.layer` takes the Dialer below and gives a Dialer, so it can stand anywhere in a path: above TLS it tries the
 * whole path again, under a proxy only the way to the proxy.
 *
 * **Details**
 *
 * Nothing is limited unless it is asked for. A dial goes through the parts in this order:
 *
 * 1. `circuitBreaker`: after some failures in a row a target is left alone, and its dials fail with `CircuitOpen`. After
 *    `openFor` one dial tries whether it is back. A dial counts once, however often it is tried.
 * 2. `retry`: failures whose `isRetryable` is true are tried again as the `Schedule` says.
 * 3. `rateLimit`: each try takes its turn. It waits for it, or fails with `RateLimited` when it would wait too long.
 * 4. `maxConnectionsPerTarget` and `maxConcurrentDials`: each try waits until it is within the limits.
 *
 * The time: a dial's `connectTimeout` is for everything together, as with every Dialer: tries, pauses and waiting. Each
 * try has at most `tryTimeout` of it. Who does not say gets the policy's `connectTimeout`.
 *
 * The errors are those of the Dialer below, and with `"policy"` as their `hop`:
 *
 * - `CircuitOpen`: the target is left alone; `retryAfter` says for how long
 * - `RateLimited`: the next dial is allowed in `retryAfter`
 * - `ConnectTimeout`: the time was over before a try could begin, or between two
 *
 * What is known of a target is forgotten some time after its last dial: of the rate after one `window`, of the circuit
 * after an hour.
 *
 * **Gotchas**
 *
 * Targets are told apart as they are written: `"db:5432"` and the address of `db` are two. The limits are those of one
 * layer: use one value of it for what is to share them. Building it for two paths makes two policies.
 *
 * **Example** (Patience with a database that restarts)
 *
 * ```ts
 * import { Layer, Schedule } from "effect"
 * import { Dialer, Policy, TcpClient } from "hawser"
 *
 * const Network = Policy.layer({
 *   retry: Schedule.exponential("100 millis").pipe(Schedule.jittered),
 *   connectTimeout: "30 seconds",
 *   tryTimeout: "2 seconds",
 *   circuitBreaker: { failures: 3, openFor: "1 minute" },
 *   rateLimit: { limit: 20, window: "1 second" },
 *   maxConnectionsPerTarget: 10
 * }).pipe(Layer.provide(Dialer.layer))
 *
 * const Live = TcpClient.layer.pipe(Layer.provide(Network))
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type { DialError } from "../errors/DialError.ts"
import { policed } from "../internal/net/policy.ts"
import * as Dialer from "../services/Dialer.ts"

/**
 * When to leave a target alone.
 *
 * @category models
 * @since 0.1.0
 */
export interface CircuitBreakerOptions {
  /**
   * After how many dials in a row that failed. All reasons count but `InvalidTarget`, `RateLimited` and `CircuitOpen`;
   * interrupted dials do not count. Default 5.
   */
  readonly failures?: number | undefined
  /**
   * How long. With a `Schedule` longer each time, as it says, while the target stays broken. Default 30 seconds.
   */
  readonly openFor?: Duration.Input | Schedule.Schedule<unknown, number> | undefined
}

/**
 * How often a target may be dialled: `limit` times at once, and then evenly over each `window`.
 *
 * @category models
 * @since 0.1.0
 */
export interface RateLimitOptions {
  /** How many dials are allowed in a `window`; at least 1. */
  readonly limit: number
  /** How long that is. Default 1 second. */
  readonly window?: Duration.Input | undefined
  /**
   * What becomes of a dial whose turn has not come: `"wait"` for it, and fail with `RateLimited` at once only when it
   * comes after the dial's time is over; or `"fail"`. Default `"wait"`.
   */
  readonly onExceeded?: "wait" | "fail" | undefined
}

/**
 * What to do. Default: nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface PolicyOptions {
  /** When to try again after a failure whose `isRetryable` is true; its input is the error. Default: never. */
  readonly retry?: Schedule.Schedule<unknown, DialError> | undefined
  /** How long one try may take. Default: that of the Dialer below, 10 seconds for `Dialer.layer`. */
  readonly tryTimeout?: Duration.Input | undefined
  /**
   * How long a dial may take with all its tries and waiting when its caller does not say. Default 30 seconds with `retry`,
   * otherwise that of the Dialer below.
   */
  readonly connectTimeout?: Duration.Input | undefined
  /** How many dials may be in flight at the same time, to all targets together. Default: any number. */
  readonly maxConcurrentDials?: number | undefined
  /** How many connections to one target may be open or being opened at the same time. Default: any number. */
  readonly maxConnectionsPerTarget?: number | undefined
  /** When to leave a target alone. Default: never. */
  readonly circuitBreaker?: CircuitBreakerOptions | undefined
  /** How often a target may be dialled. Default: any number of times. */
  readonly rateLimit?: RateLimitOptions | undefined
}

/**
 * A Dialer that follows a policy. Each call makes a new layer, with limits of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: PolicyOptions): Layer.Layer<Dialer.Dialer, never, Dialer.Dialer> =>
  Layer.fresh(Layer.effect(Dialer.Dialer, Effect.flatMap(Dialer.Dialer, (below) => policed(below, options))))
