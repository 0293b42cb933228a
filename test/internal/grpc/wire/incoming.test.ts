import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { cast } from "effect/Function"
import * as Schema from "effect/Schema"
import type * as Http2 from "node:http2"
import { PassThrough } from "node:stream"
import { compress } from "../../../../src/internal/grpc/wire/compression.ts"
import { frame } from "../../../../src/internal/grpc/wire/frames.ts"
import { Incoming } from "../../../../src/internal/grpc/wire/incoming.ts"
import { Code, type Status } from "../../../../src/internal/grpc/wire/status.ts"
import { fragments, Sizes } from "../../../support/fragments.ts"
import { turn } from "../../../support/scripted.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

/** Messages from a stream of bytes, which is all that is wanted of HTTP/2 here. */
const make = (maxSize = 1024 * 1024) => {
  const stream = new PassThrough()
  const problems: Array<Status> = []
  let news = 0
  const incoming = new Incoming(
    cast<PassThrough, Http2.Http2Stream>(stream),
    maxSize,
    () => news++,
    (status) => problems.push(status)
  )
  incoming.start()
  const takeAll = Effect.gen(function*() {
    const taken: Array<string> = []
    while (!incoming.isEmpty) taken.push(...(yield* incoming.take()).map(hex))
    return taken
  })
  return { stream, incoming, problems, takeAll, news: () => news }
}

/** Until all that was written has been read, or nothing more is wanted. */
const delivered = (stream: PassThrough) =>
  Effect.gen(function*() {
    while (!stream.isPaused() && stream.writableLength + stream.readableLength > 0) yield* turn
    yield* turn
  })

describe("incoming messages", () => {
  it.live.prop(
    "come in order, plain or compressed, however they are cut",
    {
      messages: Schema.Array(Schema.Struct({ message: Schema.Uint8Array, compressed: Schema.Boolean })),
      sizes: Sizes
    },
    ({ messages, sizes }) =>
      Effect.gen(function*() {
        const { incoming, problems, stream, takeAll } = make()
        incoming.compression = "gzip"
        const frames = yield* Effect.forEach(messages, ({ compressed, message }) =>
          Effect.map(compressed ? compress(message, "gzip") : Effect.succeed(message), (packed) =>
            frame([packed], compressed)))
        for (const piece of fragments(Buffer.concat(frames), sizes)) {
          stream.write(piece)
        }
        yield* delivered(stream)
        incoming.finish()
        assert.deepStrictEqual(
          yield* takeAll,
          messages.map(({ message }) =>
            hex(message)
          )
        )
        assert.deepStrictEqual(problems, [])
      }),
    { arbitrary: { runs: 100 } }
  )

  it.live("are held back when nobody takes them, and none is lost", () =>
    Effect.gen(function*() {
      const { incoming, stream, takeAll } = make()
      const messages = Array.from({ length: 1000 }, (_, index) => new Uint8Array(1000).fill(index))
      for (const message of messages) stream.write(frame([message], false))
      yield* delivered(stream)
      assert.isTrue(stream.isPaused())
      // one chunk more than is wanted at most, and what Node's own stream holds
      const taken: Array<string> = [...yield* takeAll]
      assert.isBelow(taken.length, 150)
      for (let rounds = 0; taken.length < messages.length; rounds++) {
        assert.isBelow(rounds, 1000)
        yield* delivered(stream)
        taken.push(...yield* takeAll)
      }
      assert.deepStrictEqual(taken, messages.map(hex))
      incoming.finish()
      assert.isTrue(incoming.ended)
    }))

  it.live("that Node still holds when the stream is over are there", () =>
    Effect.gen(function*() {
      const { incoming, stream, takeAll } = make()
      stream.pause()
      stream.write(frame([Uint8Array.of(1)], false))
      yield* turn
      assert.isTrue(incoming.isEmpty)
      incoming.finish()
      assert.deepStrictEqual(yield* takeAll, ["01"])
    }))

  it.live("are told of once they are there, not before they are whole", () =>
    Effect.gen(function*() {
      const { news, stream } = make()
      for (const piece of fragments(frame([Uint8Array.of(1, 2)], false), [1])) {
        assert.strictEqual(news(), 0)
        stream.write(piece)
        yield* delivered(stream)
      }
      assert.strictEqual(news(), 1)
    }))

  it.live("of a compression that was not named are an error", () =>
    Effect.gen(function*() {
      const { incoming, stream } = make()
      stream.write(frame([yield* compress(Uint8Array.of(1), "gzip")], true))
      yield* delivered(stream)
      assert.strictEqual((yield* Effect.flip(incoming.take())).code, Code.internal)
    }))

  it.live("that are too large are an error, packed or unpacked", () =>
    Effect.gen(function*() {
      const plain = make(100)
      plain.stream.write(frame([new Uint8Array(10), new Uint8Array(101)], false))
      yield* delivered(plain.stream)
      assert.deepStrictEqual(plain.problems.map(({ code }) => code), [Code.resourceExhausted])
      // what came before it came well
      assert.lengthOf(yield* plain.takeAll, 1)

      const packed = make(100)
      packed.incoming.compression = "gzip"
      packed.stream.write(frame([yield* compress(new Uint8Array(101), "gzip")], true))
      yield* delivered(packed.stream)
      assert.strictEqual((yield* Effect.flip(packed.incoming.take())).code, Code.resourceExhausted)
    }))

  it.live("that are none are an error, once", () =>
    Effect.gen(function*() {
      const { incoming, problems, stream, takeAll } = make()
      stream.write(Buffer.from("HTTP/1.1 400 Bad Request"))
      stream.write(frame([Uint8Array.of(1)], false))
      yield* delivered(stream)
      incoming.finish()
      assert.deepStrictEqual(problems.map(({ code }) => code), [Code.internal])
      assert.deepStrictEqual(yield* takeAll, [])
    }))

  it.live("that stop within one are an error", () =>
    Effect.gen(function*() {
      const bytes = frame([Uint8Array.of(1, 2, 3)], false)
      for (let end = 0; end <= bytes.length; end++) {
        const { incoming, problems, stream } = make()
        if (end > 0) stream.write(bytes.subarray(0, end))
        yield* delivered(stream)
        incoming.finish()
        const expected = end === 0 || end === bytes.length ? [] : [Code.internal]
        assert.deepStrictEqual(problems.map(({ code }) => code), expected, `${end} bytes`)
      }
    }))

  it.live("that nobody wants any more are dropped, so that the stream can end", () =>
    Effect.gen(function*() {
      const { incoming, problems, stream } = make()
      for (let count = 0; count < 500; count++) stream.write(frame([new Uint8Array(1000)], false))
      yield* delivered(stream)
      assert.isTrue(stream.isPaused())
      incoming.abandon()
      assert.isTrue(incoming.isEmpty)
      stream.end()
      yield* Effect.callback<void>((resume) => void stream.once("end", () => resume(Effect.void)))
      assert.isTrue(incoming.isEmpty)
      assert.deepStrictEqual(problems, [])
    }))
})
