import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import { Kind } from "./packet.ts"
import { type About, type Receiver, refusal, type Requests, statusOf } from "./requests.ts"

type Batch = Arr.NonEmptyReadonlyArray<Uint8Array>

/** What is to be read of a file. */
export interface Range {
  readonly offset: bigint
  /** Where to stop, if before the end of the file. */
  readonly end: bigint | undefined
  /** The most that one request asks for. */
  readonly chunk: number
  /** Whether what is pulled is only used until the next pull, so that its memory can be used again. Default false. */
  readonly lend?: boolean | undefined
}

/** A piece of the file that has been asked for. */
class Part {
  /** What has come of it, from the beginning on, and how much of that was taken. */
  buffer: Buffer | undefined
  filled = 0
  taken = 0
  /** What is still to come: where it is in the file, and how much that is. */
  offset: bigint
  size: number
  /** How much of the request under way has come. */
  received = 0
  /** Nothing more comes for it. */
  done = false
  /** Whether it began behind what is known to be there. */
  readonly beyond: boolean

  constructor(offset: bigint, size: number, beyond: boolean) {
    this.offset = offset
    this.size = size
    this.beyond = beyond
  }
}

/**
 * Reads a file with many requests under way. What arrives for the first of them is there at once, without waiting for the
 * rest of its answer; what arrives for a later one waits. Together they are never more than the window, so who reads slowly
 * stops the asking. Each part of the file comes into memory of its own, in as many pieces as SSH brings it in.
 */
export class Reader {
  private readonly requests: Requests
  private readonly handle: Buffer
  private readonly about: About
  private readonly parts: Array<Part> = []
  /** Memory of parts that were taken, and such that can be used again. */
  private lent: Array<Buffer> = []
  private readonly free: Array<Buffer> = []
  private readonly lend: boolean
  /** Bytes that were asked for and have not been taken. */
  private outstanding = 0
  private next: bigint
  private readonly end: bigint | undefined
  /** How large the file is said to be; 0 while that is not known, and for what has no size. */
  private size = 0n
  private chunk: number
  /** How many requests beyond the size of the file may be under way: one more for each that found something. */
  private beyond = 1
  private partsBeyond = 0
  private ended = false
  private stopped = false
  private failure: SshErrorReason | undefined
  private wake: (() => void) | undefined
  private waking = false

  constructor(requests: Requests, handle: Buffer, about: About, { chunk, end, lend, offset }: Range) {
    this.requests = requests
    this.handle = handle
    this.about = about
    this.next = offset
    this.end = end
    this.chunk = chunk
    this.lend = lend === true
    requests.pace.readers++
    this.ask()
  }

  /** Says how large the file is: so much can be asked for without waiting for what comes of it. */
  readonly expect = (size: bigint): void => {
    this.size = size
    this.ask()
  }

  /** Takes no more. What is still under way is dropped when it comes. */
  readonly stop = (): void => {
    if (this.stopped) return
    this.stopped = true
    this.parts.length = 0
    this.requests.pace.readers--
  }

  private ask(): void {
    const window = this.requests.pace.share(this.chunk)
    // a few at a time: each time costs a call of the system, and wakes the server up
    if (this.parts.length > 0 && window - this.outstanding < window / 4) return
    while (!this.ended && !this.stopped && this.failure === undefined && this.outstanding + this.chunk <= window) {
      const limit = this.next < this.size ? this.size : undefined
      const until = this.end === undefined || (limit !== undefined && limit < this.end) ? limit : this.end
      const left = until === undefined ? BigInt(this.chunk) : until - this.next
      if (left <= 0n) {
        if (this.parts.length === 0) this.finish()
        return
      }
      if (limit === undefined) {
        if (this.partsBeyond === this.beyond) return
        this.partsBeyond++
      }
      const size = left < this.chunk ? Number(left) : this.chunk
      const part = new Part(this.next, size, limit === undefined)
      this.next += BigInt(size)
      this.outstanding += size
      this.parts.push(part)
      this.request(part)
    }
  }

