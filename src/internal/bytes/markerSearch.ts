/**
 * Finds a marker in bytes that arrive in pieces, in linear time: each piece is looked at once, by the platform's own
 * search, and a marker that spans pieces is followed by Knuth, Morris and Pratt's automaton over the few bytes of the
 * border.
 */
export class MarkerSearch {
  private readonly marker: Uint8Array
  private readonly needle: Uint8Array | number
  private readonly unit: number
  private readonly fallback: ReadonlyArray<number>
  /** How many bytes of the marker the last piece ended with. */
  private matched = 0
  /** How many bytes have been looked at. */
  scanned = 0

  /** `unit` is the size of a character: in UTF-16 a marker counts at even offsets only. */
  constructor(marker: Uint8Array, unit: number) {
    this.marker = marker
    // the platform finds a number faster than an array of one
    this.needle = marker.length === 1 ? marker[0]! : marker
    this.unit = unit
    const fallback = [0]
    for (let i = 1, k = 0; i < marker.length; i++) {
      while (k > 0 && marker[i] !== marker[k]) k = fallback[k - 1]!
      if (marker[i] === marker[k]) k++
      fallback.push(k)
    }
    this.fallback = fallback
  }

  private step(byte: number): void {
    while (this.matched > 0 && byte !== this.marker[this.matched]) this.matched = this.fallback[this.matched - 1]!
    if (byte === this.marker[this.matched]) this.matched++
  }

  private aligned(end: number): boolean {
    return this.unit === 1 || (end - this.marker.length) % this.unit === 0
  }

  /** Begins anew, at bytes that come after a marker. */
  reset(): void {
    this.matched = 0
    this.scanned = 0
  }

  /**
   * Looks at the next piece, from its byte `start` on; gives the offset, from the start of the search, where the first
   * marker ends, or -1.
   */
  scan(piece: Buffer, start = 0): number {
    const base = this.scanned - start
    const size = this.marker.length
    this.scanned = base + piece.length
    let at = start
    // while the bytes that match so far began in an earlier piece, go byte by byte
    while (this.matched > at - start && at < piece.length) {
      this.step(piece[at++]!)
      if (this.matched === size) {
        if (this.aligned(base + at)) return base + at
        this.matched = this.fallback[size - 1]!
      }
    }
    if (this.matched > at - start) return -1
    let from = at - this.matched
    for (;;) {
      const found = piece.indexOf(this.needle, from)
      if (found === -1) break
      if (this.aligned(base + found + size)) return base + found + size
      from = found + 1
    }
    this.matched = 0
    for (let i = Math.max(from, piece.length - size + 1); i < piece.length; i++) this.step(piece[i]!)
    return -1
  }

  /** Where the last marker in the first `size` bytes of a piece ends, or 0; the piece begins where a character does. */
  lastEnd(piece: Buffer, size: number): number {
    // a negative offset would count from the end
    for (let from = size - this.marker.length; from >= 0;) {
      const found = piece.lastIndexOf(this.needle, from)
      if (found === -1) return 0
      if (found % this.unit === 0) return found + this.marker.length
      from = found - 1
    }
    return 0
  }
}
