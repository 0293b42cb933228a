import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import { Kind } from "./packet.ts"
import { type About, type Receiver, refusal, type Requests, statusOf } from "./requests.ts"

/** How much one writer has under way. A server's window is 2 MiB; as much again is on its way, or being written. */
const window = 4 * 1024 * 1024

/**
 * Writes to a file with many requests under way. Small pieces wait for each other while something is under way, so that
 * requests are as large as they may be; the bytes are not copied for that.
 */
export class Writer {
  private readonly requests: Requests
  private readonly handle: Buffer
  private readonly about: About
  private readonly chunk: number
  private offset: bigint
  private pieces: Array<Uint8Array> = []
  /** How many bytes wait to be sent, and how many for their answer. */
  private waiting = 0
  private underWay = 0
  private failure: SshErrorReason | undefined
  private wake: (() => void) | undefined

  constructor(requests: Requests, handle: Buffer, about: About, offset: bigint, chunk: number) {
    this.requests = requests
    this.handle = handle
    this.about = about
    this.offset = offset
    this.chunk = chunk
  }

  /** Writes some pieces; goes on when there is room for more. */
  readonly write = (pieces: Arr.NonEmptyReadonlyArray<Uint8Array>): Effect.Effect<void, SshErrorReason> =>
    Effect.suspend(() => {
      for (const piece of pieces) {
        if (piece.length === 0) continue
        this.pieces.push(piece)
        this.waiting += piece.length
      }
      this.send(false)
      return this.until(() => this.waiting + this.underWay < window)
    })

  /** Waits until the server has written everything. */
  readonly flush: Effect.Effect<void, SshErrorReason> = Effect.suspend(() => {
    this.send(true)
    return this.until(() => this.underWay === 0)
  })

  private send(all: boolean): void {
    while (this.failure === undefined && this.maySend(all)) {
      this.request(this.gather(Math.min(this.waiting, this.chunk)))
    }
  }

  private maySend(all: boolean): boolean {
    if (all || this.underWay === 0) return this.waiting > 0
    return this.waiting >= this.chunk && this.underWay < window
  }

  /** Takes so many bytes of what waits. */
  private gather(size: number): Array<Uint8Array> {
    const taken: Array<Uint8Array> = []
    let left = size
    let count = 0
    for (const piece of this.pieces) {
      if (piece.length > left) {
        taken.push(piece.subarray(0, left))
        this.pieces[count] = piece.subarray(left)
        break
      }
      taken.push(piece)
      count++
      left -= piece.length
      if (left === 0) break
    }
    this.pieces.splice(0, count)
    this.waiting -= size
    return taken
  }

  private request(data: ReadonlyArray<Uint8Array>): void {
    let size = 0
    for (const piece of data) size += piece.length
    const receiver: Receiver = {
      askedAt: this.requests.now(),
      answer: (kind, body) => {
        this.underWay -= size
        if (kind !== Kind.Status) {
          this.failure ??= this.requests.violated(`it answered write with a packet of kind ${kind}`)
        } else if (statusOf(body) !== 0) this.failure ??= refusal(this.about, body)
        else this.send(false)
        this.notify()
      },
      fail: (reason) => {
        this.failure ??= reason
        this.notify()
      }
    }
    this.underWay += size
    const { offset } = this
    this.offset += BigInt(size)
    this.requests.send(Kind.Write, [this.handle, offset, size], receiver, data)
  }

  private notify(): void {
    const { wake } = this
    this.wake = undefined
    wake?.()
  }

  private until(isSo: () => boolean): Effect.Effect<void, SshErrorReason> {
    return Effect.suspend(() => {
      if (this.failure !== undefined) return Effect.fail(this.failure)
      if (isSo()) return Effect.void
      return Effect.callback<void, SshErrorReason>((resume) => {
        const wake = () => resume(this.until(isSo))
        this.wake = wake
        return Effect.sync(() => {
          if (this.wake === wake) this.wake = undefined
        })
      })
    })
  }
}
