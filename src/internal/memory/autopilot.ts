import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type { Activity } from "./activity.ts"
import { isSettlingClock, type SettlingClock } from "./settlingClock.ts"

/**
 * A program that waits for what will never happen: a hang found. `after` is how much simulated time it had run.
 *
 * - `"Deadlock"`: nothing is under way and nothing is due: no fiber sleeps, no delivery is to come, no timeout is set.
 * - `"TimeLimit"`: it has not ended within the limit of simulated time. Something is still due then, such as the next round
 *   of a fiber that does something every second.
 *
 * @category errors
 * @since 0.1.0
 */
export class Stalled extends Schema.TaggedError<Stalled>("hawser/testing/Stalled")("Stalled", {
  why: Schema.Literals(["Deadlock", "TimeLimit"]),
  after: Schema.Duration
}) {
  override get message(): string {
    const after = Duration.format(this.after)
    return this.why === "Deadlock"
      ? `the program would wait for ever: after ${after} of simulated time nothing is under way, no fiber sleeps and no `
        + "timeout is set; it waits for data, a connection or another fiber that will never come"
      : `the program has not ended within ${after} of simulated time, although there is always something due next, such as `
        + "a fiber that repeats for ever; is it stuck beside that, or does it need a higher limit?"
  }
}

export interface Options {
  /** How much simulated time the program may take. Default 24 hours. */
  readonly limit?: Duration.Input | undefined
  /**
   * How much real time other threads, whose work cannot be seen (zlib, the making of keys), may take for one piece of it when
   * there is nothing else to wait for. Default 500 ms.
   */
  readonly patience?: Duration.Input | undefined
}

/** Moves the clock on whenever nothing moves, until that leads nowhere. */
const fly = Effect.fnUntraced(function*(clock: SettlingClock, activity: Activity, options: Options) {
  const start = clock.currentTimeMillisUnsafe()
  const end = start + Duration.toMillis(Duration.fromInputUnsafe(options.limit ?? "24 hours"))
  const patience = Duration.toMillis(Duration.fromInputUnsafe(options.patience ?? "500 millis"))
  const stalled = (why: Stalled["why"], at: number) => new Stalled({ why, after: Duration.millis(at - start) })
  yield* activity.settled
  for (;;) {
    if (clock.nextDue === undefined) {
      const goesOn = yield* activity.stirs(() => clock.nextDue !== undefined, patience)
      if (!goesOn) return stalled("Deadlock", clock.currentTimeMillisUnsafe())
      yield* activity.settled
    } else if (clock.nextDue > end) {
      return stalled("TimeLimit", end)
    } else {
      yield* clock.next
    }
  }
})

/**
 * Runs an effect in simulated time: whenever nothing moves, the clock goes on to the next time at which a sleep ends. On a
 * clock that goes by itself the effect just runs.
 */
export const autopilot = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  clock: Clock.Clock,
  activity: Activity,
  options: Options = {}
): Effect.Effect<A, E | Stalled, R> => {
  if (!isSettlingClock(clock)) return effect
  const ended = (fiber: Fiber.Fiber<A, E>) =>
    Effect.raceFirst(Effect.asVoid(Fiber.await(fiber)), fly(clock, activity, options))
  // finalizers may take their time, too; what cannot be interrupted is left alone
  const interrupted = (fiber: Fiber.Fiber<A, E>) => {
    fiber.interruptUnsafe()
    return ended(fiber)
  }
  return Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkDetach(effect, { startImmediately: true })
      const stalled = yield* Effect.onInterrupt(restore(ended(fiber)), () => interrupted(fiber))
      if (stalled === undefined) return yield* Fiber.join(fiber)
      yield* interrupted(fiber)
      return yield* stalled
    })
  )
}
