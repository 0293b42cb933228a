/**
 * Programs on another machine: commands, shells and subsystems, each on a channel of an SSH session.
 *
 * `SshSession.execute` runs a command to its end and gives what it wrote; `exec` starts one whose input and outputs are
 * streams; `shell` starts a terminal to talk with as an `expect` script does; `subsystem` opens what a server offers by name.
 *
 * **Details**
 *
 * - A program's output is read as fast as somebody takes it: what nobody reads fills a window of some MiB, and then the program
 *   waits in its own write. Output and error output share the window.
 * - Servers allow so many of them at a time on one connection (`MaxSessions`, 10 in OpenSSH). One more waits until another one
 *   has ended.
 * - `exit` is there when the program has ended, `closed` when nobody holds its outputs any more: a child that it left in the
 *   background keeps the channel open.
 * - When the connection is lost, everything fails at once with `ConnectionLost`: output that was cut short never looks like
 *   output that ended.
 *
 * **Gotchas**
 *
 * - Closing a channel does not end the program: most servers only close its input and output, which it may not notice. Give
 *   `killSignal`, end it yourself, or give it a terminal (`pty`), whose end it is told of (`SIGHUP`).
 * - OpenSSH passes no signals on to programs of root.
 * - A program that fills its error output while nobody reads that stops on the other one as well. Read both (`execute` does),
 *   or redirect one in the command.
 *
 * **Example** (Talking to a program that asks)
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { SshSession } from "hawser"
 *
 * const changeShell = Effect.fn(function*(session: SshSession.SshSession, shell: string) {
 *   const { connection, exit } = yield* session.shell({ term: "dumb" })
 *   yield* connection.write("chsh; exit\n")
 *   yield* connection.readUntil("Login Shell")
 *   yield* connection.write(`${shell}\n`)
 *   return yield* exit
 * }, Effect.scoped)
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { CommandTimeout, SshError, type SshErrorReason, Unknown } from "../errors/SshError.ts"
import { close } from "../internal/net/duplex.ts"
import { traced } from "../internal/observe.ts"
import * as Duplex from "../internal/ssh/channel/duplex.ts"
import { openSession } from "../internal/ssh/channel/open.ts"
import { Process } from "../internal/ssh/channel/process.ts"
import type { Connection as SshConnection } from "../internal/ssh/connection.ts"
import * as Connection from "./Connection.ts"

/**
 * How a program ended: its exit code, or the signal that ended it (`SIGTERM`, ...). Both are none where the server did not
 * say.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExitStatus {
  readonly exitCode: Option.Option<number>
  readonly signal: Option.Option<string>
  /** Whether the signal left a core dump. */
  readonly coreDumped: boolean
  /** What the server says about the signal, often nothing. */
  readonly description: string
}

/**
 * What a command gave back.
 *
 * @category models
 * @since 0.1.0
 */
export class CommandResult implements ExitStatus {
  /** What it wrote to its output. */
  readonly stdout: Uint8Array
  /** What it wrote to its error output. */
  readonly stderr: Uint8Array
  readonly exitCode: Option.Option<number>
  readonly signal: Option.Option<string>
  readonly coreDumped: boolean
  readonly description: string

  constructor(stdout: Uint8Array, stderr: Uint8Array, exit: ExitStatus) {
    this.stdout = stdout
    this.stderr = stderr
    this.exitCode = exit.exitCode
    this.signal = exit.signal
    this.coreDumped = exit.coreDumped
    this.description = exit.description
  }

  /** Whether it ended with exit code 0. */
  get succeeded(): boolean {
    return Option.contains(this.exitCode, 0)
  }

  /** Its output as UTF-8 text. */
  get text(): string {
    return new TextDecoder().decode(this.stdout)
  }

  /** Its error output as UTF-8 text. */
  get errorText(): string {
    return new TextDecoder().decode(this.stderr)
  }
}

/**
 * The signals that can be sent (RFC 4254, section 6.10).
 *
 * @category models
 * @since 0.1.0
 */
export type Signal =
  | "ABRT"
  | "ALRM"
  | "FPE"
  | "HUP"
  | "ILL"
  | "INT"
  | "KILL"
  | "PIPE"
  | "QUIT"
  | "SEGV"
  | "TERM"
  | "USR1"
  | "USR2"

