/** Every framing there is, with frames to try it on. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Framing from "../../src/services/Framing.ts"

/** A framing to hold to the laws. */
export interface Subject<A> {
  readonly name: string
  readonly make: (maxSize?: number) => Framing.Framing<A>
  /** A frame made of some bytes. */
  readonly frame: (bytes: ReadonlyArray<number>) => A
  /** A frame whose content takes exactly `size` bytes, at least two; `undefined` where all have one size. */
  readonly sized: ((size: number) => A) | undefined
  /** How many bytes a frame grows by. */
  readonly unit: number
  /** What to compare frames by. */
  readonly plain: (frame: A) => unknown
  /** Whether what is left at the end counts as a frame. */
  readonly takesRest: boolean
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

const ofBytes = (name: string, make: (maxSize?: number) => Framing.Framing<Uint8Array>): Subject<Uint8Array> => ({
  name,
  make,
  frame: (bytes) => Uint8Array.from(bytes),
  sized: (size) => new Uint8Array(size).fill(0x61),
  unit: 1,
  plain: hex,
  takesRest: false
})

const words = ["a", "", "é", "я", "漢", "🎉", "\r", "x y", ":", ","]

const ofText = (
  name: string,
  make: (maxSize?: number) => Framing.Framing<string>,
  unit = 1,
  takesRest = true
): Subject<string> => ({
  name,
  make,
  // a carriage return at the end of a line would be taken for a part of it
  frame: (bytes) => bytes.map((byte) => words[byte % words.length]).join("") + ".",
  sized: (size) => "a".repeat(size / unit),
  unit,
  plain: (line) => line,
  takesRest
})

const Event = Schema.Struct({ name: Schema.String, at: Schema.DateFromString })

const events: Subject<typeof Event.Type> = {
  name: "ndjson",
  make: (maxSize) => Framing.ndjson(Event, { maxSize }),
  frame: (bytes) => ({ name: bytes.map((byte) => words[byte % words.length]).join("\n"), at: new Date(bytes.length) }),
  sized: undefined,
  unit: 1,
  plain: (event) => event,
  takesRest: true
}

/** Something to be done with every framing. */
export const forEachFraming = (run: <A>(subject: Subject<A>) => void): void => {
  run({
    ...ofBytes("delimited", (maxSize) => Framing.delimited("--\r\n", { maxSize })),
    frame: (bytes) => Uint8Array.from(bytes, (byte) => "-\rab"[byte % 4]!.charCodeAt(0)).fill(0x61, -1)
  })
  run(ofText("lines", (maxSize) => Framing.lines({ maxSize })))
  run({ ...ofText("lines with CR LF", (maxSize) => Framing.lines({ maxSize, newline: "\r\n" })), sized: undefined })
  run(ofText("lines in UTF-16", (maxSize) => Framing.lines({ maxSize, encoding: "utf-16le" }), 2))
  run(ofText("lines in GB18030", (maxSize) => Framing.lines({ maxSize, encoding: "gb18030" })))
  run({
    ...ofBytes("fixed", () => Framing.fixed(5)),
    frame: (bytes) => Uint8Array.from([0, 1, 2, 3, 4], (i) => bytes[i] ?? 0),
    sized: undefined
  })
  for (const bytes of [1, 2, 4, 8] as const) {
    for (const endian of ["big", "little"] as const) {
      for (const includesPrefix of [false, true]) {
        run(ofBytes(
          `lengthPrefixed in ${bytes} bytes, ${endian} endian${includesPrefix ? ", with the prefix" : ""}`,
          (maxSize) => Framing.lengthPrefixed({ bytes, endian, includesPrefix, maxSize })
        ))
      }
    }
  }
  run(ofBytes("varintPrefixed", (maxSize) => Framing.varintPrefixed({ maxSize })))
  run(ofBytes("netstring", (maxSize) => Framing.netstring({ maxSize })))
  run(events)
  run(ofText("text", (maxSize) => Framing.text()(Framing.netstring({ maxSize })), 1, false))
  run({
    ...ofBytes("map", (maxSize) =>
      Framing.map<Uint8Array, Uint8Array>(Framing.varintPrefixed({ maxSize }), {
        decode: (frame) => Result.succeed(frame.toReversed()),
        encode: (frame) => Result.succeed(frame.toReversed())
      }))
  })
  run(ofText("schema", (maxSize) => Framing.schema(Framing.lines({ maxSize }), Schema.String)))
}
