/** A compressed flag and a length of four bytes (gRPC over HTTP/2, Length-Prefixed-Message). */
const prefixSize = 5

/** What a message is together with, in bytes: what a batch of them takes on the wire. */
export const frameSize = (message: Uint8Array): number => prefixSize + message.byteLength

/** Messages as they go over the wire, in one piece. */
export const frame = (messages: ReadonlyArray<Uint8Array>, compressed: boolean): Buffer => {
  let size = 0
  for (const message of messages) size += frameSize(message)
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const message of messages) {
    bytes[at] = compressed ? 1 : 0
    bytes.writeUInt32BE(message.byteLength, at + 1)
    bytes.set(message, at + prefixSize)
    at += prefixSize + message.byteLength
  }
  return bytes
}

/** Why bytes are not frames that this side accepts. */
export type FrameProblem = { readonly _tag: "TooLarge"; readonly size: number } | {
  readonly _tag: "Malformed"
  readonly flags: number
}

/** How much is set aside for a message before its bytes come: a prefix that promises much must not cost much. */
const ahead = 64 * 1024

/** Cuts what HTTP/2 delivers into messages. */
export class FrameReader {
  private readonly maxSize: number
  private readonly onMessage: (message: Uint8Array, compressed: boolean) => void
  /** Bytes of an unfinished prefix: there is room for them once there was one. */
  private prefix: Uint8Array | undefined
  private prefixFilled = 0
  private compressed = false
  /** The message under way. */
  private length = 0
  private body: Buffer | undefined
  private filled = 0

  constructor(maxSize: number, onMessage: (message: Uint8Array, compressed: boolean) => void) {
    this.maxSize = maxSize
    this.onMessage = onMessage
  }

  /** Whether the bytes so far end between two messages. */
  get isBetween(): boolean {
    return this.prefixFilled === 0 && this.body === undefined
  }

  /** Reads a chunk; messages that lie within it are views of it. Stops for good at a problem. */
  read(chunk: Buffer): FrameProblem | undefined {
    let at = 0
    while (at < chunk.length) {
      if (this.body !== undefined) {
        at = this.fill(this.body, chunk, at)
        continue
      }
      if (this.prefixFilled === 0 && chunk.length - at >= prefixSize) {
        const problem = this.begin(chunk[at]!, chunk.readUInt32BE(at + 1))
        if (problem !== undefined) return problem
        at += prefixSize
      } else {
        const prefix = this.prefix ??= new Uint8Array(prefixSize)
        while (this.prefixFilled < prefixSize && at < chunk.length) prefix[this.prefixFilled++] = chunk[at++]!
        if (this.prefixFilled < prefixSize) return undefined
        this.prefixFilled = 0
        const [flags, a, b, c, d] = prefix
        const problem = this.begin(flags!, (a! * 0x1000000) + (b! << 16) + (c! << 8) + d!)
        if (problem !== undefined) return problem
      }
      if (chunk.length - at >= this.length) {
        const message = chunk.subarray(at, at + this.length)
        at += this.length
        this.onMessage(message, this.compressed)
      } else {
        this.body = Buffer.allocUnsafe(Math.min(this.length, ahead))
        this.filled = 0
      }
    }
    return undefined
  }

  private begin(flags: number, length: number): FrameProblem | undefined {
    if (flags > 1) return { _tag: "Malformed", flags }
    if (length > this.maxSize) return { _tag: "TooLarge", size: length }
    this.compressed = flags === 1
    this.length = length
    return undefined
  }

  private fill(body: Buffer, chunk: Buffer, at: number): number {
    const take = Math.min(this.length - this.filled, chunk.length - at)
    let target = body
    if (this.filled + take > target.length) {
      target = Buffer.allocUnsafe(Math.min(this.length, Math.max(target.length * 2, this.filled + take)))
      body.copy(target, 0, 0, this.filled)
      this.body = target
    }
    chunk.copy(target, this.filled, at, at + take)
    this.filled += take
    if (this.filled === this.length) {
      this.body = undefined
      this.onMessage(target, this.compressed)
    }
    return at + take
  }
}
