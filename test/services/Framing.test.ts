import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Result, Schema, SchemaGetter, Stream } from "effect"
import { Malformed } from "../../src/errors/TcpError.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { reasonOf } from "../support/reason.ts"
import { ScriptedDuplex } from "../support/scripted.ts"

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

/** A peer that has sent this much and neither ends nor sends more. */
const silentAfter = (bytes: Uint8Array) => Stream.concat(Stream.make(bytes), Stream.never)

const bytesOf = (...bytes: ReadonlyArray<number>) => Uint8Array.from(bytes)

const written = <A>(framing: Framing.Framing<A>, frame: A) =>
  Buffer.from(Result.getOrThrow(framing.encode(frame))).toString("hex")

const refusal = <A>(framing: Framing.Framing<A>, frame: A) => {
  const result = framing.encode(frame)
  return Result.isFailure(result) ? result.failure : undefined
}

describe("Framing.lines, many at once", () => {
  it.effect("the lines before one that is no text come before its failure", () =>
    Effect.gen(function*() {
      const bytes = Buffer.concat([latin1("one\ntwo\r\n"), bytesOf(0xff), latin1("\nfour\n")])
      const seen: Array<string> = []
      const reason = yield* reasonOf(
        Stream.make(bytes).pipe(
          Framing.decode(Framing.lines()),
          Stream.runForEach((line) => Effect.sync(() => seen.push(line)))
        )
      )
      assert.deepEqual(seen, ["one", "two"])
      assert.deepInclude(reason, { _tag: "Encoding", encoding: "utf-8" })
    }))

  it.effect("a carriage return belongs to a line's end only at the end", () =>
    Effect.gen(function*() {
      assert.deepEqual(yield* decode(Framing.lines(), [latin1("a\rb\r\n\r\n\r\r\nc\r")]), ["a\rb", "", "\r", "c"])
    }))

  it.effect("short lines may fill a piece that is longer than the limit", () =>
    Effect.gen(function*() {
      const wanted = Array.from({ length: 1000 }, (_, i) => "x".repeat(i % 10))
      const bytes = latin1(wanted.join("\n") + "\n")
      assert.deepEqual(yield* decode(Framing.lines({ maxSize: 9 }), [bytes]), wanted)
    }))

  it.effect("an alphabet that a line of ISO-2022-JP switches to ends with the line", () =>
    Effect.gen(function*() {
      // the first line switches to katakana and does not switch back
      const bytes = bytesOf(0x1b, 0x28, 0x49, 0x31, 0x0a, 0x31, 0x0a)
      const [first, second] = yield* Effect.result(decode(Framing.lines({ encoding: "iso-2022-jp" }), [bytes])).pipe(
        Effect.map((result) => Result.isSuccess(result) ? result.success : [])
      )
      assert.deepEqual([first, second], ["\uff71", "1"])
    }))
})

describe("Framing.fixed", () => {
  it.effect("writes no frame of another size, and refuses sizes that are none", () =>
    Effect.gen(function*() {
      assert.deepInclude(refusal(Framing.fixed(3), bytesOf(1, 2)), {
        _tag: "Malformed",
        detail: "a frame has 3 bytes, not 2"
      })
      for (const size of [0, -1, 1.5, Infinity]) {
        assert.strictEqual((yield* reasonOf(decode(Framing.fixed(size), [bytesOf(1)])))["_tag"], "Unknown")
      }
    }))
})

