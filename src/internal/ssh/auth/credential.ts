import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Prompt } from "./exchange.ts"

/** Somebody was asked and gave no answer. */
export class NoAnswer extends Schema.TaggedError<NoAnswer>("hawser/internal/NoAnswer")("NoAnswer", {
  why: Schema.String
}) {}

/** A secret that is there, or one to ask for when it is needed. */
export type Secret = Redacted.Redacted | Effect.Effect<Redacted.Redacted, NoAnswer>

/** What a server asks in one round of keyboard-interactive. */
export interface Questions {
  readonly name: string
  readonly instruction: string
  readonly prompts: ReadonlyArray<Prompt>
}

/** Answers the rounds of one login. */
export type Respond = (questions: Questions) => Effect.Effect<ReadonlyArray<Redacted.Redacted>, NoAnswer>

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
  | { readonly _tag: "KeyboardInteractive"; readonly respond: () => Respond }
