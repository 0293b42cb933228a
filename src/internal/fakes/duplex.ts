import { Duplex, type DuplexOptions } from "node:stream"
import { guardErrors } from "../net/owner.ts"

type Done = (error?: Error | null) => void

const systemError = (syscall: "read" | "write", code: "ECONNRESET" | "EPIPE" | "ECANCELED"): Error =>
  Object.assign(new Error(`${syscall} ${code}`), { syscall, code })

/**
 * One end of a connection between two parts of one program, without a network in between: what is written is there for the
 * other end before the event loop turns, so that a test clock which is turned on finds that all has been said.
 *
 * It behaves as a socket: an end is told behind what was written before it, a stream that is destroyed with bytes unread,
 * or with an error, resets the other one, and who writes to an end that is gone fails with EPIPE. A write is done when the
 * other end has room for more.
 */
export class FakeDuplex extends Duplex {
  protected peer: FakeDuplex | undefined
  private writing: Done | undefined
  private endTold = false

  /** Two ends of one connection. */
  static pair(): readonly [FakeDuplex, FakeDuplex] {
    return FakeDuplex.join(new FakeDuplex(), new FakeDuplex())
  }

  /** Makes two streams the ends of one connection. */
  protected static join<A extends FakeDuplex, B extends FakeDuplex>(a: A, b: B): readonly [A, B] {
    a.peer = b
    b.peer = a
    return [a, b]
  }

  protected constructor(options: DuplexOptions = {}) {
    super({ allowHalfOpen: true, highWaterMark: 64 * 1024, ...options })
    guardErrors(this)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    const { peer } = this
    if (peer === undefined || peer.destroyed) return done(systemError("write", "EPIPE"))
    // who wrote may use the memory again
    const bytes = Buffer.from(chunk)
    this.writing = done
    this.tell(() => {
      if (peer.destroyed || peer.push(bytes)) this.settle()
    })
  }

  override _read(): void {
    this.peer?.settle()
  }

  override _final(done: Done): void {
    this.tell(() => {
      this.peer?.inputEnded()
      done()
    })
  }

  override _destroy(error: Error | null, done: Done): void {
    const isReset = error !== null || this.readableLength > 0
    this.tell(() => this.peer?.gone(isReset))
    this.settle(systemError("write", "ECANCELED"))
    done(error)
  }

  /** Does what the other end hears of: never within the call that it comes from, and in the order of the calls. */
  protected tell(news: () => void): void {
    process.nextTick(news)
  }

  private inputEnded(): void {
    if (this.endTold || this.destroyed) return
    this.endTold = true
    this.push(null)
  }

  protected gone(isReset: boolean): void {
    if (isReset) this.destroy(systemError("read", "ECONNRESET"))
    else this.inputEnded()
  }

  /** Answers the write that is under way. */
  private settle(error?: Error): void {
    const { writing } = this
    this.writing = undefined
    writing?.(error)
  }
}
