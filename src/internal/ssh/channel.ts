import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { Readable } from "node:stream"
import type { ClientChannel } from "ssh2"
import { ChannelRefused, ConnectionLost, OutputTooLarge, type SshErrorReason } from "../../errors/SshError.ts"
import { isOpen } from "./channelState.ts"
import type { Connection } from "./client.ts"

interface OpenFailure extends Error {
  readonly reason?: number | string | undefined
}

const refusal = (error: OpenFailure) =>
  new ChannelRefused({
    code: typeof error.reason === "number" ? error.reason : 0,
    detail: error.message.replace("(SSH) Channel open failure: ", "")
  })

/** Opens a channel. `use` runs in the moment it opens, before anything can arrive on it. */
export const open = <A>(
  connection: Connection,
  request: (done: (error: Error | undefined, channel: ClientChannel) => void) => void,
  use: (channel: ClientChannel) => A
): Effect.Effect<A, ConnectionLost | ChannelRefused> =>
  Effect.callback((resume) => {
    const lost = connection.lost()
    if (lost !== undefined) return resume(Effect.fail(lost))
    let waiting = true
    const stop = () => {
      waiting = false
      forget()
    }
    const settle = (result: Effect.Effect<A, ConnectionLost | ChannelRefused>) => {
      stop()
      resume(result)
    }
    const forget = connection.onLost((reason) => settle(Effect.fail(reason)))
    const done = (error: OpenFailure | undefined, channel: ClientChannel) => {
      if (waiting) settle(error === undefined ? Effect.succeed(use(channel)) : Effect.fail(refusal(error)))
      else if (error === undefined) channel.close()
    }
    try {
      request(done)
    } catch (cause) {
      // ssh2 throws when its stream can no longer be written
      settle(Effect.fail(new ConnectionLost({ detail: String(cause) })))
    }
    return Effect.sync(stop)
  })

/** Up to how many bytes are taken from ssh2 before somebody asks for them. */
const readAhead = 65_536