  private request(part: Part): void {
    const { pace } = this.requests
    const askedAt = this.requests.now()
    const deliveredBefore = pace.delivered
    const receiver: Receiver = {
      askedAt,
      answer: (kind, body) => {
        if (kind !== Kind.Status) this.fail(this.requests.violated(`it answered read with a packet of kind ${kind}`))
        else if (statusOf(body) === 1) this.nothingMore(part)
        else this.fail(refusal(this.about, body))
      },
      fail: (reason) => this.fail(reason),
      stream: {
        most: part.size,
        piece: (bytes) => {
          if (this.stopped) return
          part.buffer ??= this.memory(part.size)
          part.received += bytes.length
          part.filled += bytes.copy(part.buffer, part.filled)
          if (this.parts[0] === part) this.notifySoon()
        },
        end: () => {
          pace.measured(askedAt, deliveredBefore)
          this.answered(part)
        }
      }
    }
    this.requests.send(Kind.Read, [this.handle, part.offset, part.size], receiver)
  }

  private answered(part: Part): void {
    if (this.stopped) return
    if (part.received === part.size) {
      part.done = true
      if (part.beyond) {
        this.partsBeyond--
        this.beyond++
      }
      return this.goOn(part)
    }
    // a read may bring less than was asked for, and only a further one tells whether that is the end
    const { received } = part
    part.offset += BigInt(received)
    part.size -= received
    part.received = 0
    if (received === 0 || part.offset === this.size) return this.nothingMore(part)
    // a server that never gives as much as it is asked for is asked for less
    if (part.offset < this.size) this.chunk = Math.min(this.chunk, Math.max(received, 1024))
    this.request(part)
  }

  /** The file ends where this part begins, or before. */
  private nothingMore(part: Part): void {
    const at = this.parts.indexOf(part)
    if (at < 0) return
    part.done = true
    this.ended = true
    for (const dropped of this.parts.splice(at + 1)) this.outstanding -= dropped.size
    this.outstanding -= part.size
    part.size = 0
    this.goOn(part)
  }

  private memory(size: number): Buffer {
    const free = size === this.chunk ? this.free.pop() : undefined
    return free !== undefined && free.length === size ? free : Buffer.allocUnsafeSlow(size)
  }

  /** A part is complete. */
  private goOn(part: Part): void {
    this.ask()
    if (this.ended || this.parts[0] === part) this.notifySoon()
  }

  private finish(): void {
    this.ended = true
    this.notify()
  }

  private fail(reason: SshErrorReason): void {
    if (this.stopped || this.failure !== undefined) return
    this.failure = reason
    this.notify()
  }

  /** What came in one read of the socket is taken as one batch. */
  private notifySoon(): void {
    if (this.waking || this.wake === undefined) return
    this.waking = true
    queueMicrotask(() => {
      this.waking = false
      this.notify()
    })
  }

  private notify(): void {
    const { wake } = this
    this.wake = undefined
    wake?.()
  }

  /** Takes what has arrived, up to the first gap. */
  private take(): Array<Uint8Array> {
    this.free.push(...this.lent.splice(0))
    const taken: Array<Uint8Array> = []
    for (let part = this.parts[0]; part !== undefined; part = this.parts[0]) {
      const { buffer, filled } = part
      if (buffer !== undefined && filled > part.taken) {
        taken.push(buffer.subarray(part.taken, filled))
        this.outstanding -= filled - part.taken
        part.taken = filled
      }
      if (!part.done) break
      this.parts.shift()
      if (this.lend && buffer !== undefined) this.lent.push(buffer)
    }
    return taken
  }

  /** What has arrived; waits where nothing has. */
  readonly pull: Pull.Pull<Batch, SshErrorReason> = Effect.suspend(() => {
    const batch = this.take()
    if (Arr.isReadonlyArrayNonEmpty(batch)) {
      this.ask()
      return Effect.succeed(batch)
    }
    if (this.failure !== undefined) return Effect.fail(this.failure)
    if (this.ended && this.parts.length === 0) return Cause.done()
    return Effect.callback<Batch, SshErrorReason | Cause.Done>((resume) => {
      const wake = () => resume(this.pull)
      this.wake = wake
      return Effect.sync(() => {
        if (this.wake === wake) this.wake = undefined
      })
    })
  })
}
