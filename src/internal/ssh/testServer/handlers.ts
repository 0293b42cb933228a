import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Command, CommandAnswer, CommandHandler } from "./command.ts"

/** Answers a command: at once, or with an effect. */
export type Handler<R = never> = (command: Command) => CommandAnswer | Effect.Effect<CommandAnswer, unknown, R>

/** One handler for all commands, or what each command line answers. */
export type Commands<R = never> = Handler<R> | Readonly<Record<string, CommandAnswer | Handler<R>>>

/** What a shell says of a command that is not there. */
const notFound = ({ command }: Command): CommandAnswer => ({
  stderr: `${/^\S*/.exec(command)?.[0] ?? ""}: command not found\n`,
  code: 127
})

const handlerOf = <R>(answer: CommandAnswer | Handler<R>): Handler<R> =>
  typeof answer === "function" ? answer : () => answer

/** One handler for all commands. */
export const handlerOfAll = <R>(commands: Commands<R>): Handler<R> =>
  typeof commands === "function"
    ? commands
    : (command) => handlerOf(Object.hasOwn(commands, command.command) ? commands[command.command] : notFound)(command)

/** A handler that has all that it needs. */
export const provided = <R>(
  handler: Handler<R>,
  context: Context.Context<Exclude<R, Scope.Scope>>
): CommandHandler =>
(command) =>
  Effect.suspend(() => {
    const answer = handler(command)
    return Effect.isEffect(answer)
      ? Effect.provideContext(Effect.scoped(answer), context)
      : Effect.succeed(answer)
  })
