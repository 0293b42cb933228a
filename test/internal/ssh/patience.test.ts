import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { asking, within } from "../../../src/internal/ssh/patience.ts"

const limited = <A, E>(effect: Effect.Effect<A, E>, limit: Duration.Input = "10 seconds") =>
  Effect.result(within(effect, Duration.fromInputUnsafe(limit), () => Effect.fail("late" as const)))

/** How it comes out, and after how many seconds. */
const outcome = Effect.fnUntraced(function*<A, E>(effect: Effect.Effect<A, E>, limit?: Duration.Input) {
  const fiber = yield* Effect.forkChild(Effect.timed(limited(effect, limit)))
  yield* TestClock.adjust("1 hour")
  const [after, result] = yield* Fiber.join(fiber)
  return [result._tag === "Failure" ? result.failure : result.success, Duration.toSeconds(after)]
})

const work = (seconds: number) => Effect.sleep(Duration.seconds(seconds))
const ask = (seconds: number) => asking(work(seconds))

describe("within", () => {
  it.effect("limits the time", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* outcome(Effect.as(work(9), "done")), ["done", 9])
      assert.deepStrictEqual(yield* outcome(work(11)), ["late", 10])
      assert.deepStrictEqual(yield* outcome(Effect.andThen(work(1), Effect.fail("broken"))), ["broken", 1])
      assert.deepStrictEqual(yield* outcome(Effect.as(work(100), "done"), Infinity), ["done", 100])
    }))

  it.effect("does not count the time in which somebody is asked", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* outcome(Effect.as(ask(100), "done")), ["done", 100])
      const steps = (...steps: ReadonlyArray<Effect.Effect<void>>) => Effect.as(Effect.all(steps), "done")
      assert.deepStrictEqual(yield* outcome(steps(work(4), ask(100), work(5), ask(3), work(0.5))), ["done", 112.5])
      assert.deepStrictEqual(yield* outcome(steps(work(4), ask(100), work(5), ask(3), work(2))), ["late", 113])
      assert.deepStrictEqual(yield* outcome(steps(work(4), ask(2), work(100))), ["late", 12])
    }))

  it.effect("counts again after a question that failed", () =>
    Effect.gen(function*() {
      const refused = Effect.ignore(asking(Effect.andThen(work(20), Effect.fail("no"))))
      assert.deepStrictEqual(yield* outcome(Effect.andThen(refused, work(100))), ["late", 30])
    }))

  it.effect("interrupts what takes too long, and is interrupted with it", () =>
    Effect.gen(function*() {
      let interrupted = 0
      const never = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      yield* outcome(never)
      assert.strictEqual(interrupted, 1)
      const fiber = yield* Effect.forkChild(limited(asking(never)), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(interrupted, 2)
    }))

  it.effect("asks without a limit where there is none around", () =>
    Effect.map(Effect.exit(asking(Effect.succeed("yes"))), (exit) => assert.deepStrictEqual(exit, Exit.succeed("yes"))))
})