describe("Framing.lengthPrefixed", () => {
  it("writes the length as it is told to", () => {
    const frame = bytesOf(0xaa, 0xbb)
    assert.strictEqual(written(Framing.lengthPrefixed(), frame), "00000002aabb")
    assert.strictEqual(written(Framing.lengthPrefixed({ bytes: 1 }), frame), "02aabb")
    assert.strictEqual(written(Framing.lengthPrefixed({ bytes: 2, endian: "little" }), frame), "0200aabb")
    assert.strictEqual(written(Framing.lengthPrefixed({ bytes: 4, includesPrefix: true }), frame), "00000006aabb")
    assert.strictEqual(written(Framing.lengthPrefixed({ bytes: 8, endian: "little" }), frame), "0200000000000000aabb")
  })

  it("writes no frame whose length does not fit", () => {
    const fits = (size: number, options: Parameters<typeof Framing.lengthPrefixed>[0]) =>
      refusal(Framing.lengthPrefixed(options), new Uint8Array(size))
    assert.isUndefined(fits(255, { bytes: 1 }))
    assert.deepInclude(fits(256, { bytes: 1 }), { _tag: "FrameTooLarge", maxSize: 255 })
    assert.isUndefined(fits(254, { bytes: 1, includesPrefix: true }))
    assert.deepInclude(fits(255, { bytes: 1, includesPrefix: true }), { _tag: "FrameTooLarge", maxSize: 254 })
  })

  it.effect("fails at a length that is too large before anything of the frame arrives", () =>
    Effect.gen(function*() {
      const read = (framing: Framing.Framing<Uint8Array>, ...bytes: ReadonlyArray<number>) =>
        reasonOf(silentAfter(bytesOf(...bytes)).pipe(Framing.decode(framing), Stream.runDrain))
      const full = [0xff, 0xff, 0xff, 0xff]
      assert.deepInclude(yield* read(Framing.lengthPrefixed(), ...full), {
        _tag: "FrameTooLarge",
        maxSize: 1024 * 1024
      })
      for (const endian of ["big", "little"] as const) {
        const framing = Framing.lengthPrefixed({ bytes: 8, endian, maxSize: Infinity })
        // 2^53 and more cannot be told from what is next to it
        const above = [0, 0x20, 0, 0, 0, 0, 0, 1]
        for (const prefix of [above, [...full, ...full]]) {
          const bytes = endian === "big" ? prefix : prefix.toReversed()
          assert.deepInclude(yield* read(framing, ...bytes), {
            _tag: "FrameTooLarge",
            maxSize: Number.MAX_SAFE_INTEGER
          })
        }
      }
    }))

  it.effect("a length that should include itself and does not is malformed", () =>
    Effect.gen(function*() {
      const framing = Framing.lengthPrefixed({ bytes: 2, includesPrefix: true })
      assert.deepEqual((yield* decode(framing, [bytesOf(0, 2)])).map(text), [""])
      assert.deepInclude(yield* reasonOf(decode(framing, [bytesOf(0, 1)])), {
        _tag: "Malformed",
        framing: "lengthPrefixed"
      })
    }))
})

describe("Framing.varintPrefixed", () => {
  it("writes lengths as protobuf does", () => {
    const prefix = (size: number) =>
      written(Framing.varintPrefixed(), new Uint8Array(size)).slice(0, -2 * size || undefined)
    assert.deepEqual([0, 1, 127, 128, 300, 16384].map(prefix), ["00", "01", "7f", "8001", "ac02", "808001"])
  })

  it.effect("says what is wrong with a length", () =>
    Effect.gen(function*() {
      const read = (maxSize: number | undefined, ...bytes: ReadonlyArray<number>) =>
        reasonOf(
          silentAfter(bytesOf(...bytes)).pipe(Framing.decode(Framing.varintPrefixed({ maxSize })), Stream.runDrain)
        )
      const malformed = { _tag: "Malformed", framing: "varintPrefixed" }
      assert.deepInclude(yield* read(undefined, 0x81, 0x00), malformed)
      assert.deepInclude(yield* read(undefined, 0x80, 0x80, 0x00), malformed)
      assert.deepInclude(yield* read(undefined, ...Array.from({ length: 10 }, () => 0x80)), malformed)
      assert.deepInclude(yield* read(100, 0xe5), { _tag: "FrameTooLarge", maxSize: 100 })
      const huge = [...Array.from({ length: 9 }, () => 0xff), 0x01]
      assert.strictEqual((yield* read(Infinity, ...huge))["_tag"], "FrameTooLarge")
    }))
})

