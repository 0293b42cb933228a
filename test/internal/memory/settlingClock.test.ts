import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { Activity } from "../../../src/internal/memory/activity.ts"
import {
  isSettlingClock,
  isTestClock,
  type SettlingClock,
  settlingClock
} from "../../../src/internal/memory/settlingClock.ts"
import { leavesNothing } from "../../support/leaks.ts"

/** What runs on a settling clock, as a test that uses the network does. */
const onSettlingClock = <A, E, R>(
  effect: (clock: SettlingClock, activity: Activity, raw: TestClock.TestClock) => Effect.Effect<A, E, R>
) =>
  leavesNothing(Effect.gen(function*() {
    const raw = yield* TestClock.testClockWith(Effect.succeed)
    const activity = new Activity()
    const clock = settlingClock(raw, activity)
    return yield* Effect.provideService(effect(clock, activity, raw), Clock.Clock, clock)
  }))

/** I/O that takes no time but many turns of the event loop. */
const io = (activity: Activity, turns = 40): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const turn = (left: number) => {
      activity.note()
      if (left === 0) resume(Effect.void)
      else setImmediate(turn, left - 1)
    }
    turn(turns)
  })

describe("settlingClock", () => {
  it.effect("is a test clock with the same time", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock, _activity, raw) {
      assert.isTrue(isTestClock(clock) && isTestClock(raw) && isSettlingClock(clock))
      assert.isFalse(isSettlingClock(raw))
      const live = Context.get(yield* clock.withLive(Effect.context()), Clock.Clock)
      assert.isFalse(isTestClock(live))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(raw.currentTimeMillisUnsafe(), 60_000)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 60_000)
      assert.strictEqual(yield* clock.currentTimeNanos, 60_000_000_000n)
      assert.strictEqual(yield* clock.monotonicTimeNanos, 60_000_000_000n)
      yield* raw.adjust("1 minute")
      assert.strictEqual(yield* Clock.currentTimeMillis, 120_000)
    })))

  it.effect("goes from one sleep to the next and lets all I/O in between settle", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock, activity) {
      const heard: Array<string> = []
      const hear = (what: string) => Effect.sync(() => void heard.push(`${clock.currentTimeMillisUnsafe()} ${what}`))
      const poll = (name: string, every: Duration.Input) =>
        Effect.forkChild(Effect.forever(Effect.andThen(
          Effect.sleep(every),
          Effect.andThen(hear(`${name} asks`), Effect.andThen(io(activity), hear(`${name} hears`)))
        )))
      yield* poll("a", 20)
      yield* poll("b", 30)
      yield* TestClock.adjust(45)
      assert.deepStrictEqual(heard, ["20 a asks", "20 a hears", "30 b asks", "30 b hears", "40 a asks", "40 a hears"])
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 45)
      assert.strictEqual(clock.nextDue, 60)
      yield* TestClock.setTime(60)
      assert.deepStrictEqual(heard.slice(6).toSorted(), ["60 a asks", "60 a hears", "60 b asks", "60 b hears"])
    })))

  it.effect("lets no timeout fire before its time, also where both are passed in one step", () =>
    onSettlingClock(Effect.fnUntraced(function*(_clock, activity) {
      const answer = Effect.andThen(Effect.sleep("99 millis"), Effect.as(io(activity, 200), "in time"))
      const fiber = yield* Effect.forkChild(
        Effect.timeoutOrElse(answer, { duration: "100 millis", orElse: () => Effect.succeed("late") })
      )
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Fiber.join(fiber), "in time")
    })))

  it.effect("waits for what is under way before it starts, and after it has come to its end", () =>
    onSettlingClock(Effect.fnUntraced(function*(_clock, activity) {
      const before = yield* Effect.forkChild(Effect.andThen(io(activity), Effect.sleep("10 millis")))
      yield* TestClock.adjust("10 millis")
      assert.isDefined(before.pollUnsafe())
      const after = yield* Effect.forkChild(Effect.andThen(Effect.sleep("10 millis"), io(activity)))
      yield* TestClock.adjust("10 millis")
      assert.isDefined(after.pollUnsafe())
    })))

  it.effect("takes steps that are asked for at once one after the other", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock, activity) {
      const woken: Array<number> = []
      yield* Effect.forkChild(Effect.forever(Effect.andThen(
        Effect.andThen(Effect.sleep(10), io(activity)),
        Effect.sync(() => woken.push(clock.currentTimeMillisUnsafe()))
      )))
      yield* Effect.all([TestClock.adjust(25), TestClock.adjust(25), clock.next], { concurrency: "unbounded" })
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 60)
      assert.deepStrictEqual(woken, [10, 20, 30, 40, 50, 60])
    })))

  it.effect("goes on to the next sleep alone", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock, activity) {
      yield* clock.next
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 0)
      const fiber = yield* Effect.forkChild(
        Effect.andThen(Effect.sleep(10), Effect.andThen(io(activity), Effect.sleep(5)))
      )
      yield* activity.settled
      assert.strictEqual(clock.nextDue, 10)
      yield* clock.next
      assert.strictEqual(clock.nextDue, 15)
      yield* clock.next
      assert.isDefined(fiber.pollUnsafe())
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 15)
      assert.isUndefined(clock.nextDue)
    })))

  it.effect("forgets a sleep that is interrupted, and one that is over", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock) {
      const fiber = yield* Effect.forkChild(Effect.sleep("1 minute"), { startImmediately: true })
      const short = yield* Effect.forkChild(Effect.sleep("1 second"), { startImmediately: true })
      assert.strictEqual(clock.nextDue, 1000)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(short)
      assert.strictEqual(clock.nextDue, 60_000)
      yield* Fiber.interrupt(fiber)
      assert.isUndefined(clock.nextDue)
      yield* Effect.sleep(0)
      const forever = yield* Effect.forkChild(Effect.sleep(Duration.infinity), { startImmediately: true })
      assert.isUndefined(clock.nextDue)
      yield* Fiber.interrupt(forever)
    })))

  it.effect("keeps fractions of a millisecond", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock) {
      const fiber = yield* Effect.forkChild(Effect.sleep("1500 micros"))
      yield* TestClock.adjust("1750 micros")
      yield* Fiber.join(fiber)
      yield* TestClock.adjust("250 nanos")
      assert.strictEqual(clock.currentTimeNanosUnsafe(), 1_750_250n)
      assert.strictEqual(clock.monotonicTimeNanosUnsafe(), 1_750_250n)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 1.75025)
    })))

  it.effect("can be turned back, and to the end of time", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock, activity) {
      yield* TestClock.setTime(5000)
      yield* TestClock.adjust(-1000)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 4000)
      yield* TestClock.setTime(1000)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 1000)
      const fiber = yield* Effect.forkChild(
        Effect.andThen(Effect.sleep("1 day"), Effect.andThen(io(activity), Clock.currentTimeMillis))
      )
      yield* TestClock.adjust(Duration.infinity)
      assert.strictEqual(yield* Fiber.join(fiber), 86_401_000)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), Infinity)
      yield* Effect.sleep("1 day")
    })))

  it.effect("can be advanced by a fiber that a sleep has woken", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock) {
      const fiber = yield* Effect.forkChild(Effect.andThen(Effect.sleep(10), TestClock.adjust(100)))
      yield* TestClock.adjust(20)
      yield* Fiber.join(fiber)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 120)
    })))

  it.effect("can be interrupted while it waits for things to settle, and goes on later", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock, activity) {
      const woken = yield* Deferred.make<void>()
      yield* Effect.forkChild(Effect.andThen(Effect.sleep(10), Deferred.succeed(woken, undefined)))
      const busy = yield* Effect.forkChild(Effect.forever(io(activity, 5)), { startImmediately: true })
      const adjusting = yield* Effect.forkChild(TestClock.adjust(20), { startImmediately: true })
      yield* io(activity, 100)
      yield* Fiber.interrupt(adjusting)
      yield* Fiber.interrupt(busy)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 0)
      yield* TestClock.adjust(20)
      yield* Deferred.await(woken)
    })))

  it.effect("is not held up by a sleep that does not end when it is due", () =>
    onSettlingClock(Effect.fnUntraced(function*(_clock, activity, raw) {
      const clock = settlingClock({ ...raw, sleep: () => Effect.never }, activity)
      const fiber = yield* Effect.forkChild(clock.sleep(Duration.seconds(1)), { startImmediately: true })
      yield* clock.adjust("2 seconds")
      assert.isUndefined(clock.nextDue)
      yield* Fiber.interrupt(fiber)
    })))

  it.effect("moves with the clock below, also where somebody else adjusts that", () =>
    onSettlingClock(Effect.fnUntraced(function*(clock, activity, raw) {
      const fiber = yield* Effect.forkChild(Effect.sleep(10), { startImmediately: true })
      yield* raw.adjust(10)
      yield* Fiber.join(fiber)
      assert.isUndefined(clock.nextDue)
      const other = yield* Effect.forkChild(Effect.andThen(raw.sleep(Duration.seconds(1)), io(activity)))
      yield* clock.adjust("1 second")
      assert.isDefined(other.pollUnsafe())
    })))
})
