const KiB = 1024
const MiB = 1024 * KiB

/** What is under way at least, of all that read together: enough for a network that is near. */
const least = 2 * MiB
/** And at most, which is also what the bytes that nobody has taken yet may grow to. */
const most = 32 * MiB
/** What a server may send at any time, about: at least 1 MiB at first, and 2 MiB once some of its window was given back. */
const always = 1.5 * MiB

/**
 * How much should be asked for at a time. Twice what the way there and back holds, by the bandwidth that was reached and
 * the shortest time that an answer took: while asking for more brings more, that doubles; when it does not, it stays.
 */
export class Pace {
  private shortest = Infinity
  private bandwidth = 0
  private granted = 0
  private readonly grant: (bytes: number) => void
  private readonly now: () => number
  /** How many bytes of file data have arrived. */
  delivered = 0
  /** How many read. */
  readers = 0

  constructor(grant: (bytes: number) => void, now: () => number) {
    this.grant = grant
    this.now = now
  }

  /** An answer has begun to arrive. */
  answered(askedAt: number): void {
    const took = this.now() - askedAt
    if (took < this.shortest) this.shortest = took
  }

  arrived(bytes: number): void {
    this.delivered += bytes
  }

  /** An answer has arrived that was asked for at a time when so much had been delivered. */
  measured(askedAt: number, deliveredBefore: number): void {
    const took = this.now() - askedAt
    const bandwidth = (this.delivered - deliveredBefore) / took
    if (bandwidth <= this.bandwidth || took <= 0) return
    this.bandwidth = bandwidth
    const wanted = this.window
    if (wanted <= least || wanted <= this.granted + always) return
    // only for long ways: on a short one more than ssh2's own window makes it slower
    this.grant(wanted - always - this.granted)
    this.granted = wanted - always
  }

  /** How many bytes may be under way, all readers taken together. */
  get window(): number {
    const held = 2 * this.shortest * this.bandwidth
    return Number.isNaN(held) ? least : Math.round(Math.min(most, Math.max(least, held)))
  }

  /** The share of one reader. */
  share(chunk: number): number {
    return Math.max(2 * chunk, this.window / Math.max(1, this.readers))
  }
}