const joined = (size: number, chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const all = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

type Batch = Arr.NonEmptyReadonlyArray<Uint8Array>

/**
 * What one direction of a channel brought and nobody has taken yet. Nothing is lost when a reader is interrupted: it takes
 * bytes in the moment it goes on with them.
 */
class Inbox {
  private chunks: Array<Uint8Array> = []
  private limit = readAhead
  private ended = false
  private readers = new Set<() => void>()
  private readonly source: Readable
  /** How many bytes wait here. */
  size = 0
  /** What stands in for the end of the bytes. */
  failure: SshErrorReason | undefined

  constructor(source: Readable) {
    this.source = source
    source.on("data", this.onData).on("end", this.onEnd).on("error", () => {})
  }

  private readonly onData = (chunk: Uint8Array) => {
    this.chunks.push(chunk)
    this.size += chunk.length
    if (this.size >= this.limit) this.source.pause()
    this.wake()
  }

  private readonly onEnd = () => {
    this.ended = true
    this.wake()
  }

  private wake(): void {
    const { readers } = this
    if (readers.size === 0) return
    // a reader goes on at once, and may be waiting again before the next one is told
    this.readers = new Set()
    for (const reader of readers) reader()
  }

  /** Whether nothing more will come. What ssh2 still holds comes first, also when the connection is gone. */
  get over(): boolean {
    return this.ended || (this.failure !== undefined && this.source.readableLength === 0)
  }

  /** From now on the end of the bytes is this failure. */
  fail(reason: SshErrorReason): void {
    this.failure = reason
    this.wake()
  }

  /** Takes no more from ssh2; who still reads afterwards is told why there is no more. */
  stop(reason: SshErrorReason): void {
    this.source.off("data", this.onData).pause()
    if (!this.ended) this.failure = reason
    this.onEnd()
  }

  /** Calls back once, when there is more or it is over. Gives the way to stop. */
  next(reader: () => void): () => void {
    this.readers.add(reader)
    return () => void this.readers.delete(reader)
  }

  /** Holds up to so many bytes for a reader that wants all of them at once. */
  hold(limit: number): void {
    this.limit = limit
    this.source.resume()
  }

  take(): ReadonlyArray<Uint8Array> {
    const { chunks } = this
    this.chunks = []
    if (this.size >= this.limit) this.source.resume()
    this.size = 0
    return chunks
  }

  takeJoined(): Uint8Array {
    return joined(this.size, this.take())
  }

  readonly pull: Pull.Pull<Batch, SshErrorReason> = Effect.suspend(() => {
    const batch = this.take()
    if (Arr.isReadonlyArrayNonEmpty(batch)) return Effect.succeed(batch)
    if (this.over) return this.failure === undefined ? Cause.done() : Effect.fail(this.failure)
    return Effect.callback<Batch, SshErrorReason | Cause.Done>((resume) =>
      Effect.sync(this.next(() => resume(this.pull)))
    )
  })
}

/** All that two inboxes bring until their ends, in one wait instead of a fibre and a stream for each. */
const collect = (
  stdout: Inbox,
  stderr: Inbox,
  maxSize: number
): Effect.Effect<readonly [stdout: Uint8Array, stderr: Uint8Array], SshErrorReason> =>
  Effect.callback((resume) => {
    let stops: ReadonlyArray<() => void> = []
    const stop = () => {
      for (const stop of stops) stop()
    }
    const look = () => {
      stop()
      if (stdout.size + stderr.size > maxSize) return resume(Effect.fail(new OutputTooLarge({ maxSize })))
      if (!stdout.over || !stderr.over) {
        stops = [stdout.next(look), stderr.next(look)]
        return
      }
      const failure = stdout.failure ?? stderr.failure
      resume(failure === undefined ? Effect.succeed([stdout.takeJoined(), stderr.takeJoined()]) : Effect.fail(failure))
    }
    // one byte more than is allowed is enough to know
    stdout.hold(maxSize + 1)
    stderr.hold(maxSize + 1)
    look()
    return Effect.sync(stop)
  })

/** How a command ended. */
export interface Exit {
  readonly exitCode: Option.Option<number>
  readonly signal: Option.Option<string>
}

/** A command's channel as streams, a sink and an exit. */
export interface Process {
  readonly stdin: Sink.Sink<void, Uint8Array, never, SshErrorReason>
  readonly stdout: Stream.Stream<Uint8Array, SshErrorReason>
  readonly stderr: Stream.Stream<Uint8Array, SshErrorReason>
  readonly exit: Effect.Effect<Exit, SshErrorReason>
  /** Gives the command all its input at once, and its end. */
  readonly feed: (input: Uint8Array) => Effect.Effect<void>
  /** Waits until the command has ended, with all that it wrote. */
  readonly collect: (
    maxSize: number
  ) => Effect.Effect<{ readonly stdout: Uint8Array; readonly stderr: Uint8Array; readonly exit: Exit }, SshErrorReason>
  /** Closes the channel without waiting for the server, which answers no sooner than the process ends. */
  readonly close: Effect.Effect<void>
}

/**
 * Takes a channel over. ssh2 ends a channel whose connection is gone as if the command had finished, so what counts is
 * what ssh2 knew of the channel in the moment before.
 */
export const process = (connection: Connection, channel: ClientChannel): Process => {
  const stdout = new Inbox(channel)
  const stderr = new Inbox(channel.stderr)
  const exit = Deferred.makeUnsafe<Exit, SshErrorReason>()
  const closed = Deferred.makeUnsafe<void>()

  const forget = connection.onLost((reason) => {
    if (isOpen(channel, "incoming")) {
      stdout.fail(reason)
      stderr.fail(reason)
    }
    Deferred.doneUnsafe(exit, Effect.fail(reason))
    Deferred.doneUnsafe(closed, Effect.void)
  })
  const ended = (code?: number | null, signal?: string) =>
    Deferred.doneUnsafe(
      exit,
      Effect.succeed({ exitCode: Option.fromNullishOr(code), signal: Option.fromNullishOr(signal) })
    )
  channel.on("exit", ended).on("close", (code?: number | null, signal?: string) => {
    // servers need not say how a command ended (RFC 4254, section 6.10)
    ended(code, signal)
    Deferred.doneUnsafe(closed, Effect.void)
    forget()
  })

  /** ssh2 never calls back for what is written to a channel that the server has closed. */
  const writable = () => isOpen(channel, "outgoing") && channel.writable

  const drained = Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    channel.once("drain", done)
    return Effect.sync(() => void channel.off("drain", done))
  })

  const write = (chunks: Batch): Effect.Effect<void, Cause.Done> =>
    Effect.suspend(() => {
      let full = false
      for (const chunk of chunks) {
        if (!writable()) return Cause.done()
        full = !channel.write(chunk)
      }
      return full ? drained : Effect.void
    })

  const endInput = Effect.sync((): Sink.End<void> => {
    if (writable()) channel.end()
    return [undefined]
  })

  const gone = Effect.flatMap(Deferred.await(closed), () => {
    const lost = connection.lost()
    return lost === undefined ? endInput : Effect.fail(lost)
  })

  return {
    stdin: Sink.fromTransform((upstream: Pull.Pull<Batch>) =>
      upstream.pipe(
        Effect.flatMap(write),
        Effect.forever({ disableYield: true }),
        Pull.catchDone(() => endInput),
        Effect.raceFirst(gone)
      )
    ),
    stdout: Stream.fromPull(Effect.succeed(stdout.pull)),
    stderr: Stream.fromPull(Effect.succeed(stderr.pull)),
    exit: Deferred.await(exit),
    feed: (input) =>
      Effect.sync(() => {
        if (writable()) channel.end(input)
      }),
    collect: (maxSize) =>
      Effect.zipWith(
        collect(stdout, stderr, maxSize),
        Deferred.await(exit),
        ([stdout, stderr], exit) => ({ stdout, stderr, exit })
      ),
    close: Effect.sync(() => {
      forget()
      const reason = new ConnectionLost({ detail: "the scope of the command was closed" })
      stdout.stop(reason)
      stderr.stop(reason)
      Deferred.doneUnsafe(exit, Effect.fail(reason))
      Deferred.doneUnsafe(closed, Effect.void)
      channel.close()
    })
  }
}
