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
  private resets = false
  isForgotten = false
  /** The part of a write for which there was no room yet. */
  private unsent: { rest: Buffer; readonly done: (error?: Error) => void } | undefined
  private scheduled = false
  /** This end takes only so many bytes a second, and has taken them; ends the pause. */
  private stopResting: (() => void) | undefined

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
    this.resets = true
    return this.destroy()
  }

  /** Closes this end without a word to the peer, as when the power fails. */
  vanish(): void {
    this.forget("ECONNRESET")
  }

  override _read(): void {
    this.wanted = true
    this.schedule()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.bytesWritten += chunk.length
    this.unsent = { rest: chunk, done }
    this.send()
  }

  override _final(done: () => void): void {
    if (!this.isForgotten) this.outgoing.signal("end")
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.isForgotten) {
      this.outgoing.dropGathered()
      this.incoming.discard()
    } else this.outgoing.signal(this.resets || this.incoming.arrived > 0 ? "reset" : "end")
    this.stopResting?.()
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
    this.outgoing.orphan()
    if (this.destroyed || this.isForgotten) return
    this.isForgotten = true
    this.road.happened("reset")
    this.schedule()
  }

  onTimeout(): void {
    this.forget("ETIMEDOUT")
  }

  onRoom(): void {
    if (this.unsent !== undefined) this.schedule()
  }

  private forget(code: "ECONNRESET" | "ETIMEDOUT"): void {
    this.isForgotten = true
    this.destroy(systemError("read", code))
  }

  private send(): void {
    const { unsent } = this
    if (unsent === undefined) return
    if (this.isForgotten) {
      // a reset behind the end of the stream shows only in writing, any other one as soon as all is read
      return this.incoming.ended ? this.settle(systemError("write", "EPIPE")) : undefined
    }
    unsent.rest = this.outgoing.send(unsent.rest)
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
    if (this.isForgotten && !this.incoming.ended) return this.breakOff()
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
    if (this.stopResting !== undefined) return
    const before = this.bytesRead
    this.deliver()
    const { link, timeline } = this.road
    if (link.readRate === Infinity) return
    this.stopResting = timeline.at(timeline.now() + (this.bytesRead - before) / link.readRate * 1000, () => {
      this.stopResting = undefined
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
    while (this.incoming.arrived > 0 && !this.destroyed) this.deliver()
    this.forget("ECONNRESET")
  }
}
