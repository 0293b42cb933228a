import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type { Readable } from "node:stream"
import type { SshErrorReason } from "../../../errors/SshError.ts"

/** Up to how many bytes are taken from ssh2 before somebody asks for them. */
const readAhead = 65_536

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
 * What one direction of a channel brought and nobody has taken yet. Nothing is lost when a reader is interrupted: it takes
 * bytes in the moment it goes on with them.
 */
export class Inbox {
  private chunks: Array<Uint8Array> = []
  private limit = readAhead
  private ended = false
  private readers = new Set<() => void>()
  private readonly source: Readable
  /** How many bytes wait here. */
  size = 0
  /** What stands in for the end of the bytes. */
  failure: SshErrorReason | undefined

  constructor(source: Readable) {
    this.source = source
    source.on("data", this.onData).on("end", this.onEnd).on("error", () => {})
  }

  private readonly onData = (chunk: Uint8Array) => {
    this.chunks.push(chunk)
    this.size += chunk.length
    if (this.size >= this.limit) this.source.pause()
    this.wake()
  }

  private readonly onEnd = () => {
    this.ended = true
    this.wake()
  }

  private wake(): void {
    const { readers } = this
    if (readers.size === 0) return
    // a reader goes on at once, and may be waiting again before the next one is told
    this.readers = new Set()
    for (const reader of readers) reader()
  }

  /** Whether nothing more will come. What ssh2 still holds comes first, also when the connection is gone. */
  get over(): boolean {
    return this.ended || (this.failure !== undefined && this.source.readableLength === 0)
  }

  /** From now on the end of the bytes is this failure. */
  fail(reason: SshErrorReason): void {
    this.failure = reason
    this.wake()
  }

  /** Takes no more from ssh2; who still reads afterwards is told why there is no more. */
  stop(reason: SshErrorReason): void {
    this.source.off("data", this.onData).pause()
    if (!this.ended) this.failure = reason
    this.onEnd()
  }

  /** Calls back once, when there is more or it is over. Gives the way to stop. */
  next(reader: () => void): () => void {
    this.readers.add(reader)
    return () => void this.readers.delete(reader)
  }

  /** Holds up to so many bytes for a reader that wants all of them at once. */
  hold(limit: number): void {
    this.limit = limit
    this.source.resume()
  }

  take(): ReadonlyArray<Uint8Array> {
    const { chunks } = this
    this.chunks = []
    if (this.size >= this.limit) this.source.resume()
    this.size = 0
    return chunks
  }

  takeJoined(): Uint8Array {
    return joined(this.size, this.take())
  }

  readonly pull: Pull.Pull<Batch, SshErrorReason> = Effect.suspend(() => {
    const batch = this.take()
    if (Arr.isReadonlyArrayNonEmpty(batch)) return Effect.succeed(batch)
    if (this.over) return this.failure === undefined ? Cause.done() : Effect.fail(this.failure)
    return Effect.callback<Batch, SshErrorReason | Cause.Done>((resume) =>
      Effect.sync(this.next(() => resume(this.pull)))
    )
  })
}
