import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { SshError, TransferProtocol } from "../../../errors/SshError.ts"

/** Starts a command on the server. */
export type Exec = (command: string) => Effect.Effect<
  {
    readonly stdin: Sink.Sink<void, Uint8Array, never, SshError>
    readonly stdout: Stream.Stream<Uint8Array, SshError>
    readonly stderr: Stream.Stream<Uint8Array, SshError>
  },
  SshError,
  Scope.Scope
>

/** How long a line of the protocol may be: longer than any path. */
const maxLine = 16 * 1024
/** How much of the server's own words an error repeats. */
const maxSaid = 1000

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** The bytes to and from the server's `scp`. */
export interface Wire {
  readonly send: (bytes: Uint8Array | string) => Effect.Effect<void, SshError>
  /** What comes up to the end of the line, without it. */
  readonly line: Effect.Effect<string, SshError>
  /** One byte; undefined when no more will come. */
  readonly byte: Effect.Effect<number | undefined, SshError>
  /** At least one byte and at most so many. */
  readonly bytes: (most: number) => Effect.Effect<Uint8Array, SshError>
  /** The answer to what was sent: undefined when all is well, the server's words when it goes on without. */
  readonly answer: Effect.Effect<string | undefined, SshError>
  /** Has everything sent that was said, and that this is all. */
  readonly end: Effect.Effect<void>
  readonly failure: (detail: string) => SshError
}

/** Starts the server's `scp`, which ends with the scope. */
export const open = Effect.fnUntraced(function*(server: string, exec: Exec, command: string) {
  const process = yield* exec(command)
  const pull = yield* Stream.toPull(process.stdout)
  const outgoing = yield* Queue.bounded<Uint8Array, Cause.Done>(2)
  const sending = yield* Stream.fromQueue(outgoing).pipe(
    Stream.run(process.stdin),
    Effect.ignore,
    Effect.ensuring(Queue.shutdown(outgoing)),
    Effect.forkScoped
  )
  let said = ""
  const listening = yield* process.stderr.pipe(
    Stream.decodeText,
    Stream.runForEach((text) =>
      Effect.sync(() => {
        said = `${said}${text}`.slice(0, maxSaid)
      })
    ),
    Effect.ignore,
    Effect.forkScoped
  )
  const failure = (detail: string) => new SshError({ server, reason: new TransferProtocol({ detail }) })

  let buffer: Uint8Array = new Uint8Array(0)
  /** Whether there is more. */
  const more = pull.pipe(
    Effect.map((chunks) => {
      buffer = Buffer.concat([buffer, ...chunks])
      return true
    }),
    Pull.catchDone(() => Effect.succeed(false))
  )
  const ended = Effect.flatMap(
    Fiber.await(listening),
    () => Effect.fail(failure(said.trim() === "" ? "the server's scp ended before its time" : said.trim()))
  )

  const take = (size: number): Uint8Array => {
    const taken = buffer.subarray(0, size)
    buffer = buffer.subarray(size)
    return taken
  }
  const byte: Wire["byte"] = Effect.suspend(() =>
    buffer.length > 0 ? Effect.succeed(take(1)[0]) : Effect.flatMap(more, (is) => is ? byte : Effect.undefined)
  )
  const line: Wire["line"] = Effect.suspend(() => {
    const end = buffer.indexOf(10)
    if (end >= 0) return Effect.map(Effect.succeed(take(end + 1)), (line) => decoder.decode(line.subarray(0, end)))
    if (buffer.length > maxLine) return Effect.fail(failure(`the server sent a line of more than ${maxLine} bytes`))
    return Effect.flatMap(more, (is) => is ? line : ended)
  })
  const bytes = (most: number): Effect.Effect<Uint8Array, SshError> =>
    Effect.suspend(() =>
      buffer.length > 0 ? Effect.succeed(take(most)) : Effect.flatMap(more, (is) => is ? bytes(most) : ended)
    )

  const wire: Wire = {
    send: (bytes) =>
      Effect.flatMap(
        Queue.offer(outgoing, typeof bytes === "string" ? encoder.encode(bytes) : bytes),
        // it has ended; what it said before is the better reason
        (taken) => taken ? Effect.void : Effect.andThen(Effect.exit(Effect.forever(more)), ended)
      ),
    line,
    byte,
    bytes,
    answer: Effect.flatMap(byte, (code) => {
      if (code === 0) return Effect.undefined
      if (code === 1) return line
      if (code === 2) return Effect.flatMap(line, (words) => Effect.fail(failure(words)))
      if (code === undefined) return ended
      return Effect.flatMap(line, (rest) =>
        Effect.fail(
          failure(`the server does not speak SCP but sent ${JSON.stringify(`${String.fromCharCode(code)}${rest}`)}`)
        ))
    }),
    end: Effect.andThen(Queue.end(outgoing), Fiber.await(sending)),
    failure
  }
  return wire
})
