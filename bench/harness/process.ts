/** The other processes of a run, and what they can be asked for. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Address } from "./benchmark.ts"
import { pinned } from "./cores.ts"

/** What ends the work: so many times, with the answers compared, or the time. */
export type Until = { readonly limit: number } | { readonly milliseconds: number }

export type Request =
  | { readonly type: "listen" }
  | { readonly type: "connect"; readonly address: Address }
  | { readonly type: "work"; readonly port: number; readonly until: Until }
  | { readonly type: "cpu" }
  | { readonly type: "memory" }

/** What it answers: the value is what the method of `Side` promises. */
export type Answer = { readonly value: any } | { readonly error: string }

export interface Worked {
  readonly amount: number
  readonly seconds: number
  readonly answer: string
}

/** In bytes. */
export interface Memory {
  readonly rss: number
  readonly heap: number
}

/** How long a request may take beyond the time that it is to work for. */
const patience = 120_000

const worker = fileURLToPath(new URL("worker.ts", import.meta.url))

/** A process that runs one side of a benchmark. */
export class Side {
  readonly label: string
  private readonly child: ChildProcess

  constructor(label: string, args: ReadonlyArray<string>, core: number | undefined, preload?: string) {
    this.label = label
    const first = preload === undefined ? [] : ["--import", preload]
    const node = [process.execPath, "--expose-gc", ...process.execArgv, ...first, worker, ...args]
    const [command = "", ...rest] = pinned(core, node)
    this.child = spawn(command, rest, { stdio: ["ignore", "inherit", "inherit", "ipc"] })
  }

  private ask<A>(request: Request, milliseconds = 0): Promise<A> {
    const { child, label } = this
    return new Promise<A>((resolve, reject) => {
      const fail = (detail: string) => reject(new Error(`${label}: ${request.type}: ${detail}`))
      const deadline = AbortSignal.timeout(milliseconds + patience)
      const onDeadline = () => settle(() => fail("no answer in time"))
      const onExit = () => settle(() => fail("the process is gone"))
      const onAnswer = (answer: Answer) => settle(() => "error" in answer ? fail(answer.error) : resolve(answer.value))
      const settle = (how: () => void) => {
        deadline.removeEventListener("abort", onDeadline)
        child.off("exit", onExit).off("error", onExit).off("message", onAnswer)
        how()
      }
      deadline.addEventListener("abort", onDeadline)
      child.on("exit", onExit).on("error", onExit).on("message", onAnswer)
      if (child.connected) child.send(request)
      else onExit()
    })
  }

  listen(): Promise<Address> {
    return this.ask({ type: "listen" })
  }
  connect(address: Address): Promise<void> {
    return this.ask({ type: "connect", address })
  }
  work(port: number, until: Until): Promise<Worked> {
    return this.ask({ type: "work", port, until }, "milliseconds" in until ? until.milliseconds : 0)
  }
  /** Processor time until now, user and system, with that of the processes it started, in seconds. */
  cpu(): Promise<number> {
    return this.ask({ type: "cpu" })
  }
  memory(): Promise<Memory> {
    return this.ask({ type: "memory" })
  }
  stop(): void {
    this.child.kill("SIGKILL")
  }
}
