import type { Marker, Search } from "./markerSearch.ts"

const nothing = Buffer.alloc(0)

/** What all empty buffers hold: nobody adds to it. */
const noPieces: Array<Buffer> = []

/** A piece that is smaller than this joins the one before it: else the objects of many tiny ones outweigh their bytes. */
const small = 1024

/** A piece that tiny ones have joined grows to about this much. */
const large = 16 * 1024

/** A view as a Buffer, without copying. */
export const toBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/**
 * Bytes that have arrived and have not been taken, as the pieces they came in. Taking copies only what spans pieces.
 */
export class ReadBuffer {
  /** The pieces from `first` on; those before it have been taken. */
  private pieces = noPieces
  private first = 0
  /** How many bytes of the first piece have been taken. */
  private offset = 0
  /** The memory of the last piece, where it is ours and has room behind what was ever given out. */
  private room: Buffer | undefined
  /** How many bytes there are. */
  size = 0
  /** Another number whenever the first byte may be another one. */
  private front = 0

  push(piece: Buffer): void {
    if (piece.length === 0) return
    if (piece.length < small && this.size > 0 && this.join(piece)) return
    this.room = undefined
    // an array that is made for one piece is a tenth of one that has grown to hold one
    if (this.size === 0) this.pieces = [piece]
    else this.pieces.push(piece)
    this.size += piece.length
  }

  /** Puts a small piece behind the last one, unless that is large. */
  private join(piece: Buffer): boolean {
    const index = this.pieces.length - 1
    const last = this.pieces[index]!
    if (last.length + piece.length > large) return false
    if (this.room === undefined || last.length + piece.length > this.room.length) {
      const room = Buffer.allocUnsafeSlow(Math.max(256, 2 * (last.length + piece.length)))
      last.copy(room)
      this.room = room
    }
    piece.copy(this.room, last.length)
    this.pieces[index] = this.room.subarray(0, last.length + piece.length)
    this.size += piece.length
    return true
  }

  unshift(piece: Buffer): void {
    if (piece.length === 0) return
    this.front++
    this.room = undefined
    if (this.offset > 0) {
      this.pieces[this.first] = this.pieces[this.first]!.subarray(this.offset)
      this.offset = 0
    }
    if (this.size === 0) this.pieces = [piece]
    else if (this.first > 0) this.pieces[--this.first] = piece
    else this.pieces.unshift(piece)
    this.size += piece.length
  }

  private clear(): void {
    this.front++
    this.pieces = noPieces
    this.first = 0
    this.offset = 0
    this.room = undefined
    this.size = 0
  }

  /** All pieces, as they came. */
  takePieces(): Array<Buffer> {
    const pieces = this.first === 0 ? this.pieces : this.pieces.slice(this.first)
    if (this.offset > 0) pieces[0] = pieces[0]!.subarray(this.offset)
    this.clear()
    return pieces
  }

  /** The first piece. */
  get head(): Buffer {
    const piece = this.pieces[this.first]
    return piece === undefined || this.offset === 0 ? piece ?? nothing : piece.subarray(this.offset)
  }

  /** The byte at `index`, which must be there. */
  byteAt(index: number): number {
    let at = this.offset + index
    let i = this.first
    while (at >= this.pieces[i]!.length) at -= this.pieces[i++]!.length
    return this.pieces[i]![at]!
  }

  /** `count` bytes from byte `from` on, which must be there and stay there. */
  peek(from: number, count: number): Buffer {
    if (count === 0) return nothing
    let i = this.first
    let at = this.offset + from
    while (at >= this.pieces[i]!.length) at -= this.pieces[i++]!.length
    const piece = this.pieces[i]!
    if (at + count <= piece.length) return count === piece.length ? piece : piece.subarray(at, at + count)
    const bytes = Buffer.allocUnsafe(count)
    for (let filled = 0; filled < count; at = 0) filled += this.pieces[i++]!.copy(bytes, filled, at)
    return bytes
  }

  /** Takes `count` bytes, of which there must be that many, without looking at them. */
  skip(count: number): void {
    if (count === this.size) return this.clear()
    this.front++
    this.size -= count
    this.offset += count
    for (let piece = this.pieces[this.first]!; this.offset >= piece.length; piece = this.pieces[this.first]!) {
      this.offset -= piece.length
      this.pieces[this.first++] = nothing
    }
    // now and then, so that what it costs is spread over what was taken
    if (this.first > 32 && this.first > this.pieces.length / 2) {
      this.pieces = this.pieces.slice(this.first)
      this.first = 0
    }
  }

  /** Exactly `count` bytes, of which there must be that many. */
  take(count: number): Buffer {
    const bytes = this.peek(0, count)
    this.skip(count)
    return bytes
  }

  /**
   * Goes on with a search where it left off, as far as byte `limit`; gives the offset where the marker ends, or -1. What was
   * taken or put back since then begins it anew.
   */
  find(marker: Marker, search: Search, limit: number): number {
    if (search.front !== this.front) search.begin(this.front)
    let i = this.first
    let start = -this.offset
    if (search.scanned > 0) {
      // what is new is at the end
      i = this.pieces.length
      start = this.size
      while (start > search.scanned) start -= this.pieces[--i]!.length
    }
    for (; i < this.pieces.length; i++) {
      const piece = this.pieces[i]!
      const found = marker.scan(search, piece, search.scanned - start)
      if (found !== -1) return found
      start += piece.length
      if (start >= limit) break
    }
    return -1
  }
}
