import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Outbox } from "../../../../src/internal/ssh/sftp/outbox.ts"
import { turn } from "../../../support/scripted.ts"

const packet = 32 * 1024

/** An outbox, and what it sent: in the moment that it did, and when that was taken. */
const outbox = (accepts: () => boolean = () => true) => {
  const sent: Array<Buffer> = []
  const kept: Array<Uint8Array> = []
  const waiting: Array<() => void> = []
  const box = new Outbox((bytes, taken) => {
    assert.lengthOf(waiting, 0, "more was sent while it was not wanted")
    sent.push(Buffer.from(bytes))
    kept.push(bytes)
    if (accepts()) return true
    waiting.push(() => {
      assert.deepEqual(Buffer.from(bytes), sent.at(-1), "changed before it was taken")
      taken()
    })
    return false
  })
  return { box, sent, kept, waiting }
}

const piece = (size: number, first: number) => Buffer.from(Array.from({ length: size }, (_, i) => (first + i) % 251))

describe("Outbox", () => {
  it.live.prop("sends all bytes in order, whether or not they are taken at once", {
    sizes: Schema.Array(
      Schema.Union([
        Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
        Schema.Int.check(Schema.isBetween({ minimum: packet - 50, maximum: 3 * packet }))
      ])
    ),
    accepted: Schema.NonEmptyArray(Schema.Boolean)
  }, ({ accepted, sizes }) =>
    Effect.gen(function*() {
      let turns = 0
      const { box, sent, waiting } = outbox(() => accepted[turns++ % accepted.length]!)
      const pieces = sizes.map((size, at) => piece(size, at))
      const half = pieces.length >> 1
      pieces.slice(0, half).forEach((bytes) => box.add(bytes))
      yield* turn
      pieces.slice(half).forEach((bytes) => box.add(bytes))
      yield* turn
      for (let taken = waiting.pop(); taken !== undefined; taken = waiting.pop()) taken()
      assert.isTrue(Buffer.concat(sent).equals(Buffer.concat(pieces)))
    }))

  it.live("puts what is small together and sends what is large as it is", () =>
    Effect.gen(function*() {
      const { box, kept, sent } = outbox()
      const large = piece(4 * packet, 0)
      for (const bytes of [piece(29, 1), piece(10, 2), large]) box.add(bytes)
      assert.deepEqual(sent, [])
      yield* turn
      assert.deepEqual(sent.map(({ length }) => length), [packet, 3 * packet, 39])
      assert.strictEqual(kept[1]?.buffer, large.buffer)
    }))

  it.live("sends nothing more when it is closed", () =>
    Effect.gen(function*() {
      const { box, sent, waiting } = outbox(() => false)
      box.add(piece(2 * packet, 0))
      box.add(piece(10, 0))
      yield* turn
      box.close()
      waiting.pop()?.()
      box.add(piece(10, 0))
      yield* turn
      assert.lengthOf(sent, 1)
    }))
})
