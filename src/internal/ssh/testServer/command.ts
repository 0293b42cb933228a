import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Duplex } from "node:stream"
import type { Ending } from "./model.ts"

/** How large a terminal is, in characters. */
export interface WindowSize {
  readonly columns: number
  readonly rows: number
}

/** A terminal that the client has asked for. */
export interface Terminal extends WindowSize {
  /** What it is (`TERM`), such as `xterm`. */
  readonly term: string
}

/** What a client asks to be run. */
export interface CommandRequest {
  /** A command, a login shell or a subsystem. */
  readonly kind: "exec" | "shell" | "subsystem"
  /** The command line, or the name of the subsystem; empty for a shell. */
  readonly command: string
  /** Who is logged in. */
  readonly user: string
  /** The environment variables that the client has sent, on top of those of the server. */
  readonly env: Readonly<Record<string, string>>
  /** The terminal, as it was asked for. */
  readonly terminal: Option.Option<Terminal>
}

/** A command that is running. */
export interface Command extends CommandRequest {
  /** What the client sends, up to the end of its input. It reads no further ahead than a channel's window. */
  readonly stdin: Stream.Stream<Uint8Array>
  /** Writes to the output; done when the client's window has taken it. */
  readonly stdout: (output: Uint8Array | string) => Effect.Effect<void>
  /** Writes to the error output, which is the output where there is a terminal. */
  readonly stderr: (output: Uint8Array | string) => Effect.Effect<void>
  /** The signals that the client sends (`TERM`, ...), from the moment that it runs. They then end nothing by themselves. */
  readonly signals: Stream.Stream<string>
  /** How large the terminal is now; zero by zero where there is none. */
  readonly windowSize: Effect.Effect<WindowSize>
  /** How large the terminal has become, each time that the client says so. */
  readonly windowChanges: Stream.Stream<WindowSize>
}

/** What a command comes to. */
export interface CommandOutcome {
  /** What it writes before it ends. Default: nothing. */
  readonly stdout?: Uint8Array | string | undefined
  /** What it writes to its error output. Default: nothing. */
  readonly stderr?: Uint8Array | string | undefined
  /** Its exit code; `null` ends it without a word of it, as some servers do. Default 0. */
  readonly code?: number | null | undefined
}

/** A command that a signal ends. */
export interface CommandKilled {
  /** Without `SIG`. */
  readonly signal: Signal
  /** Whether it left a core dump. Default false. */
  readonly coreDumped?: boolean | undefined
  /** What the server says about it. Default: nothing. */
  readonly description?: string | undefined
}

/** The signals that an exit status can name (RFC 4254, section 6.10). */
const signals = [
  "ABRT",
  "ALRM",
  "FPE",
  "HUP",
  "ILL",
  "INT",
  "KILL",
  "PIPE",
  "QUIT",
  "SEGV",
  "TERM",
  "USR1",
  "USR2"
] as const

export type Signal = typeof signals[number]

export const isSignal = (name: string): name is Signal => signals.some((signal) => signal === name)

/** How a command says what it came to: an exit code, its output, both, or the signal that ended it; nothing is exit code 0. */
export type CommandAnswer = number | string | Uint8Array | CommandOutcome | CommandKilled | void

/** What a command reads and writes, whatever carries it. */
export interface CommandStream extends Duplex {
  /** Writes to one of the two outputs, no faster than the client takes it. What comes too late for the client is dropped. */
  readonly output: (bytes: Uint8Array, isError: boolean) => Effect.Effect<void>
  /** Says how the command ended, once all that it wrote is on its way, and closes the channel. */
  readonly finish: (ending: Ending) => Effect.Effect<void>
}

/** Runs a command. */
export type CommandHandler = (command: Command, stream: CommandStream) => Effect.Effect<CommandAnswer, unknown>

/** What became of a command: it goes on, its client or its server has broken it off, or it has ended. */
export type CommandStatus =
  | { readonly _tag: "Running" }
  | { readonly _tag: "Interrupted" }
  | { readonly _tag: "Exited"; readonly code: number | null }
  | { readonly _tag: "Killed"; readonly signal: string }

const bytesOf = (output: Uint8Array | string) => typeof output === "string" ? Buffer.from(output) : output

/** What a process has if its program cannot be told what went wrong. */
const failedCode = 255

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}

/** The end that an answer means, and what is written before. */
const understand = (answer: CommandAnswer): { readonly outcome: CommandOutcome; readonly ending: Ending } => {
  if (answer === undefined || answer === null) return { outcome: {}, ending: { code: 0 } }
  if (typeof answer === "number") return { outcome: {}, ending: { code: answer } }
  if (typeof answer === "string" || answer instanceof Uint8Array) {
    return { outcome: { stdout: answer }, ending: { code: 0 } }
  }
  if ("signal" in answer) {
    const { coreDumped = false, description = "", signal } = answer
    return { outcome: {}, ending: { signal, coreDumped, description } }
  }
  const { code = 0 } = answer
  return { outcome: answer, ending: code === null ? undefined : { code } }
}

