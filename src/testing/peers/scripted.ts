/**
 * A peer that goes through a script: it expects bytes, and replies.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import { escaped, excerpt } from "../../internal/bytes/escaped.ts"
import { expectation, type Expected } from "../../internal/bytes/expectation.ts"
import { reset as resetStream } from "../../internal/net/relay.ts"
import * as Connection from "../../services/Connection.ts"
import type { Listener } from "../../services/Listener.ts"
import * as Peer from "./peer.ts"
import type { Answer, ExpectOptions, Step } from "./script.ts"

/**
 * What a scripted peer goes through with its clients.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedOptions<R = never> extends Peer.PeerOptions {
  /**
   * What is done on each connection, step by step; or a list of such scripts, the first for the first connection and so on, and
   * then no further connection may come.
   */
  readonly script: ReadonlyArray<Step<R>> | ReadonlyArray<ReadonlyArray<Step<R>>>
  /** After how many connections that went through the script it is `done`. Default 1; with a list of scripts: all of them. */
  readonly connections?: number | undefined
  /** How long a step may wait for the client. Default: for as long as it takes. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Something that happened between a scripted peer and its client, in the peer's order: each step makes one entry.
 *
 * - `Received`: what a step expected and got, what it got instead, or what came after the script, in the pieces it came in.
 * - `Sent`: a reply.
 * - `PeerEnded`, `PeerReset`: the client ended its side, or the connection broke.
 * - `Ended`, `Reset`: the script did.
 *
 * @category models
 * @since 0.1.0
 */
export type TranscriptEntry =
  | { readonly connection: number; readonly _tag: "Received" | "Sent"; readonly bytes: Uint8Array }
  | { readonly connection: number; readonly _tag: "PeerEnded" | "PeerReset" | "Ended" | "Reset" }

/**
 * A client did not do what the script expects: `detail` says what it did, at which `step` (counted from 1; 0 is the connection
 * itself) of which `connection` (counted from 1). `expected` and `received` are readable: text in quotes, with escapes, and
 * cut where it is long.
 *
 * @category errors
 * @since 0.1.0
 */
export class ScriptError extends Schema.TaggedError<ScriptError>("hawser/testing/ScriptError")("ScriptError", {
  connection: Schema.Int,
  step: Schema.Int,
  expected: Schema.String,
  received: Schema.String,
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message(): string {
    const where = this.step === 0 ? `connection ${this.connection}` : `connection ${this.connection}, step ${this.step}`
    return `${where}: expected ${this.expected}, but ${this.detail}`
  }
}

/**
 * A scripted peer that is running.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedPeer extends Peer.Peer {
  /**
   * Waits until the script is done, on as many connections as it is for. Fails with the first `ScriptError`, and with one that
   * says where it stood when the peer is closed before.
   */
  readonly done: Effect.Effect<void, ScriptError>
  /** What has happened until now, over all connections. */
  readonly transcript: Effect.Effect<ReadonlyArray<TranscriptEntry>>
  /** The same as text, a line for each entry, such as `#1 received "PING\r\n"`. */
  readonly asString: Effect.Effect<string>
}

/** What is wrong at a step. */
type Failure = Omit<ConstructorParameters<typeof ScriptError>[0], "connection" | "step">

const words = {
  Received: "received",
  Sent: "sent",
  PeerEnded: "peer ended",
  PeerReset: "peer reset",
  Ended: "ended",
  Reset: "reset"
}

const lineOf = (entry: TranscriptEntry) =>
  `#${entry.connection} ${words[entry._tag]}${"bytes" in entry ? ` ${escaped(entry.bytes)}` : ""}`

const describe = (expected: Expected, at?: number): string =>
  typeof expected === "function"
    ? expected.name === "" ? "what a predicate accepts" : expected.name
    : expected instanceof RegExp
    ? String(expected)
    : excerpt(typeof expected === "string" ? Buffer.from(expected) : expected, at)

const nothing = new Uint8Array()

/** What a script has to do with on one connection. */
class Player<R> {
  private connection: Connection.Connection
  private request: Uint8Array = nothing
  private isOver = false
  private readonly stream: Duplex
  private readonly note: (entry: TranscriptEntry) => void
  private readonly number: number
  private readonly timeout: Duration.Input | undefined

  constructor(options: {
    readonly connection: Connection.Connection
    readonly stream: Duplex
    readonly number: number
    readonly timeout: Duration.Input | undefined
    readonly note: (entry: TranscriptEntry) => void
  }) {
    this.connection = options.connection
    this.stream = options.stream
    this.number = options.number
    this.timeout = options.timeout
    this.note = options.note
  }

