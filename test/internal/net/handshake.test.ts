import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type { Duplex } from "node:stream"
import { answer } from "../../../src/internal/net/handshake.ts"
import { guardErrors } from "../../../src/internal/net/owner.ts"
import { fragments, Sizes } from "../../support/fragments.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

const peer = () => guardErrors(new ScriptedDuplex())

/** An answer that ends with a "!"; gives what stands before it. */
const untilBang = (duplex: Duplex, limit = 100) => {
  let text = ""
  return answer<string, string>(duplex, {
    limit,
    broken: ({ cause, detail }) => `${detail}${cause === undefined ? "" : `: ${cause.message}`}`,
    parse: (bytes) => {
      const end = bytes.indexOf("!")
      text += bytes.toString("latin1", 0, end === -1 ? bytes.length : end)
      return end === -1 ? undefined : { used: end + 1, result: Effect.succeed(text) }
    }
  })
}

const listeners = (duplex: Duplex) => duplex.eventNames().map((name) => [name, duplex.listenerCount(name)])

/** Three ways to read a stream, each attached some turns of the event loop later. */
const consumers = {
  data: (duplex: Duplex) =>
    Effect.callback<string>((resume) => {
      let text = ""
      duplex.on("data", (chunk) => text += String(chunk)).on("end", () => resume(Effect.succeed(text)))
    }),
  readable: (duplex: Duplex) =>
    Effect.callback<string>((resume) => {
      let text = ""
      const onReadable = () => {
        for (let chunk: Buffer | null; (chunk = duplex.read()) !== null;) text += String(chunk)
      }
      duplex.on("readable", onReadable).on("end", () => resume(Effect.succeed(text)))
    }),
  "for await": (duplex: Duplex) =>
    Effect.promise(async () => {
      let text = ""
      for await (const chunk of duplex) text += String(chunk)
      return text
    })
}

describe("handshake", () => {
  for (const [name, consume] of Object.entries(consumers)) {
    it.live(`leaves what follows the answer to a ${name} consumer that comes later`, () =>
      Effect.gen(function*() {
        const duplex = peer()
        duplex.arrive("answer!early")
        assert.strictEqual(yield* untilBang(duplex), "answer")
        yield* turn
        yield* turn
        const consuming = yield* Effect.forkChild(consume(duplex))
        yield* turn
        duplex.arrive(" late")
        duplex.endInput()
        assert.strictEqual(yield* Fiber.join(consuming), "early late")
      }))

    it.live(`leaves what follows the answer to a ${name} consumer when the peer has ended already`, () =>
      Effect.gen(function*() {
        const duplex = peer()
        duplex.arrive("answer!early")
        duplex.endInput()
        assert.strictEqual(yield* untilBang(duplex), "answer")
        yield* turn
        yield* turn
        assert.strictEqual(yield* consume(duplex), "early")
      }))
  }

  it.live.prop(
    "reads the same answer and leaves the same rest, whatever the pieces",
    {
      before: Schema.String.check(Schema.isPattern(/^[a-z]{0,12}$/)),
      after: Schema.String.check(Schema.isPattern(/^[a-z!]{0,12}$/)),
      sizes: Sizes
    },
    ({ after, before, sizes }) =>
      Effect.gen(function*() {
        const duplex = peer()
        const answered = yield* Effect.forkChild(untilBang(duplex), { startImmediately: true })
        for (const piece of fragments(Buffer.from(`${before}!${after}`), sizes)) {
          duplex.arrive(piece)
          yield* turn
        }
        duplex.endInput()
        assert.strictEqual(yield* Fiber.join(answered), before)
        assert.strictEqual(yield* consumers.readable(duplex), after)
      }),
    { arbitrary: { runs: 100 } }
  )

  it.live("takes bytes that arrived before it was asked", () =>
    Effect.gen(function*() {
      const duplex = peer()
      duplex.arrive("answer!")
      yield* turn
      assert.strictEqual(yield* untilBang(duplex), "answer")
    }))

  for (const size of [1, 3, 5, 100]) {
    it.live(`takes an answer of exactly the limit and none beyond, in pieces of ${size}`, () =>
      Effect.gen(function*() {
        for (const [text, expected] of [["1234!rest", "1234"], ["12345!rest", "more than 5 bytes"]] as const) {
          const duplex = peer()
          const answered = yield* Effect.forkChild(
            Effect.catch(untilBang(duplex, 5), Effect.succeed),
            { startImmediately: true }
          )
          for (const piece of fragments(Buffer.from(text), [size])) {
            duplex.arrive(piece)
            yield* turn
          }
          assert.strictEqual(yield* Fiber.join(answered), expected)
        }
      }))
  }

  it.live("fails when the stream ends, fails or is closed before the answer is complete", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [(duplex: ScriptedDuplex) => void, string]> = [
        [(duplex) => duplex.endInput(), "the connection ended before the answer was complete"],
        [(duplex) => duplex.destroy(), "the connection was closed before the answer was complete"],
        [
          (duplex) => duplex.destroy(new Error("read ECONNRESET")),
          "the connection failed before the answer was complete: read ECONNRESET"
        ]
      ]
      for (const [happens, expected] of cases) {
        const during = peer()
        const waiting = yield* Effect.forkChild(Effect.flip(untilBang(during)), { startImmediately: true })
        during.arrive("ans")
        yield* turn
        happens(during)
        assert.strictEqual(yield* Fiber.join(waiting), expected)

        const before = peer()
        happens(before)
        before.resume()
        yield* turn
        yield* turn
        assert.include(yield* Effect.flip(untilBang(before)), "before the answer was complete")
      }
    }))

  it.live("leaves no listener behind", () =>
    Effect.gen(function*() {
      const ends: ReadonlyArray<readonly [string, (duplex: ScriptedDuplex, fiber: Fiber.Fiber<unknown>) => unknown]> = [
        ["answered", (duplex) => duplex.arrive("a!b")],
        ["too long", (duplex) => duplex.arrive("a".repeat(200))],
        ["ended", (duplex) => duplex.endInput()],
        ["destroyed", (duplex) => duplex.destroy(new Error("gone"))],
        ["interrupted", (_, fiber) => fiber.interruptUnsafe()]
      ]
      for (const [name, end] of ends) {
        const duplex = peer()
        const before = listeners(duplex)
        const fiber = yield* Effect.forkChild(Effect.exit(untilBang(duplex)), { startImmediately: true })
        assert.notDeepEqual(listeners(duplex), before, name)
        end(duplex, fiber)
        yield* Fiber.await(fiber)
        assert.deepStrictEqual(listeners(duplex), before, name)
      }
    }))

  it.live("loses nothing that arrives after an interruption", () =>
    Effect.gen(function*() {
      const duplex = peer()
      const fiber = yield* Effect.forkChild(untilBang(duplex), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      duplex.arrive("for somebody else")
      duplex.endInput()
      assert.strictEqual(yield* consumers.data(duplex), "for somebody else")
    }))
})
