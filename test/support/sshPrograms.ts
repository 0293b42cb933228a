/** The commands that the SSH server of the tests runs. They are made here; nothing is started on the machine. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Connection } from "ssh2"
import {
  type Command,
  type CommandAnswer,
  type CommandHandler,
  isSignal
} from "../../src/internal/ssh/testServer/command.ts"

/** What the programs of one server have in common. */
export interface Host {
  readonly clients: ReadonlySet<Connection>
  /** How many bytes `bytes` has sent. */
  produced: number
}

type Program = (argument: string, command: Command, host: Host) => Effect.Effect<CommandAnswer>

const produce = (size: number, command: Command, host: Host) =>
  Effect.gen(function*() {
    for (let left = size; left > 0;) {
      const chunk = Buffer.alloc(Math.min(left, 32_768))
      yield* command.stdout(chunk)
      host.produced += chunk.length
      left -= chunk.length
      yield* Effect.yieldNow
    }
  })

const programs: Readonly<Record<string, Program>> = {
  /** Says its argument. */
  echo: (argument) => Effect.succeed(`${argument}\n`),
  /** Says what it reads. */
  cat: (_argument, { stdin, stdout }) => Stream.runForEach(stdin, stdout),
  /** Says how many bytes it read. */
  count: (_argument, { stdin }) =>
    Effect.map(Stream.runFold(stdin, () => 0, (size, bytes) => size + bytes.length), (size) => `${size}\n`),
  /** Ends with an exit code. */
  exit: (argument) => Effect.succeed(Number(argument)),
  /** Says the value of an environment variable. */
  env: (argument, { env }) => Effect.succeed(`${env[argument] ?? ""}\n`),
  /** Writes so many zeros, no faster than they are taken. */
  bytes: (argument, command, host) => produce(Number(argument), command, host),
  /** Says its argument on the error output, and ends with 1. */
  stderr: (argument) => Effect.succeed({ stderr: `${argument}\n`, code: 1 }),
  /** Writes so many zeros to the error output before it says a word on the other. */
  flood: (argument, { stderr }) => Effect.as(stderr(Buffer.alloc(Number(argument))), "done\n"),
  /** Is ended by a signal. */
  killed: (argument) => {
    const signal = argument.replace("SIG", "")
    return Effect.succeed(isSignal(signal) ? { signal } : 1)
  },
  /** Does not say how it ended. */
  vanish: () => Effect.succeed({ stdout: "gone\n", code: null }),
  /** Says a word and then waits until its channel is closed. */
  wait: (_argument, { stdin, stdout }) =>
    Effect.andThen(stdout("waiting\n"), Effect.andThen(Stream.runDrain(stdin), Effect.never)),
  /** Has the two sides agree on new session keys. */
  rekey: (_argument, _command, { clients }) =>
    Effect.as(
      Effect.forEach(clients, (client) => Effect.callback<void>((resume) => client.rekey(() => resume(Effect.void)))),
      "rekeyed\n"
    )
}

/** As a system does that keeps what is left of a program. */
const killedBy = (name: string): CommandAnswer =>
  isSignal(name) ? { signal: name, coreDumped: true, description: "dumped" } : 1

/** Has a signal end what runs. */
const untilSignal = ({ signals }: Command, run: Effect.Effect<CommandAnswer>) =>
  Effect.raceFirst(
    run,
    Effect.flatMap(Stream.runHead(signals), (signal) =>
      signal._tag === "Some" ? Effect.succeed(killedBy(signal.value)) : Effect.never)
  )

/** The handler of a command line, where there is such a program. */
export const program = (line: string, host: Host): CommandHandler | undefined => {
  const space = line.indexOf(" ")
  const known = programs[space < 0 ? line : line.slice(0, space)]
  const argument = space < 0 ? "" : line.slice(space + 1)
  return known === undefined ? undefined : (command) => untilSignal(command, known(argument, command, host))
}

const prompt = "> "

/** A shell that knows `size`, `exit` and how to repeat everything else. */
export const shell: CommandHandler = (command) => {
  const { stdin, stdout, terminal, windowSize } = command
  const term = terminal._tag === "Some" ? terminal.value.term : "none"
  const answer = (line: string) => {
    const [name, code] = line.split(" ")
    if (name === "exit") return Effect.fail(Number(code))
    const said = name === "size"
      ? Effect.map(windowSize, ({ columns, rows }) => `${term} ${columns}x${rows}`)
      : Effect.succeed(line)
    return Effect.flatMap(said, (words) => stdout(`${words}\r\n${prompt}`))
  }
  const lines = stdin.pipe(Stream.decodeText(), Stream.splitLines)
  const session = Effect.andThen(stdout(prompt), Stream.runForEach(lines, answer))
  return untilSignal(command, Effect.match(session, { onFailure: (code) => code, onSuccess: () => 0 }))
}
