/** The data types of SSH (RFC 4251, section 5). */

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export const boolean = (value: boolean): Buffer => Buffer.of(value ? 1 : 0)

export const string = (value: string | Uint8Array): Buffer => {
  const bytes = typeof value === "string" ? Buffer.from(value) : value
  return Buffer.concat([uint32(bytes.length), bytes])
}

/** A number that is not negative, of any size; `bytes` are its digits, the highest first. */
export const mpint = (bytes: Uint8Array): Buffer => {
  const first = bytes.findIndex((byte) => byte !== 0)
  const digits = first === -1 ? new Uint8Array() : bytes.subarray(first)
  return string(digits[0] !== undefined && digits[0] >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits)
}

/**
 * Reads values one after the other. Behind the end of the bytes everything is empty or 0 and `failed` is true, so that
 * who reads looks only once whether there was enough.
 */
export class Reader {
  failed = false
  private at = 0
  private readonly bytes: Buffer
  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get position(): number {
    return this.at
  }

  get done(): boolean {
    return this.at === this.bytes.length
  }

  take(count: number): Buffer {
    if (this.at + count > this.bytes.length) {
      this.failed = true
      this.at = this.bytes.length
    }
    const taken = this.bytes.subarray(this.at, this.at + count)
    this.at += taken.length
    return taken
  }

  byte(): number {
    return this.take(1)[0] ?? 0
  }

  uint32(): number {
    const bytes = this.take(4)
    return this.failed ? 0 : bytes.readUInt32BE()
  }

  uint64(): bigint {
    const bytes = this.take(8)
    return this.failed ? 0n : bytes.readBigUInt64BE()
  }

  string(): Buffer {
    return this.take(this.uint32())
  }

  text(): string {
    return this.string().toString()
  }
}
