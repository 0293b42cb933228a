import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Duplex } from "node:stream"
import {
  Closed,
  ConcurrentRead,
  EndOfStream,
  Reset,
  TcpError,
  type TcpErrorReason,
  Unknown
} from "../errors/TcpError.ts"
import { ReadBuffer, toBuffer } from "./bytes/readBuffer.ts"
import { WriteBatch } from "./bytes/writeBatch.ts"
import { copyOf, type DirectReads, directReads } from "./net/directReads.ts"
import * as ConnectionDuplex from "./net/duplex.ts"
import { disown, own, ownData, type Owner } from "./net/owner.ts"
import * as Observe from "./observe.ts"

/** Reading pauses when this much is buffered and nobody waits for more, and goes on at half of it. */
const highWaterMark = 256 * 1024

/** Why nothing more comes. */
export type CloseReason =
  | { readonly _tag: "Local" }
  | { readonly _tag: "Peer" }
  | { readonly _tag: "Broken"; readonly error: TcpError }

/** Takes what a read wants out of the buffer, or `undefined` when there is too little. */
export type Attempt<A> = (core: ConnectionCore) => Exit.Exit<A, TcpError> | undefined

export const failure = (reason: TcpErrorReason) => Exit.fail(new TcpError({ reason }))

const reasonOf = (cause: NodeJS.ErrnoException): TcpErrorReason =>
  cause.code === undefined
    ? new Unknown({ detail: cause.message, cause })
    : new Reset({ code: cause.code, cause })

let count = 0

/**
 * Reading and writing on one stream.
 *
 * A read takes from a queue that the stream fills. When the queue has too little, the read waits without a finalizer:
 * what wakes it is told to try again, not handed the bytes, so a read that was interrupted or timed out in the meantime
 * ignores the wake-up and the bytes are still there for the next one.
 */
export class ConnectionCore implements Owner {
  readonly duplex: Duplex
  /** Unique within the process. */
  readonly number = ++count
  private readonly role: Observe.Role
  /** Where it was opened, and what is counted goes to. */
  private readonly context: Context.Context<never>
  readonly buffer = new ReadBuffer()
  bytesRead = 0
  bytesWritten = 0
  private flowing: "not yet" | "yes" | "paused" = "not yet"
  private direct: DirectReads | undefined
  private ended: boolean
  private broken: TcpErrorReason | undefined
  private readable = true
  private local = false
  private detached = false
  private released = false
  /** Who waits for more bytes: called when `need` of them are there, and when nothing more comes. */
  private waiting: Fiber.Fiber<unknown, unknown> | undefined
  private need = 0
  private notify: ((exit: Exit.Exit<void>) => void) | undefined
  private consumer: ((bytes: Uint8Array) => void) | undefined
  private batch: WriteBatch | undefined
  private drains: Set<() => void> | undefined
  private closers: Set<(reason: CloseReason) => void> | undefined

  constructor(duplex: Duplex, role: Observe.Role, context: Context.Context<never>) {
    this.duplex = duplex
    this.role = role
    this.context = context
    // a peer that ended or broke off right after a proxy's answer has done so before we listen
    this.ended = duplex.readableEnded
    own(duplex, this)
    if (duplex.errored !== null) this.onError(duplex.errored)
    Observe.connectionOpened(role, context)
  }

  onData(piece: Buffer): boolean {
    return this.receive(piece, false)
  }

  onEnd(): void {
    this.ended = true
    this.wake()
    this.tellClosed()
  }

  onError(cause: Error): void {
    this.broken ??= reasonOf(cause)
    this.salvage()
    this.wake()
  }

  onClose(): void {
    this.wake()
    this.onDrain()
    this.tellClosed()
  }

  // ---- reading

  /** Takes what has arrived and says whether to go on reading. `lent` bytes have to be copied to be kept. */
  receive(bytes: Buffer, lent: boolean): boolean {
    if (!this.readable) return true
    this.bytesRead += bytes.length
    if (this.consumer !== undefined) {
      this.consumer(bytes)
      return true
    }
    this.buffer.push(lent ? copyOf(bytes) : bytes)
    if (this.waiting !== undefined && this.buffer.size >= this.need) this.wake()
    if (this.buffer.size < highWaterMark || this.flowing !== "yes" || this.isAwaited()) return true
    this.flowing = "paused"
    return false
  }

  /** A stream that breaks while it is paused still holds what had arrived before, but emits it no more. */
  private salvage(): void {
    while (this.duplex.readableLength > 0) {
      const piece: unknown = this.duplex.read()
      if (!Buffer.isBuffer(piece)) return
      this.receive(piece, false)
    }
  }

  /** Begins to take what arrives: a socket's reads themselves, or what another stream emits. */
  private attach(): void {
    this.flowing = "paused"
    this.direct = directReads(this.duplex)
    if (this.direct === undefined) {
      ownData(this.duplex)
      return
    }
    this.salvage()
    this.direct.sink = this
  }

  private flow(): void {
    if (this.flowing === "yes") return
    if (this.flowing === "not yet") this.attach()
    this.flowing = "yes"
    if (this.direct === undefined) this.duplex.resume()
    else this.duplex.read(0)
  }

