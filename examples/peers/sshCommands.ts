/** The commands that the small SSH server runs. They are made here; nothing is started on the machine. */
import type { Connection, ServerChannel, Session } from "ssh2"

/** What the commands of one server have in common. */
export interface Commands {
  /** Those that are open. */
  readonly channels: Set<ServerChannel>
  /** How many bytes `bytes` has sent. */
  produced: number
  /** Runs what is none of the commands here. Default: it is refused. */
  readonly others: ((channel: ServerChannel, command: string) => void) | undefined
  /** Whether commands may not ask their users' agents. Default false. */
  readonly withoutAgents?: boolean | undefined
}

/** A command that has been started. */
interface Run {
  readonly channel: ServerChannel
  readonly argument: string
  readonly env: ReadonlyMap<string, string>
  readonly client: Connection
  readonly commands: Commands
}

const finish = (channel: ServerChannel, code: number, output = "") =>
  channel.write(output, () => {
    channel.exit(code)
    channel.end()
  })

const produce = (run: Run, left: number): void => {
  if (left === 0) return void finish(run.channel, 0)
  const chunk = Buffer.alloc(Math.min(left, 32_768))
  // calls back once the client's window had room for it
  run.channel.write(chunk, () => {
    run.commands.produced += chunk.length
    setImmediate(produce, run, left - chunk.length)
  })
}

const programs: Record<string, (run: Run) => void> = {
  /** Says its argument. */
  echo: ({ argument, channel }) => void finish(channel, 0, `${argument}\n`),
  /** Says what it reads. */
  cat: ({ channel }) => {
    channel.on("data", (chunk: Buffer) => {
      if (!channel.write(chunk)) channel.pause()
    }).on("drain", () => channel.resume()).on("end", () => finish(channel, 0))
  },
  /** Says how many bytes it read. */
  count: ({ channel }) => {
    let bytes = 0
    channel.on("data", (chunk: Buffer) => bytes += chunk.length).on("end", () => finish(channel, 0, `${bytes}\n`))
  },
  /** Ends with an exit code. */
  exit: ({ argument, channel }) => void finish(channel, Number(argument)),
  /** Says the value of an environment variable. */
  env: ({ argument, channel, env }) => void finish(channel, 0, `${env.get(argument) ?? ""}\n`),
  /** Writes so many zeros, no faster than they are taken. */
  bytes: (run) => produce(run, Number(run.argument)),
  /** Says its argument on the error output, and ends with 1. */
  stderr: ({ argument, channel }) => {
    channel.stderr.write(`${argument}\n`)
    finish(channel, 1)
  },
  /** Writes so many zeros to the error output before it says a word on the other. */
  flood: ({ argument, channel }) =>
    void channel.stderr.write(Buffer.alloc(Number(argument)), () => finish(channel, 0, "done\n")),
  /** Is ended by a signal. */
  killed: ({ argument, channel }) => {
    channel.exit(argument.replace("SIG", ""))
    channel.end()
  },
  /** Does not say how it ended. */
  vanish: ({ channel }) => void channel.end("gone\n"),
  /** Says a word and then waits until its channel is closed. */
  wait: ({ channel }) => void channel.resume().write("waiting\n"),
  /** Has the two sides agree on new session keys. */
  rekey: ({ channel, client }) => client.rekey(() => finish(channel, 0, "rekeyed\n"))
}

/** What a terminal is, and how large. */
interface Terminal {
  term: string
  columns: number
  rows: number
}

/** A shell that knows `size`, `exit` and how to repeat everything else. */
const serveShell = (channel: ServerChannel, terminal: Terminal): void => {
  let line = ""
  const answer = (words: string): void => {
    const [command, code] = words.split(" ")
    const { columns, rows, term } = terminal
    if (command === "exit") finish(channel, Number(code))
    else channel.write(`${command === "size" ? `${term} ${columns}x${rows}` : words}\r\n> `)
  }
  channel.write("> ")
  channel.on("data", (bytes: Buffer) => {
    const lines = (line + bytes.toString("utf8")).split("\n")
    line = lines.pop() ?? ""
    for (const words of lines) answer(words)
  }).on("end", () => finish(channel, 0))
}

/** Runs the commands of one session. `stall` never starts, and what is not known is refused. */
export const serveSession = (session: Session, client: Connection, commands: Commands): void => {
  const env = new Map<string, string>()
  session.on("env", (accept, _reject, { key, val }) => {
    env.set(key, val)
    // not every client asks for an answer
    accept?.()
  })
  session.on("auth-agent", (accept, reject) => commands.withoutAgents === true ? reject?.() : accept?.())
  const terminal: Terminal = { term: "none", columns: 0, rows: 0 }
  let running: ServerChannel | undefined
  const keep = (channel: ServerChannel): ServerChannel => {
    commands.channels.add(channel.on("error", () => {}).once("close", () => commands.channels.delete(channel)))
    running = channel
    // a channel that nobody reads never closes
    channel.once("finish", () => channel.resume())
    return channel
  }
  session.on("pty", (accept, _reject, info) => {
    Object.assign(terminal, { term: Reflect.get(info, "term"), columns: info.cols, rows: info.rows })
    accept?.()
  })
  session.on("window-change", (accept, _reject, info) => {
    Object.assign(terminal, { columns: info.cols, rows: info.rows })
    accept?.()
  })
  session.on("signal", (accept, _reject, { name }) => {
    accept?.()
    running?.exit(name, true, "dumped")
    running?.end()
  })
  session.on("shell", (accept) => serveShell(keep(accept()), terminal))
  session.on("exec", (accept, reject, { command }) => {
    const space = command.indexOf(" ")
    const name = space < 0 ? command : command.slice(0, space)
    if (name === "stall") return
    const { others } = commands
    const program = programs[name] ?? (others === undefined ? undefined : ({ channel }) => others(channel, command))
    if (program === undefined) return reject()
    const channel = keep(accept())
    program({ channel, argument: space < 0 ? "" : command.slice(space + 1), env, client, commands })
  })
}
