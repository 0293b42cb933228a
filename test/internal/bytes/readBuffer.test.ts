import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { MarkerSearch } from "../../../src/internal/bytes/markerSearch.ts"
import { ReadBuffer, toBuffer } from "../../../src/internal/bytes/readBuffer.ts"

const Step = Schema.Union([
  Schema.Struct({ push: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))) }),
  Schema.Struct({ take: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })) }),
  Schema.Struct({ putBack: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })) })
])

describe("ReadBuffer", () => {
  it.prop(
    "behaves like one array of bytes",
    { steps: Schema.Array(Step).check(Schema.isMaxLength(40)) },
    ({ steps }) => {
      const buffer = new ReadBuffer()
      const model: Array<number> = []
      for (const step of steps) {
        if ("push" in step) {
          buffer.push(Buffer.from(step.push))
          model.push(...step.push)
        } else if ("take" in step) {
          const count = Math.min(step.take, model.length)
          assert.deepEqual([...buffer.take(count)], model.splice(0, count))
        } else {
          const taken = buffer.take(Math.min(step.putBack, buffer.size))
          buffer.unshift(taken)
        }
        assert.strictEqual(buffer.size, model.length)
      }
      assert.deepEqual(Buffer.concat(buffer.takePieces()), Buffer.from(model))
      assert.strictEqual(buffer.size, 0)
    },
    { arbitrary: { runs: 1000 } }
  )

  it("gives whole pieces without copying and views them without copying", () => {
    const buffer = new ReadBuffer()
    const piece = Buffer.from("abcdef")
    buffer.push(piece)
    assert.strictEqual(buffer.take(3).buffer, piece.buffer)
    assert.strictEqual(toBuffer(new Uint8Array(piece.buffer, piece.byteOffset, 2)).buffer, piece.buffer)
  })

  it("goes on with a search where it left off", () => {
    const buffer = new ReadBuffer()
    const search = new MarkerSearch(Buffer.from("--"), 1)
    buffer.push(Buffer.from("abc-"))
    assert.strictEqual(buffer.find(search, 100), -1)
    assert.strictEqual(search.scanned, 4)
    buffer.push(Buffer.from("-d"))
    assert.strictEqual(buffer.find(search, 100), 5)
  })
})
