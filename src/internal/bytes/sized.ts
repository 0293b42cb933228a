import * as Result from "effect/Result"
import { Malformed, Unknown } from "../../errors/TcpError.ts"
import { type Extent, type Framing, refuseSize, refusing, type Step, tooLarge } from "./framing.ts"
import type { ReadBuffer } from "./readBuffer.ts"

/** How frames say their size before they begin. */
export interface Sizing {
  readonly maxSize: number
  /** Where the frame is that begins here, as soon as that can be told: a size beyond `maxSize` may be given as it is. */
  readonly find: (buffer: ReadBuffer) => Step<Extent>
  readonly before: (size: number) => Uint8Array
  readonly after?: Terminator | undefined
}

/** What follows each frame, to tell when reader and writer do not agree on a size. */
interface Terminator {
  readonly bytes: Uint8Array
  readonly missing: Malformed
}

const none = new Uint8Array()

/** Frames that begin with their size: it is checked before anything is kept for them. */
export const sized = ({ after, before, find, maxSize }: Sizing): Framing<Uint8Array> => {
  const refusal = refuseSize(maxSize)
  if (refusal !== undefined) return refusing(refusal)
  const findWhole = (buffer: ReadBuffer): Step<Extent> => {
    if (buffer.size === 0) return undefined
    const extent = find(buffer)
    if (extent === undefined || Result.isFailure(extent)) return extent
    const { drop, size, skip } = extent.success
    if (size > maxSize || !Number.isSafeInteger(size)) return tooLarge(maxSize)
    if (buffer.size < skip + size + drop) return undefined
    const ends = after === undefined || buffer.peek(skip + size, drop).equals(after.bytes)
    return ends ? extent : Result.fail(after.missing)
  }
  return {
    decoding: { find: findWhole, read: Result.succeed },
    encode: (frame) =>
      frame.length > maxSize
        ? tooLarge(maxSize)
        : Result.succeed(Buffer.concat([before(frame.length), frame, after?.bytes ?? none]))
  }
}

const malformed = (framing: string, detail: string): Malformed => new Malformed({ framing, detail })

/** Frames of one size. */
export const fixed = (size: number): Framing<Uint8Array> => {
  const refusal = refuseSize(size)
    ?? (size === 0 || size === Infinity ? new Unknown({ detail: `frames have some bytes, not ${size}` }) : undefined)
  if (refusal !== undefined) return refusing(refusal)
  const extent: Step<Extent> = Result.succeed({ skip: 0, size, drop: 0 })
  return {
    decoding: { find: (buffer) => buffer.size < size ? undefined : extent, read: Result.succeed },
    encode: (frame) =>
      frame.length === size
        ? Result.succeed(frame)
        : Result.fail(malformed("fixed", `a frame has ${size} bytes, not ${frame.length}`))
  }
}

/** Sizes as an unsigned integer of some bytes. */
export const integer = (
  { bytes, endian, includesPrefix, maxSize }: {
    readonly bytes: 1 | 2 | 4 | 8
    readonly endian: "big" | "little"
    readonly includesPrefix: boolean
    readonly maxSize: number
  }
): Sizing => {
  const added = includesPrefix ? bytes : 0
  return {
    maxSize: Math.min(maxSize, Math.min(2 ** (8 * bytes) - 1, Number.MAX_SAFE_INTEGER) - added),
    find: (buffer) => {
      if (buffer.size < bytes) return undefined
      let value = 0
      // beyond 2^53 this rounds, but never to less than that, which is refused
      for (let i = 0; i < bytes; i++) value = value * 256 + buffer.byteAt(endian === "big" ? i : bytes - 1 - i)
      return value < added
        ? Result.fail(malformed("lengthPrefixed", `a length of ${value} does not even include its own ${bytes} bytes`))
        : Result.succeed({ skip: bytes, size: value - added, drop: 0 })
    },
    before: (size) => {
      const prefix = Buffer.alloc(bytes)
      let value = size + added
      for (let i = 0; i < bytes; i++, value = Math.floor(value / 256)) {
        prefix[endian === "little" ? i : bytes - 1 - i] = value % 256
      }
      return prefix
    }
  }
}

/** Sizes in base 128, the least significant seven bits first, with the high bit in all bytes but the last. */
export const varint = (maxSize: number): Sizing => ({
  maxSize,
  find: (buffer) => {
    let value = 0
    for (let i = 0; i < Math.min(buffer.size, 10); i++) {
      const byte = buffer.byteAt(i)
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte === 0 && i > 0) {
        return Result.fail(malformed("varintPrefixed", "a length is written longer than it needs"))
      }
      if (byte < 0x80 || value > maxSize) return Result.succeed({ skip: i + 1, size: value, drop: 0 })
    }
    return buffer.size < 10
      ? undefined
      : Result.fail(malformed("varintPrefixed", "a length does not end within 10 bytes"))
  },
  before: (size) => {
    const bytes: Array<number> = []
    let value = size
    for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 + 0x80)
    return Uint8Array.from([...bytes, value])
  }
})

const colon = 0x3a

/** Sizes in decimal digits before a colon, and a comma behind the frame. */
export const netstring = (maxSize: number): Sizing => ({
  maxSize,
  find: (buffer) => {
    let value = 0
    for (let i = 0; i < buffer.size; i++) {
      const byte = buffer.byteAt(i)
      if (byte === colon && i > 0) return Result.succeed({ skip: i + 1, size: value, drop: 1 })
      if (byte < 0x30 || byte > 0x39) {
        return Result.fail(malformed("netstring", `byte 0x${byte.toString(16)} where a length was expected`))
      }
      if (i > 0 && value === 0) return Result.fail(malformed("netstring", "a length begins with a zero"))
      value = value * 10 + byte - 0x30
      if (value > maxSize || !Number.isSafeInteger(value)) return Result.succeed({ skip: i + 1, size: value, drop: 1 })
    }
    return undefined
  },
  before: (size) => Buffer.from(`${size}:`),
  after: { bytes: Buffer.from(","), missing: malformed("netstring", "no comma where a frame should end") }
})
