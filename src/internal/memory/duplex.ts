import type * as Scope from "effect/Scope"
import { Duplex } from "node:stream"
import { guardErrors } from "../net/owner.ts"
import { type End, Flight } from "./flight.ts"
import type { LinkOptions } from "./link.ts"
import { type Road, roadWithout } from "./road.ts"
import { systemError } from "./systemError.ts"

/** Where an end is; a unix socket has no addresses. */
export interface EndAddress {
  readonly address: string
  readonly port: number
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
export class MemoryDuplex extends Duplex implements End {
  readonly connecting = false
  bytesRead = 0
  bytesWritten = 0
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined

  /** The scope that closes this end, where it is known. */
  scope: Scope.Scope | undefined

  private incoming!: Flight
  private outgoing!: Flight
  /** The stream has room for another piece. As a socket, an end reads ahead up to its high-water mark. */
  private wanted = true
  private endDelivered = false
  private isReset = false
  private isLost = false
  /** The peer is closed and has said so: nothing can be written any more. */
  private refused = false
  /** The part of a write for which there was no room yet. */
  private unsent: { rest: Buffer; readonly done: (error?: Error) => void } | undefined
  private scheduled = false
  /** This end takes only so many bytes a second, and has taken them. */
  private resting = false

  /** The road that leads here. */
  private readonly road: Road
  private constructor(road: Road, local: EndAddress | undefined, remote: EndAddress | undefined) {
    super({ allowHalfOpen: true, highWaterMark: Math.min(road.link.bufferSize, 64 * 1024) })
    this.road = road
    this.localAddress = local?.address
    this.localPort = local?.port
    this.remoteAddress = remote?.address
    this.remotePort = remote?.port
    guardErrors(this)
  }

  /** Two ends of one connection, with the road to each. */
  static over(
    toClient: Road,
    toServer: Road,
    clientAddress?: EndAddress,
    serverAddress?: EndAddress
  ): readonly [client: MemoryDuplex, server: MemoryDuplex] {
    const client = new MemoryDuplex(toClient, clientAddress, serverAddress)
    const server = new MemoryDuplex(toServer, serverAddress, clientAddress)
    const up = new Flight(toServer, client, server, () => down)
    const down = new Flight(toClient, server, client, () => up)
    client.incoming = server.outgoing = down
    client.outgoing = server.incoming = up
    return [client, server]
  }

  /** Two ends of a connection that is on no network. */
  static pair(options: LinkOptions = {}): readonly [client: MemoryDuplex, server: MemoryDuplex] {
    return MemoryDuplex.over(roadWithout(options), roadWithout(options))
  }

  /** Closes this end and resets the connection instead of ending it (`net.Socket.resetAndDestroy`). */
  resetAndDestroy(): this {
    this.isReset = true
    return this.destroy()
  }

  /** Closes this end without a word to the peer, as when the power fails. */
  vanish(): void {
    this.isLost = true
    this.destroy(systemError("read", "ECONNRESET"))
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
    this.outgoing.signal("end")
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.isLost) this.outgoing.signal(this.isReset || this.incoming.arrived > 0 ? "reset" : "end")
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

  onArrival(): void {
    this.schedule()
  }

  /** Breaks the connection at this end, as a reset from the network does. */
  onReset(): void {
    this.isReset = true
    this.schedule()
  }

  onRefused(): void {
    this.refused = true
    this.schedule()
  }

  onTimeout(): void {
    this.destroy(systemError("read", "ETIMEDOUT"))
  }

  onRoom(): void {
    if (this.unsent !== undefined) this.schedule()
  }

  private send(): void {
    const { unsent } = this
    if (unsent === undefined) return
    unsent.rest = this.refused ? unsent.rest.subarray(unsent.rest.length) : this.outgoing.send(unsent.rest)
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
    this.road.timeline.soon(this.next)
  }

  private readonly next = (): void => {
    this.scheduled = false
    if (!this.destroyed) this.step()
  }

  private step(): void {
    if (this.isReset) return this.breakOff()
    this.send()
    // who was told that a write is done may have closed this end
    if (this.destroyed || !this.wanted) return
    if (this.incoming.arrived > 0) this.deliverWhenRested()
    else if (this.incoming.ended && !this.endDelivered) {
      this.endDelivered = true
      this.push(null)
    }
  }

  private deliverWhenRested(): void {
    if (this.resting) return
    const before = this.bytesRead
    this.deliver()
    const { link, timeline } = this.road
    if (link.readRate === Infinity) return
    this.resting = true
    timeline.at(timeline.now() + (this.bytesRead - before) / link.readRate * 1000, () => {
      this.resting = false
      this.schedule()
    })
  }

  private deliver(): void {
    this.wanted = false
    const piece = this.incoming.take()
    this.bytesRead += piece.length
    this.push(piece)
  }

  private breakOff(): void {
    if (this.endDelivered) {
      // nobody reads any more: only a writer finds out
      this.refused = true
      return this.settle(systemError("write", "EPIPE"))
    }
    while (this.incoming.arrived > 0 && !this.destroyed) this.deliver()
    this.destroy(systemError("read", "ECONNRESET"))
  }
}
