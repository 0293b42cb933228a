/** OpenSSH's own programs, run by a shell that is there already: starting them from Node takes longer. */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import type { Address } from "../harness/benchmark.ts"
import { folderOf } from "./account.ts"
import { lasting, quoted } from "./peers/lasting.ts"

/** A program that takes a command a line, and says in a line of its own when it has done it. */
class Interpreter {
  private readonly done: string
  private readonly ask: (line: string) => void
  private settle: { readonly resolve: (output: string) => void; readonly reject: (error: Error) => void } | undefined
  private output = ""

  /** `mark` is the command that has it say `done`. */
  constructor(command: string, args: ReadonlyArray<string>, mark: string, done: string) {
    this.done = done
    // the last one is an input that never ends, for commands
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe", "pipe"] })
    this.ask = (line) => void child.stdin?.write(`${line}\n${mark}\n`)
    // not shown as it comes: it complains when the server ends first, as it does after the last round
    let errors = ""
    child.stderr?.on("data", (bytes) => errors += String(bytes))
    child.on("exit", () => this.settle?.reject(new Error(`${command} ended: ${this.output}${errors}`)))
    child.stdout?.on("data", (bytes) => this.onOutput(String(bytes)))
  }

  private onOutput(text: string): void {
    this.output += text
    const end = this.output.lastIndexOf(this.done)
    if (end === -1 || !this.output.endsWith("\n")) return
    const answer = this.output.slice(0, end)
    this.output = ""
    this.settle?.resolve(answer)
  }

  /** Runs one command, and gives what it wrote. */
  readonly run = (command: string): Promise<string> =>
    new Promise((resolve, reject) => {
      this.settle = { resolve, reject }
      this.ask(command)
    })
}

/** A shell that runs commands, one after the other, and ends when one fails. */
export const shell = (): Interpreter => new Interpreter("sh", ["-e"], "echo done", "done")

const configOf = (address: Address): ReadonlyArray<string> => ["-F", `${folderOf(address)}/ssh_config`]

/** `sftp` on a connection of its own, which stays open. */
export const sftp = (address: Address, host = "bench"): Interpreter =>
  new Interpreter("sftp", [...configOf(address), "-b", "-", host], "lpwd", "Local working directory")

/** The options of `ssh` and `scp` for a connection of their own. */
export const alone = (address: Address): string => configOf(address).map(quoted).join(" ")

/** The options of `ssh` and `scp` for a connection that is open already (`ControlMaster`), and stays open. */
export const shared = async (address: Address): Promise<string> => {
  const socket = `${folderOf(address)}/control-${process.pid}`
  lasting(["ssh", ...configOf(address), "-M", "-S", socket, "-N", "bench"])
  for (const until = performance.now() + 10_000; !existsSync(socket); await setTimeout(20)) {
    if (performance.now() > until) throw new Error("ssh does not connect")
  }
  return [...configOf(address), "-o", `ControlPath=${socket}`].map(quoted).join(" ")
}
