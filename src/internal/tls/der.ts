/**
 * Writes DER (ITU-T X.690): each value is its tag, its length and its content. Only what a certificate needs.
 */
import { Buffer } from "node:buffer"

/** The length in one byte when it is below 128, otherwise the number of its bytes (with the top bit set) and these. */
const length = (n: number): Buffer => {
  if (n < 0x80) return Buffer.of(n)
  const bytes = Buffer.from(n.toString(16).padStart(n > 0xffff ? 6 : n > 0xff ? 4 : 2, "0"), "hex")
  return Buffer.concat([Buffer.of(0x80 | bytes.length), bytes])
}

/** A value with the tag as its first byte. */
const value = (tag: number, ...content: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.concat(content)
  return Buffer.concat([Buffer.of(tag), length(body.length), body])
}

export const boolean = (is: boolean): Buffer => value(0x01, Buffer.of(is ? 0xff : 0))

/** An unsigned integer, most significant byte first; a leading zero keeps the top bit from meaning "negative". */
export const unsigned = (bytes: Uint8Array): Buffer => {
  const first = bytes.findIndex((byte) => byte !== 0)
  const significant = first === -1 ? Buffer.of(0) : bytes.subarray(first)
  return significant[0]! & 0x80 ? value(0x02, Buffer.of(0), significant) : value(0x02, significant)
}

export const bitString = (bytes: Uint8Array, unusedBits = 0): Buffer => value(0x03, Buffer.of(unusedBits), bytes)

export const octetString = (bytes: Uint8Array): Buffer => value(0x04, bytes)

/** A value without content (NULL). */
export const nothing = value(0x05)

/** An object identifier from its dotted form: the first two numbers share a byte, the rest are in base 128. */
export const oid = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number)
  return value(
    0x06,
    Buffer.from([first * 40 + second, ...rest].flatMap((n) => {
      const septets = [n & 0x7f]
      for (let left = n >> 7; left > 0; left >>= 7) septets.unshift(0x80 | (left & 0x7f))
      return septets
    }))
  )
}

export const utf8 = (text: string): Buffer => value(0x0c, Buffer.from(text, "utf8"))

/** RFC 5280, section 4.1.2.5: two digits of year (UTCTime) up to 2049, four (GeneralizedTime) from 2050 on. */
export const time = (date: Date): Buffer => {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, "")
  return date.getUTCFullYear() < 2050
    ? value(0x17, Buffer.from(digits.slice(2), "latin1"))
    : value(0x18, Buffer.from(digits, "latin1"))
}

export const sequence = (...items: ReadonlyArray<Uint8Array>): Buffer => value(0x30, ...items)

export const set = (...items: ReadonlyArray<Uint8Array>): Buffer => value(0x31, ...items)

/** `[number] EXPLICIT`: a whole value inside. */
export const explicit = (number: number, inner: Uint8Array): Buffer => value(0xa0 | number, inner)

/** `[number] IMPLICIT`: the content of a primitive value under another tag. */
export const implicit = (number: number, content: Uint8Array): Buffer => value(0x80 | number, content)
