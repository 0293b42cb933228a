/** How much ssh2 puts into one packet of its own. */
const packetSize = 32 * 1024

/**
 * Takes bytes off to the server. Says whether they can be changed from now on; where not, it calls back once they can, and
 * wants no more until then.
 */
export type Send = (bytes: Uint8Array, taken: () => void) => boolean

/**
 * Gathers what is sent in one turn, so that small requests share packets of SSH and large ones fill them: each packet costs
 * a computation and a call of the system. Only the edges of large pieces are copied, and into the same memory over and over:
 * what waits for the server waits here, uncopied.
 */
export class Outbox {
  private readonly send: Send
  private pieces: Array<Uint8Array> = []
  /** How much of the first piece has been sent. */
  private at = 0
  /** A packet that is being filled, and whether it may be filled again. */
  private packet = Buffer.allocUnsafeSlow(packetSize)
  private filled = 0
  private scheduled = false
  private closed = false

  constructor(send: Send) {
    this.send = send
  }

  add(piece: Uint8Array): void {
    if (this.closed) return
    this.pieces.push(piece)
    if (this.scheduled) return
    this.scheduled = true
    queueMicrotask(this.flush)
  }

  close(): void {
    this.closed = true
    this.pieces = []
  }

  private readonly flush = () => {
    const { pieces } = this
    let next = 0
    let free = true
    for (; free && next < pieces.length; next++) {
      const piece = pieces[next]!
      while (free && this.at < piece.length) free = this.fill(piece)
      if (this.at < piece.length) break
      this.at = 0
    }
    pieces.splice(0, next)
    if (free && this.filled > 0) free = this.sendPacket()
    // what is added meanwhile waits for this too
    this.scheduled = !free
  }

  /** Sends some of a piece, as it is where it fills packets, or else by way of the packet. */
  private fill(piece: Uint8Array): boolean {
    const left = piece.length - this.at
    if (this.filled === 0 && left >= packetSize) {
      const whole = left - left % packetSize
      const bytes = piece.subarray(this.at, this.at + whole)
      this.at += whole
      return this.send(bytes, this.flush)
    }
    const size = Math.min(packetSize - this.filled, left)
    this.packet.set(size === piece.length ? piece : piece.subarray(this.at, this.at + size), this.filled)
    this.filled += size
    this.at += size
    return this.filled < packetSize || this.sendPacket()
  }

  private sendPacket(): boolean {
    const { filled, packet } = this
    this.filled = 0
    const free = this.send(filled === packetSize ? packet : packet.subarray(0, filled), this.flush)
    if (!free) this.packet = Buffer.allocUnsafeSlow(packetSize)
    return free
  }
}
