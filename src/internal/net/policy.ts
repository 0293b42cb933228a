import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as RcMap from "effect/RcMap"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Duplex } from "node:stream"
import { CircuitOpen, ConnectTimeout, DialError, type DialErrorReason, RateLimited } from "../../errors/DialError.ts"
import { scopedUnlessFailed } from "./duplex.ts"
import { budgetOf, dialing, type Path } from "./hop.ts"
import { Rate } from "./rate.ts"
import * as Target from "./target.ts"

export interface Options {
  readonly retry?: Schedule.Schedule<unknown, DialError> | undefined
  readonly tryTimeout?: Duration.Input | undefined
  readonly connectTimeout?: Duration.Input | undefined
  readonly maxConcurrentDials?: number | undefined
  readonly maxConnectionsPerTarget?: number | undefined
  readonly circuitBreaker?: {
    readonly failures?: number | undefined
    readonly openFor?: Duration.Input | Schedule.Schedule<unknown, number> | undefined
  } | undefined
  readonly rateLimit?: {
    readonly limit: number
    readonly window?: Duration.Input | undefined
    readonly onExceeded?: "wait" | "fail" | undefined
  } | undefined
}

const hop = "policy"

/** A dial that is to follow a part of the policy. */
type Dial = Effect.Effect<Duplex, DialError, Scope.Scope>

/** A part of the policy; `left` is the time that the dial still has. */
type Part = (dial: Dial, target: string, left: Effect.Effect<Duration.Duration>) => Dial

const free: Part = (dial) => dial

const fail = (target: string, reason: DialErrorReason) => Effect.fail(new DialError({ target, hop, reason }))

const timeout = (target: string, after: Duration.Duration, phase: string) =>
  fail(target, new ConnectTimeout({ after, phase }))

const atLeastOne = (count: number) => Math.max(1, Math.floor(count))

/** Failures that say nothing about the health of a target. */
const inconclusive = new Set<DialErrorReason["_tag"]>(["InvalidTarget", "RateLimited", "CircuitOpen"])

/** Whether a dial says something about the health of its target. */
const outcome = (exit: Exit.Exit<unknown, DialError>): CircuitBreaker.Outcome => {
  if (Exit.isSuccess(exit)) return CircuitBreaker.success
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" && inconclusive.has(error.value.reason._tag)
    ? CircuitBreaker.ignored
    : CircuitBreaker.failure()
}

const circuit = Effect.fnUntraced(function*({ failures, openFor }: NonNullable<Options["circuitBreaker"]>) {
  const store = yield* Layer.build(CircuitBreaker.layerStoreMemory())
  const breaker = yield* Effect.provide(
    CircuitBreaker.make({
      tripPolicy: CircuitBreaker.consecutive(atLeastOne(failures ?? 5)),
      openDuration: openFor ?? "30 seconds"
    }),
    store
  )
  const guarded: Part = (dial, target) =>
    dial.pipe(
      breaker.execute<Duplex, DialError>({ key: target, classify: outcome }),
      // while one dial tries whether the target is back, nobody knows how long that takes
      Effect.catchTag("CircuitBreakerError", ({ reason }) =>
        fail(
          target,
          new CircuitOpen({ retryAfter: reason._tag === "CircuitOpen" ? reason.retryAfter : Duration.zero })
        ))
    )
  return guarded
})

const retrying = (schedule: Schedule.Schedule<unknown, DialError>): Part => (dial, target, left) =>
  Effect.flatMap(left, (duration) =>
    dial.pipe(
      Effect.retry({ schedule, while: (error) => error.isRetryable }),
      // a try ends in time by itself, a pause does not
      Effect.timeoutOrElse({ duration, orElse: () => timeout(target, duration, "a try that succeeds") })
    ))

const rated = ({ limit, onExceeded = "wait", window = "1 second" }: NonNullable<Options["rateLimit"]>): Part => {
  const rate = new Rate(atLeastOne(limit), Duration.fromInputUnsafe(window))
  return (dial, target, left) =>
    (onExceeded === "fail" ? Effect.succeed(Duration.zero) : left).pipe(
      Effect.flatMap((patience) => rate.take(target, patience)),
      Effect.catch((retryAfter) => fail(target, new RateLimited({ retryAfter }))),
      Effect.flatMap((wait) => Duration.isZero(wait) ? dial : Effect.delay(dial, wait))
    )
}

/** Waits for a permit as long as the dial has time. */
const permit = (semaphore: Semaphore.Semaphore, target: string, left: Effect.Effect<Duration.Duration>, of: string) =>
  Effect.flatMap(
    left,
    (duration) => Effect.timeoutOrElse(semaphore.take(1), { duration, orElse: () => timeout(target, duration, of) })
  )

const inFlight = (count: number): Part => {
  const semaphore = Semaphore.makeUnsafe(atLeastOne(count))
  return (dial, target, left) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.andThen(
        restore(permit(semaphore, target, left, "one of the dials in flight to end")),
        Effect.ensuring(restore(dial), semaphore.release(1))
      )
    )
}

const open = Effect.fnUntraced(function*(count: number) {
  // those of a target are forgotten with its last connection
  const semaphores = yield* RcMap.make({ lookup: (_target: string) => Semaphore.make(atLeastOne(count)) })
  const limited: Part = (dial, target, left) =>
    scopedUnlessFailed(Effect.gen(function*() {
      const semaphore = yield* RcMap.get(semaphores, target)
      yield* Effect.acquireRelease(
        permit(semaphore, target, left, "one of the target's connections to close"),
        () => semaphore.release(1),
        { interruptible: true }
      )
      return yield* dial
    }))
  return limited
})

/** The path that follows a policy on its way through `below`. */
export const policed = Effect.fnUntraced(function*(below: Path, options: Options) {
  const connectTimeout = options.connectTimeout !== undefined
    ? Duration.fromInputUnsafe(options.connectTimeout)
    : options.retry === undefined
    ? below.connectTimeout
    : Duration.seconds(30)
  const tryTimeout = Duration.fromInputUnsafe(options.tryTimeout ?? below.connectTimeout)
  const parts: ReadonlyArray<Part> = [
    options.maxConcurrentDials === undefined ? free : inFlight(options.maxConcurrentDials),
    options.maxConnectionsPerTarget === undefined ? free : yield* open(options.maxConnectionsPerTarget),
    options.rateLimit === undefined ? free : rated(options.rateLimit),
    options.retry === undefined ? free : retrying(options.retry),
    options.circuitBreaker === undefined ? free : yield* circuit(options.circuitBreaker)
  ]
  const path: Path = {
    connectTimeout,
    dial: dialing(hop, (target, dialOptions) =>
      Effect.clockWith((clock) => {
        const budget = budgetOf(dialOptions, connectTimeout)
        const started = clock.currentTimeMillisUnsafe()
        const left = Effect.sync(() =>
          Duration.subtract(budget, Duration.millis(clock.currentTimeMillisUnsafe() - started))
        )
        const once: Dial = Effect.flatMap(left, (time) =>
          below.dial(target, { ...dialOptions, connectTimeout: Duration.min(time, tryTimeout) }))
        const name = Target.format(target)
        return parts.reduce((dial, part) =>
          part(dial, name, left), once)
      }))
  }
  return path
})
