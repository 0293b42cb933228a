import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isHostPort } from "effect/net/Host"
import * as Result from "effect/Result"
import * as ChildProcess from "node:child_process"
import * as Os from "node:os"
import { Duplex, type Readable, type Writable } from "node:stream"
import { DialError, type DialErrorReason, InvalidTarget, ProxyRefused, Unknown } from "../../errors/DialError.ts"
import { alarm } from "../net/deadline.ts"
import { close, closed } from "../net/duplex.ts"
import * as Hop from "../net/hop.ts"
import { guardErrors } from "../net/owner.ts"
import { realClock } from "../net/realTime.ts"
import * as Target from "../net/target.ts"
import { shellOf } from "../ssh/config/exec.ts"
import { expandTokens } from "../ssh/config/tokens.ts"

type Done = (error?: Error | null) => void

type Command = ChildProcess.ChildProcessByStdio<Writable, Readable, Readable>

/**
 * How long a command that has closed its output may take to end before it counts as one that goes on reading. Children live
 * in real time, also where the clock is a test's.
 */
const patience = Duration.seconds(1)

/** How long a command may take to end when it is told to. */
const mercy = Duration.seconds(2)

/** How much of what it said last is kept. */
const keptWords = 1000

/** A command as a connection: what is written to it is its input, its output is what is read. */
class CommandDuplex extends Duplex {
  private readonly child: Command
  private readonly fail: (reason: DialErrorReason) => DialError
  private words = ""
  private received = 0

  constructor(child: Command, fail: (reason: DialErrorReason) => DialError) {
    super({ allowHalfOpen: true })
    this.child = child
    this.fail = fail
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.words = (this.words + text).slice(-keptWords)
    })
    child.stdout
      .on("data", (chunk: Buffer) => {
        this.received += chunk.length
        if (!this.push(chunk)) child.stdout.pause()
      })
      .on("end", () => this.onceOver(() => this.endOrFail()))
      .on("error", () => {})
    child.stdin.on("error", () => {})
    child.stderr.on("error", () => {})
    // nothing is read before somebody asks
    child.stdout.pause()
  }

  /** Why it is no connection, where it ended before it gave a single byte. */
  get refusal(): DialError | undefined {
    return this.received === 0 && this.code !== undefined
      ? this.fail(new ProxyRefused({ code: this.code, meaning: this.lastWords }))
      : undefined
  }

  /** Its exit code; that of a shell where a signal ended it. */
  private get code(): number | undefined {
    const { exitCode, signalCode } = this.child
    return exitCode ?? (signalCode === null ? undefined : 128 + Os.constants.signals[signalCode])
  }

  private get lastWords(): string {
    const words = this.words.trim().split(/\s*\n\s*/).slice(-3).join("; ")
    return words === "" ? "the command ended" : words
  }

  /** Calls back when the command has ended and said its last words, or is not about to. */
  private onceOver(then: () => void): void {
    const { child } = this
    if (child.exitCode !== null && child.stderr.readableEnded) return then()
    const settle = () => {
      stop()
      child.off("close", settle)
      then()
    }
    const stop = alarm(realClock, patience, settle)
    child.once("close", settle)
  }

  private endOrFail(): void {
    if (this.destroyed) return
    // one that goes on has closed its output only; one that failed has not come to an end, whatever it looks like
    if (this.code === undefined || this.code === 0) this.push(null)
    else this.destroy(this.failure())
  }

  private failure(cause?: Error): Error {
    return new Error(`the command ended with exit code ${this.code ?? "unknown"}: ${this.lastWords}`, { cause })
  }

  override _read(): void {
    this.child.stdout.resume()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.child.stdin.write(chunk, (error) => {
      if (error === null || error === undefined) return done()
      this.onceOver(() => done(this.failure(error)))
    })
  }

  override _final(done: Done): void {
    const { stdin } = this.child
    // one that is closed already would never call back
    if (stdin.destroyed) return done()
    stdin.once("close", () => done()).end()
  }

  /** It is gone when the command is. */
  override _destroy(error: Error | null, done: Done): void {
    const { child } = this
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
    if (child.exitCode !== null || child.signalCode !== null) return done(error)
    let stop = () => {}
    child.once("exit", () => {
      stop()
      done(error)
    })
    const hangUp = () => {
      stop = alarm(realClock, mercy, () => void child.kill("SIGKILL"))
      child.kill("SIGHUP")
    }
    // one that has got and given all may still have to pass on what it got
    if (error === null && this.readableEnded && this.writableFinished) stop = alarm(realClock, patience, hangUp)
    else hangUp()
  }
}

/** Why a command was no connection, if that is so. */
export const refusalOf = (duplex: Duplex): DialError | undefined =>
  duplex instanceof CommandDuplex ? duplex.refusal : undefined

const start = (command: string): Command => {
  const stdio: ["pipe", "pipe", "pipe"] = ["pipe", "pipe", "pipe"]
  return process.platform === "win32"
    ? ChildProcess.spawn(command, { shell: true, stdio })
    // as ssh does: what is killed then is the command, and not the shell
    : ChildProcess.spawn(shellOf(process.env), ["-c", `exec ${command}`], { stdio })
}

const spawn = (
  command: string,
  fail: (reason: DialErrorReason) => DialError
): Effect.Effect<CommandDuplex, DialError> =>
  Effect.callback((resume) => {
    const cannot = (cause: unknown) =>
      resume(Effect.fail(fail(new Unknown({ detail: "the shell that runs the command cannot be started", cause }))))
    const child = Result.try(() => start(command))
    if (Result.isFailure(child)) return cannot(child.failure)
    child.success.once("error", cannot).once("spawn", () =>
      resume(Effect.sync(() => guardErrors(new CommandDuplex(child.success, fail)))))
  })

/** How errors call a command: by its first word, as others may be secrets. */
export const nameOf = (command: string): string =>
  `command ${/^[^\s=;|&<>"'$`\\]+(?=\s|$)/.exec(command.trim())?.[0] ?? ""}`.trimEnd()

/** Dials by running a command, in which `%h` and `%p` stand for host and port. */
export const path = (command: string, connectTimeout: Duration.Duration): Hop.Path => {
  const name = nameOf(command)
  return {
    connectTimeout,
    dial: Hop.dialing(name, (target) => {
      const fail = (reason: DialErrorReason) => new DialError({ target: Target.format(target), hop: name, reason })
      const invalid = (why: string) => fail(new InvalidTarget({ input: Target.format(target), why }))
      if (!isHostPort(target)) return Effect.fail(invalid("a command leads to a host and a port only"))
      const expanded = expandTokens(command, { h: Target.hostOf(target), p: `${target.port}` })
      return Result.isFailure(expanded)
        ? Effect.fail(invalid(`the command cannot be used: ${expanded.failure}`))
        : Effect.acquireRelease(
          spawn(expanded.success, fail),
          (duplex, exit) => Effect.andThen(close(duplex, exit), closed(duplex))
        )
    })
  }
}
