/** How much ssh2 puts into one packet of its own. */
const packetSize = 32 * 1024

/**
 * Gathers what is sent in one turn, so that small requests share packets of SSH and large ones fill them: each packet costs
 * a computation and a call of the system. Only the edges of large pieces are copied.
 */
export class Outbox {
  private pieces: Array<Uint8Array> = []
  private readonly write: (bytes: Uint8Array) => void
  private closed = false

  constructor(write: (bytes: Uint8Array) => void) {
    this.write = write
  }

  send(piece: Uint8Array): void {
    if (this.closed) return
    if (this.pieces.push(piece) === 1) queueMicrotask(this.flush)
  }

  close(): void {
    this.closed = true
    this.pieces = []
  }

  private readonly flush = () => {
    const { pieces } = this
    this.pieces = []
    if (pieces.length === 1) return this.write(pieces[0]!)
    let left = 0
    for (const piece of pieces) left += piece.length
    let packet: Buffer | undefined
    let filled = 0
    for (const piece of pieces) {
      let at = 0
      while (at < piece.length) {
        const whole = packet === undefined ? Math.floor((piece.length - at) / packetSize) * packetSize : 0
        if (whole > 0) {
          this.write(piece.subarray(at, at + whole))
          left -= whole
          at += whole
          continue
        }
        packet ??= Buffer.allocUnsafe(Math.min(left, packetSize))
        const size = Math.min(packet.length - filled, piece.length - at)
        packet.set(piece.subarray(at, at + size), filled)
        filled += size
        left -= size
        at += size
        if (filled < packet.length) continue
        this.write(packet)
        packet = undefined
        filled = 0
      }
    }
  }
}
