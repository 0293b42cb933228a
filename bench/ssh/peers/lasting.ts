/** Processes that end when this one does, also when it is killed. */
import { spawn } from "node:child_process"

/** Starts a command, and does another one after its end. */
export const lasting = (command: ReadonlyArray<string>, afterwards: ReadonlyArray<string> = ["true"]): void => {
  // its standard input ends with this process; a shell's own commands in the background do not read it
  const script = `"$@" & read -r _; kill $! 2>/dev/null; wait; ${afterwards.map(quoted).join(" ")}`
  const child = spawn("sh", ["-c", script, "sh", ...command], {
    stdio: ["pipe", "ignore", "ignore"],
    // what the keyboard interrupts must not end it before us
    detached: true
  })
  child.unref()
}

/** An argument for a POSIX shell. */
export const quoted = (argument: string): string => `'${argument.replaceAll("'", `'\\''`)}'`
