/** What holds for every framing. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Schema, Stream } from "effect"
import type { TcpError } from "../../src/errors/TcpError.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { fragments, Sizes } from "../support/fragments.ts"
import { forEachFraming } from "../support/framings.ts"
import { ScriptedDuplex, turn } from "../support/scripted.ts"

const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const Frames = Schema.Array(Schema.Array(Byte).check(Schema.isMaxLength(12))).check(Schema.isMaxLength(12))

const encode = <A>(framing: Framing.Framing<A>, frames: ReadonlyArray<A>) =>
  Effect.map(Stream.fromArray(frames).pipe(Framing.encode(framing), Stream.runCollect), (bytes) => Buffer.concat(bytes))

/** The frames that come before the end or a failure, and the reason of that. */
const outcome = <A, E extends TcpError>(stream: Stream.Stream<A, E>) =>
  Effect.gen(function*() {
    const frames: Array<A> = []
    const exit = yield* Effect.result(Stream.runForEach(stream, (frame) => Effect.sync(() => frames.push(frame))))
    return { frames, reason: Result.isFailure(exit) ? exit.failure.reason : undefined }
  })

const decode = <A>(framing: Framing.Framing<A>, pieces: ReadonlyArray<Uint8Array>) =>
  outcome(Stream.fromArray(pieces).pipe(Stream.rechunk(1), Framing.decode(framing)))

const failures = ["EndOfStream", "FrameTooLarge", "Malformed", "Encoding"]

forEachFraming(({ frame, make, name, plain, sized, takesRest, unit }) => {
  describe(`Framing: ${name}`, () => {
    const framing = make()

    it.effect.prop(
      "what is written is read, however it is cut",
      { frames: Frames, sizes: Sizes },
      ({ frames, sizes }) =>
        Effect.gen(function*() {
          const wanted = frames.map(frame)
          const bytes = yield* encode(framing, wanted)
          for (const pieces of [[bytes], fragments(bytes, sizes), fragments(bytes, [1])]) {
            const { frames, reason } = yield* decode(framing, pieces)
            assert.isUndefined(reason)
            assert.deepEqual(frames.map(plain), wanted.map(plain))
          }
        }),
      { arbitrary: { runs: 40 } }
    )

    it.effect.prop(
      "a connection reads the same as a stream and one by one, while the pieces arrive",
      { frames: Frames, sizes: Sizes },
      ({ frames, sizes }) =>
        Effect.gen(function*() {
          const wanted = frames.map(frame)
          const bytes = yield* encode(framing, wanted)
          const read = Effect.fnUntraced(
            function*<A>(run: (connection: Connection.Connection) => Effect.Effect<A, TcpError>) {
              const peer = new ScriptedDuplex()
              const connection = yield* Connection.fromDuplex(peer)
              const reading = yield* Effect.forkChild(run(connection))
              for (const piece of fragments(bytes, sizes)) {
                peer.arrive(piece)
                yield* turn
              }
              peer.endInput()
              return yield* Fiber.join(reading)
            },
            Effect.scoped
          )
          const streamed = yield* read((connection) => Stream.runCollect(connection.frames(framing)))
          assert.deepEqual(streamed.map(plain), wanted.map(plain))
          const single = yield* read((connection) => Effect.forEach(wanted, () => connection.readFrame(framing)))
          assert.deepEqual(single.map(plain), wanted.map(plain))
        }),
      { arbitrary: { runs: 10 } }
    )

    it.effect("a connection writes what a stream of frames does", () =>
      Effect.gen(function*() {
        const peer = new ScriptedDuplex()
        const connection = yield* Connection.fromDuplex(peer)
        const frames = [[1, 2, 3], [], [250]].map(frame)
        for (const one of frames) yield* connection.writeFrame(framing, one)
        assert.deepEqual(Buffer.concat(peer.written), yield* encode(framing, frames))
      }))

    it.effect("an end inside a frame is EndOfStream, wherever it is, after the frames before it", () =>
      Effect.gen(function*() {
        const wanted = [[3, 1, 2], [4, 5], [7, 3, 9, 1]].map(frame)
        const bytes = yield* encode(framing, wanted)
        const ends = [0]
        for (let i = 0; i < 3; i++) ends.push((yield* encode(framing, wanted.slice(0, i + 1))).length)
        for (let cut = 0; cut <= bytes.length; cut++) {
          const { frames, reason } = yield* decode(framing, [bytes.subarray(0, cut)])
          const whole = ends.findLastIndex((end) => end <= cut)
          assert.deepEqual(frames.slice(0, whole).map(plain), wanted.slice(0, whole).map(plain))
          const rest = cut - (ends[whole] ?? 0)
          if (rest === 0) assert.isUndefined(reason)
          else if (takesRest) assert.include([undefined, "Encoding", "Malformed"], reason?._tag)
          else assert.deepInclude(reason, { _tag: "EndOfStream", received: rest })
        }
      }))

    it.effect.prop(
      "bytes that something has changed come to frames or a typed failure, whatever the cutting",
      { frames: Frames, changes: Schema.Array(Schema.Tuple([Byte, Byte])).check(Schema.isMaxLength(4)), sizes: Sizes },
      ({ changes, frames, sizes }) =>
        Effect.gen(function*() {
          const bytes = yield* encode(framing, frames.map(frame))
          for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte
          const whole = yield* decode(framing, [bytes])
          const inPieces = yield* decode(framing, fragments(bytes, sizes))
          assert.deepEqual(inPieces.frames.map(plain), whole.frames.map(plain))
          assert.strictEqual(inPieces.reason?._tag, whole.reason?._tag)
          if (whole.reason !== undefined) assert.include(failures, whole.reason._tag)
        }),
      { arbitrary: { runs: 60 } }
    )

    if (sized === undefined) return

    it.effect("a frame as long as the limit passes and one that is longer does not, written or read", () =>
      Effect.gen(function*() {
        const limited = make(100)
        const [fits, long] = [sized(100), sized(100 + unit)]
        const bytes = yield* encode(limited, [fits])
        for (const pieces of [[bytes], fragments(bytes, [1])]) {
          const { frames, reason } = yield* decode(limited, pieces)
          assert.isUndefined(reason)
          assert.deepEqual(frames.map(plain), [plain(fits)])
        }
        const written = limited.encode(long)
        assert.deepInclude(Result.isFailure(written) ? written.failure : {}, { _tag: "FrameTooLarge", maxSize: 100 })
        const tooLong = yield* encode(make(), [fits, long])
        for (const pieces of [[tooLong], fragments(tooLong, [1]), fragments(tooLong, [7])]) {
          const { frames, reason } = yield* decode(limited, pieces)
          assert.deepEqual(frames.map(plain), [plain(fits)])
          assert.deepInclude(reason, { _tag: "FrameTooLarge", maxSize: 100 })
        }
      }))

    it.effect("a limit that is no number of bytes is refused at the first use", () =>
      Effect.gen(function*() {
        for (const maxSize of [-1, 0.5, NaN]) {
          assert.strictEqual((yield* decode(make(maxSize), [Buffer.from("1:a,\n")])).reason?._tag, "Unknown")
          const written = make(maxSize).encode(sized(2))
          assert.strictEqual(Result.isFailure(written) ? written.failure._tag : "written", "Unknown")
        }
      }))
  })
})
