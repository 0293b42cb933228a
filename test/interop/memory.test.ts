/** What streams and calls cost in memory, with programs of their own: that it does not grow with them. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Runs a program and gives what it prints, which is one object. */
const run = <A>(...args: ReadonlyArray<string>): Effect.Effect<A> =>
  Effect.callback((resume) => {
    const child = execFile(process.execPath, args, { cwd: root }, (error, output, complaints) => {
      const printed = output.startsWith("{") ? Effect.sync((): A => JSON.parse(output)) : undefined
      resume(
        error === null && printed !== undefined ? printed : Effect.die(`${error?.message} ${output} ${complaints}`)
      )
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** In pieces of 64 KiB, and in MiB. */
interface Flowed {
  readonly given: number
  readonly taken: number
  readonly mostAhead: number
  readonly atRest: number
  readonly most: number
}

const mebibytes = 512
const pieces = mebibytes * 16

/** The 16 that a window of HTTP/2 holds, those that grpc-js holds back by itself, and some that are under way. */
const mostAhead = 48

const flow = (side: "Client" | "Server", scenario: string) =>
  Effect.map(run<Flowed>(`test/support/grpc/flowOf${side}.ts`, scenario, `${pieces}`), (flowed) => {
    assert.isAtMost(flowed.mostAhead, mostAhead)
    // code that is compiled and garbage that is not collected yet take something, too
    assert.isBelow(flowed.most - flowed.atRest, mebibytes / 2)
    return flowed
  })

describe("gRPC's memory", () => {
  for (const side of ["Client", "Server"] as const) {
    const ours = `our ${side.toLowerCase()}`

    it.live(
      `stays flat while a stream is never read, and other calls go on, with ${ours}`,
      () => Effect.map(flow(side, "unread"), ({ taken }) => assert.strictEqual(taken, 0)),
      120_000
    )

    it.live(
      `stays flat while a stream of ${mebibytes} MiB is read slowly, with ${ours}`,
      () => Effect.map(flow(side, "slowReader"), ({ taken }) => assert.strictEqual(taken, pieces)),
      120_000
    )

    it.live(
      `stays flat while a client streams ${mebibytes} MiB to a slow server, with ${ours}`,
      () => Effect.map(flow(side, "slowServer"), ({ taken }) => assert.strictEqual(taken, pieces)),
      120_000
    )
  }

  for (const direction of ["hawser to grpc-js", "grpc-js to hawser", "hawser to hawser"]) {
    it.live(`has nothing left of 10,000 calls of all kinds and endings, ${direction}`, () =>
      Effect.gen(function*() {
        const left = yield* run<{
          readonly before: number
          readonly after: number
          readonly more: Readonly<Record<string, number>>
        }>("--expose-gc", "test/interop/manyCalls.ts", direction, "10000")
        assert.deepStrictEqual(left.more, {})
        // a closure that a call leaves behind is some hundred bytes
        assert.isBelow((left.after - left.before) / 10_000, 150)
      }), 240_000)
  }
})
