import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { ClientChannel } from "ssh2"
import { ConnectionLost, OutputTooLarge, type SshErrorReason } from "../../../errors/SshError.ts"
import type { Connection } from "../connection.ts"
import { isOpen } from "../protocol.ts"
import { type Batch, Inbox } from "./inbox.ts"

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
