/**
 * Frames over a network that cuts, delays and joins what is written as it likes, and that may break it off anywhere: what
 * arrives is a prefix of what was written, and then what the way the connection came to its end says.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TcpError, TcpErrorReason } from "../../src/errors/TcpError.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { between, Cut, Link, seeded } from "../support/cases.ts"
import { forEachFraming, type Subject } from "../support/framings.ts"
import { cutting, simulated } from "../support/simulated.ts"
import { connected } from "../support/streams.ts"

const Case = Schema.Struct({
  seed: between(0, 1_000_000),
  link: Link,
  cut: Schema.NullOr(Cut),
  frames: Schema.Array(Schema.Array(between(0, 255)).check(Schema.isMaxLength(12))).check(Schema.isMaxLength(12)),
  /** How often the bytes of a frame are repeated. */
  times: Schema.Literals([1, 1, 1, 40, 2000]),
  writing: Schema.Literals(["one by one", "as a stream", "together", "in parts"]),
  reading: Schema.Literals(["readFrame", "frames", "runFrames", "in turns"]),
  /** Milliseconds between two frames that are written, and that a frame that was read is thought about. */
  writePause: Schema.Literals([0, 0, 1, 40]),
  readPause: Schema.Literals([0, 0, 1, 40]),
  /** Milliseconds until somebody looks at the stream that is to be read. */
  idle: Schema.Literals([0, 0, 2, 10_000])
})

interface Outcome<A> {
  readonly frames: ReadonlyArray<A>
  /** What came after them: nothing where the stream ended between two frames. */
  readonly reason: TcpErrorReason | undefined
}

const pause = (millis: number) => millis === 0 ? Effect.void : Effect.sleep(millis)

/** A reason, as far as it has to be the same wherever it comes from. */
const shown = (reason: TcpErrorReason | undefined) =>
  reason?._tag === "EndOfStream" ? [reason._tag, reason.received] : [reason?._tag]

/** All frames, and why there are no more. */
const collect = Effect.fnUntraced(function*<A>(
  run: (take: (frame: A) => Effect.Effect<void>) => Effect.Effect<unknown, TcpError>,
  readPause = 0
) {
  const frames: Array<A> = []
  const result = yield* Effect.result(run((frame) => {
    frames.push(frame)
    return pause(readPause)
  }))
  const reason = Result.isFailure(result) ? result.failure.reason : undefined
  const clean = reason?._tag === "EndOfStream" && reason.received === 0
  const outcome: Outcome<A> = { frames, reason: clean ? undefined : reason }
  return outcome
})

/** What bytes mean where there is no network. */
const decode = <A>(framing: Framing.Framing<A>, bytes: Uint8Array) =>
  collect<A>((take) => Stream.runForEach(Stream.succeed(bytes).pipe(Framing.decode(framing)), take))

/** What a handler fails with that wants no more frames. */
class Enough extends Data.TaggedError("Enough") {}

type Reading = <A>(
  connection: Connection.Connection,
  framing: Framing.Framing<A>,
  take: (frame: A) => Effect.Effect<void>
) => Effect.Effect<unknown, TcpError>

const readings: Record<typeof Case.Type["reading"], Reading> = {
  readFrame: (connection, framing, take) => Effect.forever(Effect.flatMap(connection.readFrame(framing), take)),
  frames: (connection, framing, take) => Stream.runForEach(connection.frames(framing), take),
  runFrames: (connection, framing, take) => connection.runFrames(framing, take),
  // what a handler that fails leaves is there for the next read
  "in turns": (connection, framing, take) =>
    Effect.forever(Effect.andThen(
      Effect.flatMap(connection.readFrame(framing), take),
      Effect.catchTag(
        connection.runFrames(framing, (frame) => Effect.andThen(take(frame), Effect.fail(new Enough()))),
        "Enough",
        () => Effect.void
      )
    ))
}

/** What may come of bytes of which one was changed on the way. */
const corruptions = ["EndOfStream", "FrameTooLarge", "Malformed", "Encoding", undefined]

const check = <A>({ frame, make, plain }: Subject<A>) => (input: typeof Case.Type) =>
  Effect.gen(function*() {
    const framing = make()
    // so long that it is no pain to send them in such pieces
    const most = 50 * Math.min(input.link.fragment, input.link.bufferSize)
    // a frame that is too long for its prefix is not written
    const encoded = input.frames.flatMap((bytes) => {
      const value = frame(Array.from({ length: input.times }, () => bytes).flat().slice(0, most))
      const result = framing.encode(value)
      return Result.isSuccess(result) ? [{ value, bytes: result.success }] : []
    })
    const values = encoded.map(({ value }) => value)
    const bytes = Buffer.concat(encoded.map(({ bytes }) => bytes))
    const cut = bytes.length === 0 ? null : input.cut
    const offset = cut === null ? bytes.length : yield* cutting(cut, bytes.length)

    const { client, server } = yield* connected()
    const [incoming, outgoing] = cut?.toServer === true ? [server, client] : [client, server]
    const writer = yield* Connection.fromDuplex(outgoing)
    const between = pause(input.writePause)
    const writing = {
      "one by one": Effect.forEach(values, (value) => Effect.andThen(between, writer.writeFrame(framing, value))),
      "as a stream": Stream.fromArray(values).pipe(
        Stream.rechunk(1),
        Stream.tap(() => between),
        Framing.encode(framing),
        Stream.run(writer.writes)
      ),
      together: writer.writeAll(encoded.map(({ bytes }) => bytes)),
      "in parts": Effect.forEach(
        [bytes.subarray(0, bytes.length / 3), bytes.subarray(bytes.length / 3)],
        (part) => Effect.andThen(between, writer.write(part))
      )
    }[input.writing]
    // those who write find out too that a connection breaks
    yield* Effect.forkChild(Effect.ignore(Effect.andThen(writing, writer.closeWrite)))
    // what has happened to a stream before it is read counts too
    yield* pause(input.idle)
    const reader = yield* Connection.fromDuplex(incoming)
    const { frames, reason } = yield* collect<A>(
      (take) => readings[input.reading](reader, framing, take),
      input.readPause
    )

    const read = frames.map(plain)
    const written = values.map(plain)
    const expected = yield* decode(framing, bytes.subarray(0, offset))
    if (cut === null || cut.kind === "end") {
      assert.deepEqual(read, expected.frames.map(plain))
      assert.deepEqual(shown(reason), shown(expected.reason))
      if (cut === null) assert.deepEqual(read, written)
      return
    }
    let complete = 0
    for (let end = 0; complete < encoded.length; complete++) {
      end += encoded[complete]!.bytes.length
      if (end > offset) break
    }
    assert.deepEqual(read.slice(0, complete), written.slice(0, complete))
    if (cut.kind === "corrupt") assert.include(corruptions, reason?._tag)
    else {
      // a last line without its end is none where the stream has not ended but broken
      assert.strictEqual(read.length, complete)
      assert.deepInclude(reason, { _tag: "Reset", code: "ECONNRESET" })
    }
  })

const subjects: Array<{ readonly name: string; readonly check: ReturnType<typeof check> }> = []
forEachFraming((subject) => subjects.push({ name: subject.name, check: check(subject) }))

describe("framing over a network", () => {
  it.effect.prop(
    "gives what was written, and after a cut a prefix of it and the reason",
    { framing: between(0, subjects.length - 1), input: Case },
    ({ framing, input }) => simulated(input, subjects[framing]!.check(input)),
    seeded(1000)
  )
})
