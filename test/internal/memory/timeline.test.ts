import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { Activity } from "../../../src/internal/memory/activity.ts"
import { isTestClock, settlingClock } from "../../../src/internal/memory/settlingClock.ts"
import { Timeline } from "../../../src/internal/memory/timeline.ts"
import { leavesNothing } from "../../support/leaks.ts"

const setting = Effect.gen(function*() {
  const raw = yield* Clock.Clock
  const activity = new Activity()
  const clock = isTestClock(raw) ? settlingClock(raw, activity) : raw
  const timeline = yield* Effect.acquireRelease(
    Effect.sync(() => new Timeline(clock, activity)),
    (timeline) => Effect.sync(() => timeline.close())
  )
  const happened: Array<string> = []
  const event = (name: string) => () => {
    happened.push(`${timeline.now()} ${name}`)
  }
  const adjust = (millis: number) => Effect.provideService(TestClock.adjust(millis), Clock.Clock, clock)
  return { activity, adjust, clock, event, happened, timeline }
})

describe("Timeline", () => {
  it.effect("lets things happen at their times, in whichever order they were set", () =>
    leavesNothing(Effect.gen(function*() {
      const { activity, adjust, event, happened, timeline } = yield* setting
      for (const millis of [300, 100, 200, 100.5, 100.25]) timeline.at(millis, event(`${millis}`))
      assert.strictEqual(timeline.nextDue, 100)
      yield* adjust(99)
      assert.deepStrictEqual(happened, [])
      yield* adjust(500)
      assert.deepStrictEqual(happened, ["100 100", "101 100.25", "101 100.5", "200 200", "300 300"])
      assert.isUndefined(timeline.nextDue)
      assert.strictEqual(activity.count, 5)
    })))

  it.effect("wakes earlier for what is set later but is due earlier", () =>
    leavesNothing(Effect.gen(function*() {
      const { adjust, event, happened, timeline } = yield* setting
      timeline.at(60_000, event("late"))
      yield* adjust(10)
      timeline.at(20, event("early"))
      yield* adjust(10)
      assert.deepStrictEqual(happened, ["20 early"])
    })))

  it.effect("lets things of one time happen in the order in which they were set, each in a turn of its own", () =>
    leavesNothing(Effect.gen(function*() {
      const { adjust, event, happened, timeline } = yield* setting
      const noisy = (name: string) => () => {
        event(name)()
        process.nextTick(event(`tick of ${name}`))
        queueMicrotask(event(`microtask of ${name}`))
      }
      timeline.at(5, noisy("a"))
      timeline.at(5, noisy("b"))
      yield* adjust(5)
      timeline.soon(noisy("c"))
      timeline.at(5, noisy("d"))
      timeline.at(1, noisy("e"))
      timeline.soon(noisy("f"))
      assert.lengthOf(happened, 6)
      yield* adjust(0)
      assert.deepStrictEqual(
        happened,
        ["a", "b", "c", "d", "e", "f"].flatMap((name) => [`5 ${name}`, `5 tick of ${name}`, `5 microtask of ${name}`])
      )
    })))

  it.effect("never lets one thing happen inside another", () =>
    leavesNothing(Effect.gen(function*() {
      const { adjust, event, happened, timeline } = yield* setting
      timeline.at(5, () => {
        timeline.at(5, event("at"))
        timeline.soon(event("soon"))
        timeline.at(7, event("later"))
        event("outer")()
      })
      timeline.at(5, event("next"))
      yield* adjust(10)
      assert.deepStrictEqual(happened, ["5 outer", "5 next", "5 at", "5 soon", "7 later"])
    })))

  it.effect("cancels what has not happened yet, also in the turn before", () =>
    leavesNothing(Effect.gen(function*() {
      const { adjust, clock, event, happened, timeline } = yield* setting
      const cancelB = timeline.at(5, event("b"))
      let cancelC = () => {}
      timeline.at(5, () => {
        event("a")()
        cancelC()
      })
      cancelC = timeline.at(5, event("c"))
      cancelB()
      cancelB()
      const cancelNow = timeline.at(0, event("now"))
      cancelNow()
      yield* adjust(10)
      assert.deepStrictEqual(happened, ["5 a"])
      cancelC()
      const cancelLast = timeline.at(20, event("last"))
      cancelLast()
      assert.isUndefined(timeline.nextDue)
      assert.isTrue("nextDue" in clock && clock.nextDue === undefined)
    })))

  it.effect("can be set anew by what happens, for long", () =>
    leavesNothing(Effect.gen(function*() {
      const { adjust, event, happened, timeline } = yield* setting
      const again = () => {
        event("tick")()
        timeline.at(timeline.now() + 10, again)
      }
      timeline.at(10, again)
      yield* adjust(100)
      assert.lengthOf(happened, 10)
    })))

  it.effect("drops everything when it is closed, and takes nothing more", () =>
    leavesNothing(Effect.gen(function*() {
      const { adjust, clock, event, happened, timeline } = yield* setting
      timeline.soon(event("soon"))
      timeline.at(0, event("now"))
      timeline.at(10, event("later"))
      timeline.close()
      timeline.soon(event("soon"))
      timeline.at(0, event("now"))
      timeline.at(10, event("later"))
      assert.isUndefined(timeline.nextDue)
      assert.isTrue("nextDue" in clock && clock.nextDue === undefined)
      yield* adjust(100)
      assert.deepStrictEqual(happened, [])
    })))

  it.effect("on a test clock as it is, too", () =>
    leavesNothing(Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const timeline = new Timeline(clock, new Activity())
      const happened: Array<number> = []
      for (const millis of [30, 10, 20]) timeline.at(millis, () => void happened.push(millis))
      yield* TestClock.adjust(30)
      yield* new Activity().settled
      assert.deepStrictEqual(happened, [10, 20, 30])
      timeline.close()
    })))

  it.live("on the real clock, and leaves no timer behind", () =>
    leavesNothing(Effect.gen(function*() {
      const { event, happened, timeline } = yield* setting
      timeline.at(timeline.now() + 60_000, event("never"))
      yield* Effect.callback<void>((resume) => {
        timeline.at(timeline.now() + 2.5, () => resume(Effect.void))
      })
      timeline.at(Infinity, event("never"))
      assert.deepStrictEqual(happened, [])
    })))
})
