import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { frame, type FrameProblem, FrameReader, frameSize } from "../../../../src/internal/grpc/wire/frames.ts"
import { fragments, Sizes } from "../../../support/fragments.ts"

interface Read {
  readonly messages: ReadonlyArray<readonly [message: string, compressed: boolean]>
  readonly problem: FrameProblem | undefined
  readonly isBetween: boolean
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

/** Reads pieces until one of them is wrong. */
const read = (pieces: ReadonlyArray<Uint8Array>, maxSize = 1024 * 1024): Read => {
  const messages: Array<readonly [string, boolean]> = []
  const reader = new FrameReader(maxSize, (message, compressed) => messages.push([hex(message), compressed]))
  let problem: FrameProblem | undefined
  for (const piece of pieces) {
    problem = reader.read(Buffer.from(piece))
    if (problem !== undefined) break
  }
  return { messages, problem, isBetween: reader.isBetween }
}

const Batches = Schema.Array(Schema.Struct({
  messages: Schema.Array(Schema.Uint8Array),
  compressed: Schema.Boolean
}))

type Batches = typeof Batches.Type

const framed = (batches: Batches) =>
  Buffer.concat(batches.map(({ compressed, messages }) => frame(messages, compressed)))

const expected = (batches: Batches) =>
  batches.flatMap(({ compressed, messages }) => messages.map((message) => [hex(message), compressed] as const))

describe("frames", () => {
  it("are a flag, a length of four bytes and the message", () => {
    assert.strictEqual(hex(frame([Uint8Array.of(1, 2, 3)], false)), "0000000003010203")
    assert.strictEqual(hex(frame([new Uint8Array(), Uint8Array.of(9)], true)), "0100000000010000000109")
    assert.strictEqual(hex(frame([], false)), "")
    assert.strictEqual(hex(frame([new Uint8Array(0x01_02_03)], false).subarray(0, 5)), "0000010203")
    assert.strictEqual(frameSize(new Uint8Array(7)), 12)
  })

  it.effect.prop(
    "give the messages that were put in, however they are cut",
    { batches: Batches, sizes: Sizes },
    ({ batches, sizes }) =>
      Effect.sync(() => {
        const bytes = framed(batches)
        for (const pieces of [[bytes], fragments(bytes, sizes), fragments(bytes, [1])]) {
          assert.deepStrictEqual(read(pieces), { messages: expected(batches), problem: undefined, isBetween: true })
        }
      }),
    { arbitrary: { runs: 300 } }
  )

  it.effect.prop(
    "are unfinished wherever they stop within one",
    { message: Schema.Uint8Array, sizes: Sizes },
    ({ message, sizes }) =>
      Effect.sync(() => {
        const bytes = frame([message], false)
        for (let end = 1; end < bytes.length; end++) {
          const { isBetween, messages } = read(fragments(bytes.subarray(0, end), sizes))
          assert.deepStrictEqual([isBetween, messages.length], [false, 0])
        }
      })
  )

  it("give large messages whole, in pieces of any size", () => {
    const message = new Uint8Array(700_000).map((_, index) => index * 7 + (index >> 8))
    const bytes = framed([{ messages: [Uint8Array.of(1), message, Uint8Array.of(2)], compressed: false }])
    const wanted: Read["messages"] = [["01", false], [hex(message), false], ["02", false]]
    for (const size of [1000, 16_384, 65_536, 65_541, 100_000, 699_999, 700_010]) {
      assert.deepStrictEqual(read(fragments(bytes, [size])).messages, wanted, String(size))
    }
  })

  it("may be as large as the limit and no larger", () => {
    const good = frame([new Uint8Array(10)], false)
    assert.deepStrictEqual(read([good], 10).messages.length, 1)
    for (const pieces of [[good], fragments(good, [1])]) {
      assert.deepStrictEqual(read(pieces, 9), {
        messages: [],
        problem: { _tag: "TooLarge", size: 10 },
        isBetween: true
      })
    }
    const huge = Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff)
    for (const pieces of [[huge], fragments(huge, [1])]) {
      assert.deepStrictEqual(read(pieces).problem, { _tag: "TooLarge", size: 0xffff_ffff })
    }
  })

  it("give what came before what is wrong", () => {
    const good = frame([Uint8Array.of(1)], false)
    for (const flags of [2, 3, 0x80, 0xff]) {
      const bytes = Buffer.concat([good, Uint8Array.of(flags, 0, 0, 0, 0)])
      for (const pieces of [[bytes], fragments(bytes, [1])]) {
        const { messages, problem } = read(pieces)
        assert.deepStrictEqual(messages, [["01", false]])
        assert.deepStrictEqual(problem, { _tag: "Malformed", flags })
      }
    }
  })

  it("cost no more memory than what has come of them", () => {
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 64 }, () => {
      const reader = new FrameReader(2 ** 32 - 1, () => assert.fail("there is no message"))
      // 1 GiB, of which one byte comes
      assert.isUndefined(reader.read(Buffer.from([0, 0x40, 0, 0, 0, 1])))
      return reader
    })
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 16 * 1024 * 1024)
    assert.isTrue(readers.every(({ isBetween }) => !isBetween))
  })
})
