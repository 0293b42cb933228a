import * as Result from "effect/Result"
import { EndOfStream, FrameTooLarge, type TcpErrorReason, Unknown } from "../../errors/TcpError.ts"
import { type Marker, Search } from "./markerSearch.ts"
import type { ReadBuffer } from "./readBuffer.ts"

/** What a step of decoding gives: a frame, a failure, or `undefined` when more bytes are needed. */
export type Step<A> = Result.Result<A, TcpErrorReason> | undefined

/** Where a frame is: `skip` bytes before it and `drop` bytes behind it belong to the framing. */
export interface Extent {
  readonly skip: number
  readonly size: number
  readonly drop: number
}

/** How bytes are taken apart into frames: what all decoders of a framing share. */
export interface Decoding<A> {
  /** Where the next frame is, once all of it is there. Takes nothing, unless it stands for no frame at all. */
  readonly find: (buffer: ReadBuffer, search: Search) => Step<Extent>
  /** What the bytes of a frame are. */
  readonly read: (bytes: Buffer) => Result.Result<A, TcpErrorReason>
  /** What the bytes are that are left at the end of the stream. Default: a frame that was cut off, `EndOfStream`. */
  readonly rest?: ((bytes: Buffer) => Result.Result<A, TcpErrorReason>) | undefined
  /** Takes several frames at once, where that is faster than one by one: at least one, or else `undefined`. */
  readonly batch?: ((buffer: ReadBuffer, decoder: Decoder<A>) => ReadonlyArray<A> | undefined) | undefined
}

/** Takes frames out of a buffer. It consumes only whole frames; a failure consumes nothing. */
export class Decoder<A> extends Search {
  readonly decoding: Decoding<A>

  constructor({ decoding }: Framing<A>) {
    super()
    this.decoding = decoding
  }

  /** The next frame. */
  next(buffer: ReadBuffer): Step<A> {
    const extent = this.decoding.find(buffer, this)
    if (extent === undefined) return undefined
    if (Result.isFailure(extent)) return Result.fail(extent.failure)
    const { drop, size, skip } = extent.success
    const frame = this.decoding.read(buffer.peek(skip, size))
    if (Result.isSuccess(frame)) buffer.skip(skip + size + drop)
    return frame
  }

  /** What to do with `buffer.size > 0` bytes that are left when the stream has ended. */
  last(buffer: ReadBuffer): Result.Result<A, TcpErrorReason> {
    const { rest } = this.decoding
    if (rest === undefined) return Result.fail(new EndOfStream({ received: buffer.size }))
    const frame = rest(buffer.peek(0, buffer.size))
    if (Result.isSuccess(frame)) buffer.skip(buffer.size)
    return frame
  }

  /** Takes all frames that are there, also the last one when the stream has `ended`. */
  takeAll(buffer: ReadBuffer, ended: boolean): Taken<A> {
    let frames: Array<A> = []
    while (buffer.size > 0) {
      const batch = this.decoding.batch?.(buffer, this)
      if (batch !== undefined) {
        frames = joined(frames, batch)
        continue
      }
      const step = this.next(buffer) ?? (ended && buffer.size > 0 ? this.last(buffer) : undefined)
      if (step === undefined) break
      if (Result.isFailure(step)) return { frames, failure: step.failure }
      frames.push(step.success)
    }
    return { frames, failure: undefined }
  }
}

/** The frames before a failure, and the failure, if any. */
export interface Taken<A> {
  readonly frames: Array<A>
  readonly failure: TcpErrorReason | undefined
}

/** All elements of both: many are copied as a whole, few are added. */
const joined = <A>(some: Array<A>, more: ReadonlyArray<A>): Array<A> => {
  if (some.length <= more.length) return some.concat(more)
  for (const one of more) some.push(one)
  return some
}

/** How a stream of bytes is a sequence of `A`. */
export interface Framing<A> {
  readonly decoding: Decoding<A>
  /** The bytes of one frame. */
  readonly encode: (frame: A) => Result.Result<Uint8Array, TcpErrorReason>
}

/** Makes something else of the frames. */
export const mapped = <A, B>(
  { find, read, rest }: Decoding<A>,
  f: (a: A) => Result.Result<B, TcpErrorReason>
): Decoding<B> => ({
  find,
  read: (bytes) => Result.flatMap(read(bytes), f),
  rest: rest === undefined ? undefined : (bytes) => Result.flatMap(rest(bytes), f)
})

/** The size limit where none is given: 1 MiB. */
export const defaultMaxSize = 1024 * 1024

/** What is wrong with a number of bytes, if anything. */
export const refuseSize = (size: number): Unknown | undefined =>
  size >= 0 && (Number.isInteger(size) || size === Infinity)
    ? undefined
    : new Unknown({ detail: `a size is a whole number of bytes, not ${size}` })

export const emptyMarker = new Unknown({ detail: "the marker is empty" })

export const tooLarge = (maxSize: number) =>
  Result.fail(new FrameTooLarge({ maxSize: Math.min(maxSize, Number.MAX_SAFE_INTEGER) }))

/** A framing that cannot be: every use of it fails. */
export const refusing = <A>(reason: TcpErrorReason): Framing<A> => ({
  decoding: { find: () => Result.fail(reason), read: () => Result.fail(reason) },
  encode: () => Result.fail(reason)
})

/** Frames that end with a marker; `maxSize` bounds the frame without it. */
export class MarkerReader {
  private readonly limit: number
  private readonly maxSize: number
  private readonly refusal: Unknown | undefined
  private readonly marker: Marker

  constructor(marker: Marker, maxSize: number) {
    this.limit = maxSize + marker.size
    this.maxSize = maxSize
    this.refusal = marker.size === 0 ? emptyMarker : refuseSize(maxSize)
    this.marker = marker
  }

  /** How many bytes the frame and its marker take, or `undefined` when more bytes are needed. */
  end(buffer: ReadBuffer, search: Search): Step<number> {
    if (this.refusal !== undefined) return Result.fail(this.refusal)
    const end = buffer.find(this.marker, search, this.limit)
    if (end === -1 ? buffer.size >= this.limit : end > this.limit) return tooLarge(this.maxSize)
    if (end === -1) return undefined
    search.reset()
    return Result.succeed(end)
  }

  /** Where the frame is that ends with the marker. */
  readonly find = (buffer: ReadBuffer, search: Search): Step<Extent> => {
    const end = this.end(buffer, search)
    if (end === undefined) return undefined
    const drop = this.marker.size
    return Result.isFailure(end)
      ? Result.fail(end.failure)
      : Result.succeed({ skip: 0, size: end.success - drop, drop })
  }

  /** Where the last of the frames ends that are whole in a piece and surely within the limit, or 0. */
  lastEnd(piece: Buffer): number {
    return this.marker.lastEnd(piece, Math.min(piece.length, this.limit))
  }
}
