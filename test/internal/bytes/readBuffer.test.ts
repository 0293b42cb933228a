import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Marker, Search } from "../../../src/internal/bytes/markerSearch.ts"
import { ReadBuffer, toBuffer } from "../../../src/internal/bytes/readBuffer.ts"

const Step = Schema.Union([
  Schema.Struct({ push: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))) }),
  Schema.Struct({ take: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })) }),
  Schema.Struct({ putBack: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })) }),
  Schema.Struct({ peek: Schema.Tuple([Schema.Int, Schema.Int]) }),
  // more than tiny pieces are joined up to
  Schema.Struct({ flood: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3000 })) })
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
        } else if ("peek" in step) {
          const from = Math.abs(step.peek[0]) % (model.length + 1)
          const count = Math.abs(step.peek[1]) % (model.length - from + 1)
          assert.deepEqual([...buffer.peek(from, count)], model.slice(from, from + count))
          if (from < model.length) assert.strictEqual(buffer.byteAt(from), model[from])
        } else if ("flood" in step) {
          const bytes = Buffer.alloc(step.flood, step.flood % 256)
          buffer.push(bytes)
          model.push(...bytes)
        } else {
          const taken = buffer.take(Math.min(step.putBack, buffer.size))
          buffer.unshift(taken)
        }
        assert.strictEqual(buffer.size, model.length)
        const head = buffer.head
        assert.deepEqual([...head], model.slice(0, head.length))
        assert.strictEqual(head.length === 0, model.length === 0)
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

  it("what was given out stays as it is when more arrives", () => {
    const buffer = new ReadBuffer()
    const given: Array<readonly [bytes: Buffer, first: number]> = []
    let first = 0
    for (let i = 0; i < 600; i++) {
      buffer.push(Buffer.from([i % 256]))
      if (i % 3 === 0) given.push([buffer.peek(0, buffer.size), first])
      if (i % 7 === 0) given.push([buffer.take(1), first++])
      if (i % 11 === 0 && buffer.size > 1) buffer.unshift(buffer.take(2))
    }
    for (const [bytes, first] of given) {
      assert.deepEqual([...bytes], Array.from(bytes, (_, i) => (first + i) % 256))
    }
  })

  it("keeps many tiny pieces as few", () => {
    const buffer = new ReadBuffer()
    for (let i = 0; i < 100_000; i++) buffer.push(Buffer.from([i % 256]))
    const pieces = buffer.takePieces()
    assert.isAtMost(pieces.length, 10)
    assert.isTrue(Buffer.concat(pieces).every((byte, i) => byte === i % 256))
  })

  it("takes a piece at a time out of very many, and looks for a marker in them as they come", () => {
    const buffer = new ReadBuffer()
    const marker = new Marker(Buffer.from([1]))
    const search = new Search()
    const piece = Buffer.alloc(1024)
    // in quadratic time each of these would take minutes
    for (let i = 0; i < 200_000; i++) {
      buffer.push(piece)
      assert.strictEqual(buffer.find(marker, search, Infinity), -1)
    }
    for (let i = 0; i < 200_000; i++) buffer.skip(1024)
    assert.strictEqual(buffer.size, 0)
  })

  it("goes on with a search where it left off", () => {
    const buffer = new ReadBuffer()
    const marker = new Marker(Buffer.from("--"))
    const search = new Search()
    buffer.push(Buffer.from("abc-"))
    assert.strictEqual(buffer.find(marker, search, 100), -1)
    assert.strictEqual(search.scanned, 4)
    buffer.push(Buffer.from("-d"))
    assert.strictEqual(buffer.find(marker, search, 100), 5)
  })
})
