import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { type PrivateKeyCredential, secret } from "./credential.ts"

/** A secret, or a way to ask for it when it is needed. */
export type SecretInput = Redacted.Redacted | Effect.Effect<Redacted.Redacted, unknown>

/** A private key. */
export interface PrivateKeyOptions {
  /** The key as text, as bytes, or the path of its file (which may begin with `~/`). */
  readonly key: string | Uint8Array | Redacted.Redacted
  /**
   * Its passphrase, where it has one. An Effect is run when the passphrase is needed: in OpenSSH's format when the server
   * would take the key, in others before anything is dialled.
   */
  readonly passphrase?: SecretInput | undefined
  /**
   * A user certificate of the key, as text, as bytes or the path of its file. Default: `KEY-cert.pub` beside the key's file,
   * where there is one.
   */
  readonly certificate?: string | Uint8Array | undefined
}

export const toCredential = ({ certificate, key, passphrase }: PrivateKeyOptions): PrivateKeyCredential => ({
  _tag: "PrivateKey",
  key,
  passphrase: passphrase === undefined ? undefined : secret(passphrase),
  certificate
})