const statusOf = (ending: Ending): CommandStatus =>
  ending === undefined
    ? { _tag: "Exited", code: null }
    : "code" in ending
    ? { _tag: "Exited", code: ending.code }
    : { _tag: "Killed", signal: ending.signal }

/** What comes from the client. A client that is gone has not ended its input: whoever reads is interrupted soon. */
const inputOf = (stream: CommandStream): Stream.Stream<Uint8Array> =>
  Stream.fromPull(Effect.succeed(Effect.callback((resume) => {
    const look = () => {
      const bytes: Buffer | null = stream.read()
      if (bytes !== null) settle(Effect.succeed([bytes]))
      else if (stream.readableEnded) settle(Cause.done())
    }
    const settle: typeof resume = (effect) => {
      stop()
      resume(effect)
    }
    const stop = () => void stream.off("readable", look).off("end", look)
    stream.on("readable", look).on("end", look)
    look()
    return Effect.sync(stop)
  })))

/** A command and those who tell it of signals and sizes. */
export class Running {
  readonly request: CommandRequest
  status: CommandStatus = { _tag: "Running" }
  private readonly stream: CommandStream
  private readonly signals: Queue.Queue<string>
  private readonly sizes: Queue.Queue<WindowSize>
  private readonly killed = Deferred.makeUnsafe<CommandKilled>()
  private size: WindowSize
  private takesSignals = false

  private constructor(
    request: CommandRequest,
    size: WindowSize,
    stream: CommandStream,
    signals: Queue.Queue<string>,
    sizes: Queue.Queue<WindowSize>
  ) {
    this.request = request
    this.size = size
    this.stream = stream
    this.signals = signals
    this.sizes = sizes
  }

  static readonly make = Effect.fnUntraced(
    function*(request: CommandRequest, size: WindowSize, stream: CommandStream) {
      return new Running(request, size, stream, yield* Queue.unbounded<string>(), yield* Queue.unbounded<WindowSize>())
    }
  )

  /** What is known of it now. */
  get record(): CommandRequest & { readonly status: CommandStatus } {
    return { ...this.request, status: this.status }
  }

  /** Runs it and says how it ended. */
  run(handler: CommandHandler): Effect.Effect<void> {
    const answer = Effect.suspend(() => handler(this.command, this.stream))
    return Effect.exit(Effect.raceFirst(answer, Deferred.await(this.killed))).pipe(
      Effect.flatMap((exit) => this.end(exit)),
      Effect.onInterrupt(() =>
        Effect.sync(() => {
          if (this.status._tag === "Running") this.status = { _tag: "Interrupted" }
          this.stream.destroy()
        })
      )
    )
  }

  /** The client sends a signal. Those that nobody takes end the command, except for what would not end a process either. */
  signal(name: string): void {
    if (this.takesSignals) Queue.offerUnsafe(this.signals, name)
    else if (isSignal(name)) Deferred.doneUnsafe(this.killed, Effect.succeed({ signal: name }))
  }

  resize(size: WindowSize): void {
    this.size = size
    Queue.offerUnsafe(this.sizes, size)
  }

  private write(output: Uint8Array | string, isError: boolean): Effect.Effect<void> {
    return this.stream.output(bytesOf(output), isError && this.request.terminal._tag === "None")
  }

  private get command(): Command {
    return {
      ...this.request,
      stdin: inputOf(this.stream),
      stdout: (output) => this.write(output, false),
      stderr: (output) => this.write(output, true),
      signals: Stream.unwrap(Effect.sync(() => {
        this.takesSignals = true
        return Stream.fromQueue(this.signals)
      })),
      windowSize: Effect.sync(() => this.size),
      windowChanges: Stream.fromQueue(this.sizes)
    }
  }

  private end(exit: Exit.Exit<CommandAnswer, unknown>): Effect.Effect<void> {
    const answer: CommandAnswer = Exit.isSuccess(exit)
      ? exit.value
      : Cause.hasInterruptsOnly(exit.cause)
      ? { signal: "TERM" }
      : { stderr: `${messageOf(exit.cause)}\n`, code: failedCode }
    const { ending, outcome } = understand(answer)
    const wrote = Effect.andThen(
      outcome.stdout === undefined ? Effect.void : this.write(outcome.stdout, false),
      outcome.stderr === undefined ? Effect.void : this.write(outcome.stderr, true)
    )
    return Effect.andThen(
      wrote,
      Effect.suspend(() => {
        this.status = statusOf(ending)
        return this.stream.finish(ending)
      })
    )
  }
}