  play(step: Step<R>): Effect.Effect<void, Failure, R> {
    switch (step._tag) {
      case "Expect":
        return this.expect(step.expected, step.options)
      case "ExpectEnd":
        return this.expectEnd
      case "Reply":
        return this.reply(step.answer)
      case "End":
        return Effect.andThen(this.connection.closeWrite, Effect.sync(() => this.happened("Ended"))).pipe(
          Effect.mapError((error) => this.broken("to end its side", nothing, error))
        )
      case "Reset":
        return Effect.sync(() => {
          resetStream(this.stream)
          this.happened("Reset")
        })
      default:
        return Effect.matchEffect(Effect.suspend(() => step.body(this.connection)), {
          onSuccess: (result) =>
            Effect.sync(() => {
              if (Connection.isConnection(result)) this.connection = result
            }),
          onFailure: (cause) =>
            Effect.fail({
              expected: "what it runs to succeed",
              received: "",
              detail: `it failed: ${String(cause)}`,
              cause
            })
        })
    }
  }

  /** Takes what still comes, once the script is done. */
  get rest(): Effect.Effect<void> {
    if (this.stream.destroyed) return Effect.void
    const read = Effect.andThen(this.connection.read(), (bytes) => Effect.sync(() => this.received(bytes)))
    return Effect.catch(Effect.forever(read), (error) => Effect.sync(() => this.over(error)))
  }

  private received(bytes: Uint8Array) {
    if (bytes.length > 0) this.note({ connection: this.number, _tag: "Received", bytes: Uint8Array.from(bytes) })
  }

  private happened(_tag: "PeerEnded" | "PeerReset" | "Ended" | "Reset") {
    this.note({ connection: this.number, _tag })
  }

  /** The client sends no more. */
  private over(error: TcpError) {
    if (this.isOver) return
    this.isOver = true
    const { _tag } = error.reason
    if (_tag === "EndOfStream") this.happened("PeerEnded")
    else if (_tag === "Reset") this.happened("PeerReset")
  }

  private broken(expected: string, received: Uint8Array, cause: TcpError): Failure {
    this.received(received)
    this.over(cause)
    const after = received.length === 0 ? "" : ` after ${excerpt(received, received.length)}`
    const detail = cause.reason._tag === "EndOfStream"
      ? `the client ended its side${after}`
      : `${cause.message}${after}`
    return { expected, received: excerpt(received, received.length), detail, cause }
  }

  private within<A>(
    effect: Effect.Effect<A, Failure>,
    late: (after: string) => Failure
  ): Effect.Effect<A, Failure> {
    if (this.timeout === undefined) return effect
    const duration = Duration.fromInputUnsafe(this.timeout)
    return Effect.timeoutOrElse(effect, {
      duration,
      orElse: () => Effect.failSync(() => late(Duration.format(duration)))
    })
  }

  private expect(expected: Expected, options: ExpectOptions): Effect.Effect<void, Failure> {
    const limit = options.maxSize ?? 64 * 1024
    const look = expectation(expected, limit)
    const name = (at?: number) => options.description ?? describe(expected, at)
    let came: Uint8Array = nothing

    /** Whether it is there, with the bytes that came last. */
    const judge = Effect.fnUntraced({ self: this }, function*(bytes: Uint8Array) {
      const verdict = look(bytes)
      const before = came.length
      came = Buffer.concat([came, bytes])
      if (verdict === undefined) return false
      if (verdict._tag === "Complete") {
        yield* this.connection.unread(bytes.subarray(verdict.used))
        this.request = came.subarray(0, before + verdict.used)
        this.received(this.request)
        return true
      }
      this.received(came)
      const received = excerpt(came, verdict.at)
      const why = typeof expected === "function" || expected instanceof RegExp
        ? `it is not in the first ${limit} bytes: ${received}`
        : `${received} came, and byte ${verdict.at + 1} is another one`
      return yield* Effect.fail<Failure>({ expected: name(verdict.at), received, detail: why })
    })
    const read = Effect.mapError(this.connection.read(), (error) => this.broken(name(), came, error))
    const reading = Effect.gen(function*() {
      for (let there = yield* judge(nothing); !there;) there = yield* judge(yield* read)
    })
    return this.within(reading, (after) => {
      this.received(came)
      const detail = came.length === 0 ? "nothing came" : `only ${excerpt(came, came.length)} came`
      return { expected: name(), received: excerpt(came, came.length), detail: `${detail} within ${after}` }
    })
  }

