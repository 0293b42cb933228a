import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { gzip } from "node:zlib"
import { Activity } from "../../../src/internal/memory/activity.ts"
import { autopilot, type Options, Stalled } from "../../../src/internal/memory/autopilot.ts"
import { settlingClock } from "../../../src/internal/memory/settlingClock.ts"
import { Timeline } from "../../../src/internal/memory/timeline.ts"
import { leavesNothing } from "../../support/leaks.ts"

const setting = Effect.gen(function*() {
  const activity = new Activity()
  const clock = settlingClock(yield* TestClock.testClockWith(Effect.succeed), activity)
  const timeline = yield* Effect.acquireRelease(
    Effect.sync(() => new Timeline(clock, activity)),
    (timeline) => Effect.sync(() => timeline.close())
  )
  const now = () => clock.currentTimeMillisUnsafe()
  const fly = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Options) =>
    Effect.provideService(autopilot(effect, clock, activity, options), Clock.Clock, clock)
  /** What a network does: an answer comes after a time, in a turn of its own. */
  const answer = (after: number) =>
    Effect.callback<number>((resume) => {
      const cancel = timeline.at(now() + after, () => {
        activity.note()
        resume(Effect.succeed(now()))
      })
      return Effect.sync(cancel)
    })
  return { activity, answer, clock, fly, now, timeline }
})

const zipped = Effect.callback<number>((resume) => {
  gzip(Buffer.alloc(4_000_000, "hawser"), (_error, data) => resume(Effect.succeed(data.length)))
})

describe("autopilot", () => {
  it.effect("goes on whenever nothing moves, until the effect has ended", () =>
    leavesNothing(Effect.gen(function*() {
      const { answer, fly, now } = yield* setting
      const times = Effect.gen(function*() {
        const first = yield* answer(1500.5)
        yield* Effect.sleep("1 hour")
        return [first, yield* answer(1), yield* Clock.currentTimeMillis]
      })
      assert.deepStrictEqual(yield* fly(times), [1501, 3_601_502, 3_601_502])
      assert.strictEqual(now(), 3_601_502)
      assert.strictEqual(yield* Effect.flip(fly(Effect.andThen(Effect.sleep("1 second"), Effect.fail("no")))), "no")
      assert.isTrue(Exit.hasDies(yield* Effect.exit(fly(Effect.die("no")))))
    })))

  it.effect("lets a timeout fire at its time, and not before", () =>
    leavesNothing(Effect.gen(function*() {
      const { answer, fly } = yield* setting
      const within = (after: number) =>
        Effect.timeoutOrElse(answer(after), {
          duration: "1 second",
          orElse: () => Effect.map(Clock.currentTimeMillis, (time) => `late at ${time}`)
        })
      assert.strictEqual(yield* fly(within(999)), 999)
      assert.strictEqual(yield* fly(within(1001)), "late at 1999")
    })))

  it.effect("finds what waits for ever, tells when, and lets its finalizers take their time", () =>
    leavesNothing(Effect.gen(function*() {
      const { answer, clock, fly, now } = yield* setting
      yield* clock.adjust("1 minute")
      let cleaned = false
      const stuck = Effect.andThen(Effect.sleep("90 seconds"), Effect.never).pipe(
        Effect.ensuring(Effect.andThen(answer(5000), Effect.sync(() => void (cleaned = true))))
      )
      const error = yield* Effect.flip(fly(stuck, { patience: 10 }))
      assert.instanceOf(error, Stalled)
      assert.strictEqual(error.why, "Deadlock")
      assert.include(error.message, "1m 30s")
      assert.isTrue(cleaned)
      assert.strictEqual(now(), 155_000)
      assert.isUndefined(clock.nextDue)
    })))

  it.effect("leaves alone what cannot be interrupted", () =>
    leavesNothing(Effect.gen(function*() {
      const { fly } = yield* setting
      const error = yield* Effect.flip(fly(Effect.uninterruptible(Effect.never), { patience: 10 }))
      assert.strictEqual(error.why, "Deadlock")
    })))

  it.effect("ends what is stuck beside something that goes on for ever", () =>
    leavesNothing(Effect.gen(function*() {
      const { fly, now } = yield* setting
      const ticking = Effect.forkChild(Effect.forever(Effect.sleep("30 minutes")))
      const error = yield* Effect.flip(fly(Effect.andThen(ticking, Effect.never)))
      assert.strictEqual(error.why, "TimeLimit")
      assert.include(error.message, "1d")
      assert.strictEqual(now(), 86_400_000)
      const short = yield* Effect.flip(fly(Effect.sleep("2 minutes"), { limit: "1 minute" }))
      assert.strictEqual(short.why, "TimeLimit")
      assert.strictEqual(yield* fly(Effect.as(Effect.sleep("2 minutes"), "done"), { limit: "2 minutes" }), "done")
    })))

  it.effect("ends with the effect, although traffic beside it never pauses", () =>
    leavesNothing(Effect.gen(function*() {
      const { activity, fly, timeline } = yield* setting
      const done = yield* Deferred.make<string>()
      let left = 500
      const chatter = () => {
        activity.note()
        if (left-- === 0) Deferred.doneUnsafe(done, Exit.succeed("done"))
        timeline.soon(chatter)
      }
      timeline.soon(chatter)
      assert.strictEqual(yield* fly(Deferred.await(done)), "done")
      timeline.close()
    })))

  it.effect("waits for the work of other threads when there is nothing else to wait for", () =>
    leavesNothing(Effect.gen(function*() {
      const { fly, now } = yield* setting
      const program = Effect.gen(function*() {
        const size = (yield* zipped) + (yield* zipped)
        yield* Effect.sleep("1 second")
        return size + (yield* zipped)
      })
      assert.isAbove(yield* fly(program, { patience: "1 minute" }), 0)
      assert.strictEqual(now(), 1000)
    })))

  it.effect("interrupts the effect when it is interrupted, and waits for its finalizers", () =>
    leavesNothing(Effect.gen(function*() {
      const { answer, fly, now } = yield* setting
      const started = yield* Deferred.make<void>()
      let cleaned = false
      const program = Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
        Effect.ensuring(Effect.andThen(answer(5000), Effect.sync(() => void (cleaned = true))))
      )
      const fiber = yield* Effect.forkChild(fly(program, { patience: "1 minute" }))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(cleaned)
      assert.strictEqual(now(), 5000)
    })))

  it.effect("does not turn the clock back where the effect adjusts it itself", () =>
    leavesNothing(Effect.gen(function*() {
      const { fly, now } = yield* setting
      const program = Effect.gen(function*() {
        const sleeping = yield* Effect.forkChild(Effect.sleep("5 seconds"), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(sleeping)
        yield* Effect.sleep("1 second")
      })
      yield* fly(program)
      assert.strictEqual(now(), 61_000)
    })))

  it.live("just runs the effect on a clock that goes by itself", () =>
    leavesNothing(Effect.gen(function*() {
      const clock = yield* Clock.Clock
      assert.strictEqual(yield* autopilot(Effect.as(Effect.sleep(2), "done"), clock, new Activity()), "done")
    })))
})
