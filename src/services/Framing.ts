/**
 * How a stream of bytes is a sequence of frames: lines, records with a delimiter.
 *
 * A `Framing` is a plain value. Give it to a connection (`connection.frames`, `connection.readFrame`,
 * `connection.writeFrame`) or use it on any byte stream with `decode` and `encode`.
 *
 * **Details**
 *
 * - Every framing has a size limit; a longer frame is a `TcpError` with reason `FrameTooLarge`, and memory stays bounded
 *   however much the peer sends.
 * - Frames come out the same however the network cuts the bytes.
 * - A stream that ends inside a frame fails with `EndOfStream`; only `lines` accepts a last line without its end.
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
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { Encoding, TcpError } from "../errors/TcpError.ts"
import * as Internal from "../internal/bytes/framing.ts"
import { MarkerSearch } from "../internal/bytes/markerSearch.ts"
import { ReadBuffer, toBuffer } from "../internal/bytes/readBuffer.ts"
import * as Text from "../internal/bytes/text.ts"

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
export const defaultMaxSize = 1024 * 1024

/**
 * Frames that end with `marker`, which is not part of them. A string marker is UTF-8. `maxSize` is the longest frame in
 * bytes, without the marker; default 1 MiB. Writing a frame that contains the marker fails with reason `Encoding`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delimited = (
  marker: string | Uint8Array,
  options: { readonly maxSize?: number | undefined } = {}
): Framing<Uint8Array> => {
  const end = typeof marker === "string" ? Buffer.from(marker) : toBuffer(marker)
  return {
    decoder: () => {
      const reader = new Internal.MarkerReader(end, options.maxSize ?? defaultMaxSize)
      return {
        next: (buffer) =>
          Internal.flatMapStep(
            reader.end(buffer),
            (size) => Result.succeed(buffer.take(size).subarray(0, size - end.length))
          ),
        last: Internal.truncated
      }
    },
    encode: (frame) =>
      new MarkerSearch(end, 1).scan(toBuffer(frame)) === -1
        ? Result.succeed(Buffer.concat([frame, end]))
        : Result.fail(new Encoding({ encoding: "delimited", detail: "the frame contains the marker that ends it" }))
  }
}

/**
 * Lines of text. Reading takes LF and CR LF as the end of a line and accepts a last line without one; writing ends lines
 * with LF, or with what `newline` says. `encoding` is any label of the WHATWG Encoding standard, default `"utf-8"`;
 * `maxSize` is the longest line in bytes, default 1 MiB. Bytes that are no text in the encoding, a character that it
 * lacks, and a line that contains a line feed fail with reason `Encoding`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lines = (
  options: {
    readonly encoding?: string | undefined
    readonly maxSize?: number | undefined
    readonly newline?: "\n" | "\r\n" | undefined
  } = {}
): Framing<string> => {
  const encoding = options.encoding ?? "utf-8"
  const unit = Text.unitOf(encoding)
  const feed = Text.encode("\n", encoding)
  const text = (bytes: Uint8Array): Result.Result<string, Encoding> =>
    Result.map(Text.decode(bytes, encoding), (line) => line.endsWith("\r") ? line.slice(0, -1) : line)
  return {
    decoder: () => {
      if (Result.isFailure(feed)) {
        return { next: () => Result.fail(feed.failure), last: () => Result.fail(feed.failure) }
      }
      const reader = new Internal.MarkerReader(feed.success, options.maxSize ?? defaultMaxSize, unit)
      const take = (buffer: ReadBuffer, size: number, end: number) => {
        const bytes = buffer.take(size)
        const line = text(bytes.subarray(0, size - end))
        if (Result.isFailure(line)) buffer.unshift(bytes)
        return line
      }
      const size = feed.success.length
      return {
        next: (buffer) => Internal.flatMapStep(reader.end(buffer), (end) => take(buffer, end, size)),
        last: (buffer) => take(buffer, buffer.size, 0)
      }
    },
    encode: (line) =>
      line.includes("\n")
        ? Result.fail(new Encoding({ encoding, detail: "the line contains a line feed" }))
        : Text.encode(line + (options.newline ?? "\n"), encoding)
  }
}

const failure = (reason: TcpError["reason"]) => Effect.fail(new TcpError({ reason }))

/**
 * The frames of a byte stream. Fails with `TcpError` (`FrameTooLarge`, `Encoding`, `EndOfStream` for a frame that was cut
 * off) and with whatever the stream fails with.
 *
 * @category combinators
 * @since 0.1.0
 */
export const decode =
  <A>(framing: Framing<A>) => <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<A, E | TcpError, R> =>
    Stream.transformPull(bytes, (pull) =>
      Effect.sync(() => {
        const buffer = new ReadBuffer()
        const decoder = framing.decoder()
        let ended = false
        const take = (): Pull.Pull<readonly [A, ...Array<A>], E | TcpError, void, R> => {
          const frames: Array<A> = []
          for (;;) {
            const step = buffer.size === 0
              ? undefined
              : decoder.next(buffer) ?? (ended ? decoder.last(buffer) : undefined)
            if (step !== undefined && Result.isFailure(step) && frames.length === 0) return failure(step.failure)
            if (step === undefined || Result.isFailure(step)) break
            frames.push(step.success)
          }
          const [first, ...rest] = frames
          if (first !== undefined) return Effect.succeed([first, ...rest])
          return ended ? Cause.done() : more
        }
        const more: Pull.Pull<readonly [A, ...Array<A>], E | TcpError, void, R> = Pull.matchEffect(pull, {
          onSuccess: (pieces) => {
            for (const piece of pieces) buffer.push(toBuffer(piece))
            return take()
          },
          onFailure: Effect.failCause,
          onDone: () => {
            ended = true
            return take()
          }
        })
        return Effect.suspend(take)
      }))

/**
 * The bytes of a stream of frames. Fails with `TcpError`, reason `Encoding`, for a frame that cannot be written.
 *
 * @category combinators
 * @since 0.1.0
 */
export const encode =
  <A>(framing: Framing<A>) => <E, R>(frames: Stream.Stream<A, E, R>): Stream.Stream<Uint8Array, E | TcpError, R> =>
    Stream.mapEffect(frames, (frame) => {
      const bytes = framing.encode(frame)
      return Result.isSuccess(bytes) ? Effect.succeed(bytes.success) : failure(bytes.failure)
    })
