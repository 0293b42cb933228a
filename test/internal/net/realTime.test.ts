import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { Duplex } from "node:stream"
import { destroyWhenFlushed } from "../../../src/internal/net/duplex.ts"
import { alarmAnyway, isSettling, markSettling, realClock, stopwatch } from "../../../src/internal/net/realTime.ts"
import { leavesNothing } from "../../support/leaks.ts"

/** Waits for an alarm, and counts how often it rings. */
const rings = (clock: Clock.Clock, after: Duration.Input) => {
  let count = 0
  return Effect.map(
    Effect.callback<void>((resume) =>
      void alarmAnyway(clock, Duration.fromInputUnsafe(after), () => {
        count++
        resume(Effect.void)
      })
    ),
    () => count
  )
}

/** A stream whose peer takes nothing. */
const stuck = Effect.acquireRelease(
  Effect.sync(() => {
    const duplex = new Duplex({ write: () => {}, read: () => {} })
    duplex.end("unsent")
    return duplex
  }),
  (duplex) => Effect.sync(() => void duplex.destroy())
)

describe("an alarm that rings in any case", () => {
  it.effect("rings when a test's clock has come to its time", () =>
    leavesNothing(Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const ringing = yield* Effect.forkChild(rings(clock, "1 hour"), { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Fiber.join(ringing), 1)
    })))

  it.effect("rings when the time has really passed and nobody turned the clock", () =>
    leavesNothing(Effect.gen(function*() {
      assert.strictEqual(yield* rings(yield* Clock.Clock, "20 millis"), 1)
    })))

  it.effect("rings in neither way once it was stopped", () =>
    leavesNothing(Effect.gen(function*() {
      let rung = false
      const stop = alarmAnyway(yield* Clock.Clock, Duration.millis(1), () => {
        rung = true
      })
      stop()
      yield* TestClock.adjust("1 second")
      yield* TestClock.withLive(Effect.sleep("10 millis"))
      assert.isFalse(rung)
    })))

  it.effect("leaves a clock that waits for all that moves the time that it needs", () =>
    leavesNothing(Effect.gen(function*() {
      const clock = yield* TestClock.make()
      assert.isFalse(isSettling(clock))
      markSettling(clock)
      assert.isTrue(isSettling(clock))
      const ringing = yield* Effect.forkChild(rings(clock, "10 millis"), { startImmediately: true })
      yield* TestClock.withLive(Effect.sleep("50 millis"))
      assert.isUndefined(ringing.pollUnsafe())
      yield* clock.adjust("10 millis")
      assert.strictEqual(yield* Fiber.join(ringing), 1)
    })))

  it.live("rings once where the clock is the real one", () =>
    leavesNothing(Effect.gen(function*() {
      const clock = yield* Clock.Clock
      assert.strictEqual(clock, realClock)
      assert.strictEqual(yield* rings(clock, "5 millis"), 1)
    })))
})

describe("a stream that is closed while its peer takes nothing", () => {
  it.effect("is waited for two seconds of a test's clock", () =>
    leavesNothing(Effect.gen(function*() {
      const duplex = yield* stuck
      const closing = yield* Effect.forkChild(destroyWhenFlushed(duplex), { startImmediately: true })
      yield* TestClock.adjust("1999 millis")
      assert.isFalse(duplex.destroyed)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.isTrue(duplex.destroyed)
    })))
})

describe("a stopwatch", () => {
  it.effect("goes by the clock, in fractions of milliseconds", () =>
    Effect.gen(function*() {
      const now = stopwatch(yield* Clock.Clock)
      const before = now()
      yield* TestClock.adjust("1500 micros")
      assert.strictEqual(now() - before, 1.5)
    }))
})
