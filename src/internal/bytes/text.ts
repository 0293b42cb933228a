import * as Result from "effect/Result"
import * as Iconv from "iconv-lite"
import { Encoding } from "../../errors/TcpError.ts"

const fail = (encoding: string, detail: string) => Result.fail(new Encoding({ encoding, detail }))

/** An encoding of the WHATWG Encoding standard: that standard reads, and what is written reads back the same. */
export interface Codec {
  /** The name in the standard, of which labels like "latin1" are other names. */
  readonly name: string
  /** The size of one code unit in bytes. */
  readonly unit: 1 | 2
  /** Whether lines mean the same alone and one behind the other: not so where escape sequences switch the alphabet. */
  readonly stateless: boolean
  readonly decode: (bytes: Uint8Array) => Result.Result<string, Encoding>
  readonly encode: (text: string) => Result.Result<Buffer, Encoding>
  /** Reads text that comes in pieces, which may be cut inside a character. */
  readonly decoder: () => Steps<Uint8Array, string>
  /** Writes text that comes in pieces, which may be cut inside a surrogate pair. */
  readonly encoder: () => Steps<string, Buffer>
}

/** A conversion of one text in pieces; a failure or `end` uses it up. */
export interface Steps<In, Out> {
  readonly next: (piece: In) => Result.Result<Out, Encoding>
  readonly end: () => Result.Result<Out, Encoding>
}

/** Older versions of Node take windows-1252 for ISO 8859-1, which has control characters where the other has "€" and quotes. */
const knowsWindows1252 = new TextDecoder("windows-1252").decode(Uint8Array.of(0x80)) === "€"

const nothing = Buffer.alloc(0)

const options = { fatal: true, ignoreBOM: true }

const replacement = "\ufffd"

/** The first character of a text that did not come back as it was. */
const firstLost = (text: string, back: string): string => {
  let at = 0
  while (text[at] === back[at] && back[at] !== replacement && at < text.length) at++
  // a difference in the second half of a pair is one of the character that begins before
  if (/[\uDC00-\uDFFF]/.test(text[at] ?? "")) at--
  return String.fromCodePoint(text.codePointAt(at) ?? 0)
}

const makeCodec = (label: string): Codec | undefined => {
  const strict = Result.try(() => new TextDecoder(label, options))
  if (Result.isFailure(strict)) return undefined
  const name = strict.success.encoding
  const unit = name.startsWith("utf-16") ? 2 : 1
  const own = name === "windows-1252" && !knowsWindows1252
  const lenient = new TextDecoder(name, { ignoreBOM: true })

  const decodeWith = (bytes: Uint8Array, run: (bytes: Uint8Array) => string): Result.Result<string, Encoding> => {
    try {
      return Result.succeed(run(bytes))
    } catch {
      return fail(name, `${bytes.length} bytes that are not text`)
    }
  }

  const decode = (bytes: Uint8Array) =>
    decodeWith(bytes, (bytes) => own ? Iconv.decode(bytes, name) : strict.success.decode(bytes))

  const encode = (text: string): Result.Result<Buffer, Encoding> => {
    if (/\p{Surrogate}/u.test(text)) return fail(name, "half of a surrogate pair is no character")
    if (name === "utf-8") return Result.succeed(Buffer.from(text, "utf8"))
    if (unit === 2) return Result.succeed(Iconv.encode(text, name))
    if (!Iconv.encodingExists(name)) return fail(name, "this encoding can be read but not written")
    const bytes = Iconv.encode(text, name)
    const back = decode(bytes)
    if (Result.isSuccess(back) && back.success === text) return Result.succeed(bytes)
    const lost = firstLost(text, Result.getOrElse(back, () => lenient.decode(bytes)))
    return fail(name, `the character "${lost}" does not exist in it`)
  }

  return {
    name,
    unit,
    stateless: name !== "iso-2022-jp",
    decode,
    encode,
    decoder: () => {
      const decoder = new TextDecoder(name, options)
      return {
        next: (bytes) => own ? decode(bytes) : decodeWith(bytes, (bytes) => decoder.decode(bytes, { stream: true })),
        end: () =>
          own
            ? Result.succeed("")
            : Result.mapError(
              decodeWith(nothing, (bytes) => decoder.decode(bytes)),
              () => new Encoding({ encoding: name, detail: "the text ends inside a character" })
            )
      }
    },
    encoder: () => {
      let half = ""
      return {
        next: (piece) => {
          const text = half + piece
          half = /[\uD800-\uDBFF]$/.exec(text)?.[0] ?? ""
          return encode(half === "" ? text : text.slice(0, -1))
        },
        end: () => encode(half)
      }
    }
  }
}

const codecs = new Map<string, Codec>()

/** The encoding that a label stands for. */
export const codecOf = (label: string): Result.Result<Codec, Encoding> => {
  const known = codecs.get(label)
  if (known !== undefined) return Result.succeed(known)
  // as the standard matches them, so that there are only so many labels to keep
  const normal = label.trim().toLowerCase()
  const codec = codecs.get(normal) ?? makeCodec(normal)
  if (codec === undefined) return fail(label, "this encoding is not known")
  codecs.set(normal, codec)
  return Result.succeed(codec)
}

/** Bytes to text; bytes that are no text in the encoding are an error, not replacement characters. */
export const decode = (bytes: Uint8Array, encoding: string): Result.Result<string, Encoding> =>
  Result.flatMap(codecOf(encoding), (codec) => codec.decode(bytes))

/** Text to bytes; a character that the encoding lacks is an error, not "?". */
export const encode = (text: string, encoding: string): Result.Result<Buffer, Encoding> =>
  Result.flatMap(codecOf(encoding), (codec) => codec.encode(text))
