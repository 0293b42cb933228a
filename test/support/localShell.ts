/** Commands of an SSH server that runs them with this machine's `sh`. For tests alone: it does whatever it is told. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { Writable } from "node:stream"
import { type CommandAnswer, type CommandHandler, isSignal } from "../../src/internal/ssh/testServer/command.ts"

const answerOf = (code: number | null, signal: string | null): CommandAnswer => {
  const name = signal?.replace("SIG", "") ?? ""
  return code ?? { signal: isSignal(name) ? name : "KILL" }
}

/** Runs a command. Each leads a process group of its own, as with sshd; what is left of it ends with the channel. */
export const runLocally: CommandHandler = ({ command, stderr }, stream) =>
  Effect.callback((resume) => {
    const child = spawn("sh", ["-c", command], { detached: true })
    const errors = new Writable({
      write: (bytes: Uint8Array, _encoding, done) => void Effect.runCallback(stderr(bytes), { onExit: () => done() })
    })
    // a program that has ended takes no more input
    child.stdin.on("error", () => {})
    stream.pipe(child.stdin)
    child.stdout.pipe(stream, { end: false })
    child.stderr.pipe(errors)
    child.on("close", (code, signal) => {
      // behind all that it wrote
      stream.write("", () => resume(Effect.succeed(answerOf(code, signal))))
    })
    return Effect.sync(() => {
      if (child.pid === undefined) return
      try {
        process.kill(-child.pid, "SIGKILL")
      } catch {
        // nobody is left
      }
    })
  })
