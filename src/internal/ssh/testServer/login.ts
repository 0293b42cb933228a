import * as Redacted from "effect/Redacted"
import type {
  AuthContext,
  AuthenticationType,
  KeyboardAuthContext,
  ParsedKey,
  PasswordAuthContext,
  PublicKeyAuthContext
} from "ssh2"
import type { Login, QuestionRound } from "./model.ts"

/** Who may log in, and how. */
export interface LoginOptions {
  /** Default: anybody. */
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** The password has expired: who knows it is asked for a new one until it is this one. */
  readonly newPassword?: Redacted.Redacted | undefined
  readonly keys: ReadonlyArray<ParsedKey>
  readonly questions?: ReadonlyArray<QuestionRound> | undefined
  /** Whether all of them are asked for, one after the other, instead of any. */
  readonly all: boolean
}

type Method = "publickey" | "password" | "keyboard-interactive"

/** What an attempt came to. */
type Decided = (outcome: Login["outcome"]) => void

const askForNew = (context: PasswordAuthContext, wanted: string, accept: () => void): void =>
  context.requestChange("New password:", (given) => given === wanted ? accept() : askForNew(context, wanted, accept))

const ask = (
  context: KeyboardAuthContext,
  [round, ...rounds]: ReadonlyArray<QuestionRound>,
  decide: (isRight: boolean) => void
): void => {
  if (round === undefined) return decide(true)
  const { instruction = "", prompts, title = "" } = round
  const shown = prompts.map(({ echo, prompt }) => ({ echo, prompt }))
  context.prompt(shown, title, instruction, (answers) => {
    // an error where the client goes on to another method: the question is over
    if (!Array.isArray(answers)) return
    const areRight = answers.length === prompts.length && prompts.every(({ answer }, i) => answers[i] === answer)
    if (areRight) ask(context, rounds, decide)
    else decide(false)
  })
}

/** Whether a key is one of these, and the client has it, as far as it says so. */
const fits = ({ blob, hashAlgo, key: { data }, signature }: PublicKeyAuthContext, keys: ReadonlyArray<ParsedKey>) => {
  const key = keys.find((key) => key.getPublicSSH().equals(data))
  if (key === undefined || signature === undefined || blob === undefined) return key !== undefined
  // an error where it cannot be verified at all, which its type does not know
  const verified: unknown = key.verify(blob, signature, hashAlgo)
  return verified === true
}

/** Decides about the attempts of one client; `report` hears of each that is decided. */
export const authenticate = (options: LoginOptions, report: (login: Login) => void) => {
  const { all, keys, newPassword, password, questions, username } = options
  const wanted: ReadonlyArray<Method> = [
    ...(keys.length > 0 ? ["publickey" as const] : []),
    ...(password === undefined ? [] : ["password" as const]),
    ...(questions === undefined ? [] : ["keyboard-interactive" as const])
  ]
  /** How many of them are behind the client, where it needs all. */
  let passed = 0

  const attempt = (context: AuthContext, methods: ReadonlyArray<AuthenticationType>, decided: Decided): void => {
    const refuse = () => {
      decided("refused")
      context.reject([...methods])
    }
    const accept = () => {
      // first the client only asks whether the key would do
      if (context.method === "publickey" && context.signature === undefined) return context.accept()
      if (all && ++passed < wanted.length) {
        decided("partial")
        return context.reject(wanted.slice(passed, passed + 1), true)
      }
      decided("accepted")
      context.accept()
    }
    if (username !== undefined && context.username !== username) return refuse()
    if (wanted.length === 0) return accept()
    if (!methods.includes(context.method)) return refuse()
    switch (context.method) {
      case "password": {
        if (password === undefined || context.password !== Redacted.value(password)) return refuse()
        return newPassword === undefined ? accept() : askForNew(context, Redacted.value(newPassword), accept)
      }
      case "keyboard-interactive":
        return ask(context, questions ?? [], (isRight) => isRight ? accept() : refuse())
      case "publickey": {
        return fits(context, keys) ? accept() : refuse()
      }
      default:
        return refuse()
    }
  }

  return (context: AuthContext): void => {
    const { method, username: user } = context
    attempt(context, all ? wanted.slice(passed, passed + 1) : wanted, (outcome) => report({ user, method, outcome }))
  }
}
