/**
 * Effect's `ChildProcessSpawner` on another machine: programs written with `ChildProcess` run over SSH unchanged.
 *
 * **Details**
 *
 * - Programs, arguments, directory and environment reach the other side unchanged, whatever its login shell is; it needs a
 *   POSIX `sh`. A program or a directory that is not there is `NotFound`, as it is here.
 * - Without `env` a program has the environment of a login; `env` alone replaces it, and `extendEnv: true` adds to it. The
 *   environment of this process is not sent.
 * - `kill` ends the whole process group by its number, in a command of its own: also for root, to whom OpenSSH allows no
 *   signals over the channel. A scope that closes sends `killSignal` (default SIGTERM), and SIGKILL where the program has not
 *   ended after `forceKillAfter` (default 2 seconds).
 * - Each part of a pipe is a channel of its own, and what flows between them passes through this process. A pipe inside
 *   `shell: true` stays there.
 * - `"inherit"` connects to Effect's `Stdio`, where the layer can see one.
 *
 * **Gotchas**
 *
 * - Arguments and environment can be seen in the process list of the server, `Redacted` ones too. Pass secrets by `stdin`.
 * - There are three file descriptors; `additionalFds` are `BadArgument`.
 * - Children that a program leaves behind when it ends by itself live on.
 *
 * **Example** (Counting the lines of a remote log)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { ChildProcess } from "effect/process"
 * import { Dialer, SshAuth, SshProcessSpawner } from "hawser"
 *
 * const Remote = SshProcessSpawner.layer({
 *   host: "web-1",
 *   username: "ops",
 *   auth: SshAuth.privateKey({ key: "~/.ssh/id_ed25519" })
 * }).pipe(Layer.provide(Dialer.layer))
 *
 * const program = Effect.gen(function*() {
 *   const handle = yield* ChildProcess.make("wc", ["-l", "access log"], { cwd: "/var/log" })
 *   return yield* handle.exitCode
 * }).pipe(Effect.scoped, Effect.provide(Remote))
 * ```
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"
import type {
  CommandInput,
  CommandOutput,
  KillOptions,
  PipeFromOption,
  StandardCommand
} from "effect/process/ChildProcess"
import type { Command } from "effect/process/ChildProcess"
import {
  type ChildProcessHandle,
  ChildProcessSpawner,
  ExitCode,
  make as makeSpawner,
  makeHandle,
  ProcessId
} from "effect/process/ChildProcessSpawner"
import * as CommandLine from "effect/process/CommandLine"
import * as Result from "effect/Result"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { DialError } from "../errors/DialError.ts"
import type { SshError } from "../errors/SshError.ts"
import * as RemoteCommand from "../internal/ssh/remoteCommand.ts"
import { Dialer } from "../services/Dialer.ts"
import * as Ssh from "../services/Ssh.ts"
import type { SshProcess } from "../services/SshProcess.ts"
import type { SshSession } from "../services/SshSession.ts"
import type { SshSettings } from "../services/SshSettings.ts"

const module = "SshProcessSpawner"

const badArgument = (description: string) => PlatformError.badArgument({ module, method: "spawn", description })

const display = ({ args, command }: StandardCommand) => CommandLine.display([command, ...args])

const failure = (command: StandardCommand, method: string, description: string, cause?: unknown) =>
  PlatformError.systemError({
    _tag: "Unknown",
    module,
    method,
    description,
    pathOrDescriptor: display(command),
    ...(cause === undefined ? {} : { cause })
  })

const ssh = (command: StandardCommand, method: string) => (error: SshError) =>
  failure(command, method, error.message, error)

const notFound = (path: string, description: string) =>
  PlatformError.systemError({ _tag: "NotFound", module, method: "spawn", description, pathOrDescriptor: path })

/** How much a login script may print before the program begins. */
const maxPreamble = 65_536

