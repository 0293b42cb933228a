/**
 * Bytes under way in one direction. A ring, so that many tiny writes and reads cost no more than their bytes, and as
 * large as was needed so far. It copies on both sides: neither end ever sees the other's memory.
 */
export class Ring {
  size = 0
  private start = 0
  /** None before they are needed: most connections of a large network are idle. */
  private bytes = Buffer.alloc(0)

  private readonly limit: number
  constructor(limit: number) {
    this.limit = limit
  }

  /** Takes as much of `chunk` as there is room for and gives back the rest. */
  put(chunk: Buffer): Buffer {
    const fitting = Math.min(chunk.length, this.limit - this.size)
    if (fitting === 0) return chunk
    if (this.size + fitting > this.bytes.length) this.grow(this.size + fitting)
    const end = (this.start + this.size) % this.bytes.length
    const untilWrap = Math.min(fitting, this.bytes.length - end)
    this.bytes.set(chunk.subarray(0, untilWrap), end)
    this.bytes.set(chunk.subarray(untilWrap, fitting), 0)
    this.size += fitting
    return chunk.subarray(fitting)
  }

  /** The oldest bytes. */
  take(count: number): Buffer {
    const taken = Buffer.allocUnsafe(Math.min(count, this.size))
    this.copyTo(taken, taken.length)
    this.skip(taken.length)
    return taken
  }

  /** Forgets the oldest bytes. */
  skip(count: number): void {
    const skipped = Math.min(count, this.size)
    if (skipped === 0) return
    this.start = (this.start + skipped) % this.bytes.length
    this.size -= skipped
  }

  /** Forgets everything but the oldest bytes. */
  keep(count: number): void {
    this.size = Math.min(count, this.size)
  }

  /** Turns over one bit of the byte at an index, counted from the oldest one. */
  corrupt(index: number): void {
    const at = (this.start + index) % this.bytes.length
    this.bytes[at] = (this.bytes[at] ?? 0) ^ 0x20
  }

  private copyTo(target: Buffer, count: number): void {
    const untilWrap = Math.min(count, this.bytes.length - this.start)
    target.set(this.bytes.subarray(this.start, this.start + untilWrap))
    target.set(this.bytes.subarray(0, count - untilWrap), untilWrap)
  }

  private grow(needed: number): void {
    const larger = Buffer.allocUnsafe(Math.min(this.limit, Math.max(256, 2 ** Math.ceil(Math.log2(needed)))))
    this.copyTo(larger, this.size)
    this.bytes = larger
    this.start = 0
  }
}
