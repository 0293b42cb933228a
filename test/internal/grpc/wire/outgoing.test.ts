import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schema from "effect/Schema"
import { type Compression, decompress } from "../../../../src/internal/grpc/wire/compression.ts"
import { FrameReader } from "../../../../src/internal/grpc/wire/frames.ts"
import { sendAll } from "../../../../src/internal/grpc/wire/outgoing.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

/** Takes frames, and has room again after each piece when it is told so. */
const outlet = (hasRoom: boolean) => {
  const pieces: Array<Buffer> = []
  const room = Latch.makeUnsafe(hasRoom)
  let over = false
  return {
    pieces,
    room,
    end: () => {
      over = true
      room.openUnsafe()
    },
    outlet: {
      send: (frames: Buffer) => {
        pieces.push(frames)
        return hasRoom
      },
      room: room.await,
      isOver: () => over
    }
  }
}

const read = Effect.fnUntraced(function*(pieces: ReadonlyArray<Buffer>, compression: Compression) {
  const packed: Array<readonly [Uint8Array, boolean]> = []
  const reader = new FrameReader(1024 * 1024, (message, compressed) => packed.push([message, compressed]))
  for (const piece of pieces) assert.isUndefined(reader.read(piece))
  assert.isTrue(reader.isBetween)
  return yield* Effect.forEach(packed, ([message, compressed]) => {
    assert.strictEqual(compressed, compression !== "identity")
    const unpacked = compression === "identity"
      ? Effect.succeed(message)
      : decompress(message, compression, 1024 * 1024)
    return Effect.map(unpacked, hex)
  })
})

describe("outgoing messages", () => {
  it.live.prop(
    "are sent in order, plain or compressed",
    {
      messages: Schema.Array(Schema.Uint8Array),
      compression: Schema.Literals(["identity", "gzip", "deflate"])
    },
    ({ compression, messages }) =>
      Effect.gen(function*() {
        const { outlet: to, pieces } = outlet(true)
        yield* sendAll(to, messages, compression)
        assert.deepStrictEqual(yield* read(pieces, compression), messages.map(hex))
      }),
    { arbitrary: { runs: 100 } }
  )

  it.live("go in pieces of some 64 KiB", () =>
    Effect.gen(function*() {
      const { outlet: to, pieces } = outlet(true)
      const messages = Array.from({ length: 300 }, (_, index) => new Uint8Array(1000).fill(index))
      yield* sendAll(to, messages, "identity")
      assert.deepStrictEqual(yield* read(pieces, "identity"), messages.map(hex))
      assert.isAtLeast(pieces.length, 4)
      for (const piece of pieces) assert.isBelow(piece.length, 64 * 1024 + 1005)
      const one = outlet(true)
      yield* sendAll(one.outlet, [new Uint8Array(500_000), new Uint8Array(1)], "identity")
      assert.deepStrictEqual(one.pieces.map(({ length }) => length), [500_005, 6])
    }))

  for (const compression of ["identity", "gzip"] as const) {
    it.live(`wait for room after each piece (${compression})`, () =>
      Effect.gen(function*() {
        const { end, outlet: to, pieces, room } = outlet(false)
        const messages = Array.from({ length: 3 }, () => new Uint8Array(100_000))
        const sending = yield* Effect.forkChild(sendAll(to, messages, compression), { startImmediately: true })
        for (let sent = 1; sent <= 3; sent++) {
          while (pieces.length < sent) yield* Effect.yieldNow
          for (let turns = 0; turns < 20; turns++) yield* Effect.yieldNow
          assert.lengthOf(pieces, sent)
          assert.isUndefined(sending.pollUnsafe())
          yield* room.release
        }
        yield* Fiber.join(sending)
        end()
      }))

    it.live(`are sent no more when nobody wants them (${compression})`, () =>
      Effect.gen(function*() {
        const { end, outlet: to, pieces } = outlet(false)
        const messages = Array.from({ length: 3 }, () => new Uint8Array(100_000))
        const sending = yield* Effect.forkChild(sendAll(to, messages, compression), { startImmediately: true })
        while (pieces.length < 1) yield* Effect.yieldNow
        end()
        yield* Fiber.join(sending)
        assert.lengthOf(pieces, 1)
        yield* sendAll(to, messages, compression)
        assert.lengthOf(pieces, 1)
      }))
  }
})
