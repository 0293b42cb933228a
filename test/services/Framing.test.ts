import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as Framing from "../../src/services/Framing.ts"
import { reasonOf } from "../support/reason.ts"

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1")
const latin1 = (characters: string) => Buffer.from(characters, "latin1")

/** Cuts bytes at the given places. */
const cut = (bytes: Uint8Array, places: ReadonlyArray<number>) => {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted((a, b) => a - b)
  return [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length))
}

const decode = <A>(framing: Framing.Framing<A>, pieces: ReadonlyArray<Uint8Array>) =>
  Stream.fromIterable(pieces).pipe(Stream.rechunk(1), Framing.decode(framing), Stream.runCollect)

const encode = <A>(framing: Framing.Framing<A>, frames: ReadonlyArray<A>) =>
  Effect.map(
    Stream.fromIterable(frames).pipe(Framing.encode(framing), Stream.runCollect),
    (pieces) => Buffer.concat(pieces)
  )

const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400 }))).check(
  Schema.isMaxLength(40)
)

describe("Framing.delimited", () => {
  const letters = Schema.Array(Schema.Literals(["a", "b", "x"])).check(Schema.isMaxLength(8))

  it.effect.prop(
    "round-trips under any cutting, with markers that overlap themselves",
    {
      frames: Schema.Array(letters).check(Schema.isMaxLength(20)),
      marker: Schema.Literals(["\n", "ab\n", "aab|", "||"]),
      cuts: Cuts
    },
    ({ cuts, frames, marker }) =>
      Effect.gen(function*() {
        const framing = Framing.delimited(marker)
        const bytes = yield* encode(framing, frames.map((frame) => latin1(frame.join(""))))
        const decoded = yield* decode(framing, cut(bytes, cuts))
        assert.deepEqual(decoded.map(text), frames.map((frame) => frame.join("")))
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect("finds the first end of every frame, as a search over all bytes does", () =>
    Effect.gen(function*() {
      const bytes = latin1("aaab-aab--aaaab-")
      for (let size = 1; size <= bytes.length; size++) {
        const pieces = cut(bytes, Array.from({ length: 20 }, (_, i) => i * size).filter((at) => at < bytes.length))
        assert.deepEqual((yield* decode(Framing.delimited("aab-"), pieces)).map(text), ["a", "", "-aa"])
      }
    }))

  it.effect("a frame as long as the limit passes and one that is longer fails, however it is cut", () =>
    Effect.gen(function*() {
      const framing = Framing.delimited(";", { maxSize: 4 })
      assert.deepEqual((yield* decode(framing, [latin1("abcd;")])).map(text), ["abcd"])
      for (const pieces of [["abcde;"], ["abcde", ";"], ["abcdefgh"], Array.from("abcde;")]) {
        const reason = yield* reasonOf(decode(framing, pieces.map(latin1)))
        assert.deepInclude(reason, { _tag: "FrameTooLarge", maxSize: 4 })
      }
    }))

  it.effect("a frame that is cut off at the end is an error", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* reasonOf(decode(Framing.delimited(";"), [latin1("a;bc")])), {
        _tag: "EndOfStream",
        received: 2
      })
    }))

  it.effect("a frame that contains the marker cannot be written", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(encode(Framing.delimited(";"), [latin1("a;b")]))
      assert.strictEqual(reason["_tag"], "Malformed")
    }))
})

describe("Framing.lines", () => {
  it.effect.prop(
    "round-trips under any cutting, in every kind of encoding",
    {
      lines: Schema.Array(Schema.Array(Schema.Literals(["a", "я", "ж", " ", "Ċ"])).check(Schema.isMaxLength(6))).check(
        Schema.isMaxLength(12)
      ),
      encoding: Schema.Literals(["utf-8", "utf-16le", "utf-16be"]),
      newline: Schema.Literals(["\n", "\r\n"]),
      cuts: Cuts
    },
    ({ cuts, encoding, lines, newline }) =>
      Effect.gen(function*() {
        const framing = Framing.lines({ encoding, newline })
        const wanted = lines.map((line) => line.join(""))
        assert.deepEqual(yield* decode(framing, cut(yield* encode(framing, wanted), cuts)), wanted)
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect("a byte pair that only looks like a line feed in UTF-16 is none", () =>
    Effect.gen(function*() {
      // U+0A00 and U+000A side by side: 00 0A | 0A 00 in little endian holds an unaligned 0A 0A and 0A 00
      const bytes = Buffer.from("\u0a00\u0a0a\n", "utf16le")
      assert.deepEqual(yield* decode(Framing.lines({ encoding: "utf-16le" }), [bytes]), ["\u0a00\u0a0a"])
    }))

  it.effect("reads single-byte encodings and a last line without its end", () =>
    Effect.gen(function*() {
      for (const encoding of ["windows-1251", "koi8-r", "ibm866"]) {
        const framing = Framing.lines({ encoding })
        const bytes = yield* encode(framing, ["первая", "вторая"])
        assert.deepEqual(yield* decode(framing, [bytes.subarray(0, -1)]), ["первая", "вторая"])
      }
    }))

  it.effect("what cannot be text, cannot be encoded or holds a line feed is a typed error", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* reasonOf(decode(Framing.lines(), [Buffer.from([0xff, 0x0a])])), { _tag: "Encoding" })
      assert.deepInclude(yield* reasonOf(encode(Framing.lines({ encoding: "koi8-r" }), ["漢"])), { _tag: "Encoding" })
      assert.deepInclude(yield* reasonOf(encode(Framing.lines(), ["a\nb"])), { _tag: "Malformed" })
      assert.deepInclude(yield* reasonOf(decode(Framing.lines({ encoding: "klingon" }), [latin1("x\n")])), {
        _tag: "Encoding",
        encoding: "klingon"
      })
    }))

  it.effect("what the stream fails with passes through", () =>
    Effect.gen(function*() {
      const broken = Stream.concat(Stream.make(latin1("a\nb")), Stream.fail("broken" as const))
      const seen: Array<string> = []
      const error = yield* Effect.flip(
        broken.pipe(Framing.decode(Framing.lines()), Stream.runForEach((line) => Effect.sync(() => seen.push(line))))
      )
      assert.strictEqual(error, "broken")
      assert.deepEqual(seen, ["a"])
    }))
})