/** Waits until the program has begun; gives its number and the output that is its own. */
const begin = Effect.fnUntraced(function*(command: StandardCommand, process: SshProcess) {
  const pull = yield* Stream.toPull(Stream.mapError(process.stdout, ssh(command, "stdout")))
  let output = Buffer.alloc(0)
  while (output.length <= maxPreamble) {
    const chunks = yield* Effect.catchTag(
      pull,
      "Done",
      () =>
        Effect.flatMap(
          Stream.mkString(Stream.decodeText(Stream.take(process.stderr, 1))),
          (words) => Effect.fail(failure(command, "spawn", `the server's shell did not start it: ${words.trim()}`))
        ).pipe(Effect.catchTag("SshError", (error) => Effect.fail(ssh(command, "spawn")(error))))
    )
    output = Buffer.concat([output, ...chunks])
    const found = RemoteCommand.beginning(output)
    if (found === undefined) continue
    const { beginning, end } = found
    if (beginning._tag === "NoDirectory") return yield* notFound(command.options.cwd ?? "", "no such directory")
    if (beginning._tag === "NoProgram") return yield* notFound(command.command, "no such program")
    const rest = output.subarray(end)
    const stdout = Stream.fromPull(Effect.succeed(pull))
    return { pid: beginning.pid, stdout: rest.length === 0 ? stdout : Stream.concat(Stream.succeed(rest), stdout) }
  }
  return yield* failure(command, "spawn", "the server's login scripts print too much")
})

type Input = Stream.Stream<Uint8Array, PlatformError.PlatformError>

interface StdinOption {
  readonly stream: CommandInput
  readonly endOnDone: boolean
}

const stdinOption = (option: StandardCommand["options"]["stdin"]): StdinOption => {
  if (option === undefined) return { stream: "pipe", endOnDone: true }
  if (typeof option === "string" || Stream.isStream(option)) return { stream: option, endOnDone: true }
  return { stream: option.stream, endOnDone: option.endOnDone ?? true }
}

const outputOption = (option: StandardCommand["options"]["stdout"]): CommandOutput =>
  option === undefined ? "pipe" : typeof option === "string" || Sink.isSink(option) ? option : option.stream ?? "pipe"

const inherited = Effect.flatMap(
  Effect.serviceOption(Stdio.Stdio),
  Option.match({
    onNone: () => Effect.fail(badArgument("\"inherit\" needs Effect's Stdio")),
    onSome: Effect.succeed
  })
)

/** How long a program may take to end when its scope is closed, before it is killed. */
const patience = "2 seconds"

/** How long the command that sends a signal may take. */
const signalTimeout = "5 seconds"

