/**
 * Ways to log in to an SSH server.
 *
 * Give one, or several that are tried in order. The server says which methods it still accepts; what it does not accept is
 * not offered to it, so a password is not sent to a server that only wants keys (unless it is the first in the list), and a
 * server that wants a key *and* a password gets both.
 *
 * **Details**
 *
 * Keys are read and decrypted before anything is dialled: a missing file or a wrong passphrase is `KeyUnreadable`, not a
 * refused login. Formats: OpenSSH (new and old PEM), PuTTY version 2, RFC 4716. Types: Ed25519, ECDSA, RSA (with SHA-2
 * signatures where the server knows them).
 *
 * **Gotchas**
 *
 * Decrypting an OpenSSH key takes about 0.2 seconds in which the process does nothing else.
 *
 * **Example** (A key, and a password where the server does not accept the key)
 *
 * ```ts
 * import { Config, Effect } from "effect"
 * import { Ssh, SshAuth } from "hawser"
 *
 * const hostname = Effect.gen(function*() {
 *   const ssh = yield* Ssh.Ssh
 *   const password = yield* Config.Redacted("DB_PASSWORD")
 *   return yield* ssh.execute({
 *     host: "db.internal",
 *     username: "ops",
 *     auth: [SshAuth.privateKey({ key: "~/.ssh/id_ed25519" }), SshAuth.password(password)]
 *   }, "hostname")
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as Redacted from "effect/Redacted"
import type { Credential } from "../internal/ssh/auth/credential.ts"

/**
 * One way to log in.
 *
 * @category models
 * @since 0.1.0
 */
export type SshAuth = Credential

/**
 * A private key.
 *
 * @category models
 * @since 0.1.0
 */
export interface PrivateKeyOptions {
  /** The key as text, as bytes, or the path of its file (which may begin with `~/`). */
  readonly key: string | Uint8Array | Redacted.Redacted
  /** Its passphrase, where it has one. */
  readonly passphrase?: Redacted.Redacted | undefined
}

/**
 * Logs in with a password (RFC 4252, section 8).
 *
 * @category constructors
 * @since 0.1.0
 */
export const password = (password: Redacted.Redacted): SshAuth => ({
  _tag: "Password",
  password,
  change: undefined
})

/**
 * Logs in with a private key (RFC 4252, section 7).
 *
 * @category constructors
 * @since 0.1.0
 */
export const privateKey = (options: PrivateKeyOptions): SshAuth => ({
  _tag: "PrivateKey",
  key: options.key,
  passphrase: options.passphrase,
  certificate: undefined
})

/**
 * Logs in with the user name alone, where the server asks for nothing more. As the first of several it makes the server say
 * which methods it accepts, for one more round trip.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: SshAuth = { _tag: "None" }
