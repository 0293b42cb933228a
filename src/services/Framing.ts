/**
 * How a stream of bytes is a sequence of frames: lines, records with a delimiter, messages with their length before them.
 *
 * A `Framing` is a plain value. Give it to a connection (`connection.frames`, `connection.readFrame`, `connection.runFrames`,
 * `connection.writeFrame`) or use it on any byte stream, such as a file or the output of an SSH command, with `decode` and
 * `encode`. `decodeText` and `encodeText` do the same for text that has no frames.
 *
 * | framing          | a frame is                                                                         |
 * |------------------|------------------------------------------------------------------------------------|
 * | `lines`          | text in any encoding, up to LF or CR LF                                            |
 * | `delimited`      | bytes up to a marker                                                               |
 * | `fixed`          | a certain number of bytes                                                          |
 * | `lengthPrefixed` | bytes after their length in 1, 2, 4 or 8 bytes                                     |
 * | `varintPrefixed` | bytes after their length as a varint, as protobuf delimits messages                |
 * | `netstring`      | bytes after their length in digits: `5:hello,`                                     |
 * | `ndjson`         | a line of JSON, checked by a `Schema`                                              |
 * | `text`, `schema`, `map` | what the frames of another framing stand for; `mapEffect` where that takes an effect |
 *
 * **Details**
 *
 * - Every framing has a size limit, for writing too; a longer frame is a `TcpError` with reason `FrameTooLarge`, and memory
 *   stays bounded however much the peer sends: a length that is too large fails before anything is kept for it.
 * - Frames come out the same however the network cuts the bytes.
 * - A stream that ends inside a frame fails with `EndOfStream`; only `lines` and `ndjson` accept a last line without its end.
 * - A frame that fails takes nothing: it stays for the next read, which may look at it in another way.
 * - Options that make no sense, such as a size of -1, fail with reason `Unknown`, an unknown encoding with `Encoding`, at the
 *   first use.
 *
 * **Gotchas**
 *
 * Frames are views of larger memory, as cheap as can be: lines of the text, and bytes of the piece, that they arrived in. To
 * keep one of many for long, keep a copy of it.
 *
 * **Example** (Lines of a log file, in the encoding of a Russian Windows)
 *
 * ```ts
 * import { Stream } from "effect"
 * import { Framing } from "hawser"
 *
 * const lines = (file: Stream.Stream<Uint8Array>) =>
 *   file.pipe(Framing.decode(Framing.lines({ encoding: "windows-1251" })))
 * ```
 *
 * **Example** (Typed messages, each with its length before it)
 *
 * ```ts
 * import { pipe, Schema, Stream } from "effect"
 * import { type Connection, Framing } from "hawser"
 *
 * const Message = Schema.Struct({ id: Schema.Int, text: Schema.String })
 *
 * const messages = pipe(
 *   Framing.lengthPrefixed({ maxSize: 64 * 1024 }),
 *   Framing.text(),
 *   Framing.schema(Schema.fromJsonString(Message))
 * )
 *
 * const serve = (connection: Connection.Connection) =>
 *   Stream.runForEach(connection.frames(messages), (message) =>
 *     connection.writeFrame(messages, { ...message, text: message.text.toUpperCase() }))
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Malformed, type TcpError, type TcpErrorReason } from "../errors/TcpError.ts"
import * as Internal from "../internal/bytes/framing.ts"
import * as Lines from "../internal/bytes/lines.ts"
import { Marker, Search } from "../internal/bytes/markerSearch.ts"
import { ReadBuffer, toBuffer } from "../internal/bytes/readBuffer.ts"
import * as Sized from "../internal/bytes/sized.ts"
import * as Text from "../internal/bytes/text.ts"
import { transduce } from "../internal/bytes/transduce.ts"

/**
 * How a stream of bytes is a sequence of `A`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Framing<A> extends Internal.Framing<A> {}

/**
 * The size limit where none is given: 1 MiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxSize = Internal.defaultMaxSize

/**
 * The limit that every framing has.
 *
 * @category models
 * @since 0.1.0
 */
export interface SizeLimit {
  /** The most bytes that a frame may have, without what the framing adds. Default 1 MiB; `Infinity` is no limit. */
  readonly maxSize?: number | undefined
}