describe("Framing.netstring", () => {
  it.effect("reads and writes what the specification shows", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        written(Framing.netstring(), latin1("hello world!")),
        latin1("12:hello world!,").toString("hex")
      )
      assert.deepEqual((yield* decode(Framing.netstring(), [latin1("12:hello world!,0:,")])).map(text), [
        "hello world!",
        ""
      ])
    }))

  it.effect("is strict", () =>
    Effect.gen(function*() {
      for (const bad of ["01:a,", "00:,", ":,", "a", "-1:a,", " 1:a,", "1 :a,", "1:ab", "+1:a,", "1.0:a,"]) {
        const read = silentAfter(latin1(bad)).pipe(Framing.decode(Framing.netstring()), Stream.runDrain)
        assert.deepInclude(yield* reasonOf(read), { _tag: "Malformed", framing: "netstring" }, bad)
      }
      for (const long of ["1048577", "99999999999999999999999999"]) {
        const read = silentAfter(latin1(long)).pipe(Framing.decode(Framing.netstring()), Stream.runDrain)
        assert.strictEqual((yield* reasonOf(read))["_tag"], "FrameTooLarge")
      }
    }))
})

describe("Framing.ndjson", () => {
  const Login = Schema.Struct({ user: Schema.String, port: Schema.FiniteFromString })
  const framing = Framing.ndjson(Login)

  it.effect("skips blank lines and white space, and takes a last line without its end", () =>
    Effect.gen(function*() {
      const bytes = latin1("\n \t\r\n{\"user\":\"a\",\"port\":\"1\"} \r\n\r\n\n  {\"user\":\"b\",\"port\":\"2\"}")
      const wanted = [{ user: "a", port: 1 }, { user: "b", port: 2 }]
      assert.deepEqual(yield* decode(framing, [bytes]), wanted)
      assert.deepEqual(yield* decode(framing, cut(bytes, Array.from(bytes.keys()))), wanted)
      assert.deepEqual(yield* decode(framing, [latin1(" \n\n ")]), [])
    }))

  it.effect("says what is wrong with a line and where, and nothing of what is in it", () =>
    Effect.gen(function*() {
      for (
        const [line, detail] of [
          [`{"user":"hunter2`, "Expected a valid JSON string"],
          [`{"user":"hunter2"}`, `Missing key at ["port"]`],
          [`{"user":"hunter2","port":["hunter2"]}`, `Expected string at ["port"]`],
          [`{"user":"a","port":"hunter2"}`, `at ["port"]`]
        ] as const
      ) {
        const reason = yield* reasonOf(decode(framing, [latin1(line + "\n")]))
        assert.deepInclude(reason, { _tag: "Malformed", framing: "ndjson" })
        assert.include(String(reason["detail"]), detail)
        assert.notInclude(String(reason["detail"]), "hunter2")
      }
      const wide = Framing.ndjson(Schema.Record(Schema.String, Schema.Int))
      const reason = yield* reasonOf(decode(wide, [latin1(JSON.stringify({ ["k".repeat(10_000)]: "" }))]))
      assert.isAtMost(String(reason["detail"]).length, 200)
    }))

  it.effect("bytes that are not UTF-8 are an Encoding failure", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* reasonOf(decode(framing, [bytesOf(0x22, 0xff, 0x22, 0x0a)])))["_tag"], "Encoding")
    }))

  it("writes nothing that the schema does not allow", () => {
    const Even = Schema.Int.check(Schema.makeFilter((n) => n % 2 === 0))
    assert.strictEqual(written(Framing.ndjson(Even), 2), "320a")
    assert.strictEqual(refusal(Framing.ndjson(Even), 3)?._tag, "Malformed")
  })

  it.effect("the lines before a bad one come before its failure, and it stays for another look", () =>
    Effect.gen(function*() {
      const peer = new ScriptedDuplex()
      const connection = yield* Connection.fromDuplex(peer)
      peer.arrive(`{"user":"a","port":"1"}\nnonsense\n{"user":"b","port":"2"}\n`)
      assert.deepEqual(yield* connection.readFrame(framing), { user: "a", port: 1 })
      assert.strictEqual((yield* reasonOf(connection.readFrame(framing)))["_tag"], "Malformed")
      assert.strictEqual(yield* connection.readLine(), "nonsense")
      assert.deepEqual(yield* connection.readFrame(framing), { user: "b", port: 2 })
    }))
})

