/**
 * An open connection to an SSH server, on which commands run and through which others dial.
 *
 * Everything a session opens is a channel: many at a time share the one connection, each with a flow control of its own. A
 * channel belongs to the scope it was opened in; the session belongs to the scope it was connected in.
 *
 * **Details**
 *
 * - When the connection is lost, everything on it fails at once with `ConnectionLost`: output that was cut short never
 *   looks like output that ended.
 * - Nothing is sent again or reconnected behind your back: what a command had done is not known. Connect anew.
 *
 * **Gotchas**
 *
 * - Closing a channel does not end the process: most servers only close its input and output, which it may not notice.
 * - `stdout` and `stderr` share one window of 2 MiB: a command that fills the one while nobody reads it stops on the other
 *   as well. Read both (`execute` does), or redirect one in the command.
 *
 * **Example** (Following a log over SSH)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Ssh, SshAuth } from "hawser"
 *
 * const follow = Effect.scoped(Effect.gen(function*() {
 *   const ssh = yield* Ssh.Ssh
 *   const session = yield* ssh.connect({
 *     host: "web-1",
 *     username: "ops",
 *     auth: SshAuth.privateKey({ key: "~/.ssh/id_ed25519" })
 *   })
 *   const process = yield* session.exec("tail -f /var/log/app.log 2>/dev/null")
 *   yield* process.stdout.pipe(
 *     Stream.decodeText,
 *     Stream.splitLines,
 *     Stream.runForEach((line) => Effect.log(line))
 *   )
 * }))
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { CommandTimeout, type ConnectionLost, SshError, type SshErrorReason } from "../errors/SshError.ts"
import * as Ssh2Channel from "../internal/ssh/channel/open.ts"
import * as Ssh2Process from "../internal/ssh/channel/process.ts"
import type { Connection } from "../internal/ssh/connection.ts"
import * as Ssh2Direct from "../internal/ssh/forward/direct.ts"
import type { HostKey } from "../internal/ssh/hostKeys/publicKey.ts"
import type { Dialer } from "./Dialer.ts"
import * as SshForward from "./SshForward.ts"

/**
 * How a command ended: its exit code, or the signal that ended it (`SIGTERM`, ...). Both are none where the server did not
 * say.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExitStatus {
  readonly exitCode: Option.Option<number>
  readonly signal: Option.Option<string>
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

  constructor(stdout: Uint8Array, stderr: Uint8Array, exit: ExitStatus) {
    this.stdout = stdout
    this.stderr = stderr
    this.exitCode = exit.exitCode
    this.signal = exit.signal
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
 * Settings of a command.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecOptions {
  /** Environment variables to ask for. Servers ignore, without a word, those that they do not allow (`AcceptEnv`). */
  readonly env?: Readonly<Record<string, string>> | undefined
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
  /** How long it may take in all. Default: for ever. */
  readonly timeout?: Duration.Input | undefined
  /** How many bytes it may write to its output and error output together. Default 16 MiB. */
  readonly maxOutput?: number | undefined
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
}

/**
 * An open connection to an SSH server.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshSession extends SshForward.SshForwards {
  /** How errors call it: `ssh ops@bastion:22`. */
  readonly name: string
  /** The key by which the server was recognised. */
  readonly hostKey: HostKey
  /**
   * Runs a command and waits for its end. The login shell of the server interprets the command; Effect's `CommandLine.join`
   * quotes arguments for it. A command that fails is a result, not an error.
   *
   * Errors: `ChannelRefused`, `ConnectionLost`, `CommandTimeout`, `OutputTooLarge`.
   */
  readonly execute: <E = never, R = never>(
    command: string,
    options?: ExecuteOptions<E, R>
  ) => Effect.Effect<CommandResult, SshError | E, R>
  /**
   * Starts a command. Its channel is closed with the scope. Errors: `ChannelRefused`, `ConnectionLost`.
   */
  readonly exec: (command: string, options?: ExecOptions) => Effect.Effect<SshProcess, SshError, Scope.Scope>
  /**
   * Dials from the server, as `ssh -W` and `ssh -L` do; unix sockets too where the server is OpenSSH. Names are resolved
   * there. What is dialled ends with an error when the session does.
   */
  readonly dialer: Dialer["Service"]
  /** Waits until the connection is gone, and says why. */
  readonly closed: Effect.Effect<ConnectionLost>
}

const defaultMaxOutput = 16 * 1024 * 1024

/**
 * Makes a session of a connection.
 *
 * @internal
 */
export const make = (connection: Connection, name: string, connectTimeout: Duration.Duration): SshSession => {
  const failed = (reason: SshErrorReason) => new SshError({ server: name, reason })

  const start = (command: string, options: ExecOptions | undefined) =>
    Effect.acquireRelease(
      Ssh2Channel.open(
        connection,
        (done) => connection.client.exec(command, options?.env === undefined ? {} : { env: options.env }, done),
        (channel) => Ssh2Process.process(connection, channel)
      ),
      (process) => process.close,
      { interruptible: true }
    ).pipe(Effect.mapError(failed))

  const run = Effect.fnUntraced(function*<E, R>(command: string, options: ExecuteOptions<E, R> | undefined) {
    const process = yield* start(command, options)
    const result = Effect.mapBoth(process.collect(options?.maxOutput ?? defaultMaxOutput), {
      onSuccess: ({ exit, stderr, stdout }) => new CommandResult(stdout, stderr, exit),
      onFailure: failed
    })
    const stdin = options?.stdin ?? ""
    if (Stream.isStream(stdin)) {
      // input that the command does not wait for is no error; input that cannot be had is one
      const input = Stream.run(stdin, Sink.mapError(process.stdin, failed))
      return yield* Effect.raceFirst(result, Effect.andThen(input, Effect.never))
    }
    yield* process.feed(typeof stdin === "string" ? Buffer.from(stdin) : stdin)
    return yield* result
  })

  const dialer = Ssh2Direct.path(connection, name, connectTimeout)
  const closed = Effect.callback<ConnectionLost>((resume) => {
    const lost = connection.lost()
    if (lost !== undefined) return resume(Effect.succeed(lost))
    return Effect.sync(connection.onLost((reason) => resume(Effect.succeed(reason))))
  })

  return {
    name,
    hostKey: connection.hostKey,
    exec: Effect.fn("SshSession.exec")(function*(command: string, options?: ExecOptions) {
      const { exit, stderr, stdin, stdout } = yield* start(command, options)
      return {
        stdin: Sink.mapError(stdin, failed),
        stdout: Stream.mapError(stdout, failed),
        stderr: Stream.mapError(stderr, failed),
        exit: Effect.mapError(exit, failed)
      }
    }),
    execute: Effect.fn("SshSession.execute")(function*<E, R>(command: string, options?: ExecuteOptions<E, R>) {
      const result = Effect.scoped(run(command, options))
      if (options?.timeout === undefined) return yield* result
      const after = Duration.fromInputUnsafe(options.timeout)
      return yield* Effect.timeoutOrElse(result, {
        duration: after,
        orElse: () => Effect.fail(failed(new CommandTimeout({ after })))
      })
    }),
    dialer,
    closed,
    ...SshForward.make(connection, name, dialer, closed)
  }
}