const start = Effect.fnUntraced(function*(session: SshSession, command: StandardCommand, piped: Input | undefined) {
  const { options } = command
  if (Object.keys(options.additionalFds ?? {}).length > 0) {
    return yield* badArgument("SSH carries three file descriptors, no additional ones")
  }
  const line = RemoteCommand.format(command)
  if (Result.isFailure(line)) return yield* badArgument(line.failure)
  const process = yield* Effect.mapError(session.exec(line.success), ssh(command, "spawn"))
  const { pid, stdout: own } = yield* begin(command, process)

  const ended = yield* Effect.forkScoped(Effect.result(process.exit), { startImmediately: true })
  const exited = Fiber.join(ended)
  const isRunning = Effect.sync(() => ended.pollUnsafe() === undefined)
  const signal = (name: string) =>
    Effect.ignore(session.execute(RemoteCommand.kill(pid, name), { timeout: signalTimeout }))
  const terminate = Effect.fnUntraced(function*(forceKillAfter: KillOptions["forceKillAfter"], name: string) {
    if (ended.pollUnsafe() !== undefined) return
    yield* signal(name)
    const done = yield* forceKillAfter === undefined
      ? Effect.asSome(exited)
      : Effect.timeoutOption(exited, forceKillAfter)
    if (Option.isSome(done)) return
    yield* signal("SIGKILL")
    yield* Effect.timeoutOption(exited, patience)
  })
  let referenced = true
  yield* Effect.addFinalizer(() =>
    referenced ? terminate(options.forceKillAfter ?? patience, options.killSignal ?? "SIGTERM") : Effect.void
  )

  const inputFailed = Deferred.makeUnsafe<never, PlatformError.PlatformError>()
  const given = stdinOption(options.stdin)
  const stdin = Sink.mapError(process.stdin, ssh(command, "stdin"))
  const feed = (input: Input) => {
    const watched = Stream.tapError(input, (error) => Deferred.fail(inputFailed, error))
    return Effect.forkScoped(Stream.run(given.endOnDone ? watched : Stream.concat(watched, Stream.never), stdin))
  }
  if (piped !== undefined) yield* feed(piped)
  else if (Stream.isStream(given.stream)) yield* feed(given.stream)
  else if (given.stream === "ignore") yield* Stream.run(Stream.empty, stdin)
  else if (given.stream === "inherit") yield* feed((yield* inherited).stdin)

  const output = Effect.fnUntraced(function*(
    stream: Input,
    option: CommandOutput,
    inheritedSink: (stdio: Stdio.Stdio) => ReturnType<Stdio.Stdio["stdout"]>
  ) {
    if (Sink.isSink(option)) return Stream.transduce(stream, option)
    if (option === "pipe" || option === "overlapped") return stream
    const sink = option === "inherit" ? inheritedSink(yield* inherited) : Sink.drain
    yield* Effect.forkScoped(Stream.run(stream, sink))
    return Stream.empty
  })
  const stdout = yield* output(own, outputOption(options.stdout), (stdio) => stdio.stdout({ endOnDone: false }))
  const stderr = yield* output(
    Stream.mapError(process.stderr, ssh(command, "stderr")),
    outputOption(options.stderr),
    (stdio) => stdio.stderr({ endOnDone: false })
  )

  const exitCode = Effect.flatMap(exited, (exit) => {
    if (Result.isFailure(exit)) return Effect.fail(ssh(command, "exitCode")(exit.failure))
    if (Option.isSome(exit.success.exitCode)) return Effect.succeed(ExitCode(exit.success.exitCode.value))
    const signal = Option.getOrElse(exit.success.signal, () => "an unknown signal")
    return Effect.fail(failure(command, "exitCode", `Process interrupted due to receipt of signal: '${signal}'`))
  })
  const reref = Effect.sync(() => {
    referenced = true
  })
  return makeHandle({
    pid: ProcessId(pid),
    exitCode: Effect.raceFirst(exitCode, Deferred.await(inputFailed)),
    isRunning,
    kill: (kill) =>
      terminate(
        kill?.forceKillAfter ?? options.forceKillAfter,
        kill?.killSignal ?? options.killSignal ?? "SIGTERM"
      ),
    stdin,
    stdout,
    stderr,
    all: Stream.merge(stdout, stderr),
    getInputFd: () => Sink.drain,
    getOutputFd: () => Stream.empty,
    unref: Effect.sync(() => {
      referenced = false
      return reref
    })
  })
})

const source = (handle: ChildProcessHandle, from: PipeFromOption = "stdout"): Input =>
  from === "stderr" || from === "all" ? handle[from] : handle.stdout

/**
 * A spawner whose programs run over a session you have in hand.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (session: SshSession): ChildProcessSpawner["Service"] => {
  const spawn: (
    command: Command,
    input?: Input
  ) => ReturnType<ChildProcessSpawner["Service"]["spawn"]> = Effect.fnUntraced(function*(command, input) {
    if (command._tag === "StandardCommand") return yield* start(session, command, input)
    const { from, to } = command.options
    if (from?.startsWith("fd") === true || to?.startsWith("fd") === true) {
      return yield* badArgument("SSH carries three file descriptors, no additional ones")
    }
    const left = yield* spawn(command.left, input)
    const right = yield* spawn(command.right, source(left, from))
    return makeHandle({
      ...right,
      stdin: left.stdin,
      kill: (options) => Effect.andThen(right.kill(options), left.kill(options)),
      unref: Effect.zipWith(right.unref, left.unref, (right, left) => Effect.andThen(left, right))
    })
  })
  return makeSpawner(spawn)
}

/**
 * Effect's `ChildProcessSpawner` on an SSH server. The layer opens one session when it is built and closes it when it is
 * released; it fails to build as `Ssh.connect` fails. Each call makes a new layer with a session of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (settings: SshSettings): Layer.Layer<ChildProcessSpawner, DialError | SshError, Dialer> =>
  Layer.fresh(Layer.effect(
    ChildProcessSpawner,
    Effect.gen(function*() {
      return make(yield* Ssh.make(yield* Dialer).connect(settings))
    })
  ))