/**
 * A terminal that a program is given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terminal {
  /** What it is (`TERM`): what the program may send to it. Default `"xterm"`. */
  readonly term?: string | undefined
  /** How many characters are in a line. Default 80. */
  readonly columns?: number | undefined
  /** How many lines it has. Default 24. */
  readonly rows?: number | undefined
  /** Modes by the names of RFC 4254, section 8: `{ ECHO: 0 }` does not repeat the input. Default: those of the server. */
  readonly modes?: Readonly<Record<string, number>> | undefined
}

/**
 * Settings of a program.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecOptions {
  /**
   * Environment variables to ask for, besides those of the session's settings. Servers ignore, without a word, those that
   * they do not allow (`AcceptEnv`).
   */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** A terminal for it, `true` for one with the defaults. Its error output then comes with its output. Default none. */
  readonly pty?: boolean | Terminal | undefined
  /** What to send to it when its scope ends before it does. Default: nothing; its channel is closed, which it may survive. */
  readonly killSignal?: Signal | undefined
}

/**
 * Settings of a command that is waited for.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecuteOptions<E = never, R = never> extends ExecOptions {
  /** What the command reads: text (as UTF-8), bytes, or a stream of bytes. Default: nothing, its input ends at once. */
  readonly stdin?: string | Uint8Array | Stream.Stream<Uint8Array, E, R> | undefined
  /** How long it may take in all, with the wait for its turn. Default: for ever. */
  readonly timeout?: Duration.Input | undefined
  /** How many bytes it may write to its output and error output together. `Infinity` is no limit. Default 16 MiB. */
  readonly maxOutput?: number | undefined
  /**
   * When it is done: once it has ended and nobody holds its outputs any more (`"close"`), or as soon as it has ended
   * (`"exit"`), which does not wait for what it left in the background, nor for the last it wrote. Default `"close"`.
   */
  readonly until?: "close" | "exit" | undefined
}

/**
 * A command that is running.
 *
 * **Details**
 *
 * Each of the streams can be run again where it was left: bytes that nobody has taken are still there. `stdin` ends when
 * the stream that feeds it ends, which ends the command's input, or when the command stops taking input.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshProcess {
  /** What the command reads. */
  readonly stdin: Sink.Sink<void, Uint8Array, never, SshError>
  /** What it writes to its output. */
  readonly stdout: Stream.Stream<Uint8Array, SshError>
  /** What it writes to its error output. */
  readonly stderr: Stream.Stream<Uint8Array, SshError>
  /** Waits until it has ended. What it wrote may not have been read by then. */
  readonly exit: Effect.Effect<ExitStatus, SshError>
  /** The same, and until nobody holds its outputs any more. */
  readonly closed: Effect.Effect<ExitStatus, SshError>
  /**
   * Sends it a signal, also after its input has ended. Whether it arrived is not known: servers do not answer, and OpenSSH
   * refuses it for programs of root.
   */
  readonly signal: (signal: Signal) => Effect.Effect<void>
  /** Says that its terminal has another size now, in characters. Does nothing where it has none. */
  readonly resize: (columns: number, rows: number) => Effect.Effect<void>
}

/**
 * A login shell in a terminal of its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshShell {
  /**
   * The terminal: what is typed, and what is shown. Reads are those of every `Connection`, so `readUntil("$ ")` waits for a
   * prompt and `read({ marker, timeout })` for a word; what a read did not take is there for the next one. `closeWrite` ends
   * the input. When the session is lost, reads fail with `Reset`.
   */
  readonly connection: Connection.Connection
  /** Waits until the shell has ended. */
  readonly exit: Effect.Effect<ExitStatus, SshError>
  /** Sends it a signal. To interrupt what runs in it, write `"\x03"` instead, as the keyboard does. */
  readonly signal: (signal: Signal) => Effect.Effect<void>
  /** Says that the terminal has another size now, in characters. */
  readonly resize: (columns: number, rows: number) => Effect.Effect<void>
}

/**
 * Settings of a shell.
 *
 * @category models
 * @since 0.1.0
 */
