import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Duplex } from "node:stream"
import {
  Closed,
  ConcurrentRead,
  EndOfStream,
  ReadTimeout,
  Reset,
  TcpError,
  type TcpErrorReason,
  Unknown,
  WriteTimeout
} from "../errors/TcpError.ts"
import { type Decoder, MarkerReader, refuseSize } from "./bytes/framing.ts"
import { ReadBuffer, toBuffer } from "./bytes/readBuffer.ts"
import * as ConnectionDuplex from "./net/duplex.ts"

/** Reading pauses when this much is buffered and nobody waits for more, and goes on at half of it. */
const highWaterMark = 256 * 1024

/** Why nothing more comes. */
export type CloseReason =
  | { readonly _tag: "Local" }
  | { readonly _tag: "Peer" }
  | { readonly _tag: "Broken"; readonly error: TcpError }

type Attempt<A> = () => Exit.Exit<A, TcpError> | undefined

interface Waiter {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly resume: () => void
}

const failure = (reason: TcpErrorReason) => Exit.fail(new TcpError({ reason }))

const reasonOf = (cause: NodeJS.ErrnoException): TcpErrorReason =>
  cause.code === undefined
    ? new Unknown({ detail: cause.message, cause })
    : new Reset({ code: cause.code, cause })

/**
 * Reading and writing on one stream.
 *
 * A read takes from a queue that the stream fills. When the queue has too little, the read waits without a finalizer:
 * what wakes it is told to try again, not handed the bytes, so a read that was interrupted or timed out in the meantime
 * ignores the wake-up and the bytes are still there for the next one.
 */
export class ConnectionCore {
  readonly duplex: Duplex
  readonly buffer = new ReadBuffer()
  bytesRead = 0
  bytesWritten = 0
  private flowing: "not yet" | "yes" | "paused" = "not yet"
  private ended: boolean
  private broken: TcpErrorReason | undefined
  private readable = true
  private local = false
  private waiter: Waiter | undefined
  private readonly drains = new Set<() => void>()
  private readonly closers = new Set<(reason: CloseReason) => void>()

  constructor(duplex: Duplex) {
    this.duplex = ConnectionDuplex.guardErrors(duplex)
    // a peer that ended together with a proxy's answer has said so before we listen
    this.ended = duplex.readableEnded
    duplex
      .on("end", () => {
        this.ended = true
        this.wake()
        this.tellClosed()
      })
      .on("error", (cause) => {
        this.broken ??= reasonOf(cause)
        this.salvage()
        this.wake()
      })
      .on("drain", () => this.wakeWriters())
      .on("close", () => {
        this.wake()
        this.wakeWriters()
        this.tellClosed()
      })
  }

  // ---- reading

  private readonly onData = (piece: Buffer): void => {
    if (!this.readable) return
    this.bytesRead += piece.length
    this.buffer.push(piece)
    this.wake()
    if (this.waiter === undefined && this.buffer.size >= highWaterMark && this.flowing === "yes") {
      this.flowing = "paused"
      this.duplex.pause()
    }
  }

  /** A stream that breaks while it is paused still holds what had arrived before, but emits it no more. */
  private salvage(): void {
    while (this.duplex.readableLength > 0) {
      const piece: unknown = this.duplex.read()
      if (!Buffer.isBuffer(piece)) return
      this.onData(piece)
    }
  }

  private flow(): void {
    if (this.flowing === "yes") return
    if (this.flowing === "not yet") this.duplex.on("data", this.onData)
    this.flowing = "yes"
    this.duplex.resume()
  }

  private wake(): void {
    const waiter = this.waiter
    this.waiter = undefined
    waiter?.resume()
  }

  /** Why nothing more will arrive, or `undefined` while something may. */
  private endOfInput(): TcpErrorReason | undefined {
    if (!this.readable || (this.local && this.duplex.destroyed)) return new Closed()
    if (this.broken !== undefined) return this.broken
    return this.ended || this.duplex.destroyed ? new EndOfStream({ received: this.buffer.size }) : undefined
  }

  /** Whether another fiber is waiting in a read. One that was interrupted, or that reads again, is not. */
  private busy(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return this.waiter !== undefined && this.waiter.fiber !== fiber && this.waiter.fiber.pollUnsafe() === undefined
  }