  /** Whether somebody waits for more, and not only did until it was interrupted. */
  private isAwaited(): boolean {
    return this.waiting !== undefined && this.waiting.pollUnsafe() === undefined
  }

  private wake(): void {
    const { notify } = this
    this.waiting = this.notify = undefined
    notify?.(Exit.void)
  }

  /** Why nothing more will arrive, or `undefined` while something may. */
  endOfInput(): TcpErrorReason | undefined {
    if (!this.readable || (this.local && this.duplex.destroyed)) return new Closed()
    if (this.broken !== undefined) return this.broken
    return this.ended || this.duplex.destroyed ? new EndOfStream({ received: this.buffer.size }) : undefined
  }

  /** Whether another fiber is waiting in a read. One that was interrupted, or that reads again, is not. */
  private busy(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return this.waiting !== fiber && this.isAwaited()
  }

  /** Calls `notify` once when `need` bytes are there or nothing more comes. */
  waitFor(fiber: Fiber.Fiber<unknown, unknown>, need: number, notify: () => void): void {
    this.flow()
    this.waiting = fiber
    this.need = need
    this.notify = notify
  }

  /** Forgets who waits. */
  stopWaiting(fiber: Fiber.Fiber<unknown, unknown>): void {
    if (this.waiting === fiber) this.waiting = this.notify = undefined
  }

  /** Lets the stream go on when enough of what it had given was taken. */
  relieve(): void {
    if (this.flowing === "paused" && this.buffer.size < highWaterMark / 2) this.flow()
  }

  private attempt<A>(
    fiber: Fiber.Fiber<unknown, unknown>,
    attempt: Attempt<A>,
    need: number
  ): Effect.Effect<A, TcpError> {
    const exit = attempt(this)
    if (exit !== undefined) {
      if (this.flowing === "paused") this.relieve()
      return exit
    }
    const end = this.endOfInput()
    if (end !== undefined) return failure(end)
    this.flow()
    this.waiting = fiber
    this.need = need
    const notified = Effect.callback<void>((resume) => {
      this.notify = resume
    })
    return Effect.flatMap(notified, () => this.attempt(fiber, attempt, need))
  }

  /** Says no to a second reader, and begins to read otherwise. */
  begin(fiber: Fiber.Fiber<unknown, unknown>): Exit.Exit<never, TcpError> | undefined {
    if (this.flowing === "not yet") this.attach()
    return this.busy(fiber) ? failure(new ConcurrentRead()) : undefined
  }

  /** Runs an attempt until it gives something, each time `need` bytes are there. */
  until<A>(attempt: Attempt<A>, need = 0): Effect.Effect<A, TcpError> {
    return Effect.withFiber((fiber) => this.begin(fiber) ?? this.attempt(fiber, attempt, need))
  }

  /** The same with an attempt that remembers how far it has looked, and is made anew each time the effect is run. */
  untilFound<A>(make: () => Attempt<A>): Effect.Effect<A, TcpError> {
    return Effect.withFiber((fiber) => this.begin(fiber) ?? this.attempt(fiber, make(), 0))
  }

