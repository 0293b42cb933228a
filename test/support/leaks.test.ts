import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Net from "node:net"
import { leavesNothing } from "./leaks.ts"

const listening = Effect.callback<Net.Server>((resume) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
})

/** Runs an effect whose leak the assertion must find, and tidies up behind it. */
const leaks = <A>(effect: Effect.Effect<A>, tidy: (a: A) => void) =>
  Effect.gen(function*() {
    let leaked: A | undefined
    const exit = yield* Effect.exit(leavesNothing(Effect.tap(effect, (a) => Effect.sync(() => leaked = a))))
    if (leaked !== undefined) tidy(leaked)
    return exit
  })

describe("leavesNothing", () => {
  it.live("passes when what was opened is closed with its scope", () =>
    leavesNothing(Effect.acquireRelease(listening, (server) => Effect.sync(() => server.close()))))
  it.live("fails on a server that is left open", () =>
    Effect.gen(function*() {
      const exit = yield* leaks(listening, (server) => server.close())
      assert.isTrue(Exit.isFailure(exit))
      assert.match(String(exit), /1 TCPServerWrap/)
    }))
  it.live("fails on a timer that is left running", () =>
    Effect.gen(function*() {
      const exit = yield* leaks(Effect.sync(() => setInterval(() => {}, 60_000)), clearInterval)
      assert.match(String(exit), /a timer started at .*leaks\.test\.ts/)
    }))
  it.live("gives the effect's own result and failure", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* leavesNothing(Effect.succeed(1)), 1)
      assert.deepStrictEqual(yield* Effect.exit(leavesNothing(Effect.fail("no"))), Exit.fail("no"))
    }))
})
