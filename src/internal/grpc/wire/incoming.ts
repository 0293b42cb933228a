import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import { type Compression, decompress } from "./compression.ts"
import { type FrameProblem, FrameReader, frameSize } from "./frames.ts"
import { Code, ownStatus, type Status } from "./status.ts"

/** Messages that came one after the other; a compressed one is alone. */
interface Run {
  readonly messages: Array<Uint8Array>
  readonly compressed: boolean
  bytes: number
}

/** How many bytes of messages wait here for a reader; more stay in HTTP/2, whose flow control holds the peer back. */
const capacity = 64 * 1024

const tooLarge = (maxSize: number, size: number | undefined): Status =>
  ownStatus(
    Code.resourceExhausted,
    `a message of ${size === undefined ? "more bytes" : `${size} bytes`} is larger than the limit of ${maxSize}`
  )

const statusOf = (problem: FrameProblem, maxSize: number): Status =>
  problem._tag === "TooLarge"
    ? tooLarge(maxSize, problem.size)
    : ownStatus(Code.internal, `not a gRPC message: its flags are ${problem.flags}`)

/** The messages that come on an HTTP/2 stream, between Node which pushes bytes and a reader who takes messages. */
export class Incoming {
  /** How compressed messages are packed; the headers say it, before the first message. */
  compression: Compression = "identity"
  /** Whether the peer has sent its last message. */
  ended = false

  private readonly stream: Duplex
  private readonly maxSize: number
  private readonly onMessages: () => void
  private readonly onProblem: (status: Status) => void
  private readonly reader: FrameReader
  private runs: Array<Run> = []
  private bytes = 0
  private paused = false
  private broken = false

  constructor(
    stream: Duplex,
    maxSize: number,
    onMessages: () => void,
    onProblem: (status: Status) => void
  ) {
    this.stream = stream
    this.maxSize = maxSize
    this.onMessages = onMessages
    this.onProblem = onProblem
    this.reader = new FrameReader(maxSize, (message, compressed) => this.add(message, compressed))
  }

  /** Begins to read. Node can have bytes before it has told of the headers, which must be known first. */
  start(): void {
    this.stream.on("data", this.read)
  }

  get isEmpty(): boolean {
    return this.runs.length === 0
  }

  private add(message: Uint8Array, compressed: boolean): void {
    const bytes = frameSize(message)
    const last = compressed ? undefined : this.runs.at(-1)
    if (last === undefined || last.compressed) this.runs.push({ messages: [message], compressed, bytes })
    else {
      last.messages.push(message)
      last.bytes += bytes
    }
    this.bytes += bytes
  }

  private readonly read = (chunk: Buffer): void => {
    if (this.broken) return
    const before = this.bytes
    const problem = this.reader.read(chunk)
    if (problem !== undefined) {
      this.broken = true
      this.onProblem(statusOf(problem, this.maxSize))
    }
    if (this.bytes >= capacity && !this.paused) {
      this.paused = true
      this.stream.pause()
    }
    if (this.bytes > before) this.onMessages()
  }

  /**
   * Called when no more bytes come: those that Node has kept back are still messages. A stream that was cut off may have been
   * so within one; one that was ended may not.
   */
  finish(cutOff = false): void {
    if (this.ended) return
    this.ended = true
    // while it is open, Node would also tell the listener
    this.stream.off("data", this.read)
    for (let chunk: unknown = this.stream.read(); chunk instanceof Buffer; chunk = this.stream.read()) this.read(chunk)
    if (!cutOff && !this.reader.isBetween && !this.broken) {
      this.broken = true
      this.onProblem(ownStatus(Code.internal, "the stream ended within a message"))
    }
  }

  /** Nobody wants what is there and what still comes: it is read and dropped, so that the stream can end. */
  abandon(): void {
    this.broken = true
    this.runs = []
    this.bytes = 0
    if (!this.paused) return
    this.paused = false
    this.stream.resume()
  }

  /**
   * All messages that are there, at least one; compressed ones one at a time, as each may become as large as the limit.
   */
  take(): Effect.Effect<Array<Uint8Array>, Status> {
    const { bytes, compressed, messages } = this.runs.shift()!
    this.bytes -= bytes
    if (this.paused && this.bytes < capacity) {
      this.paused = false
      this.stream.resume()
    }
    if (!compressed) return Effect.succeed(messages)
    const compression = this.compression
    if (compression === "identity") {
      return Effect.fail(ownStatus(Code.internal, "a compressed message, though the headers name no compression"))
    }
    return decompress(messages[0]!, compression, this.maxSize).pipe(Effect.mapBoth({
      onSuccess: (message) => [message],
      onFailure: (problem) =>
        problem._tag === "TooLarge"
          ? tooLarge(this.maxSize, undefined)
          : ownStatus(Code.internal, `a message cannot be decompressed: ${problem.detail}`)
    }))
  }
}
