import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createHook } from "node:async_hooks"

/** Turns of the event loop and the terminal come and go by themselves; timers are watched one by one. */
const ignored = new Set(["Immediate", "TTYWrap", "Timeout"])

/** How many sockets, servers, files and so on keep the process alive, by kind. */
const activeResources = () => {
  const counts = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) {
    if (!ignored.has(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return counts
}

/** The line of code that is running, below Node's own and this file's. */
const caller = () =>
  new Error().stack?.split("\n").slice(1).find((line) => !/node:|support\/leaks\.ts/.test(line))?.trim() ?? "somewhere"

/** The timers that start while the scope is open, with where. The test runner's own are none of our business. */
const watchTimers = Effect.acquireRelease(
  Effect.sync(() => {
    const timers = new Map<number, { readonly timer: { hasRef?: () => boolean }; readonly origin: string }>()
    const hook = createHook({
      init(id, type, _trigger, timer) {
        if (type !== "Timeout") return
        const origin = caller()
        if (!/node_modules\/@?vitest\//.test(origin)) timers.set(id, { timer, origin })
      },
      destroy: (id) => void timers.delete(id)
    }).enable()
    return { timers, hook }
  }),
  ({ hook }) => Effect.sync(() => hook.disable())
)

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Closing takes turns of the event loop; this many are some tenths of a second, and are only spent on a leak. */
const maxTurns = 100_000

/** Runs an effect in a scope of its own and asserts, when it succeeds, that it leaves no socket, server or timer behind. */
export const leavesNothing = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.scoped(Effect.gen(function*() {
    const before = activeResources()
    const { timers } = yield* watchTimers
    const left = () => [
      ...[...activeResources()].flatMap(([kind, count]) => {
        const more = count - (before.get(kind) ?? 0)
        return more > 0 ? [`${more} ${kind}`] : []
      }),
      ...[...timers.values()].filter(({ timer }) => timer.hasRef?.()).map(({ origin }) => `a timer started ${origin}`)
    ]
    const result = yield* Effect.scoped(effect)
    for (let turns = 0; left().length > 0 && turns < maxTurns; turns++) yield* turn
    const leaks = left()
    if (leaks.length > 0) assert.fail(`left behind: ${leaks.join(", ")}`)
    return result
  }))
