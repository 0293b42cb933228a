import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema, Stream } from "effect"
import * as Framing from "../../src/services/Framing.ts"
import { fragments, Sizes } from "../support/fragments.ts"
import { reasonOf } from "../support/reason.ts"

const decode = (encoding: string | undefined, pieces: ReadonlyArray<Uint8Array>) =>
  Stream.fromArray(pieces).pipe(Stream.rechunk(1), Framing.decodeText(encoding), Stream.runCollect)

const encode = (encoding: string | undefined, pieces: ReadonlyArray<string>) =>
  Effect.map(
    Stream.fromArray(pieces).pipe(Stream.rechunk(1), Framing.encodeText(encoding), Stream.runCollect),
    (bytes) => Buffer.concat(bytes)
  )

/** Cuts text anywhere, also inside a surrogate pair. */
const cutText = (text: string, sizes: ReadonlyArray<number>) => {
  const pieces: Array<string> = []
  for (let at = 0; at < text.length;) {
    const size = sizes[pieces.length % sizes.length] ?? 1
    pieces.push(text.slice(at, at + size))
    at += size
  }
  return pieces
}

const singleByte = [
  "ibm866",
  "iso-8859-2",
  "iso-8859-5",
  "iso-8859-7",
  "iso-8859-15",
  "koi8-r",
  "koi8-u",
  "macintosh",
  "windows-874",
  "windows-1250",
  "windows-1251",
  "windows-1252",
  "windows-1253",
  "windows-1254",
  "windows-1255",
  "windows-1256",
  "windows-1257",
  "windows-1258"
]
const doubleByte = ["shift_jis", "gbk", "gb18030", "big5", "euc-jp", "euc-kr"]
const unicode = ["utf-8", "utf-16le", "utf-16be"]

/** Characters of every kind that an encoding has, found by reading all there is and writing it again. */
const repertoire = Effect.fnUntraced(function*(encoding: string) {
  if (unicode.includes(encoding)) {
    return Array.from("a\n\u00e9\u0416\u3042\uac00\u6f22\ufeff\ufffd\u0a0a\u{1f389}\u{2000b}")
  }
  const decoder = new TextDecoder(encoding, { ignoreBOM: true })
  const found = new Set<string>()
  for (let first = 0; first < 256; first++) {
    found.add(decoder.decode(Uint8Array.of(first)))
    if (first < 0x81 || singleByte.includes(encoding)) continue
    for (let second = 0x30; second < 256; second += 7) found.add(decoder.decode(Uint8Array.of(first, second)))
  }
  // four bytes in GB18030, which has all of Unicode
  if (encoding === "gb18030") found.add("\u{1f389}").add("\u00ff").add("\u{2000b}")
  const characters: Array<string> = []
  for (const character of found) {
    if (Array.from(character).length !== 1) continue
    const bytes = yield* Effect.result(encode(encoding, [character]))
    if (Result.isSuccess(bytes)) characters.push(character)
  }
  return characters
})

const Choices = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))).check(
  Schema.isMaxLength(30)
)

