import * as Result from "effect/Result"
import { EndOfStream, FrameTooLarge, type TcpErrorReason, Unknown } from "../../errors/TcpError.ts"
import { MarkerSearch } from "./markerSearch.ts"
import type { ReadBuffer } from "./readBuffer.ts"

/** What a step of decoding gives: a frame, a failure, or `undefined` when more bytes are needed. */
export type Step<A> = Result.Result<A, TcpErrorReason> | undefined

export const flatMapStep = <A, B>(step: Step<A>, f: (a: A) => Result.Result<B, TcpErrorReason>): Step<B> =>
  step === undefined ? undefined : Result.flatMap(step, f)

/** Takes frames out of a buffer, one a call. It consumes only whole frames; a failure consumes nothing. */
export interface Decoder<A> {
  readonly next: (buffer: ReadBuffer) => Step<A>
  /** What to do with `buffer.size > 0` bytes that are left when the stream has ended. */
  readonly last: (buffer: ReadBuffer) => Result.Result<A, TcpErrorReason>
}

/** How a stream of bytes is a sequence of `A`. */
export interface Framing<A> {
  /** A decoder with its own state. */
  readonly decoder: () => Decoder<A>
  /** The bytes of one frame. */
  readonly encode: (frame: A) => Result.Result<Uint8Array, TcpErrorReason>
}

/** What is wrong with a number of bytes, if anything. */
export const refuseSize = (size: number): Unknown | undefined =>
  size >= 0 && (Number.isInteger(size) || size === Infinity)
    ? undefined
    : new Unknown({ detail: `a size is a whole number of bytes, not ${size}` })

/** Looks for the end of a frame across calls; `maxSize` bounds the frame without its marker. */
export class MarkerReader {
  private readonly marker: Uint8Array
  private readonly unit: number
  private readonly maxSize: number
  private readonly refusal: Unknown | undefined
  private search: MarkerSearch

  constructor(marker: Uint8Array, maxSize: number, unit = 1) {
    this.marker = marker
    this.unit = unit
    this.maxSize = maxSize
    this.refusal = marker.length === 0 ? new Unknown({ detail: "the marker is empty" }) : refuseSize(maxSize)
    this.search = new MarkerSearch(marker, unit)
  }

  /** How many bytes the frame and its marker take, or `undefined` when more bytes are needed. */
  end(buffer: ReadBuffer): Step<number> {
    if (this.refusal !== undefined) return Result.fail(this.refusal)
    const limit = this.maxSize + this.marker.length
    const end = buffer.find(this.search, limit)
    if (end === -1 ? buffer.size >= limit : end > limit) {
      return Result.fail(new FrameTooLarge({ maxSize: this.maxSize }))
    }
    if (end === -1) return undefined
    this.search = new MarkerSearch(this.marker, this.unit)
    return Result.succeed(end)
  }
}

/** What was left when the peer ended in the middle of a frame. */
export const truncated = (buffer: ReadBuffer): Result.Result<never, EndOfStream> =>
  Result.fail(new EndOfStream({ received: buffer.size }))
