import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { alarm, within } from "../../../src/internal/net/deadline.ts"
import { leavesNothing } from "../../support/leaks.ts"

const setting = Effect.map(Clock.Clock, (clock) => {
  const rung: Array<string> = []
  const set = (name: string, after: Duration.Input) =>
    alarm(clock, Duration.fromInputUnsafe(after), () => void rung.push(`${clock.currentTimeMillisUnsafe()} ${name}`))
  return { clock, rung, set }
})

describe("alarms", () => {
  it.effect("ring at their times, in whichever order they were set", () =>
    leavesNothing(Effect.gen(function*() {
      const { rung, set } = yield* setting
      set("c", 300)
      set("a", 100)
      set("b", 200)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(rung, [])
      for (let i = 0; i < 3; i++) yield* TestClock.adjust(i === 0 ? 1 : 100)
      assert.deepStrictEqual(rung, ["100 a", "200 b", "300 c"])
    })))
  it.effect("do not ring when they are stopped, also where that is the one that is waited for", () =>
    leavesNothing(Effect.gen(function*() {
      const { rung, set } = yield* setting
      const stop = set("stopped", 100)
      set("kept", 250)
      stop()
      stop()
      yield* TestClock.adjust(100)
      yield* TestClock.adjust(150)
      assert.deepStrictEqual(rung, ["250 kept"])
    })))
  it.effect("can be set and stopped by one that rings", () =>
    leavesNothing(Effect.gen(function*() {
      const { clock, rung, set } = yield* setting
      let stop = () => {}
      alarm(clock, Duration.millis(100), () => {
        stop()
        set("next", 50)
      })
      stop = set("stopped", 100)
      yield* TestClock.adjust(100)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(rung, ["150 next"])
    })))
  it.effect("ring in the millisecond after the time that a clock cannot tell", () =>
    leavesNothing(Effect.gen(function*() {
      const { rung, set } = yield* setting
      set("a", "99500 micros")
      set("b", 100)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(rung, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(rung, ["100 a", "100 b"])
    })))
  it.effect("at no distance ring in the next moment, at an infinite one never", () =>
    leavesNothing(Effect.gen(function*() {
      const { rung, set } = yield* setting
      set("never", Duration.infinity)()
      set("now", 0)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(rung, ["0 now"])
    })))
  it.live("leave no timer behind once all are stopped", () =>
    leavesNothing(Effect.gen(function*() {
      const { rung, set } = yield* setting
      const stops = [set("a", 60_000), set("b", 30_000), set("c", 90_000)]
      for (const stop of stops) stop()
      assert.deepStrictEqual(rung, [])
    })))
  it.live("ring on the real clock", () =>
    leavesNothing(Effect.gen(function*() {
      const { clock } = yield* setting
      yield* Effect.callback<void>((resume) => void alarm(clock, Duration.millis(5), () => resume(Effect.void)))
    })))
})

describe("within", () => {
  const late = () => Effect.succeed("late" as const)
  const second = Duration.seconds(1)

  it.effect("gives what the effect gives, in its own context", () =>
    leavesNothing(Effect.gen(function*() {
      class Name extends Context.Service<Name, string>()("test/Name") {}
      const greeting = Effect.delay(Effect.map(Name, (name) => `hello ${name}`), "10 millis")
      const answer = yield* Effect.forkChild(Effect.provideService(within(greeting, second, late), Name, "you"))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(yield* Fiber.join(answer), "hello you")
      assert.strictEqual(yield* within(Effect.succeed("at once"), second, late), "at once")
      assert.strictEqual(yield* Effect.flip(within(Effect.fail("no"), second, late)), "no")
      assert.strictEqual(
        yield* Effect.flip(within(Effect.andThen(Effect.yieldNow, Effect.fail("no")), second, late)),
        "no"
      )
    })))
  it.effect("interrupts what takes longer, and waits for its finalizers before it goes on", () =>
    leavesNothing(Effect.gen(function*() {
      const cleaned = yield* Deferred.make<void>()
      const waiting = Effect.onInterrupt(Effect.never, () => Deferred.await(cleaned))
      const answer = yield* Effect.forkChild(within(waiting, second, late))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(answer.pollUnsafe())
      yield* Deferred.succeed(cleaned, undefined)
      assert.strictEqual(yield* Fiber.join(answer), "late")
    })))
  it.effect("passes an interruption on and waits until the effect has ended", () =>
    leavesNothing(Effect.gen(function*() {
      const cleaned = yield* Deferred.make<void>()
      const waiting = Effect.onInterrupt(Effect.never, () => Deferred.await(cleaned))
      const running = yield* Effect.forkChild(within(waiting, second, late), { startImmediately: true })
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(running), { startImmediately: true })
      assert.isUndefined(running.pollUnsafe())
      yield* Deferred.succeed(cleaned, undefined)
      yield* Fiber.join(interrupting)
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(running)))
    })))
  it.effect("sets no limit where that is infinite", () =>
    leavesNothing(Effect.gen(function*() {
      const answer = yield* Effect.forkChild(within(Effect.as(Effect.sleep("1 day"), "done"), Duration.infinity, late))
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* Fiber.join(answer), "done")
    })))
})