export interface ShellOptions extends Terminal {
  /** Environment variables to ask for, besides those of the session's settings. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/**
 * A subsystem: a program of the server that is known there by a name and not by a command.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshSubsystem {
  /** Its input and output. What it writes to its error output is dropped. When the session is lost, reads fail with `Reset`. */
  readonly connection: Connection.Connection
  /** Waits until it has ended. */
  readonly exit: Effect.Effect<ExitStatus, SshError>
}

/**
 * What runs programs on a server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Programs {
  /**
   * Runs a command and waits for its end. The login shell of the server interprets the command; Effect's `CommandLine.join`
   * quotes arguments for it. A command that fails is a result, not an error.
   *
   * Errors: `ChannelRefused`, `ConnectionLost`, `CommandTimeout`, `OutputTooLarge`; `Unknown` for a `maxOutput` that is no
   * whole number and for a terminal whose name is not ASCII.
   */
  readonly execute: <E = never, R = never>(
    command: string,
    options?: ExecuteOptions<E, R>
  ) => Effect.Effect<CommandResult, SshError | E, R>
  /**
   * Starts a command. Its channel is closed with the scope. Errors: `ChannelRefused`, `ConnectionLost`; `Unknown` for a
   * terminal whose name is not ASCII.
   */
  readonly exec: (command: string, options?: ExecOptions) => Effect.Effect<SshProcess, SshError, Scope.Scope>
  /** Starts the login shell in a terminal. Its channel is closed with the scope. Errors: those of `exec`. */
  readonly shell: (options?: ShellOptions) => Effect.Effect<SshShell, SshError, Scope.Scope>
  /**
   * Starts a subsystem. Its channel is closed with the scope. Errors: `ChannelRefused` where the server has none of this
   * name, `ConnectionLost`.
   */
  readonly subsystem: (name: string) => Effect.Effect<SshSubsystem, SshError, Scope.Scope>
}

/** What became of a command, for those who count. */
const outcomeOf = (exit: Exit.Exit<CommandResult, unknown>): string => {
  if (Exit.isFailure(exit)) {
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    if (error === undefined) return "interrupted"
    return error instanceof SshError ? error.reason._tag : "input"
  }
  const { exitCode, signal, succeeded } = exit.value
  if (succeeded) return "ok"
  return Option.isSome(signal) ? "killed" : Option.isSome(exitCode) ? "failed" : "unknown"
}

const defaultMaxOutput = 16 * 1024 * 1024

const isSize = (size: number) => size === Infinity || (Number.isInteger(size) && size >= 0)

const ptyOf = ({ columns = 80, modes, rows = 24, term = "xterm" }: Terminal) => ({
  term,
  cols: columns,
  rows,
  // nobody knows the pixels
  width: 0,
  height: 0,
  ...(modes === undefined ? {} : { modes })
})

const isAscii = (text: string) => /^[\x20-\x7e]*$/.test(text)

const wrongWith = (size: number | undefined, terminal: Terminal | undefined): Unknown | undefined => {
  if (size !== undefined && !isSize(size)) {
    return new Unknown({ detail: `maxOutput has to be a whole number or Infinity, not ${size}` })
  }
  return terminal?.term === undefined || isAscii(terminal.term)
    ? undefined
    : new Unknown({ detail: `the name of a terminal has to be ASCII, not ${JSON.stringify(terminal.term)}` })
}

/**
 * Runs programs over a connection. `env` is for every command and shell.
 *
 * @internal
 */
