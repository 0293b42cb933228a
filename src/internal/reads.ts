import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { ReadTimeout, type TcpError } from "../errors/TcpError.ts"
import { type Decoder, MarkerReader, refuseSize, type Step } from "./bytes/framing.ts"
import { type Marker, Search } from "./bytes/markerSearch.ts"
import { type Attempt, type ConnectionCore, failure } from "./connection.ts"
import { within } from "./net/deadline.ts"

const takePiece: Attempt<Buffer> = ({ buffer }) =>
  buffer.size > 0 ? Exit.succeed(buffer.take(buffer.head.length)) : undefined

const takePieces: Attempt<[Buffer, ...Array<Buffer>]> = ({ buffer }) => {
  const pieces = buffer.takePieces()
  return Arr.isArrayNonEmpty(pieces) ? Exit.succeed(pieces) : undefined
}

const timed = <A>(core: ConnectionCore, read: Effect.Effect<A, TcpError>, timeout: Duration.Input | undefined) => {
  if (timeout === undefined) return read
  const after = Duration.fromInputUnsafe(timeout)
  return within(read, after, () => failure(new ReadTimeout({ after, received: core.buffer.size })))
}

/** Everything that is there, at least one piece. */
export const pieces = (core: ConnectionCore): Effect.Effect<[Buffer, ...Array<Buffer>], TcpError> =>
  core.until(takePieces)

/** What came first, as it came. */
export const piece = (
  core: ConnectionCore,
  timeout: Duration.Input | undefined
): Effect.Effect<Buffer, TcpError> => timed(core, core.until(takePiece), timeout)

/** When a read is complete; a marker alone has at most `limit` bytes before it. */
interface Conditions {
  readonly maxSize: number | undefined
  readonly marker: Marker | undefined
  readonly timeout: Duration.Input | undefined
  readonly limit: number
}

/** The bytes up to and with the marker, or `maxSize` of them, or what is left at the end. */
export const bytes = (
  core: ConnectionCore,
  { limit, marker, maxSize, timeout }: Conditions
): Effect.Effect<Buffer, TcpError> => {
  const refusal = maxSize === undefined ? undefined : refuseSize(maxSize)
  if (refusal !== undefined) return failure(refusal)
  const { buffer } = core
  const read = core.untilFound(() => {
    const reader = marker === undefined ? undefined : new MarkerReader(marker, maxSize ?? limit)
    const search = new Search()
    return () => {
      const end = reader?.end(buffer, search)
      if (end !== undefined && Result.isSuccess(end) && end.success <= (maxSize ?? end.success)) {
        return Exit.succeed(buffer.take(end.success))
      }
      // a marker that does not come in time is no failure where maxSize says what to give instead
      if (end !== undefined && Result.isFailure(end)) {
        if (maxSize === undefined || end.failure._tag !== "FrameTooLarge") return failure(end.failure)
      }
      if (maxSize !== undefined && buffer.size >= maxSize) return Exit.succeed(buffer.take(maxSize))
      // a clean end gives what is left; after a broken connection it stays buffered
      return buffer.size > 0 && core.endOfInput()?._tag === "EndOfStream"
        ? Exit.succeed(buffer.take(buffer.size))
        : undefined
    }
  })
  return timed(core, read, timeout)
}

/** Exactly so many bytes. */
export const exactly = (core: ConnectionCore, count: number): Effect.Effect<Buffer, TcpError> => {
  const refusal = refuseSize(count)
  if (refusal !== undefined) return failure(refusal)
  const take: Attempt<Buffer> = ({ buffer }) => buffer.size >= count ? Exit.succeed(buffer.take(count)) : undefined
  return core.until(take, count)
}

/** The bytes up to a marker, with it or without. */
export const until = (
  core: ConnectionCore,
  marker: Marker,
  maxSize: number,
  includeMarker: boolean
): Effect.Effect<Buffer, TcpError> =>
  core.untilFound(() => {
    const reader = new MarkerReader(marker, maxSize)
    const search = new Search()
    return ({ buffer }) => {
      const end = reader.end(buffer, search)
      if (end === undefined) return undefined
      if (Result.isFailure(end)) return failure(end.failure)
      const taken = buffer.take(end.success)
      return Exit.succeed(includeMarker ? taken : taken.subarray(0, end.success - marker.size))
    }
  })

/** Takes the next frame out of the buffer: one that is whole, or the last one when the peer has ended. */
export const takeFrame = <A>(core: ConnectionCore, decoder: Decoder<A>): Step<A> =>
  decoder.next(core.buffer)
    ?? (core.buffer.size > 0 && core.endOfInput()?._tag === "EndOfStream" ? decoder.last(core.buffer) : undefined)

/** One frame. */
export const frame = <A>(core: ConnectionCore, decoder: Decoder<A>): Effect.Effect<A, TcpError> =>
  core.until(() => {
    const step = takeFrame(core, decoder)
    return step === undefined
      ? undefined
      : Result.isSuccess(step)
      ? Exit.succeed(step.success)
      : failure(step.failure)
  })

/** All frames that are there, at least one; a frame that fails comes after those before it. */
export const frames = <A>(core: ConnectionCore, decoder: Decoder<A>): Effect.Effect<[A, ...Array<A>], TcpError> =>
  core.until(() => {
    const taken = decoder.takeAll(core.buffer, core.endOfInput()?._tag === "EndOfStream")
    if (Arr.isArrayNonEmpty(taken.frames)) return Exit.succeed(taken.frames)
    return taken.failure === undefined ? undefined : failure(taken.failure)
  })
