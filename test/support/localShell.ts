/** Commands of an SSH server that runs them with this machine's `sh`. For tests alone: it does whatever it is told. */
import { spawn } from "node:child_process"
import type { ServerChannel } from "ssh2"

/** Runs a command on a channel. Each leads a process group of its own, as with sshd; what is left of it ends with the channel. */
export const runLocally = (channel: ServerChannel, command: string): void => {
  const child = spawn("sh", ["-c", command], { detached: true })
  // a program that has ended takes no more input
  child.stdin.on("error", () => {})
  channel.pipe(child.stdin)
  child.stdout.pipe(channel, { end: false })
  child.stderr.pipe(channel.stderr, { end: false })
  child.on("close", (code, signal) => {
    if (code === null) channel.exit(signal?.replace("SIG", "") ?? "KILL")
    else channel.exit(code)
    channel.end()
  })
  channel.on("close", () => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, "SIGKILL")
    } catch {
      // nobody is left
    }
  })
}