describe("Framing.encodeText and decodeText", () => {
  for (const encoding of [...unicode, ...singleByte, ...doubleByte]) {
    describe(encoding, () => {
      let characters: ReadonlyArray<string> | undefined
      const textOf = (choices: ReadonlyArray<number>) =>
        Effect.map(
          characters === undefined ? repertoire(encoding) : Effect.succeed(characters),
          (all) => {
            characters = all
            assert.isAtLeast(all.length, unicode.includes(encoding) ? 12 : doubleByte.includes(encoding) ? 1000 : 190)
            return choices.map((choice) => all[choice % all.length]).join("")
          }
        )

      it.effect.prop(
        "any text of its characters comes back, however text and bytes are cut",
        { choices: Choices, byteSizes: Sizes, textSizes: Sizes },
        ({ byteSizes, choices, textSizes }) =>
          Effect.gen(function*() {
            const text = yield* textOf(choices)
            const bytes = yield* encode(encoding, cutText(text, textSizes))
            assert.deepEqual(bytes, yield* encode(encoding, [text]))
            for (const sizes of [byteSizes, [1] as const]) {
              assert.strictEqual((yield* decode(encoding, fragments(bytes, sizes))).join(""), text)
            }
          }),
        { arbitrary: { runs: 40 } }
      )

      it.effect.prop(
        "lines of its characters come back, however they are cut",
        { lines: Schema.Array(Choices).check(Schema.isMaxLength(6)), sizes: Sizes },
        ({ lines, sizes }) =>
          Effect.gen(function*() {
            const wanted: Array<string> = []
            for (const line of lines) wanted.push((yield* textOf(line)).replaceAll(/[\r\n]/g, "") + ".")
            const framing = Framing.lines({ encoding })
            const pieces = yield* Stream.fromArray(wanted).pipe(Framing.encode(framing), Stream.runCollect)
            const decoded = yield* Stream.fromArray(fragments(Buffer.concat(pieces), sizes)).pipe(
              Framing.decode(framing),
              Stream.runCollect
            )
            assert.deepEqual(decoded, wanted)
          }),
        { arbitrary: { runs: 20 } }
      )
    })
  }

  it.effect("UTF-8 is the default", () =>
    Effect.gen(function*() {
      assert.deepEqual(yield* encode(undefined, ["é"]), Buffer.from("é"))
      assert.deepEqual(yield* decode(undefined, [Buffer.from("é")]), ["é"])
    }))

  it.effect("reads ISO-2022-JP byte by byte, and does not write it", () =>
    Effect.gen(function*() {
      const bytes = Uint8Array.of(0x1b, 0x24, 0x42, 0x34, 0x41, 0x3b, 0x7a, 0x1b, 0x28, 0x42, 0x2e)
      assert.strictEqual((yield* decode("iso-2022-jp", fragments(bytes, [1]))).join(""), "漢字.")
      assert.include((yield* reasonOf(encode("iso-2022-jp", ["漢"])))["detail"], "read but not written")
    }))

  it.effect("text that ends inside a character is an error, after what came before it", () =>
    Effect.gen(function*() {
      for (
        const [encoding, text] of [
          ["utf-8", "é"],
          ["utf-16le", "é"],
          ["utf-16be", "🎉"],
          ["shift_jis", "漢"],
          ["gb18030", "🎉"],
          ["gbk", "漢"],
          ["big5", "漢"],
          ["euc-jp", "漢"],
          ["euc-kr", "가"]
        ] as const
      ) {
        const bytes = yield* encode(encoding, ["a" + text])
        const seen: Array<string> = []
        const reason = yield* reasonOf(
          Stream.make(bytes.subarray(0, -1)).pipe(
            Framing.decodeText(encoding),
            Stream.runForEach((piece) => Effect.sync(() => seen.push(piece)))
          )
        )
        assert.strictEqual(seen.join("")[0], "a", encoding)
        assert.deepInclude(reason, { _tag: "Encoding", encoding, detail: "the text ends inside a character" })
      }
    }))

  it.effect("bytes that are no text are an error, after what came before them", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const reason = yield* reasonOf(
        Stream.make(Buffer.from("good"), Uint8Array.of(0xff), Buffer.from("lost")).pipe(
          Framing.decodeText(),
          Stream.runForEach((piece) => Effect.sync(() => seen.push(piece)))
        )
      )
      assert.deepEqual(seen, ["good"])
      assert.deepInclude(reason, { _tag: "Encoding", encoding: "utf-8" })
    }))

  it.effect("a character that an encoding lacks is an error and never a question mark", () =>
    Effect.gen(function*() {
      for (
        const [encoding, character] of [
          ["windows-1251", "→"],
          ["koi8-r", "漢"],
          ["latin1", "ж"],
          ["shift_jis", "가"],
          ["gbk", "🎉"],
          ["big5", "ё🎉".slice(1)]
        ] as const
      ) {
        const reason = yield* reasonOf(encode(encoding, ["a?", `b${character}c`]))
        assert.strictEqual(reason["_tag"], "Encoding")
        assert.include(reason["detail"], `"${character}"`)
      }
    }))

  it.effect("half of a surrogate pair is no character in any encoding", () =>
    Effect.gen(function*() {
      for (const encoding of [...unicode, "gb18030", "koi8-r"]) {
        for (const pieces of [["a\ud83c"], ["\udf89"], ["\ud83c", "a"], ["\ud83c", "\ud83c\udf89"]]) {
          assert.strictEqual((yield* reasonOf(encode(encoding, pieces)))["_tag"], "Encoding", encoding)
        }
      }
    }))

  it.effect("an encoding that nobody knows is an error, in both directions", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* reasonOf(encode("klingon", ["a"])), { _tag: "Encoding", encoding: "klingon" })
      assert.deepInclude(yield* reasonOf(decode("klingon", [Buffer.from("a")])), {
        _tag: "Encoding",
        encoding: "klingon"
      })
    }))

  it.effect("a label is found as the standard finds it", () =>
    Effect.gen(function*() {
      for (const label of [" CP1251 ", "Windows-1251", "x-cp1251"]) {
        assert.deepEqual(yield* encode(label, ["ж"]), Buffer.from([0xe6]))
      }
    }))
})