/**
 * Frames that end with `marker`, which is not part of them. A string marker is UTF-8. Writing a frame that contains the
 * marker fails with reason `Malformed`.
 *
 * The marker is looked for in bytes: in text of a double-byte encoding such as Shift JIS it may turn up inside a character,
 * unless it is a line feed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delimited = (marker: string | Uint8Array, options: SizeLimit = {}): Framing<Uint8Array> => {
  const end = typeof marker === "string" ? Buffer.from(marker) : toBuffer(marker)
  const maxSize = options.maxSize ?? defaultMaxSize
  const refusal = end.length === 0 ? Internal.emptyMarker : Internal.refuseSize(maxSize)
  if (refusal !== undefined) return Internal.refusing(refusal)
  const ending = new Marker(end)
  return {
    decoding: { find: new Internal.MarkerReader(ending, maxSize).find, read: Result.succeed },
    encode: (frame) => {
      if (frame.length > maxSize) return Internal.tooLarge(maxSize)
      const bytes = Buffer.concat([frame, end])
      // also where the end of the frame and the beginning of the marker make one together
      return ending.scan(new Search(), bytes) === bytes.length
        ? Result.succeed(bytes)
        : Result.fail(new Malformed({ framing: "delimited", detail: "the frame contains the marker that ends it" }))
    }
  }
}

/**
 * Lines of text. Reading takes LF and CR LF as the end of a line and accepts a last line without one; writing ends lines
 * with LF, or with what `newline` says. `encoding` is any label of the WHATWG Encoding standard, default `"utf-8"`. To
 * `maxSize` a carriage return counts, a line feed does not. Bytes that are no text in the encoding and a character that it
 * lacks fail with reason `Encoding`, writing a line that contains a line feed with `Malformed`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lines = (
  options: SizeLimit & {
    readonly encoding?: string | undefined
    readonly newline?: "\n" | "\r\n" | undefined
  } = {}
): Framing<string> => {
  const maxSize = options.maxSize ?? defaultMaxSize
  const newline = options.newline ?? "\n"
  const found = Text.codecOf(options.encoding ?? "utf-8")
  if (Result.isFailure(found)) return Internal.refusing(found.failure)
  const refusal = Internal.refuseSize(maxSize)
  if (refusal !== undefined) return Internal.refusing(refusal)
  const codec = found.success
  const feed = Lines.feedOf(codec)
  return {
    decoding: Lines.decoding(codec, feed, maxSize),
    encode: (line) =>
      line.includes("\n")
        ? Result.fail(new Malformed({ framing: "lines", detail: "the line contains a line feed" }))
        : Result.flatMap(codec.encode(line + newline), (bytes) =>
          bytes.length - feed.length > maxSize ? Internal.tooLarge(maxSize) : Result.succeed(bytes))
  }
}

/**
 * Frames of exactly `size` bytes, at least one. Writing another number of bytes fails with reason `Malformed`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fixed = (size: number): Framing<Uint8Array> => Sized.fixed(size)

/**
 * Frames after their length, an unsigned integer of `bytes` bytes, default 4, `endian`, default `"big"`; with
 * `includesPrefix` it counts its own bytes too. A length that cannot be written in that many bytes is `FrameTooLarge`, and
 * so is one beyond `Number.MAX_SAFE_INTEGER`; one that should include its prefix and is smaller is `Malformed`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lengthPrefixed = (
  options: SizeLimit & {
    readonly bytes?: 1 | 2 | 4 | 8 | undefined
    readonly endian?: "big" | "little" | undefined
    readonly includesPrefix?: boolean | undefined
  } = {}
): Framing<Uint8Array> =>
  Sized.sized(Sized.integer({
    bytes: options.bytes ?? 4,
    endian: options.endian ?? "big",
    includesPrefix: options.includesPrefix ?? false,
    maxSize: options.maxSize ?? defaultMaxSize
  }))

/**
 * Frames after their length as a varint (LEB128), as protobuf delimits messages in a stream. A length that is not written in
 * the fewest bytes, or does not end within ten, fails with reason `Malformed`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const varintPrefixed = (options: SizeLimit = {}): Framing<Uint8Array> =>
  Sized.sized(Sized.varint(options.maxSize ?? defaultMaxSize))

/**
 * [Netstrings](https://cr.yp.to/proto/netstrings.txt): the length in decimal digits, a colon, the frame, a comma. Anything
 * else, such as a length with a zero before it, fails with reason `Malformed`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const netstring = (options: SizeLimit = {}): Framing<Uint8Array> =>
  Sized.sized(Sized.netstring(options.maxSize ?? defaultMaxSize))

/** What a mapping by a schema fails with. Effect's messages say what was expected and where, not what was found. */
const failureOf = (framing: string, cause: Cause.Cause<Schema.SchemaError>): Malformed => {
  const error = Result.getOrUndefined(Cause.findError(cause))
  const detail = error?.message ?? "a schema that has to wait needs mapEffect"
  return new Malformed({ framing, detail: detail.replaceAll(/\s+/g, " ").slice(0, 200) })
}