export const make = (
  connection: SshConnection,
  name: string,
  env: Readonly<Record<string, string>> | undefined
): Programs => {
  const failed = (reason: SshErrorReason) => new SshError({ server: name, reason })
  const orFail = Effect.mapError(failed)

  /** Env and terminal as ssh2 wants them. */
  const settings = (options: ExecOptions | undefined) => {
    const all = env === undefined ? options?.env : { ...env, ...options?.env }
    return all === undefined ? {} : { env: all }
  }

  const terminalOf = (options: ExecOptions | undefined): Terminal | undefined =>
    options?.pty === true ? {} : options?.pty === false ? undefined : options?.pty

  const start = (command: string, options: ExecOptions | undefined): Effect.Effect<Process, SshError> => {
    const terminal = terminalOf(options)
    const wrong = wrongWith(undefined, terminal)
    if (wrong !== undefined) return Effect.fail(failed(wrong))
    const request = terminal === undefined ? settings(options) : { ...settings(options), pty: ptyOf(terminal) }
    return orFail(openSession(
      connection,
      (done) => connection.client.exec(command, request, done),
      (channel) => new Process(connection, channel)
    ))
  }

  const run = <E, R>(process: Process, options: ExecuteOptions<E, R> | undefined) => {
    const collected = process.collect(options?.maxOutput ?? defaultMaxOutput, options?.until === "exit")
    const result = Effect.mapBoth(collected, {
      onSuccess: ({ exit, stderr, stdout }) => new CommandResult(stdout, stderr, exit),
      onFailure: failed
    })
    const stdin = options?.stdin ?? ""
    if (Stream.isStream(stdin)) {
      // input that the command does not wait for is no error; input that cannot be had is one
      const input = Stream.run(stdin, Sink.mapError(process.stdin, failed))
      return Effect.raceFirst(result, Effect.andThen(input, Effect.never))
    }
    process.feed(typeof stdin === "string" ? Buffer.from(stdin) : stdin)
    return result
  }

  /** Opens a channel, uses it and closes it, whatever comes of it. */
  const runToEnd = <E, R>(command: string, options: ExecuteOptions<E, R> | undefined) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(
        restore(start(command, options)),
        (process) =>
          Effect.onExit(
            restore(Effect.suspend(() => run(process, options))),
            () => Effect.sync(() => process.close(options?.killSignal))
          )
      )
    )

  const execute: Programs["execute"] = (command, options) => {
    const wrong = wrongWith(options?.maxOutput, undefined)
    if (wrong !== undefined) return Effect.fail(failed(wrong))
    const result = traced("SshSession.execute", () => ({ "server.name": name }))(runToEnd(command, options))
    const counted = (effect: typeof result) =>
      Effect.onExit(effect, (exit) => Effect.sync(() => connection.observer.command(outcomeOf(exit))))
    if (options?.timeout === undefined) return counted(result)
    const after = Duration.fromInputUnsafe(options.timeout)
    return counted(Effect.timeoutOrElse(result, {
      duration: after,
      orElse: () => Effect.fail(failed(new CommandTimeout({ after })))
    }))
  }

  const exec: Programs["exec"] = (command, options) =>
    Effect.acquireRelease(
      start(command, options),
      (process) => Effect.sync(() => process.close(options?.killSignal)),
      { interruptible: true }
    ).pipe(
      Effect.map((process): SshProcess => ({
        stdin: Sink.mapError(process.stdin, failed),
        stdout: Stream.mapError(process.stdout, failed),
        stderr: Stream.mapError(process.stderr, failed),
        exit: orFail(process.exit),
        closed: orFail(process.closed),
        signal: (signal) => Effect.sync(() => process.signal(signal)),
        resize: (columns, rows) => Effect.sync(() => process.resize(columns, rows))
      })),
      traced("SshSession.exec", () => ({ "server.name": name }))
    )

  const connected = (open: Effect.Effect<Duplex.ChannelDuplex, SshErrorReason>) =>
    Effect.gen(function*() {
      const duplex = yield* Effect.acquireRelease(
        orFail(open),
        (duplex, exit) => Effect.ensuring(close(duplex, exit), Effect.sync(() => duplex.release())),
        { interruptible: true }
      )
      return { duplex, connection: yield* Connection.fromDuplex(duplex) }
    })

  return {
    execute,
    exec,
    shell: (options = {}) => {
      const wrong = wrongWith(undefined, options)
      if (wrong !== undefined) return Effect.fail(failed(wrong))
      return Effect.map(
        connected(Duplex.openShell(connection, ptyOf(options), settings(options))),
        ({ connection, duplex }): SshShell => ({
          connection,
          exit: orFail(duplex.exit),
          signal: (signal) => Effect.sync(() => duplex.signal(signal)),
          resize: (columns, rows) => Effect.sync(() => duplex.resize(columns, rows))
        })
      ).pipe(traced("SshSession.shell", () => ({ "server.name": name })))
    },
    subsystem: (subsystem) =>
      Effect.map(
        connected(Duplex.openSubsystem(connection, subsystem)),
        ({ connection, duplex }): SshSubsystem => ({ connection, exit: orFail(duplex.exit) })
      ).pipe(traced("SshSession.subsystem", () => ({ "server.name": name, subsystem })))
  }
}
