import type { MarkerSearch } from "./markerSearch.ts"

const nothing = Buffer.alloc(0)

/** A view as a Buffer, without copying. */
export const toBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/**
 * Bytes that have arrived and have not been taken, as the pieces they came in. Taking copies only what spans pieces.
 */
export class ReadBuffer {
  private pieces: Array<Buffer> = []
  /** How many bytes there are. */
  size = 0

  push(piece: Buffer): void {
    if (piece.length === 0) return
    this.pieces.push(piece)
    this.size += piece.length
  }

  unshift(piece: Buffer): void {
    if (piece.length === 0) return
    this.pieces.unshift(piece)
    this.size += piece.length
  }

  /** All pieces, as they came. */
  takePieces(): Array<Buffer> {
    const pieces = this.pieces
    this.pieces = []
    this.size = 0
    return pieces
  }

  /** Exactly `count` bytes, of which there must be that many. */
  take(count: number): Buffer {
    if (count === 0) return nothing
    const first = this.pieces[0]!
    this.size -= count
    if (first.length === count) {
      this.pieces.shift()
      return first
    }
    if (first.length > count) {
      this.pieces[0] = first.subarray(count)
      return first.subarray(0, count)
    }
    const taken = Buffer.allocUnsafe(count)
    let filled = 0
    let used = 0
    while (filled < count) {
      const piece = this.pieces[used]!
      const length = Math.min(piece.length, count - filled)
      piece.copy(taken, filled, 0, length)
      filled += length
      if (length === piece.length) used++
      else this.pieces[used] = piece.subarray(length)
    }
    this.pieces.splice(0, used)
    return taken
  }

  /**
   * Goes on with a search where it left off, as far as byte `limit`; gives the offset where the marker ends, or -1.
   * Nothing may have been taken since the search began.
   */
  find(search: MarkerSearch, limit: number): number {
    let start = 0
    for (const piece of this.pieces) {
      const end = start + piece.length
      if (end > search.scanned) {
        const found = search.scan(search.scanned === start ? piece : piece.subarray(search.scanned - start))
        if (found !== -1) return found
      }
      if (end >= limit) break
      start = end
    }
    return -1
  }
}