describe("Framing.map and its kin", () => {
  const waiting = Schema.String.pipe(
    Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transformEffect((value: string) => Effect.delay(Effect.succeed(value), "1 second")),
      encode: SchemaGetter.passthrough()
    })
  )

  it.effect("a mapping gives the reason", () =>
    Effect.gen(function*() {
      const odd = new Malformed({ framing: "odd", detail: "an odd number of bytes" })
      const even = Framing.map(Framing.lines(), {
        decode: (line) => line.length % 2 === 0 ? Result.succeed(line) : Result.fail(odd),
        encode: (line) => line.length % 2 === 0 ? Result.succeed(line) : Result.fail(odd)
      })
      assert.deepInclude(yield* reasonOf(decode(even, [latin1("ab\nabc\n")])), {
        _tag: "Malformed",
        framing: "odd",
        detail: odd.detail
      })
      assert.deepInclude(yield* reasonOf(decode(even, [latin1("abc")])), {
        _tag: "Malformed",
        framing: "odd",
        detail: odd.detail
      })
      assert.strictEqual(refusal(even, "a"), odd)
    }))

  it.effect("a schema that has to wait is refused, and mapEffect waits", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(decode(Framing.schema(Framing.lines(), waiting), [latin1("a\n")]))
      assert.deepInclude(reason, { _tag: "Malformed", detail: "a schema that has to wait needs mapEffect" })
    }))

  it.live("mapEffect reads and writes with services, errors and time", () =>
    Effect.gen(function*() {
      class Key extends Context.Service<Key, { readonly shift: number }>()("test/Key") {}
      const shift = (sign: 1 | -1) => (line: string) =>
        Key.use((key) =>
          line.includes("!")
            ? Effect.fail("loud" as const)
            : Effect.delay(
              Effect.succeed(String.fromCharCode(...Array.from(line, (c) => c.charCodeAt(0) + sign * key.shift))),
              1
            )
        )
      const secret = Framing.mapEffect(Framing.lines(), { decode: shift(-1), encode: shift(1) })
      const layer = Layer.succeed(Key, { shift: 1 })
      const sent = yield* Stream.make("abc", "xyz").pipe(secret.encode, Stream.runCollect, Effect.provide(layer))
      assert.strictEqual(Buffer.concat(sent).toString(), "bcd\nyz{\n")
      const read = Stream.fromArray(sent).pipe(secret.decode, Stream.runCollect, Effect.provide(layer))
      assert.deepEqual(yield* read, ["abc", "xyz"])
      const loud = Stream.make(latin1("!\n")).pipe(secret.decode, Stream.runCollect, Effect.provide(layer))
      assert.deepEqual(yield* Effect.exit(loud), Exit.fail("loud" as const))
    }))

  it.effect("text in an encoding that nobody knows fails at the first use", () =>
    Effect.gen(function*() {
      const framing = Framing.text({ encoding: "klingon" })(Framing.netstring())
      assert.deepInclude(yield* reasonOf(decode(framing, [latin1("1:a,")])), { _tag: "Encoding", encoding: "klingon" })
      assert.strictEqual(refusal(framing, "a")?._tag, "Encoding")
    }))
})

describe("Framing.encode", () => {
  it.effect("gives the bytes of the frames before one that cannot be written", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const reason = yield* reasonOf(
        Stream.make("a", "b\n", "c").pipe(
          Framing.encode(Framing.lines()),
          Stream.runForEach((bytes) => Effect.sync(() => seen.push(text(bytes))))
        )
      )
      assert.deepEqual(seen, ["a\n"])
      assert.strictEqual(reason["_tag"], "Malformed")
    }))
})