const schemaMapping = <A, I>(framing: string, codec: Schema.Codec<A, I>) => {
  const decode = Schema.decodeUnknownExit(codec)
  const encode = Schema.encodeExit(codec)
  const resultOf = <B>(exit: Exit.Exit<B, Schema.SchemaError>): Result.Result<B, Malformed> =>
    Exit.isSuccess(exit) ? Result.succeed(exit.value) : Result.fail(failureOf(framing, exit.cause))
  return {
    decode: (frame: unknown) => resultOf(decode(frame)),
    encode: (value: A) => resultOf(encode(value))
  }
}

/**
 * One JSON value a line, in UTF-8, checked by a schema both ways. Blank lines and white space around a value are skipped, and
 * a last line need not end. A line that is no JSON, or not what the schema says, fails with reason `Malformed`, which says
 * what was expected and where, but not what was there; one that is not UTF-8 with `Encoding`.
 *
 * **Example** (Events, one a line)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Framing } from "hawser"
 *
 * const events = Framing.ndjson(Schema.Struct({ at: Schema.DateFromString, name: Schema.String }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const ndjson = <A, I>(schema: Schema.Codec<A, I>, options: SizeLimit = {}): Framing<A> => {
  const maxSize = options.maxSize ?? defaultMaxSize
  const mapping = schemaMapping("ndjson", Schema.fromJsonString(schema))
  return map({ decoding: Lines.jsonDecoding(maxSize), encode: lines({ maxSize }).encode }, mapping)
}

/**
 * What a frame of another framing stands for, where that can be told without an effect. A reason that `decode` or `encode`
 * gives is what the read or write fails with; a frame that fails stays unread.
 *
 * @category combinators
 * @since 0.1.0
 */
export const map: {
  <A, B>(mapping: {
    readonly decode: (frame: A) => Result.Result<B, TcpErrorReason>
    readonly encode: (value: B) => Result.Result<A, TcpErrorReason>
  }): (framing: Framing<A>) => Framing<B>
  <A, B>(framing: Framing<A>, mapping: {
    readonly decode: (frame: A) => Result.Result<B, TcpErrorReason>
    readonly encode: (value: B) => Result.Result<A, TcpErrorReason>
  }): Framing<B>
} = dual(2, <A, B>(framing: Framing<A>, mapping: {
  readonly decode: (frame: A) => Result.Result<B, TcpErrorReason>
  readonly encode: (value: B) => Result.Result<A, TcpErrorReason>
}): Framing<B> => ({
  decoding: Internal.mapped(framing.decoding, mapping.decode),
  encode: (value) => Result.flatMap(mapping.encode(value), framing.encode)
}))

/**
 * Frames of bytes as text in an encoding, any label of the WHATWG Encoding standard, default `"utf-8"`. What is no text in it
 * fails with reason `Encoding`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const text = (
  options: { readonly encoding?: string | undefined } = {}
): (framing: Framing<Uint8Array>) => Framing<string> => {
  const codec = Text.codecOf(options.encoding ?? "utf-8")
  return Result.isSuccess(codec) ? map<Uint8Array, string>(codec.success) : () => Internal.refusing(codec.failure)
}

/**
 * Frames through a schema that needs no services and does not have to wait. What it refuses fails with reason `Malformed`,
 * which says what was expected and where, but not what was there.
 *
 * @category combinators
 * @since 0.1.0
 */
export const schema: {
  <A, I>(codec: Schema.Codec<A, I>): (framing: Framing<I>) => Framing<A>
  <A, I>(framing: Framing<I>, codec: Schema.Codec<A, I>): Framing<A>
} = dual(
  2,
  <A, I>(framing: Framing<I>, codec: Schema.Codec<A, I>): Framing<A> => map(framing, schemaMapping("schema", codec))
)

/**
 * A framing whose frames take an effect to read or write: stream functions as `decode` and `encode` give.
 *
 * @category models
 * @since 0.1.0
 */
export interface EffectFraming<A, DecodeError, DecodeServices, EncodeError, EncodeServices> {
  /** The frames of a byte stream. */
  readonly decode: <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>
  ) => Stream.Stream<A, E | TcpError | DecodeError, R | DecodeServices>
  /** The bytes of a stream of frames. */
  readonly encode: <E, R>(
    frames: Stream.Stream<A, E, R>
  ) => Stream.Stream<Uint8Array, E | TcpError | EncodeError, R | EncodeServices>
}

