import { copyOf } from "../../net/directReads.ts"
import { Kind } from "./packet.ts"

/** OpenSSH's clients take no more of a packet either; some servers add a few bytes to 256 KiB of data. */
const maxPacket = 256 * 1024 + 1024

/** Who is told what a server sends. */
export interface AnswerHandler {
  /** A packet that is there as a whole: what comes behind its kind, in memory of its own. */
  readonly onPacket: (kind: number, body: Buffer) => void
  /** The beginning of file data for a request; `onData` brings it in pieces. */
  readonly onDataStart: (id: number, size: number) => void
  /** The piece is lent: in memory that may be overwritten afterwards. */
  readonly onData: (piece: Buffer) => void
  readonly onDataEnd: () => void
  /** The bytes are no packets. `received` is what there is of the one that is none. */
  readonly onNonsense: (detail: string, received: Buffer) => void
}

/**
 * Takes the bytes that a server sends apart into packets. File data is handed on as it arrives, a piece of it at a time,
 * without being put together; all else waits until it is whole.
 */
export class AnswerReader {
  private readonly handler: AnswerHandler
  private readonly head = Buffer.alloc(13)
  private headSize = 0
  private kind = 0
  private body: Buffer | undefined
  private bodySize = 0
  private dataLeft = 0
  private broken = false

  constructor(handler: AnswerHandler) {
    this.handler = handler
  }

  read(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.broken;) {
      if (this.dataLeft > 0) at += this.data(at === 0 && chunk.length <= this.dataLeft ? chunk : chunk.subarray(at))
      else if (this.body !== undefined) at += this.rest(this.body, chunk, at)
      else at += this.begin(chunk, at)
    }
  }

  /** Nothing that comes from now on is looked at. */
  stop(): void {
    this.broken = true
  }

  private data(bytes: Buffer): number {
    const piece = bytes.length > this.dataLeft ? bytes.subarray(0, this.dataLeft) : bytes
    this.dataLeft -= piece.length
    this.handler.onData(piece)
    if (this.dataLeft === 0) this.handler.onDataEnd()
    return piece.length
  }

  private rest(body: Buffer, chunk: Buffer, at: number): number {
    const taken = chunk.copy(body, this.bodySize, at)
    this.bodySize += taken
    if (this.bodySize === body.length) {
      this.body = undefined
      this.handler.onPacket(this.kind, body)
    }
    return taken
  }

  /** The head of a packet: its length and kind, for file data also its number and size. */
  private begin(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.head, this.headSize, at)
    const before = this.headSize
    this.headSize += taken
    if (this.headSize < 5) return taken
    const length = this.head.readUInt32BE(0)
    const kind = this.head[4]!
    if (length < 1 || length > maxPacket) return this.nonsense(`a packet of ${length} bytes`, chunk, at, before)
    if (kind === Kind.Data) return this.beginData(length, chunk, at, before)
    this.kind = kind
    this.headSize = 0
    const used = 5 - before
    const start = at + used
    if (chunk.length - start >= length - 1) {
      this.handler.onPacket(kind, copyOf(chunk.subarray(start, start + length - 1)))
      return used + length - 1
    }
    this.body = Buffer.allocUnsafe(length - 1)
    this.bodySize = 0
    // a few bytes more than the first five may have come in earlier pieces only for file data
    return used
  }

  private beginData(length: number, chunk: Buffer, at: number, before: number): number {
    if (this.headSize < 13) return chunk.length - at
    const size = this.head.readUInt32BE(9)
    if (size !== length - 9) return this.nonsense(`${size} bytes of data in ${length} bytes`, chunk, at, before)
    this.headSize = 0
    this.dataLeft = size
    this.handler.onDataStart(this.head.readUInt32BE(5), size)
    if (size === 0) this.handler.onDataEnd()
    return 13 - before
  }

  private nonsense(detail: string, chunk: Buffer, at: number, before: number): number {
    this.broken = true
    this.handler.onNonsense(detail, Buffer.concat([this.head.subarray(0, before), chunk.subarray(at)]))
    return chunk.length - at
  }
}