  /** Gives all that arrives to `consumer`, in memory that is used again afterwards. */
  consume(consumer: (bytes: Uint8Array) => void): Effect.Effect<void, TcpError> {
    return Effect.withFiber((fiber) =>
      this.begin(fiber) ?? Effect.callback<void, TcpError>((resume) => {
        const stop = () => {
          this.consumer = undefined
          if (this.direct !== undefined) this.direct.keeps = true
          this.stopWaiting(fiber)
        }
        const settle = (exit: Exit.Exit<void, TcpError>) => {
          stop()
          resume(exit)
        }
        const give = (bytes: Uint8Array) => {
          const given = Result.try(() => consumer(bytes))
          if (Result.isFailure(given)) settle(Exit.die(given.failure))
        }
        /** Gives what is buffered and waits for the end; what arrives until then goes to the consumer at once. */
        const proceed = () => {
          for (const piece of this.buffer.takePieces()) {
            if (this.consumer === give) give(piece)
            else this.buffer.push(piece)
          }
          if (this.consumer !== give) return
          const end = this.endOfInput()
          if (end === undefined) this.waitFor(fiber, Infinity, proceed)
          else settle(end._tag === "EndOfStream" ? Exit.void : failure(end))
        }
        this.consumer = give
        if (this.direct !== undefined) this.direct.keeps = false
        proceed()
        return Effect.sync(stop)
      })
    )
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

  /**
   * Leaves the stream to somebody else who takes over between the peers: nothing is read or written here any more. Gives
   * how many bytes had arrived and were not read, which are dropped, or `undefined` when this side has closed or left it
   * already.
   */
  detach(): number | undefined {
    if (this.local) return undefined
    if (this.flowing === "not yet") this.attach()
    const { duplex } = this
    this.flush()
    duplex.pause()
    disown(duplex)
    if (this.direct !== undefined) this.direct.sink = undefined
    this.detached = true
    this.local = true
    this.readable = false
    const unread = this.buffer.size + duplex.readableLength
    this.buffer.takePieces()
    this.wake()
    this.onDrain()
    this.tellClosed()
    this.release()
    return unread
  }

  // ---- writing

  onDrain(): void {
    const waiting = this.drains
    this.drains = undefined
    for (const resume of waiting ?? []) resume()
  }

  private unwritable(): TcpErrorReason | undefined {
    if (this.duplex.writable && !this.local && this.broken === undefined) return undefined
    if (this.broken !== undefined) return this.broken
    return this.local || this.duplex.writableEnded ? new Closed() : new Reset({ code: "EPIPE" })
  }

  private get drained(): Effect.Effect<void, TcpError> {
    return Effect.callback((resume) => {
      const wake = () => {
        const reason = this.unwritable()
        resume(reason === undefined ? Exit.void : failure(reason))
      }
      this.drains = (this.drains ?? new Set()).add(wake)
      return Effect.sync(() => void this.drains?.delete(wake))
    })
  }

  /** Keeps small writes until `flush`. Only for as long as nothing is waited for. */
  hold(): void {
    this.batch ??= new WriteBatch()
  }

  /** Writes what was kept. */
  flush(): void {
    const bytes = this.batch?.take()
    this.batch = undefined
    if (bytes !== undefined && this.duplex.writable) this.duplex.write(bytes)
  }

  /** Says whether there is surely room for more. */
  private put(piece: Uint8Array): boolean {
    this.bytesWritten += piece.length
    if (this.batch === undefined) return this.duplex.write(piece)
    if (this.batch.accepts(piece)) {
      this.batch.add(piece)
      return true
    }
    this.flush()
    return this.duplex.write(piece)
  }

  /** Writes; done when the stream has taken it and has room for more. */
  write(piece: Uint8Array): Effect.Effect<void, TcpError> {
    return Effect.suspend(() => {
      const reason = this.unwritable()
      if (reason !== undefined) return failure(reason)
      return this.put(piece) || !this.duplex.writableNeedDrain ? Exit.void : this.drained
    })
  }

  /** Writes pieces in one go. */
  writeAll(pieces: ReadonlyArray<Uint8Array>): Effect.Effect<void, TcpError> {
    return Effect.suspend(() => {
      const reason = this.unwritable()
      if (reason !== undefined) return failure(reason)
      const { duplex } = this
      duplex.cork()
      for (const piece of pieces) this.put(piece)
      duplex.uncork()
      return duplex.writableNeedDrain ? this.drained : Exit.void
    })
  }

  /** Ends this side and waits until the system has everything. */
  get closeWrite(): Effect.Effect<void, TcpError> {
    return Effect.suspend(() => this.endWrites())
  }

  private endWrites(): Effect.Effect<void, TcpError> {
    const { duplex } = this
    const done = () => duplex.writableFinished ? Exit.void : failure(this.broken ?? new Reset({ code: "EPIPE" }))
    // a closed connection has no side left to end, whether or not its stream was ended on the way
    if (this.local) return failure(new Closed())
    if (duplex.writableFinished) return Exit.void
    if (!duplex.writableEnded) {
      const reason = this.unwritable()
      if (reason !== undefined) return failure(reason)
      this.flush()
      duplex.end()
    }
    return Effect.callback<void, TcpError>((resume) => {
      const settle = () => resume(done())
      duplex.once("finish", settle).once("close", settle)
      return Effect.sync(() => void duplex.off("finish", settle).off("close", settle))
    })
  }

  // ---- the end

  private closeReason(): CloseReason {
    if (this.broken !== undefined) return { _tag: "Broken", error: new TcpError({ reason: this.broken }) }
    return this.local ? { _tag: "Local" } : { _tag: "Peer" }
  }

  private tellClosed(): void {
    const closers = this.closers
    this.closers = undefined
    for (const closer of closers ?? []) closer(this.closeReason())
  }

  /** A stream sees its end only while it flows, so this reads ahead, as far as a reader's absence allows. */
  get closed(): Effect.Effect<CloseReason> {
    return Effect.callback((resume) => {
      if (this.ended || this.detached || this.duplex.destroyed) return resume(Effect.succeed(this.closeReason()))
      const closer = (reason: CloseReason) => resume(Effect.succeed(reason))
      this.closers = (this.closers ?? new Set()).add(closer)
      if (this.readable && this.flowing === "not yet") this.flow()
      return Effect.sync(() => void this.closers?.delete(closer))
    })
  }

  private release(): void {
    if (this.released) return
    this.released = true
    Observe.connectionClosed(this, this.role, this.context)
  }

  /** Closes the stream, unless it is somebody else's by now. */
  closeWith(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.detached) return Effect.void
      this.local ||= !this.duplex.destroyed
      this.flush()
      const closing = ConnectionDuplex.closeUnsafe(this.duplex, exit)
      const done = () => {
        this.wake()
        this.release()
      }
      if (closing !== undefined) return Effect.andThen(closing, Effect.sync(done))
      done()
      return Effect.void
    })
  }
}
