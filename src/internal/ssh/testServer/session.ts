import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ServerChannel, Session } from "ssh2"
import { ChannelStream } from "./channel.ts"
import { type CommandHandler, type CommandRequest, Running, type Terminal, type WindowSize } from "./command.ts"

/** What is done about a request: it is run, refused, or never answered. */
export type Decision = CommandHandler | "refuse" | "ignore"

/** Who runs the commands of a session. */
export interface SessionHost {
  readonly user: string
  /** What every command has in its environment. */
  readonly env: Readonly<Record<string, string>>
  /** Whether commands may ask the user's agent. */
  readonly allowsAgents: boolean
  readonly decide: (request: CommandRequest) => Decision
  /** Hears of each command that is run, before it is. */
  readonly onCommand: (running: Running) => void
  /** Runs an effect, and gives what interrupts it. */
  readonly run: (effect: Effect.Effect<void>) => () => void
}

type Accept = () => ServerChannel | undefined

/** Runs what the client of one session asks for: one command, shell or subsystem. */
export const serve = (session: Session, host: SessionHost): void => {
  const env: Record<string, string> = { ...host.env }
  let terminal: Terminal | undefined
  let size: WindowSize = { columns: 0, rows: 0 }
  let running: Running | undefined

  const start = (kind: CommandRequest["kind"], command: string, accept: Accept, reject: (() => void) | undefined) => {
    const request: CommandRequest = {
      kind,
      command,
      user: host.user,
      env: { ...env },
      terminal: Option.fromUndefinedOr(terminal)
    }
    const decision = host.decide(request)
    if (decision === "ignore") return
    if (decision === "refuse") return reject?.()
    const channel = accept()
    if (channel === undefined) return
    const run = Effect.flatMap(Running.make(request, size, new ChannelStream(channel, "nothing")), (made) => {
      running = made
      host.onCommand(made)
      return made.run(decision)
    })
    // the channel itself is closed only once somebody has read what came before
    session.once("close", host.run(run))
  }

  // not every client asks for an answer
  session
    .on("env", (accept, _reject, { key, val }) => {
      env[key] = val
      accept?.()
    })
    .on("auth-agent", (accept, reject) => host.allowsAgents ? accept?.() : reject?.())
    .on("pty", (accept, _reject, { cols: columns, rows, ...info }) => {
      size = { columns, rows }
      terminal = { term: info.term, columns, rows }
      accept?.()
    })
    .on("window-change", (accept, _reject, { cols: columns, rows }) => {
      size = { columns, rows }
      running?.resize(size)
      accept?.()
    })
    .on("signal", (accept, _reject, { name }) => {
      running?.signal(name)
      accept?.()
    })
    .on("shell", (accept, reject) => start("shell", "", accept, reject))
    .on("exec", (accept, reject, { command }) => start("exec", command, accept, reject))
    .on("subsystem", (accept, reject, { name }) => start("subsystem", name, accept, reject))
}