/**
 * What a frame of another framing stands for, where an effect tells: a schema with services, a decryption, a look-up. As the
 * effect may wait, this gives functions of streams and no framing.
 *
 * **Example** (A schema whose fields need a service)
 *
 * ```ts
 * import { Schema, Stream } from "effect"
 * import { type Connection, Framing } from "hawser"
 *
 * const read = <A, R>(connection: Connection.Connection, codec: Schema.Codec<A, string, R, R>) => {
 *   const messages = Framing.mapEffect(Framing.lines(), {
 *     decode: Schema.decodeEffect(codec),
 *     encode: Schema.encodeEffect(codec)
 *   })
 *   return connection.reads.pipe(messages.decode, Stream.runCollect)
 * }
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const mapEffect = <A, B, DecodeError, DecodeServices, EncodeError, EncodeServices>(
  framing: Framing<A>,
  mapping: {
    readonly decode: (frame: A) => Effect.Effect<B, DecodeError, DecodeServices>
    readonly encode: (value: B) => Effect.Effect<A, EncodeError, EncodeServices>
  }
): EffectFraming<B, DecodeError, DecodeServices, EncodeError, EncodeServices> => ({
  decode: (bytes) => Stream.mapEffect(decode(framing)(bytes), mapping.decode),
  encode: (frames) => encode(framing)(Stream.mapEffect(frames, mapping.encode))
})

/**
 * The frames of a byte stream. Fails with `TcpError` (`FrameTooLarge`, `Malformed`, `Encoding`, `EndOfStream` for a frame
 * that was cut off) and with whatever the stream fails with; the frames before a failure come out before it.
 *
 * @category streams
 * @since 0.1.0
 */
export const decode =
  <A>(framing: Framing<A>) => <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<A, E | TcpError, R> =>
    transduce(bytes, () => {
      const buffer = new ReadBuffer()
      const decoder = new Internal.Decoder(framing)
      return {
        push: (pieces) => {
          for (const piece of pieces) buffer.push(toBuffer(piece))
          return decoder.takeAll(buffer, false)
        },
        end: () => decoder.takeAll(buffer, true)
      }
    })

/** What a function makes of some input until it fails, without what is empty. */
const each = <A, B extends { readonly length: number }, E extends TcpErrorReason>(
  input: ReadonlyArray<A>,
  f: (a: A) => Result.Result<B, E>
): Internal.Taken<B> => {
  const frames: Array<B> = []
  for (const a of input) {
    const b = f(a)
    if (Result.isFailure(b)) return { frames, failure: b.failure }
    if (b.success.length > 0) frames.push(b.success)
  }
  return { frames, failure: undefined }
}

/**
 * The bytes of a stream of frames. Fails with `TcpError` (`FrameTooLarge`, `Malformed`, `Encoding`) for a frame that cannot be
 * written, after the bytes of those before it.
 *
 * @category streams
 * @since 0.1.0
 */
export const encode =
  <A>(framing: Framing<A>) => <E, R>(frames: Stream.Stream<A, E, R>): Stream.Stream<Uint8Array, E | TcpError, R> =>
    transduce(frames, () => ({
      push: (frames) => each(frames, framing.encode),
      end: () => each([], framing.encode)
    }))

const throughCodec = <In, Out extends { readonly length: number }, E, R>(
  stream: Stream.Stream<In, E, R>,
  encoding: string,
  stepsOf: (codec: Text.Codec) => Text.Steps<In, Out>
) =>
  transduce<E, R, In, Out>(stream, () => {
    const codec = Text.codecOf(encoding)
    if (Result.isFailure(codec)) {
      const refused = { frames: [], failure: codec.failure }
      return { push: () => refused, end: () => refused }
    }
    const steps = stepsOf(codec.success)
    return { push: (pieces) => each(pieces, steps.next), end: () => each([undefined], steps.end) }
  })

/**
 * The text of a byte stream, in the pieces that it comes in; a character that is cut between pieces comes with the later
 * one. `encoding` is any label of the WHATWG Encoding standard, default `"utf-8"`; a byte order mark is a character like any
 * other. Bytes that are no text fail with `TcpError`, reason `Encoding`, and so does an end inside a character.
 *
 * @category streams
 * @since 0.1.0
 */
export const decodeText =
  (encoding = "utf-8") => <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<string, E | TcpError, R> =>
    throughCodec(bytes, encoding, (codec) => codec.decoder())

/**
 * The bytes of a stream of text in an encoding, any label of the WHATWG Encoding standard, default `"utf-8"`. A character that
 * the encoding lacks fails with `TcpError`, reason `Encoding`: nothing is replaced.
 *
 * @category streams
 * @since 0.1.0
 */
export const encodeText =
  (encoding = "utf-8") => <E, R>(text: Stream.Stream<string, E, R>): Stream.Stream<Uint8Array, E | TcpError, R> =>
    throughCodec(text, encoding, (codec) => codec.encoder())
