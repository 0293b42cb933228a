import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { constants, PerformanceObserver } from "node:perf_hooks"
import { passYoung } from "../../../src/internal/bytes/youngBuffers.ts"
import { turn } from "../../support/scripted.ts"

/** How often the whole heap is collected while something runs. */
const collections = Effect.fnUntraced(function*<E, R>(effect: Effect.Effect<void, E, R>) {
  let count = 0
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const detail: unknown = Reflect.get(entry, "detail")
      if (typeof detail === "object" && detail !== null && "kind" in detail) {
        if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) count++
      }
    }
  })
  observer.observe({ entryTypes: ["gc"] })
  yield* effect
  // what was observed is told later
  for (let i = 0; i < 5; i++) yield* turn
  observer.disconnect()
  return count
})

/** Half a gigabyte, of which little is held at a time. */
const transfer = (pass: (bytes: number) => void) =>
  Effect.gen(function*() {
    const held: Array<Buffer> = []
    for (let i = 0; i < 16_384; i++) {
      held[i % 16] = Buffer.allocUnsafeSlow(32_768)
      pass(32_768)
      if (i % 64 === 0) yield* turn
    }
  })

/** As loading a program does, so that the young part of the heap is as large as it becomes. */
const grow = Effect.sync(() => {
  let kept: Array<object> = []
  for (let i = 0; i < 2_000_000; i++) {
    if (kept.push({ i }) > 200_000) kept = []
  }
})

describe("passYoung", () => {
  it.live(
    "has the buffers of a transfer found with fewer collections of the whole heap",
    () =>
      Effect.gen(function*() {
        yield* grow
        const without = yield* collections(transfer(() => {}))
        const passed = yield* collections(transfer(passYoung))
        assert.isAbove(without, 2)
        assert.isBelow(passed, without)
      }),
    60_000
  )
})
