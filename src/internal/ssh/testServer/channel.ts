import * as Effect from "effect/Effect"
import { Duplex } from "node:stream"
import type { ServerChannel } from "ssh2"
import type { Ending } from "./model.ts"

type Done = (error?: Error | null) => void

interface Write {
  readonly bytes: Uint8Array
  readonly isError: boolean
  readonly done: Done
}

/** What ssh2's types do not have. */
interface Direction {
  readonly state: "open" | "eof" | "closing" | "closed"
}

type Channel = ServerChannel & { readonly incoming: Direction; readonly outgoing: Direction }

const isChannel = (channel: ServerChannel): channel is Channel => "incoming" in channel && "outgoing" in channel

const closedByClient = () => Object.assign(new Error("the client has closed the channel"), { code: "EPIPE" })

/**
 * A channel of ssh2's server as a stream that behaves like a socket: it has two ends that end by themselves, and answers every
 * write. ssh2's own closes both ends with one, and forgets writes.
 */
export class ChannelStream extends Duplex {
  private readonly channel: ServerChannel
  private readonly waiting: Array<Write> = []
  private current: Write | undefined
  private whenWritten: (() => void) | undefined
  private isOver = false
  /** Whether what comes has ended without having been ended. */
  private isCut: boolean | undefined

  /** `whenCut`: what a reader gets of a client that closes the channel, or is gone, without having ended what it sends. */
  constructor(channel: ServerChannel, whenCut: "end" | "nothing") {
    super({ allowHalfOpen: true })
    this.channel = channel
    const push = channel.push.bind(channel)
    channel.push = (bytes: Uint8Array | null) => {
      if (bytes === null) this.onLast()
      return push(bytes)
    }
    channel
      .on("error", () => {})
      .on("data", (bytes: Uint8Array) => {
        if (!this.isOver && !this.push(bytes)) channel.pause()
      })
      .on("end", () => {
        if (this.isCut !== true || whenCut === "end") this.push(null)
      })
      .on("close", () => this.failWrites())
      .pause()
    channel.stderr.on("error", () => {})
    this.on("error", () => {})
  }

  private state(direction: "incoming" | "outgoing") {
    return isChannel(this.channel) ? this.channel[direction].state : "closed"
  }

  private onLast(): void {
    this.isCut ??= this.state("incoming") !== "eof"
    if (this.state("incoming") === "closed") this.failWrites()
  }

  override _read(): void {
    this.channel.resume()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.enqueue(chunk, false, done)
  }

  override _final(done: Done): void {
    this.afterWrites(() => {
      this.channel.eof()
      done()
    })
  }

  override _destroy(error: Error | null, done: Done): void {
    this.channel.close()
    this.dropInput()
    this.failWrites()
    done(error)
  }

  /** Writes to one of the two outputs, no faster than the client takes it. What comes too late for the client is dropped. */
  output(bytes: Uint8Array, isError: boolean): Effect.Effect<void> {
    return Effect.callback((resume) => this.enqueue(bytes, isError, () => resume(Effect.void)))
  }

  /** Says how the command ended, once all that it wrote is on its way, and closes the channel. */
  finish(ending: Ending): Effect.Effect<void> {
    return Effect.callback((resume) =>
      this.afterWrites(() => {
        const { channel } = this
        if (ending !== undefined) {
          if ("code" in ending) channel.exit(ending.code)
          else channel.exit(ending.signal, ending.coreDumped, ending.description)
        }
        channel.end()
        this.dropInput()
        resume(Effect.void)
      })
    )
  }

  private enqueue(bytes: Uint8Array, isError: boolean, done: Done): void {
    this.waiting.push({ bytes, isError, done })
    if (this.current === undefined) this.writeNext()
  }

  private writeNext(): void {
    const next = this.waiting.shift()
    this.current = next
    if (next === undefined) {
      const { whenWritten } = this
      this.whenWritten = undefined
      return whenWritten?.()
    }
    if (this.state("outgoing") !== "open") return this.written(closedByClient())
    const { channel } = this
    // ssh2 writes what it held back of the one output again when it has held back something of the other
    Object.assign(channel, { _chunk: undefined, _chunkcb: undefined, _chunkErr: undefined, _chunkcbErr: undefined })
    const output = next.isError ? channel.stderr : channel
    output.write(next.bytes, () => {
      if (this.current === next) this.written()
    })
  }

  private written(error?: Error): void {
    const { current } = this
    this.writeNext()
    current?.done(error)
  }

  private afterWrites(then: () => void): void {
    if (this.current === undefined) return then()
    this.whenWritten = then
  }

  /** What nobody reads would keep the channel. */
  private dropInput(): void {
    this.isOver = true
    this.channel.resume()
  }

  private failWrites(): void {
    if (this.current !== undefined) this.written(closedByClient())
  }
}
