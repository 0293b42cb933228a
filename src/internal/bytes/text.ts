import * as Result from "effect/Result"
import * as Iconv from "iconv-lite"
import { Encoding } from "../../errors/TcpError.ts"

const fail = (encoding: string, detail: string) => Result.fail(new Encoding({ encoding, detail }))

const isUtf8 = (encoding: string) => /^utf-?8$/i.test(encoding)

const decoders = new Map<string, InstanceType<typeof TextDecoder>>()

/** Bytes to text; bytes that are no text in the encoding are an error, not replacement characters. */
export const decode = (bytes: Uint8Array, encoding: string): Result.Result<string, Encoding> => {
  try {
    let decoder = decoders.get(encoding)
    if (decoder === undefined) {
      decoder = new TextDecoder(encoding, { fatal: true, ignoreBOM: true })
      decoders.set(encoding, decoder)
    }
    return Result.succeed(decoder.decode(bytes))
  } catch (cause) {
    return cause instanceof RangeError
      ? fail(encoding, "this encoding is not known")
      : fail(encoding, `${bytes.length} bytes that are not text`)
  }
}

/** Text to bytes; a character that the encoding lacks is an error, not "?". */
export const encode = (text: string, encoding: string): Result.Result<Buffer, Encoding> => {
  if (isUtf8(encoding)) return Result.succeed(Buffer.from(text, "utf8"))
  if (!Iconv.encodingExists(encoding)) return fail(encoding, "this encoding is not known")
  const bytes = Iconv.encode(text, encoding)
  const back = Iconv.decode(bytes, encoding, { stripBOM: false })
  if (back === text) return Result.succeed(bytes)
  const missing = Array.from(text).find((character) =>
    Iconv.decode(Iconv.encode(character, encoding), encoding, { stripBOM: false }) !== character
  )
  return fail(encoding, `the character "${missing ?? "?"}" does not exist in it`)
}

/** The size of one code unit in bytes. */
export const unitOf = (encoding: string): number => /^(utf-?16|ucs-?2)/i.test(encoding) ? 2 : 1
