import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import type { Environment } from "./tokens.ts"

/** The shell that ssh has run its commands. */
export const shellOf = (environment: Environment): string => {
  const shell = environment["SHELL"]
  return shell === undefined || shell === "" ? "/bin/sh" : shell
}

/** Runs a command in the shell and says whether it succeeded; an interrupted one is ended. */
export const succeeds = (command: string, environment: Environment): Effect.Effect<boolean, string> =>
  Effect.callback((resume) => {
    const child = ChildProcess.spawn(shellOf(environment), ["-c", command], {
      stdio: ["ignore", "ignore", "inherit"],
      env: environment
    })
    child
      .once("error", (error) => resume(Effect.fail(error.message)))
      .once(
        "exit",
        (code, signal) =>
          resume(code === null ? Effect.fail(`${signal} ended the command`) : Effect.succeed(code === 0))
      )
    return Effect.callback<void>((done) => {
      if (child.exitCode !== null || child.signalCode !== null || !child.kill()) return done(Effect.void)
      child.once("exit", () => done(Effect.void))
    })
  })
