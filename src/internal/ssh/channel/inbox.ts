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

/**
 * What one direction of a channel brought and nobody has taken yet: no more than the channel's window, as the server may
 * only send as much again as is taken. Nothing is lost when a reader is interrupted: it takes bytes in the moment it goes on
 * with them.
 */
export class Inbox {
  private chunks: Array<Uint8Array> = []
  private ended = false
  private holding = false
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
    this.wake()
  }

  /** Nothing more will come. What waits here is still read, and then `failure` where there is one. */
  end(failure?: SshErrorReason): void {
    if (this.ended) return
    this.ended = true
    this.failure = failure
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

  take(): ReadonlyArray<Uint8Array> {
    const { chunks, size } = this
    if (size === 0) return chunks
    this.chunks = []
    this.size = 0
    if (!this.holding) this.taken(size)
    return chunks
  }

  takeJoined(): Uint8Array {
    return joined(this.size, this.take())
  }

  readonly pull: Pull.Pull<Batch, SshErrorReason> = Effect.suspend(() => {
    const batch = this.take()
    if (Arr.isReadonlyArrayNonEmpty(batch)) return Effect.succeed(batch)
    if (this.ended) return this.failure === undefined ? Cause.done() : Effect.fail(this.failure)
    return Effect.callback<Batch, SshErrorReason | Cause.Done>((resume) =>
      Effect.sync(this.next(() => resume(this.pull)))
    )
  })
}
