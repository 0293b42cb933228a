import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import * as Zlib from "node:zlib"
import { acceptEncoding, compress, compressionOf, decompress } from "../../../../src/internal/grpc/wire/compression.ts"
import { markSettling } from "../../../../src/internal/net/realTime.ts"

const compressions = ["gzip", "deflate"] as const

const bytesOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

describe("compression of messages", () => {
  for (const compression of compressions) {
    it.live.prop(
      `gives any message back (${compression})`,
      { message: Schema.Uint8Array },
      ({ message }) =>
        Effect.gen(function*() {
          const packed = yield* compress(message, compression)
          assert.strictEqual(bytesOf(yield* decompress(packed, compression, message.length)), bytesOf(message))
        })
    )

    it.effect(`takes no turn of the event loop under a clock that waits for all that moves (${compression})`, () =>
      Effect.gen(function*() {
        const clock = yield* TestClock.make()
        markSettling(clock)
        const message = Buffer.from("some words")
        const now = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.runSyncExit(Effect.provideService(effect, Clock.Clock, clock))
        const packed = Exit.getSuccess(now(compress(message, compression)))
        const given = Exit.getSuccess(now(decompress(Option.getOrThrow(packed), compression, 10)))
        assert.strictEqual(bytesOf(Option.getOrThrow(given)), bytesOf(message))
        const refused = [
          now(decompress(Option.getOrThrow(packed), compression, 9)),
          now(decompress(message, compression, 9))
        ]
        assert.deepStrictEqual(
          refused.map((exit) => Option.map(Exit.findErrorOption(exit), ({ _tag }) => _tag)),
          [Option.some("TooLarge"), Option.some("Corrupt")]
        )
      }))

    it.live(`makes much of the same small (${compression})`, () =>
      Effect.gen(function*() {
        const packed = yield* compress(new Uint8Array(50_000), compression)
        assert.isBelow(packed.length, 200)
        assert.lengthOf(yield* decompress(packed, compression, 50_000), 50_000)
      }))

    it.live(`stops where a message becomes too large (${compression})`, () =>
      Effect.gen(function*() {
        const bomb = yield* compress(new Uint8Array(64 * 1024 * 1024), compression)
        const before = process.memoryUsage().arrayBuffers
        for (const maxSize of [0, 1, 1000]) {
          assert.deepStrictEqual(yield* Effect.flip(decompress(bomb, compression, maxSize)), { _tag: "TooLarge" })
        }
        assert.isBelow(process.memoryUsage().arrayBuffers - before, 16 * 1024 * 1024)
      }))

    it.live(`says what is no compressed message (${compression})`, () =>
      Effect.gen(function*() {
        const packed = yield* compress(new Uint8Array(1000), compression)
        for (const broken of [new Uint8Array(), Uint8Array.of(1, 2, 3), packed.subarray(0, packed.length - 3)]) {
          const problem = yield* Effect.flip(decompress(broken, compression, 1000))
          assert.strictEqual(problem._tag, "Corrupt")
        }
      }))
  }

  it.live("takes deflate to be the format of zlib, as gRPC does", () =>
    Effect.gen(function*() {
      const message = Uint8Array.of(1, 2, 3)
      assert.deepStrictEqual(Zlib.inflateSync(yield* compress(message, "deflate")), Buffer.from(message))
      assert.strictEqual((yield* Effect.flip(decompress(Zlib.deflateRawSync(message), "deflate", 3)))._tag, "Corrupt")
    }))

  it("is known by its name", () => {
    assert.strictEqual(compressionOf(undefined), "identity")
    for (const name of acceptEncoding.split(",")) assert.strictEqual(compressionOf(name), name)
    for (const name of ["", "br", "zstd", "GZIP", "gzip,deflate"]) assert.isUndefined(compressionOf(name), name)
  })
})