  private get expectEnd(): Effect.Effect<void, Failure> {
    const expected = "the end"
    const reading = Effect.matchEffect(this.connection.read(), {
      onSuccess: (bytes) =>
        Effect.suspend(() => {
          this.received(bytes)
          const received = excerpt(bytes)
          return Effect.fail<Failure>({ expected, received, detail: `${received} came` })
        }),
      onFailure: (error) =>
        error.reason._tag === "EndOfStream"
          ? Effect.sync(() => this.over(error))
          : Effect.failSync(() => this.broken(expected, nothing, error))
    })
    return this.within(reading, (after) => ({
      expected,
      received: "",
      detail: `nothing came within ${after}`
    }))
  }

  private reply(answer: Answer | ((request: Uint8Array) => Answer)): Effect.Effect<void, Failure> {
    return Effect.suspend(() => {
      const given = typeof answer === "function" ? answer(this.request) : answer
      const bytes = typeof given === "string" ? Buffer.from(given) : given
      return Effect.andThen(
        Effect.mapError(this.connection.write(bytes), (error) => this.broken("to send its reply", nothing, error)),
        Effect.sync(() => this.note({ connection: this.number, _tag: "Sent", bytes: Uint8Array.from(bytes) }))
      )
    })
  }
}

const isList = <R>(script: ScriptedOptions<R>["script"]): script is ReadonlyArray<ReadonlyArray<Step<R>>> =>
  Array.isArray(script[0])

/**
 * Goes through a script with each client, for as long as the scope lives. `done` says how it went: a test joins it at its end.
 *
 * **Details**
 *
 * - A client that does something else than the script expects is a `ScriptError`, and its connection is reset, so that it
 *   does not wait for an answer.
 * - A connection stays open after its script until the client ends its side; what comes then is in the transcript and makes
 *   no difference. Put `expectEnd` last where nothing more may come.
 *
 * Errors: as `Listener.bind`, and `TlsConfigError` where `tls` makes no sense.
 *
 * **Example** (A server that is busy at first)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TcpClient } from "hawser"
 * import { TestPeers } from "hawser/testing"
 *
 * const { expect, expectEnd, reply, reset } = TestPeers
 *
 * const test = Effect.scoped(Effect.gen(function*() {
 *   const tcp = yield* TcpClient.TcpClient
 *   const server = yield* TestPeers.scripted({
 *     script: [[expect("PING\r\n"), reset], [expect("PING\r\n"), reply("PONG\r\n"), expectEnd]]
 *   })
 *   const answer = yield* tcp.requestString(server.address, "PING\r\n").pipe(Effect.retry({ times: 1 }))
 *   yield* server.done
 *   return answer
 * }))
 * ```
 *
 * @category peers
 * @since 0.1.0
 */
export const scripted: <R = never>(
  options: ScriptedOptions<R>
) => Effect.Effect<
  ScriptedPeer,
  TcpError | TlsConfigError,
  Listener | Scope.Scope | Exclude<R, Scope.Scope>
> = Effect.fn("TestPeers.scripted")(function*<R>(options: ScriptedOptions<R>) {
  const { script } = options
  const scriptOf = (connection: number) => isList(script) ? script[connection - 1] : script
  const done = yield* Deferred.make<void, ScriptError>()
  const transcript: Array<TranscriptEntry> = []
  const note = (entry: TranscriptEntry) => void transcript.push(entry)
  let missing = isList(script) ? script.length : options.connections ?? 1
  let at = { connection: 1, step: 0 }
  yield* Effect.addFinalizer(() =>
    Deferred.fail(
      done,
      new ScriptError({
        ...at,
        expected: at.step === 0 ? "a connection" : "the script to be done",
        received: "",
        detail: "the peer was closed before"
      })
    )
  )

  const playAll = Effect.fnUntraced(function*(stream: Duplex, number: number) {
    const steps = scriptOf(number)
    if (steps === undefined) {
      const expected = "no further connection"
      return yield* new ScriptError({ connection: number, step: 0, expected, received: "", detail: "one came" })
    }
    const connection = yield* Connection.fromDuplex(stream, { role: "accepted" })
    const player = new Player<R>({ connection, stream, number, timeout: options.timeout, note })
    for (const [index, step] of steps.entries()) {
      const here = at = { connection: number, step: index + 1 }
      yield* Effect.mapError(player.play(step), (failure) => new ScriptError({ ...here, ...failure }))
    }
    if (--missing === 0) yield* Deferred.succeed(done, undefined)
    return yield* player.rest
  })

  const peer = yield* Peer.start(options, (stream, number) =>
    Effect.onError(playAll(stream, number), (cause) =>
      // an interruption is the end of the peer, of which `done` hears more when all connections have ended
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.andThen(Deferred.failCause(done, cause), Effect.sync(() => resetStream(stream)))))
  const running: ScriptedPeer = {
    ...peer,
    done: Deferred.await(done),
    transcript: Effect.sync(() => [...transcript]),
    asString: Effect.sync(() => transcript.map(lineOf).join("\n"))
  }
  return running
})