  /** Runs `attempt` until it gives something, each time more has arrived. */
  private until<A>(attempt: Attempt<A>): Effect.Effect<A, TcpError> {
    const read: Effect.Effect<A, TcpError> = Effect.withFiber((fiber) => {
      if (this.busy(fiber)) return failure(new ConcurrentRead())
      const exit = attempt()
      if (exit !== undefined) {
        if (this.flowing === "paused" && this.buffer.size < highWaterMark / 2) this.flow()
        return exit
      }
      const end = this.endOfInput()
      if (end !== undefined) return failure(end)
      this.flow()
      return Effect.callback((resume) => {
        this.waiter = { fiber, resume: () => resume(read) }
      })
    })
    return read
  }

  private timed<A>(effect: Effect.Effect<A, TcpError>, timeout: Duration.Input | undefined) {
    if (timeout === undefined) return effect
    const after = Duration.fromInputUnsafe(timeout)
    return Effect.timeoutOrElse(effect, {
      duration: after,
      orElse: () => failure(new ReadTimeout({ after, received: this.buffer.size }))
    })
  }

  /** Everything that is there, at least one piece. */
  readonly readPieces: Effect.Effect<[Buffer, ...Array<Buffer>], TcpError> = this.until(() => {
    const pieces = this.buffer.takePieces()
    return Arr.isArrayNonEmpty(pieces) ? Exit.succeed(pieces) : undefined
  })

  read(
    options: {
      readonly maxSize?: number | undefined
      readonly marker?: Uint8Array | undefined
      readonly timeout?: Duration.Input | undefined
      readonly limit: number
    }
  ): Effect.Effect<Buffer, TcpError> {
    const { buffer } = this
    const { marker, maxSize } = options
    const refusal = maxSize === undefined ? undefined : refuseSize(maxSize)
    if (refusal !== undefined) return failure(refusal)
    return this.timed(
      Effect.suspend(() => {
        const search = marker === undefined ? undefined : new MarkerReader(marker, maxSize ?? options.limit)
        return this.until(() => {
          if (search !== undefined) {
            const end = search.end(buffer)
            if (end !== undefined && Result.isSuccess(end) && end.success <= (maxSize ?? end.success)) {
              return Exit.succeed(buffer.take(end.success))
            }
            // a marker that does not come in time is no failure where maxSize says what to give instead
            if (end !== undefined && Result.isFailure(end)) {
              if (maxSize === undefined || end.failure._tag !== "FrameTooLarge") return failure(end.failure)
            }
          }
          if (maxSize !== undefined && buffer.size >= maxSize) return Exit.succeed(buffer.take(maxSize))
          const unconditional = maxSize === undefined && marker === undefined
          // a clean end gives what is left; after a broken connection it stays buffered
          return buffer.size > 0 && (unconditional || this.endOfInput()?._tag === "EndOfStream")
            ? Exit.succeed(buffer.take(buffer.size))
            : undefined
        })
      }),
      options.timeout
    )
  }

  readExactly(count: number): Effect.Effect<Buffer, TcpError> {
    const refusal = refuseSize(count)
    if (refusal !== undefined) return failure(refusal)
    return this.until(() => this.buffer.size >= count ? Exit.succeed(this.buffer.take(count)) : undefined)
  }

  /** The bytes up to a marker, without the last `drop` of them. */
  readMarked(reader: MarkerReader, drop: number): Effect.Effect<Buffer, TcpError> {
    return this.until(() => {
      const end = reader.end(this.buffer)
      if (end === undefined) return undefined
      if (Result.isFailure(end)) return failure(end.failure)
      return Exit.succeed(this.buffer.take(end.success).subarray(0, end.success - drop))
    })
  }

  /** One frame. */
  readFrame<A>(decoder: Decoder<A>): Effect.Effect<A, TcpError> {
    return this.until(() => {
      const step = decoder.next(this.buffer)
        ?? (this.buffer.size > 0 && this.endOfInput()?._tag === "EndOfStream" ? decoder.last(this.buffer) : undefined)
      return step === undefined
        ? undefined
        : Result.isSuccess(step)
        ? Exit.succeed(step.success)
        : failure(step.failure)
    })
  }

