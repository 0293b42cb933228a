import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type * as TestClock from "effect/testing/TestClock"
import { markSettling } from "../net/realTime.ts"
import type { Activity } from "./activity.ts"
import { Agenda } from "./agenda.ts"

/** A test clock whose time goes on only while nothing moves. */
export interface SettlingClock extends TestClock.TestClock {
  /** When the next sleep ends. */
  readonly nextDue: number | undefined
  /** Goes on to `nextDue`, where there is one, and waits until nothing moves any more. */
  readonly next: Effect.Effect<void>
}

export const isTestClock = (clock: Clock.Clock): clock is TestClock.TestClock =>
  "adjust" in clock && "setTime" in clock && "withLive" in clock

export const isSettlingClock = (clock: Clock.Clock): clock is SettlingClock =>
  isTestClock(clock) && "next" in clock && "nextDue" in clock

/**
 * The same time as that of a test clock, with another way to go on: `adjust` and `setTime` stop at each time at which a sleep
 * ends, until all that comes of it has happened at that time, however many turns of the event loop that takes. So a
 * timeout that is due later does not overtake data that has only to be read.
 */
export const settlingClock = (clock: TestClock.TestClock, activity: Activity): SettlingClock => {
  const sleeps = new Agenda<void>()
  const hand = Semaphore.makeUnsafe(1)
  const now = () => clock.currentTimeMillisUnsafe()

  const goTo = Effect.fnUntraced(function*(due: number) {
    yield* clock.setTime(due)
    // what sleeps on although its time has come would be due for ever
    while (sleeps.take(due) !== undefined) { /* gone */ }
    yield* activity.settled
  })

  /** Goes from sleep to sleep, and from the last one before the end to the end. */
  const goOn = (until: (now: number) => number, arrive: (passed: Duration.Duration) => Effect.Effect<void>) =>
    hand.withPermit(Effect.gen(function*() {
      yield* activity.settled
      const start = clock.currentTimeNanosUnsafe()
      const end = until(now())
      for (let next = sleeps.first; next !== undefined && next.due <= end; next = sleeps.first) yield* goTo(next.due)
      yield* arrive(Duration.nanos(clock.currentTimeNanosUnsafe() - start))
      yield* activity.settled
    }))

  const settling: SettlingClock = {
    currentTimeMillis: clock.currentTimeMillis,
    currentTimeMillisUnsafe: now,
    currentTimeNanos: clock.currentTimeNanos,
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    withLive: (effect) => clock.withLive(effect),
    sleep: (duration) =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          const due = now() + Duration.toMillis(duration)
          return due > now() && Number.isFinite(due) ? sleeps.add(due) : undefined
        }),
        () => clock.sleep(duration),
        (remove) => Effect.sync(() => remove?.())
      ),
    adjust: (input) => {
      const duration = Duration.fromInputUnsafe(input)
      return goOn(
        (time) => time + Duration.toMillis(duration),
        (passed) => clock.adjust(Duration.subtract(duration, passed))
      )
    },
    setTime: (timestamp) => goOn(() => timestamp, () => clock.setTime(timestamp)),
    get nextDue() {
      return sleeps.first?.due
    },
    next: hand.withPermit(Effect.suspend(() => sleeps.first === undefined ? Effect.void : goTo(sleeps.first.due)))
  }
  markSettling(settling)
  return settling
}
