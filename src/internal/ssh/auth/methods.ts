/** The methods that need no key (RFC 4252, sections 5.2 and 8, and RFC 4256). */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import { asking } from "../patience.ts"
import { boolean, string, uint32 } from "../wire.ts"
import { type Credential, NoAnswer, type Respond, type Secret } from "./credential.ts"
import { type Reply, request } from "./exchange.ts"
import { type Attempt, givenUp, type Outcome } from "./login.ts"

/** Gets a secret, by asking where it is not there. */
export const reveal = (secret: Secret): Effect.Effect<Redacted.Redacted, NoAnswer> =>
  Redacted.isRedacted(secret) ? Effect.succeed(secret) : asking(secret)

const field = (secret: Redacted.Redacted) => string(Redacted.value(secret))

/** Takes a reply for the end of an attempt. */
export const settled = (reply: Reply): Outcome =>
  reply._tag === "Accepted" || reply._tag === "Refused" ? reply : givenUp("the server answered what was not asked")

/** Who gives no answer gives up the attempt. */
export const orGivenUp = (
  attempt: Effect.Effect<Outcome, NoAnswer | SshErrorReason>
): Effect.Effect<Outcome, SshErrorReason> =>
  Effect.catchTag(attempt, "NoAnswer", ({ why }) => Effect.succeed(givenUp(why)))

export const none: Attempt = {
  method: "none",
  run: (exchange, username) => Effect.map(exchange.ask("none", request(username, "none")), settled)
}

type PasswordCredential = Credential & { readonly _tag: "Password" }

/** How often a server may refuse new passwords before we stop asking for others. */
const maxChanges = 3

/** Logs in with a password, which is asked for once where it is not there. */
const plainPassword = (
  { change }: PasswordCredential,
  revealed: Effect.Effect<Redacted.Redacted, NoAnswer>
): Attempt => ({
  method: "password",
  run: (exchange, username) =>
    orGivenUp(Effect.gen(function*() {
      const old = yield* revealed
      const ask = (...fields: ReadonlyArray<Uint8Array>) =>
        exchange.ask("password", request(username, "password", ...fields))
      let reply = yield* ask(boolean(false), field(old))
      for (let changes = 0; reply._tag === "ChangePassword"; changes++) {
        if (change === undefined) return givenUp("it has to be changed")
        if (changes === maxChanges) return givenUp("the server accepted none of the new passwords")
        reply = yield* ask(boolean(true), field(old), field(yield* asking(change(reply.prompt))))
      }
      return settled(reply)
    }))
})

/** Answers the one question that stands for a password: the first, if the answer is not to be seen. */
const asAnswer = (revealed: Effect.Effect<Redacted.Redacted, NoAnswer>) => (): Respond => {
  let isAnswered = false
  return ({ prompts }) => {
    if (prompts.length === 0) return Effect.succeed([])
    if (isAnswered || prompts.length > 1 || prompts[0]?.echo === true) {
      return Effect.fail(new NoAnswer({ why: "the server asks for more than a password" }))
    }
    isAnswered = true
    return Effect.map(revealed, (password) => [password])
  }
}

/** A password, and the same as an answer for servers that ask for it only so. */
export const password = Effect.fnUntraced(function*(credential: PasswordCredential) {
  const revealed = yield* Effect.cached(reveal(credential.password))
  const question = keyboardInteractive({ _tag: "KeyboardInteractive", respond: asAnswer(revealed) })
  const instead: Attempt = { ...question, detail: "with the password", insteadOf: "password" }
  return [plainPassword(credential, revealed), instead]
})

const infoResponse = (answers: ReadonlyArray<Redacted.Redacted>): Buffer =>
  Buffer.concat([Buffer.of(61), uint32(answers.length), ...answers.map(field)])

export const keyboardInteractive = (credential: Credential & { readonly _tag: "KeyboardInteractive" }): Attempt => ({
  method: "keyboard-interactive",
  run: (exchange, username) =>
    orGivenUp(Effect.gen(function*() {
      const respond = credential.respond()
      const ask = (message: Uint8Array) => exchange.ask("keyboard-interactive", message)
      let reply = yield* ask(request(username, "keyboard-interactive", string(""), string("")))
      while (reply._tag === "Questions") {
        const { instruction, name, prompts } = reply
        const answers = yield* asking(respond({ name, instruction, prompts }))
        // a round without questions has something to say and wants nothing
        const given = prompts.length === 0 ? [] : answers
        if (given.length !== prompts.length) {
          return givenUp(`${given.length} answers to ${prompts.length} questions`)
        }
        reply = yield* ask(infoResponse(given))
      }
      return settled(reply)
    }))
})