  /** All frames that are there, at least one; a frame that fails comes after those before it. */
  readFrames<A>(decoder: Decoder<A>): Effect.Effect<[A, ...Array<A>], TcpError> {
    return Effect.map(this.readFrame(decoder), (first) => {
      const frames: [A, ...Array<A>] = [first]
      while (this.buffer.size > 0) {
        const step = decoder.next(this.buffer)
        if (step === undefined || Result.isFailure(step)) break
        frames.push(step.success)
      }
      return frames
    })
  }

  unread(bytes: Uint8Array): void {
    this.buffer.unshift(toBuffer(bytes))
    this.wake()
  }

  closeRead(): void {
    this.readable = false
    this.buffer.takePieces()
    this.flow()
    this.wake()
  }

  // ---- writing

  private wakeWriters(): void {
    const waiting = [...this.drains]
    this.drains.clear()
    for (const resume of waiting) resume()
  }

  private unwritable(): TcpErrorReason | undefined {
    if (this.broken !== undefined) return this.broken
    if (this.local || this.duplex.writableEnded) return new Closed()
    return this.duplex.destroyed || !this.duplex.writable ? new Reset({ code: "EPIPE" }) : undefined
  }

  private readonly drained: Effect.Effect<void, TcpError> = Effect.callback((resume) => {
    const wake = () => {
      const reason = this.unwritable()
      resume(reason === undefined ? Exit.void : failure(reason))
    }
    this.drains.add(wake)
    return Effect.sync(() => void this.drains.delete(wake))
  })

  /** Writes pieces in one go; done when the stream has taken them and has room for more. */
  write(pieces: ReadonlyArray<Uint8Array>, timeout: Duration.Input | undefined): Effect.Effect<void, TcpError> {
    const write = Effect.suspend(() => {
      const reason = this.unwritable()
      if (reason !== undefined) return failure(reason)
      const { duplex } = this
      if (pieces.length > 1) duplex.cork()
      let room = true
      for (const piece of pieces) {
        this.bytesWritten += piece.length
        room = duplex.write(piece)
      }
      if (pieces.length > 1) duplex.uncork()
      return room || !duplex.writableNeedDrain ? Exit.void : this.drained
    })
    if (timeout === undefined) return write
    const after = Duration.fromInputUnsafe(timeout)
    return Effect.timeoutOrElse(write, { duration: after, orElse: () => failure(new WriteTimeout({ after })) })
  }

  /** Ends this side and waits until the system has everything. */
  readonly closeWrite: Effect.Effect<void, TcpError> = Effect.suspend(() => {
    const { duplex } = this
    const done = () => duplex.writableFinished ? Exit.void : failure(this.broken ?? new Reset({ code: "EPIPE" }))
    if (duplex.writableFinished) return Exit.void
    if (!duplex.writableEnded) {
      const reason = this.unwritable()
      if (reason !== undefined) return failure(reason)
      duplex.end()
    }
    return Effect.callback<void, TcpError>((resume) => {
      const settle = () => resume(done())
      duplex.once("finish", settle).once("close", settle)
      return Effect.sync(() => void duplex.off("finish", settle).off("close", settle))
    })
  })

  // ---- the end

  private closeReason(): CloseReason {
    if (this.broken !== undefined) return { _tag: "Broken", error: new TcpError({ reason: this.broken }) }
    return this.local ? { _tag: "Local" } : { _tag: "Peer" }
  }

  private tellClosed(): void {
    for (const closer of this.closers) closer(this.closeReason())
    this.closers.clear()
  }

  /** A stream sees its end only while it flows, so this reads ahead, as far as a reader's absence allows. */
  readonly closed: Effect.Effect<CloseReason> = Effect.callback((resume) => {
    if (this.ended || this.duplex.destroyed) return resume(Effect.succeed(this.closeReason()))
    const closer = (reason: CloseReason) => resume(Effect.succeed(reason))
    this.closers.add(closer)
    if (this.readable && this.flowing === "not yet") this.flow()
    return Effect.sync(() => void this.closers.delete(closer))
  })

  closeWith(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.local ||= !this.duplex.destroyed
      return Effect.andThen(ConnectionDuplex.close(this.duplex, exit), Effect.sync(() => this.wake()))
    })
  }

  readonly close: Effect.Effect<void> = this.closeWith(Exit.void)
}
