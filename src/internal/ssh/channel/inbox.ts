import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type { SshErrorReason } from "../../../errors/SshError.ts"

const joined = (size: number, chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const all = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

export type Batch = Arr.NonEmptyReadonlyArray<Uint8Array>

/** How much a reader is given at a time: what it has been given, the server may send as much of again. */
const batchSize = 256 * 1024

/**
 * What one direction of a channel brought and nobody has taken yet: no more than the channel's window, as the server may
 * only send as much again as is taken. Nothing is lost when a reader is interrupted: it takes bytes in the moment it goes on
 * with them.
 */
export class Inbox {
  private chunks: Array<Uint8Array> = []
  private ended = false
  private holding = false
  private waking = false
  private readers: Array<() => void> = []
  private readonly taken: (bytes: number) => void
  /** How many bytes wait here. */
  size = 0
  /** What stands in for the end of the bytes. */
  failure: SshErrorReason | undefined

  constructor(taken: (bytes: number) => void) {
    this.taken = taken
  }

  give(chunk: Uint8Array): void {
    this.chunks.push(chunk)
    this.size += chunk.length
    if (this.holding) this.taken(chunk.length)
    if (this.readers.length === 0 || this.waking) return
    // what came in one read is taken as one batch
    this.waking = true
    queueMicrotask(this.wakeLater)
  }

  /** Nothing more will come. What waits here is still read, and then `failure` where there is one. */
  end(failure?: SshErrorReason): void {
    if (this.ended) return
    this.ended = true
    this.failure = failure
    this.wake()
  }

  private readonly wakeLater = () => {
    this.waking = false
    this.wake()
  }

  private wake(): void {
    const { readers } = this
    if (readers.length === 0) return
    // a reader goes on at once, and may be waiting again before the next one is told
    this.readers = []
    for (const reader of readers) reader()
  }

  /** Whether nothing more will come. */
  get over(): boolean {
    return this.ended
  }

  /** Calls back once, when there is more or it is over. Gives the way to stop. */
  next(reader: () => void): () => void {
    this.readers.push(reader)
    return () => {
      const at = this.readers.indexOf(reader)
      if (at >= 0) this.readers.splice(at, 1)
    }
  }

  /** Holds all that comes, for a reader that wants everything at once and sees to a limit itself. */
  hold(): void {
    this.holding = true
    this.taken(this.size)
  }

  private take(maxSize: number): ReadonlyArray<Uint8Array> {
    let count = 0
    let size = 0
    while (count < this.chunks.length && size < maxSize) size += this.chunks[count++]!.length
    const taken = count === this.chunks.length ? this.chunks : this.chunks.splice(0, count)
    if (taken === this.chunks) this.chunks = []
    this.size -= size
    if (!this.holding) this.taken(size)
    return taken
  }

  takeJoined(): Uint8Array {
    return joined(this.size, this.take(Infinity))
  }

  readonly pull: Pull.Pull<Batch, SshErrorReason> = Effect.suspend(() => {
    const batch = this.take(batchSize)
    if (Arr.isReadonlyArrayNonEmpty(batch)) return Effect.succeed(batch)
    if (this.ended) return this.failure === undefined ? Cause.done() : Effect.fail(this.failure)
    return Effect.callback<Batch, SshErrorReason | Cause.Done>((resume) =>
      Effect.sync(this.next(() => resume(this.pull)))
    )
  })
}
