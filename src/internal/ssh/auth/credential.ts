import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { AgentUnavailable } from "../../../errors/SshError.ts"
import type { Prompt } from "./exchange.ts"

/** Somebody was asked and gave no answer. */
export class NoAnswer extends Schema.TaggedError<NoAnswer>("hawser/internal/NoAnswer")("NoAnswer", {
  why: Schema.String
}) {}

/** What became of a question whose answer failed. Only the error's name: its words may hold what was typed. */
const noAnswer = (error: unknown): NoAnswer => {
  const tag = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
  const name = typeof tag === "string" ? tag : error instanceof Error ? error.name : undefined
  return new NoAnswer({ why: name === undefined ? "no answer" : `no answer: ${name}` })
}

/** Asks a question of the user's, who may fail to answer it in any way. */
export const question = <A>(ask: Effect.Effect<A, unknown>): Effect.Effect<A, NoAnswer> =>
  Effect.mapError(ask, noAnswer)

/** A secret that is there, or one to ask for when it is needed. */
export type Secret = Redacted.Redacted | Effect.Effect<Redacted.Redacted, NoAnswer>

export const secret = (given: Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown>): Secret =>
  Redacted.isRedacted(given) ? given : question(given)

/** What a server asks in one round of keyboard-interactive. */
export interface Questions {
  readonly name: string
  readonly instruction: string
  readonly prompts: ReadonlyArray<Prompt>
}

/** Answers the rounds of one login. */
export type Respond = (questions: Questions) => Effect.Effect<ReadonlyArray<Redacted.Redacted>, NoAnswer>

/** Who holds private keys and signs with them. */
export interface Agent {
  /** How errors call it. */
  readonly name: string
  /** Opens a connection that speaks the agent protocol, for as long as the scope lives. */
  readonly connect: Effect.Effect<Duplex, AgentUnavailable, Scope.Scope>
}

export interface PrivateKeyCredential {
  readonly _tag: "PrivateKey"
  readonly key: string | Uint8Array | Redacted.Redacted
  readonly passphrase: Secret | undefined
  readonly certificate: string | Uint8Array | undefined
}

/** One way to log in, as the user describes it. In a file of its own, as published types cannot speak of ssh2's. */
export type Credential =
  | { readonly _tag: "None" }
  | {
    readonly _tag: "Password"
    readonly password: Secret
    readonly change: ((prompt: string) => Effect.Effect<Redacted.Redacted, NoAnswer>) | undefined
  }
  | PrivateKeyCredential
  | { readonly _tag: "Agent"; readonly agent: Agent; readonly keys: ReadonlyArray<string> | undefined }
  | { readonly _tag: "KeyboardInteractive"; readonly respond: () => Respond }
