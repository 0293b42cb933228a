import type { StandardCommand } from "effect/process/ChildProcess"
import * as CommandLine from "effect/process/CommandLine"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

/** How a program began, said before anything of its own output. */
export type Beginning =
  | { readonly _tag: "Started"; readonly pid: number }
  | { readonly _tag: "NoDirectory" }
  | { readonly _tag: "NoProgram" }

const mark = "hawser-process"

const join = (words: ReadonlyArray<CommandLine.Word>): Result.Result<string, string> =>
  Result.mapError(CommandLine.join(words), ({ message }) => message)

type Words = readonly [program: string, ...args: ReadonlyArray<CommandLine.Word>]

const wordsOf = ({ args, command, options }: StandardCommand): Words => {
  if (options.shell === undefined || options.shell === false) return [command, ...args]
  return [options.shell === true ? "sh" : options.shell, "-c", command]
}

/** The program behind `env`, which takes a word with `=` for one more variable. */
const behindEnv = (words: Words): Words => words[0].includes("=") ? ["sh", "-c", "exec \"$0\" \"$@\"", ...words] : words

const withEnvironment = (
  { options: { env, extendEnv } }: StandardCommand,
  words: Words
): ReadonlyArray<CommandLine.Word> => {
  if (env === undefined) return words
  const unset: Array<string> = []
  const set: Array<CommandLine.Word> = []
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) unset.push("-u", name)
    else set.push(Redacted.isRedacted(value) ? Redacted.make(`${name}=${Redacted.value(value)}`) : `${name}=${value}`)
  }
  const begin = extendEnv === true ? ["env", ...unset] : ["env", "-i"]
  return [...begin, ...set, ...behindEnv(words)]
}

/** Whether the shell that starts the program looks for it where the program's own environment would. */
const canLookUp = ({ options: { env } }: StandardCommand, program: string) =>
  !program.startsWith("-") && (env === undefined || !("PATH" in env))

/**
 * What a server's login shell is told so that a program starts there as it would start here: in its directory, with its
 * environment, as the leader of its own process group, and with a first line that says how it began.
 *
 * Whatever the login shell is, all that it has to understand is `exec sh -c` and a word in single quotes.
 */
export const format = (command: StandardCommand): Result.Result<string, string> =>
  Result.gen(function*() {
    const { options: { cwd, env, shell } } = command
    if (shell !== undefined && shell !== false && command.args.length > 0) {
      return yield* Result.fail(
        "the shell option cannot be combined with arguments; pass the whole script as the command"
      )
    }
    for (const name of Object.keys(env ?? {})) {
      if (!/^[^=\0]+$/.test(name)) return yield* Result.fail("an environment variable has a name that cannot be")
    }
    const words = wordsOf(command)
    const program = words[0]
    const steps = [
      ...(cwd === undefined ? [] : [`cd -- ${yield* join([cwd])} 2>/dev/null || { echo ${mark} cwd; exit 1; }`]),
      ...(canLookUp(command, program)
        ? [`command -v ${yield* join([program])} >/dev/null 2>&1 || { echo ${mark} program; exit 1; }`]
        : []),
      `echo ${mark} $$`,
      `exec ${yield* join(withEnvironment(command, words))}`
    ]
    return yield* join(["exec", "sh", "-c", steps.join("\n")])
  })

/**
 * Reads the line that says how a program began. Login scripts may have printed something before it, which is passed over.
 * `undefined`: the line has not come yet.
 */
export const beginning = (
  output: Buffer
): { readonly beginning: Beginning; readonly end: number } | undefined => {
  const found = new RegExp(`^${mark} (\\d+|cwd|program)\\n`, "m").exec(output.toString("latin1"))
  if (found === null) return undefined
  const end = found.index + found[0].length
  switch (found[1]) {
    case "cwd":
      return { beginning: { _tag: "NoDirectory" }, end }
    case "program":
      return { beginning: { _tag: "NoProgram" }, end }
    default:
      return { beginning: { _tag: "Started", pid: Number(found[1]) }, end }
  }
}

/** What ends a program and its process group; only the program where it leads none. */
export const kill = (pid: number, signal: string): string => {
  const name = signal.replace(/^SIG/, "")
  return `kill -s ${name} -- -${pid} 2>/dev/null || kill -s ${name} ${pid} 2>/dev/null`
}
