/** Beyond this much, waiting for more gains nothing. */
const enough = 16 * 1024

/** A piece of this size is not worth copying. */
const large = 4 * 1024

/** Small pieces that leave as one: copying them costs less than to have the system gather them. */
export class WriteBatch {
  private pieces: Array<Uint8Array> = []
  private size = 0

  /** Whether a piece has a place here. */
  accepts(piece: Uint8Array): boolean {
    return piece.length < large && this.size + piece.length <= enough
  }

  add(piece: Uint8Array): void {
    this.pieces.push(piece)
    this.size += piece.length
  }

  /** Everything that is there. */
  take(): Uint8Array | undefined {
    const [first] = this.pieces
    const bytes = this.pieces.length > 1 ? Buffer.concat(this.pieces, this.size) : first
    this.pieces = []
    this.size = 0
    return bytes
  }
}
