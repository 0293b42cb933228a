/** How much memory a program takes, and how far one side of a stream gets ahead of the other. */
import * as Effect from "effect/Effect"
import type { Flow } from "./flow.ts"

const mebibyte = 1024 * 1024

const rss = () => process.memoryUsage().rss / mebibyte

/** Runs something and prints what it took: the pieces that went, how far ahead, and the memory before and at most (MiB). */
export const measured = <E, R>(flow: Flow, scenario: Effect.Effect<void, E, R>) =>
  Effect.gen(function*() {
    const atRest = rss()
    let most = 0
    const watching = Effect.sync(() => {
      most = Math.max(most, rss())
    })
    yield* Effect.race(scenario, Effect.forever(Effect.andThen(watching, Effect.sleep("10 millis"))))
    yield* watching
    const { given, mostAhead, taken } = flow
    process.stdout.write(JSON.stringify({ given, taken, mostAhead, atRest, most }))
  })
