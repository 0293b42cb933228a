import * as Result from "effect/Result"
import * as Iconv from "iconv-lite"
import { Encoding } from "../../errors/TcpError.ts"

const fail = (encoding: string, detail: string) => Result.fail(new Encoding({ encoding, detail }))

interface Codec {
  /** The name in the WHATWG Encoding standard, of which labels like "latin1" are other names. */
  readonly name: string
  /** Throws at bytes that are no text. */
  readonly decode: (bytes: Uint8Array) => string
}

/** Older versions of Node take windows-1252 for ISO 8859-1, which has control characters where the other has "€" and quotes. */
const knowsWindows1252 = new TextDecoder("windows-1252").decode(Uint8Array.of(0x80)) === "€"

const makeCodec = (label: string): Codec | undefined => {
  try {
    const decoder = new TextDecoder(label, { fatal: true, ignoreBOM: true })
    const name = decoder.encoding
    return {
      name,
      decode: name === "windows-1252" && !knowsWindows1252
        ? (bytes) => Iconv.decode(bytes, name)
        : (bytes) => decoder.decode(bytes)
    }
  } catch {
    return undefined
  }
}

const codecs = new Map<string, Codec>()

const codecOf = (label: string): Codec | undefined => {
  const codec = codecs.get(label) ?? makeCodec(label)
  if (codec !== undefined) codecs.set(label, codec)
  return codec
}

/** Bytes to text; bytes that are no text in the encoding are an error, not replacement characters. */
export const decode = (bytes: Uint8Array, encoding: string): Result.Result<string, Encoding> => {
  const codec = codecOf(encoding)
  if (codec === undefined) return fail(encoding, "this encoding is not known")
  try {
    return Result.succeed(codec.decode(bytes))
  } catch {
    return fail(encoding, `${bytes.length} bytes that are not text`)
  }
}

/** Text to bytes; a character that the encoding lacks is an error, not "?". */
export const encode = (text: string, encoding: string): Result.Result<Buffer, Encoding> => {
  const codec = codecOf(encoding)
  if (codec === undefined) return fail(encoding, "this encoding is not known")
  if (codec.name === "utf-8") return Result.succeed(Buffer.from(text, "utf8"))
  if (!Iconv.encodingExists(codec.name)) return fail(encoding, "this encoding can be read but not written")
  const bytes = Iconv.encode(text, codec.name)
  const back = Iconv.decode(bytes, codec.name, { stripBOM: false })
  if (back === text) return Result.succeed(bytes)
  const missing = Array.from(text).find((character) =>
    Iconv.decode(Iconv.encode(character, codec.name), codec.name, { stripBOM: false }) !== character
  )
  return fail(encoding, `the character "${missing ?? "?"}" does not exist in it`)
}

/** The size of one code unit in bytes. */
export const unitOf = (encoding: string): number => codecOf(encoding)?.name.startsWith("utf-16") === true ? 2 : 1
