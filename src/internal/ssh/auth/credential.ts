import type * as Redacted from "effect/Redacted"

/** One way to log in, as the user describes it. In a file of its own, as published types cannot speak of ssh2's. */
export type Credential =
  | { readonly _tag: "None" }
  | { readonly _tag: "Password"; readonly password: Redacted.Redacted }
  | {
    readonly _tag: "PrivateKey"
    readonly key: string | Uint8Array | Redacted.Redacted
    readonly passphrase: Redacted.Redacted | undefined
  }
