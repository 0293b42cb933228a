import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { readFile } from "node:fs"
import { open } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { Activity } from "../../../src/internal/memory/activity.ts"
import { leavesNothing } from "../../support/leaks.ts"

/** So many turns of the event loop, one after the other. */
const turns = (count: number, done: () => void): void =>
  void setImmediate(() => count === 1 ? done() : turns(count - 1, done))

describe("Activity", () => {
  it.live("is settled once nothing has moved for some turns of the event loop", () =>
    leavesNothing(Effect.gen(function*() {
      const activity = new Activity()
      const heard: Array<string> = []
      for (const [name, count] of [["b", 20], ["c", 35], ["a", 1]] as const) {
        turns(count, () => {
          activity.note()
          heard.push(name)
        })
      }
      yield* activity.settled
      assert.deepStrictEqual(heard, ["a", "b", "c"])
      assert.strictEqual(activity.count, 3)
    })))

  it.live("waits for fibers that yield, which move nothing", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.repeat(Effect.yieldNow, { times: 500 }))
      yield* new Activity().settled
      assert.isDefined(fiber.pollUnsafe())
    }))

  it.live("waits for files that are being read", () =>
    Effect.gen(function*() {
      let left = 20
      const read = (): void =>
        readFile(fileURLToPath(import.meta.url), () => {
          left--
          if (left > 0) read()
        })
      read()
      yield* new Activity({ quietTurns: 1 }).settled
      assert.strictEqual(left, 0)
    }))

  it.live("waits for files that are being closed", () =>
    Effect.gen(function*() {
      let isClosed = false
      const file = yield* Effect.promise(() => open(fileURLToPath(import.meta.url)))
      void file.close().then(() => {
        isClosed = true
      })
      yield* new Activity({ quietTurns: 1 }).settled
      assert.isTrue(isClosed)
    }))

  it.live("does not wait for ever for a fiber that polls", () =>
    Effect.gen(function*() {
      yield* Effect.forkChild(Effect.forever(Effect.yieldNow))
      yield* new Activity().settled
    }))

  it.live("is not kept busy by others who wait for the same", () =>
    Effect.gen(function*() {
      const [activity, other] = [new Activity(), new Activity()]
      const loops = () => performance.nodeTiming.uvMetricsInfo.loopCount
      const before = loops()
      yield* Effect.all([activity.settled, activity.settled, other.settled, other.stirs(() => false, 0)], {
        concurrency: "unbounded"
      })
      const interrupted = yield* Effect.forkChild(activity.settled, { startImmediately: true })
      yield* Fiber.interrupt(interrupted)
      yield* activity.settled
      // it takes 20 000 to give up
      assert.isBelow(loops() - before, 1000)
    }))

  it.live("stirs when something moves, when a fiber runs, when it is done, or never", () =>
    leavesNothing(Effect.gen(function*() {
      const activity = new Activity()
      yield* activity.settled
      assert.isFalse(yield* activity.stirs(() => false, 5))
      assert.isTrue(yield* activity.stirs(() => true, 5))
      yield* Effect.forkChild(Effect.delay(Effect.sync(() => activity.note()), 2))
      assert.isTrue(yield* activity.stirs(() => false, 60_000))
      yield* Effect.forkChild(Effect.delay(Effect.repeat(Effect.yieldNow, { times: 3 }), 2))
      assert.isTrue(yield* activity.stirs(() => false, 60_000))
    })))
})
