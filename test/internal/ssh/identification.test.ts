import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { inOnePiece } from "../../../src/internal/ssh/identification.ts"
import { fragments, Sizes } from "../../support/fragments.ts"
import { ScriptedDuplex, turn } from "../../support/scripted.ts"

/** What a stream emits when these pieces arrive one after the other. */
const emitted = Effect.fnUntraced(function*(pieces: ReadonlyArray<Uint8Array>) {
  const duplex = new ScriptedDuplex()
  const identification = inOnePiece(duplex)
  const chunks: Array<string> = []
  let error: Error | undefined
  duplex.on("data", (chunk: Buffer) => chunks.push(chunk.toString("latin1"))).on("error", (cause) => error = cause)
  for (const piece of pieces) {
    duplex.arrive(piece)
    yield* turn
  }
  return { chunks, identification, error }
})

describe("inOnePiece", () => {
  it.live.prop(
    "gives everything up to the identification line at once, however it arrives",
    { sizes: Sizes, before: Schema.Literals(["", "hello\r\n", "SSH\nSS\n"]) },
    ({ before, sizes }) =>
      Effect.gen(function*() {
        const text = `${before}SSH-2.0-test a comment\r\n`
        const { chunks, identification } = yield* emitted([
          ...fragments(Buffer.from(text), sizes),
          Buffer.from("later"),
          Buffer.from("still later")
        ])
        assert.strictEqual(chunks[0], text)
        assert.deepStrictEqual(chunks.slice(1), ["later", "still later"])
        assert.isTrue(identification.complete)
      }),
    { arbitrary: { runs: 50 } }
  )

  it.live("passes on what comes in the same piece as the end of the line", () =>
    Effect.gen(function*() {
      const { chunks } = yield* emitted([Buffer.from("SSH-2.0-"), Buffer.from("test\r\nkeys"), Buffer.from("more")])
      assert.deepStrictEqual(chunks, ["SSH-2.0-test\r\nkeys", "more"])
    }))

  it.live("remembers how it began when no such line comes", () =>
    Effect.gen(function*() {
      const { chunks, identification } = yield* emitted([Buffer.from("HTTP/1.1 "), Buffer.from("400\r\n")])
      assert.deepStrictEqual(chunks, [])
      assert.isFalse(identification.complete)
      assert.strictEqual(identification.received, "HTTP/1.1 400\r\n")
    }))

  it.live("does not take the beginning of such a line for something else", () =>
    Effect.gen(function*() {
      for (const pieces of [["SSH-2.0-te"], ["S", "S"], ["welcome\r\nSSH"]]) {
        const { identification } = yield* emitted(pieces.map((piece) => Buffer.from(piece)))
        assert.strictEqual(identification.received, "", pieces.join(""))
      }
    }))

  it.live("ends a stream whose line, or whose lines together, are too long", () =>
    Effect.gen(function*() {
      const line = yield* emitted([Buffer.alloc(8192, "x"), Buffer.from("y")])
      assert.include(line.error?.message, "not an SSH identification")
      const lines = yield* emitted(Array.from({ length: 70 }, () => Buffer.from(`${"x".repeat(1000)}\n`)))
      assert.include(lines.error?.message, "not an SSH identification")
      const justSo = yield* emitted([Buffer.alloc(8192, "x"), Buffer.from("\nSSH-2.0-test\n")])
      assert.isUndefined(justSo.error)
      assert.isTrue(justSo.identification.complete)
    }))
})
