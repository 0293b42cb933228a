import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Duplex } from "node:stream"
import { writeTogether } from "../../../src/internal/ssh/writeTogether.ts"
import { turn } from "../../support/scripted.ts"

/** A stream that tells in which calls its bytes leave. */
const observed = () => {
  const calls: Array<string> = []
  const duplex = new Duplex({
    read: () => {},
    write: (chunk, _encoding, done) => {
      calls.push(String(chunk))
      done()
    },
    writev: (chunks, done) => {
      calls.push(chunks.map(({ chunk }) => String(chunk)).join("+"))
      done()
    }
  })
  writeTogether(duplex)
  return { calls, duplex }
}

describe("writeTogether", () => {
  it.live("lets what is written in one turn leave at once, in order, and no later than that turn", () =>
    Effect.gen(function*() {
      const { calls, duplex } = observed()
      duplex.write("a")
      duplex.write("b")
      assert.deepStrictEqual(calls, [])
      yield* turn
      assert.deepStrictEqual(calls, ["a+b"])
      duplex.write("c")
      yield* turn
      assert.deepStrictEqual(calls, ["a+b", "c"])
    }))

  it.live("calls back for each write, and loses nothing that is followed by the end", () =>
    Effect.gen(function*() {
      const { calls, duplex } = observed()
      const done: Array<string> = []
      duplex.write("a", () => done.push("a"))
      duplex.write("b", "utf8", () => done.push("b"))
      duplex.end("c")
      yield* turn
      assert.strictEqual(calls.join("+"), "a+b+c")
      assert.deepStrictEqual(done, ["a", "b"])
      assert.isTrue(duplex.writableFinished)
    }))
})
