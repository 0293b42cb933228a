/** How far a search for a marker has come. */
export class Search {
  /** How many bytes of the marker the last piece ended with. */
  matched = 0
  /** How many bytes have been looked at. */
  scanned = 0
  /** What the buffer began with. */
  front = 0

  /** Begins anew in a buffer that begins with something else. */
  begin(front: number): void {
    this.front = front
    this.reset()
  }

  /** Begins anew, at bytes that come after a marker. */
  reset(): void {
    this.matched = 0
    this.scanned = 0
  }
}

/**
 * Finds a marker in bytes that arrive in pieces, in linear time: each piece is looked at once, by the platform's own
 * search, and a marker that spans pieces is followed by Knuth, Morris and Pratt's automaton over the few bytes of the
 * border.
 */
export class Marker {
  readonly size: number
  private readonly marker: Uint8Array
  private readonly needle: Uint8Array | number
  private readonly unit: number
  private readonly fallback: ReadonlyArray<number>

  /** `unit` is the size of a character: in UTF-16 a marker counts at even offsets only. */
  constructor(marker: Uint8Array, unit = 1) {
    this.size = marker.length
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

  private step(search: Search, byte: number): void {
    while (search.matched > 0 && byte !== this.marker[search.matched]) {
      search.matched = this.fallback[search.matched - 1]!
    }
    if (byte === this.marker[search.matched]) search.matched++
  }

  private aligned(end: number): boolean {
    return this.unit === 1 || (end - this.size) % this.unit === 0
  }

  /**
   * Looks at the next piece, from its byte `start` on; gives the offset, from the start of the search, where the first
   * marker ends, or -1.
   */
  scan(search: Search, piece: Buffer, start = 0): number {
    const base = search.scanned - start
    const { size } = this
    search.scanned = base + piece.length
    let at = start
    // while the bytes that match so far began in an earlier piece, go byte by byte
    while (search.matched > at - start && at < piece.length) {
      this.step(search, piece[at++]!)
      if (search.matched === size) {
        if (this.aligned(base + at)) return base + at
        search.matched = this.fallback[size - 1]!
      }
    }
    if (search.matched > at - start) return -1
    let from = at - search.matched
    for (;;) {
      const found = piece.indexOf(this.needle, from)
      if (found === -1) break
      if (this.aligned(base + found + size)) return base + found + size
      from = found + 1
    }
    search.matched = 0
    for (let i = Math.max(from, piece.length - size + 1); i < piece.length; i++) this.step(search, piece[i]!)
    return -1
  }

  /** Where the last marker in the first `size` bytes of a piece ends, or 0; the piece begins where a character does. */
  lastEnd(piece: Buffer, size: number): number {
    // a negative offset would count from the end
    for (let from = size - this.size; from >= 0;) {
      const found = piece.lastIndexOf(this.needle, from)
      if (found === -1) return 0
      if (found % this.unit === 0) return found + this.size
      from = found - 1
    }
    return 0
  }
}
