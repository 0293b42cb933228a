import { Duplex } from "node:stream"
import { guardErrors } from "../net/owner.ts"

export interface PairOptions {
  /** How many bytes each direction holds between a writer and a reader that is busy. */
  readonly bufferSize: number
  /** The most bytes that arrive in one piece. */
  readonly pieceSize: number
}

/** Where an end is; a unix socket has no addresses. */
interface EndAddress {
  readonly address: string
  readonly port: number
}

const systemError = (syscall: "read" | "write", code: "ECONNRESET" | "EPIPE" | "ECANCELED"): Error =>
  Object.assign(new Error(`${syscall} ${code}`), { syscall, code })

/**
 * Bytes under way in one direction. A ring, so that many tiny writes and reads cost no more than their bytes, and as
 * large as was needed so far. It copies on both sides: neither end ever sees the other's memory.
 */
class Ring {
  size = 0
  private start = 0
  private bytes: Buffer

  private readonly limit: number
  constructor(limit: number) {
    this.limit = limit
    this.bytes = Buffer.allocUnsafe(Math.min(limit, 4096))
  }

  /** Takes as much of `chunk` as there is room for and gives back the rest. */
  put(chunk: Buffer): Buffer {
    const fitting = Math.min(chunk.length, this.limit - this.size)
    if (this.size + fitting > this.bytes.length) this.grow(this.size + fitting)
    const end = (this.start + this.size) % this.bytes.length
    const untilWrap = Math.min(fitting, this.bytes.length - end)
    this.bytes.set(chunk.subarray(0, untilWrap), end)
    this.bytes.set(chunk.subarray(untilWrap, fitting), 0)
    this.size += fitting
    return chunk.subarray(fitting)
  }

  take(max: number): Buffer {
    const taken = Buffer.allocUnsafe(Math.min(max, this.size))
    this.copyTo(taken, taken.length)
    this.start = (this.start + taken.length) % this.bytes.length
    this.size -= taken.length
    return taken
  }

  private copyTo(target: Buffer, count: number): void {
    const untilWrap = Math.min(count, this.bytes.length - this.start)
    target.set(this.bytes.subarray(this.start, this.start + untilWrap))
    target.set(this.bytes.subarray(0, count - untilWrap), untilWrap)
  }

  private grow(needed: number): void {
    const larger = Buffer.allocUnsafe(Math.min(this.limit, 2 ** Math.ceil(Math.log2(needed))))
    this.copyTo(larger, this.size)
    this.bytes = larger
    this.start = 0
  }
}

/**
 * One end of a connection in memory that behaves as a `net.Socket` does over TCP.
 *
 * - Nothing is delivered inside a write: everything that reaches an end does so in a step of its own on a later turn
 *   of the event loop. Code that gets bytes before its write has returned breaks (ssh2) or aborts the process
 *   (node:http2).
 * - A write is done when its last byte is under way, as with a kernel's buffer, and waits only while that is full. A
 *   write that waited for the reader would stop two node:http2 ends for ever.
 * - Closing sends what is under way and then the end of the stream; closing with bytes unread, and `resetAndDestroy`,
 *   reset the connection. What arrived before a reset can still be read. The first write to an end that is closed is
 *   lost, the next one fails with EPIPE.
 */
export class MemoryDuplex extends Duplex {
  readonly connecting = false
  bytesRead = 0
  bytesWritten = 0
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined

  private peer: MemoryDuplex | undefined
  private readonly incoming: Ring
  private readonly pieceSize: number
  /** The peer has ended its side; that follows what is under way. */
  private incomingEnded = false
  /** The stream has room for another piece. As a socket, an end reads ahead up to its high-water mark. */
  private wanted = true
  private endDelivered = false
  private isReset = false
  /** The peer is closed and has said so: nothing can be written any more. */
  private refused = false
  /** The part of a write for which there was no room yet. */
  private unsent: { rest: Buffer; readonly done: (error?: Error) => void } | undefined
  private scheduled = false

  private constructor(options: PairOptions, local: EndAddress | undefined, remote: EndAddress | undefined) {
    super({ allowHalfOpen: true, highWaterMark: Math.min(options.bufferSize, 64 * 1024) })
    this.incoming = new Ring(options.bufferSize)
    this.pieceSize = options.pieceSize
    this.localAddress = local?.address
    this.localPort = local?.port
    this.remoteAddress = remote?.address
    this.remotePort = remote?.port
    guardErrors(this)
  }

  /** Two ends of one connection. */
  static pair(
    options: PairOptions,
    client?: EndAddress,
    server?: EndAddress
  ): readonly [client: MemoryDuplex, server: MemoryDuplex] {
    const ends = [new MemoryDuplex(options, client, server), new MemoryDuplex(options, server, client)] as const
    ends[0].peer = ends[1]
    ends[1].peer = ends[0]
    return ends
  }

  /** Breaks the connection at this end, as a reset from the network does. */
  reset(): void {
    this.isReset = true
    this.schedule()
  }

  /** Closes this end and resets the connection instead of ending it (`net.Socket.resetAndDestroy`). */
  resetAndDestroy(): this {
    this.isReset = true
    return this.destroy()
  }

  override _read(): void {
    this.wanted = true
    this.schedule()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    if (this.refused) return done(systemError("write", "EPIPE"))
    this.bytesWritten += chunk.length
    this.unsent = { rest: chunk, done }
    this.send()
  }

  override _final(done: () => void): void {
    this.peer?.finish()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.isReset || this.incoming.size > 0) this.peer?.reset()
    else this.peer?.finish()
    done(error)
    this.settle(systemError("write", "ECANCELED"))
  }

  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  setTimeout(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }

  private finish(): void {
    this.incomingEnded = true
    this.schedule()
  }

  private send(): void {
    const { peer, unsent } = this
    if (peer === undefined || unsent === undefined) return
    if (peer.destroyed) {
      this.refused = true
      unsent.rest = unsent.rest.subarray(unsent.rest.length)
    } else {
      unsent.rest = peer.incoming.put(unsent.rest)
      peer.schedule()
    }
    if (unsent.rest.length === 0) this.settle()
  }

  /** Ends the write that waits, if one does. */
  private settle(error?: Error): void {
    const { unsent } = this
    this.unsent = undefined
    unsent?.done(error)
  }

  private schedule(): void {
    if (this.scheduled || this.destroyed) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      if (!this.destroyed) this.step()
    })
  }

  private step(): void {
    if (this.isReset) return this.breakOff()
    this.send()
    // who was told that a write is done may have closed this end
    if (this.destroyed || !this.wanted) return
    if (this.incoming.size > 0) this.deliver()
    else if (this.incomingEnded && !this.endDelivered) {
      this.endDelivered = true
      this.push(null)
    }
  }

  private deliver(): void {
    this.wanted = false
    const piece = this.incoming.take(this.pieceSize)
    this.bytesRead += piece.length
    // there is room again for what the peer could not send
    if (this.peer?.unsent !== undefined) this.peer.schedule()
    this.push(piece)
  }

  private breakOff(): void {
    if (this.endDelivered) {
      // nobody reads any more: only a writer finds out
      this.refused = true
      return this.settle(systemError("write", "EPIPE"))
    }
    while (this.incoming.size > 0 && !this.destroyed) this.deliver()
    this.destroy(systemError("read", "ECONNRESET"))
  }
}
