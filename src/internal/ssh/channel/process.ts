import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { ClientChannel } from "ssh2"
import { ConnectionLost, OutputTooLarge, type SshErrorReason } from "../../../errors/SshError.ts"
import { copyOf } from "../../net/directReads.ts"
import type { Connection } from "../connection.ts"
import * as Protocol from "../protocol.ts"
import { Ending, type Exit } from "./exit.ts"
import { type Batch, Inbox } from "./inbox.ts"

/** One for all: most commands have ended by then, and an error costs more than all the rest. */
const scopeClosed = new ConnectionLost({ detail: "the scope of the command was closed" })

/** All that a process wrote, and how it ended. */
export interface Collected {
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  readonly exit: Exit
}

/**
 * A process behind a channel of ours: its input as a sink, its outputs as streams. ssh2 ends a channel whose connection is
 * gone as if the process had finished, so what counts is what ssh2 knew of the channel in the moment before.
 */
export class Process implements Protocol.Receiver {
  private readonly channel: ClientChannel
  private readonly incoming: Protocol.Incoming
  private readonly ending: Ending
  private readonly out: Inbox
  private readonly err: Inbox
  private readonly forget: () => void

  constructor(connection: Connection, channel: ClientChannel) {
    this.channel = channel
    const taken = (bytes: number) => this.incoming.taken(bytes)
    this.out = new Inbox(taken)
    this.err = new Inbox(taken)
    this.ending = new Ending(connection, channel)
    this.forget = connection.onLost((reason) => {
      if (Protocol.isOpen(channel, "incoming")) this.endOutputs(reason)
    })
    channel.once("close", this.forget)
    this.incoming = Protocol.receive(channel, this)
  }

  onData(bytes: Uint8Array, isError: boolean, lent: boolean): void {
    const inbox = isError ? this.err : this.out
    inbox.give(lent ? copyOf(bytes) : bytes)
  }

  onEnd(isError: boolean): void {
    const inbox = isError ? this.err : this.out
    inbox.end()
  }

  private endOutputs(reason: SshErrorReason): void {
    this.out.end(reason)
    this.err.end(reason)
  }

  get stdout(): Stream.Stream<Uint8Array, SshErrorReason> {
    return Stream.fromPull(Effect.succeed(this.out.pull))
  }

  get stderr(): Stream.Stream<Uint8Array, SshErrorReason> {
    return Stream.fromPull(Effect.succeed(this.err.pull))
  }

  /** How it ended, as soon as the server says so. */
  get exit(): Effect.Effect<Exit, ConnectionLost> {
    return Deferred.await(this.ending.exit)
  }

  /** The same, once its channel is closed: whoever it left behind has let go of its outputs. */
  get closed(): Effect.Effect<Exit, ConnectionLost> {
    return Effect.andThen(Deferred.await(this.ending.closed), this.exit)
  }

  /** ssh2 never calls back for what is written to a channel that the server has closed. */
  private get isWritable(): boolean {
    return Protocol.isOpen(this.channel, "outgoing") && this.channel.writable
  }

  private readonly drained = Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    this.channel.once("drain", done)
    return Effect.sync(() => void this.channel.off("drain", done))
  })

  private write(chunks: Batch): Effect.Effect<void, Cause.Done> {
    let full = false
    for (const chunk of chunks) {
      if (!this.isWritable) return Cause.done()
      full = !this.channel.write(chunk)
    }
    return full ? this.drained : Effect.void
  }

  private readonly endInput = Effect.sync((): Sink.End<void> => {
    if (this.isWritable) this.channel.end()
    return [undefined]
  })

  /** Ends with the stream that feeds it, or as soon as the process takes no more. */
  get stdin(): Sink.Sink<void, Uint8Array, never, SshErrorReason> {
    const gone = Effect.andThen(Deferred.await(this.ending.closed), this.endInput)
    return Sink.fromTransform((upstream: Pull.Pull<Batch>) =>
      upstream.pipe(
        Effect.flatMap((chunks) => this.write(chunks)),
        Effect.forever({ disableYield: true }),
        Pull.catchDone(() => this.endInput),
        Effect.raceFirst(gone)
      )
    )
  }

  /** Gives the process all its input at once, and its end. */
  feed(input: Uint8Array): void {
    if (!this.isWritable) return
    if (input.length === 0) return this.channel.eof()
    this.channel.end(input)
  }

  /** Sends a signal (`TERM`, ...). Servers do not say what became of it. */
  signal(name: string): void {
    Protocol.signal(this.channel, name)
  }

  /** Says that its terminal has another size now. */
  resize(columns: number, rows: number): void {
    Protocol.resize(this.channel, columns, rows)
  }

  /** Waits until both outputs are over, in one wait instead of a fibre and a stream for each. */
  private outputs(maxSize: number): Effect.Effect<void, SshErrorReason> {
    const { err, out } = this
    return Effect.callback((resume) => {
      let stopOut = () => {}
      let stopErr = () => {}
      const stop = () => {
        stopOut()
        stopErr()
      }
      const look = () => {
        stop()
        if (out.size + err.size > maxSize) return resume(Effect.fail(new OutputTooLarge({ maxSize })))
        if (!out.over || !err.over) {
          stopOut = out.next(look)
          stopErr = err.next(look)
          return
        }
        const failure = out.failure ?? err.failure
        resume(failure === undefined ? Effect.void : Effect.fail(failure))
      }
      out.hold()
      err.hold()
      look()
      return Effect.sync(stop)
    })
  }

  private collected(exit: Exit): Collected {
    return { stdout: this.out.takeJoined(), stderr: this.err.takeJoined(), exit }
  }

  /**
   * Waits until the process has ended, with all that it wrote. `whenExited` does not wait for the outputs to end, which what
   * it left running in the background may hold open.
   */
  collect(maxSize: number, whenExited: boolean): Effect.Effect<Collected, SshErrorReason> {
    const ended = whenExited
      ? Effect.raceFirst(Effect.andThen(this.outputs(maxSize), Effect.never), this.exit)
      : Effect.andThen(this.outputs(maxSize), this.exit)
    return Effect.map(ended, (exit) => this.collected(exit))
  }

  /** Closes the channel without waiting for the server, which answers no sooner than the process ends. */
  close(signal: string | undefined): void {
    this.forget()
    if (signal !== undefined && !Deferred.isDoneUnsafe(this.ending.exit)) this.signal(signal)
    this.incoming.stop()
    this.endOutputs(scopeClosed)
    this.ending.fail(scopeClosed)
    this.channel.close()
  }
}
