import * as Result from "effect/Result"
import type { TcpErrorReason } from "../../errors/TcpError.ts"
import { type Decoder, type Decoding, MarkerReader, tooLarge } from "./framing.ts"
import { Marker } from "./markerSearch.ts"
import type { ReadBuffer } from "./readBuffer.ts"
import { type Codec, codecOf } from "./text.ts"

const feed = "\n"

/** A line feed in an encoding: all that are not UTF-16 have ASCII in them. */
export const feedOf = (codec: Codec): Uint8Array =>
  codec.name === "utf-16be"
    ? Uint8Array.of(0, 10)
    : codec.name === "utf-16le"
    ? Uint8Array.of(10, 0)
    : Uint8Array.of(10)

const withoutReturn = (line: string): string => line.charCodeAt(line.length - 1) === 13 ? line.slice(0, -1) : line

/**
 * Reads lines. To decode a line costs more to begin than to do, so all the lines in a piece become one text that is split:
 * no encoding has a line feed inside another character.
 */
export const decoding = (codec: Codec, feedBytes: Uint8Array, maxSize: number): Decoding<string> => {
  const reader = new MarkerReader(new Marker(feedBytes, codec.unit), maxSize)
  const read = (bytes: Buffer): Result.Result<string, TcpErrorReason> => Result.map(codec.decode(bytes), withoutReturn)

  const oneByOne = (
    buffer: ReadBuffer,
    decoder: Decoder<string>,
    size: number
  ): ReadonlyArray<string> | undefined => {
    const lines: Array<string> = []
    for (const end = buffer.size - size; buffer.size > end;) {
      const line = decoder.next(buffer)
      if (line === undefined || Result.isFailure(line)) break
      lines.push(line.success)
    }
    return lines.length > 0 ? lines : undefined
  }

  const batch = (buffer: ReadBuffer, decoder: Decoder<string>): ReadonlyArray<string> | undefined => {
    // goes on with the search for a long line, so that no byte is searched twice
    const first = reader.end(buffer, decoder)
    if (first === undefined || Result.isFailure(first)) return undefined
    const piece = buffer.head
    const size = reader.lastEnd(piece)
    if (size <= first.success) return oneByOne(buffer, decoder, first.success)
    const text = codec.decode(piece.subarray(0, size - feedBytes.length))
    // one of them is no text: those before it come first
    if (Result.isFailure(text)) return oneByOne(buffer, decoder, size)
    buffer.skip(size)
    const lines = text.success.split(feed)
    return text.success.includes("\r") ? lines.map(withoutReturn) : lines
  }

  return {
    find: reader.find,
    read,
    rest: (bytes) => bytes.length > maxSize ? tooLarge(maxSize) : read(bytes),
    batch: codec.stateless ? batch : undefined
  }
}

const utf8 = Result.getOrThrow(codecOf("utf-8"))

/** White space between JSON values, which may be a blank line. */
const isBlank = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Reads the lines that are not blank. */
export const jsonDecoding = (maxSize: number): Decoding<string> => {
  const reader = new MarkerReader(new Marker(feedOf(utf8)), maxSize)
  return {
    find: (buffer, search) => {
      // a line whose end is being looked for begins with something else
      while (buffer.size > 0 && isBlank(buffer.byteAt(0))) buffer.skip(1)
      return reader.find(buffer, search)
    },
    read: utf8.decode,
    rest: utf8.decode
  }
}
