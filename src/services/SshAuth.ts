/**
 * Ways to log in to an SSH server.
 *
 * Give one, or several that are tried in order. The server says which methods it still accepts; what it does not accept is
 * not offered to it, so a password is not sent to a server that only wants keys (unless it is the first in the list), and a
 * server that wants a key *and* a password gets both, in the order that it wants.
 *
 * **Details**
 *
 * - **Keys** are read and decrypted before anything is dialled: a missing file or a wrong passphrase is `KeyUnreadable`, not
 *   a refused login. Formats: OpenSSH, PEM (PKCS#1, SEC1), PKCS#8, each encrypted or not, and PuTTY version 2 with RSA.
 *   Types: Ed25519, ECDSA (256, 384, 521), RSA.
 * - **Certificates** of OpenSSH are used with all of these types, and tried before the key alone.
 * - **Agents** sign with whatever they hold, security keys and certificates included. Where there is no agent, the other ways
 *   are tried; as the only way it is `AgentUnavailable`, before anything is dialled.
 * - **People** who are asked (for a passphrase, a password, an answer, a touch) may take their time: `handshakeTimeout` does
 *   not count it. Whoever gives no answer ends that attempt, and the next one is tried.
 * - `AuthenticationFailed` says what was tried, with the fingerprints of keys, and what the server would still accept.
 *
 * **Gotchas**
 *
 * - Servers count tries; OpenSSH's hangs up after six. An agent with many keys wants `keys`, which says which of them to offer.
 * - Servers have a clock of their own, too: OpenSSH's gives a login two minutes (`LoginGraceTime`), whoever is being asked.
 * - RSA keys sign with SHA-2 only (RFC 8332): servers older than OpenSSH 7.2 do not accept them.
 * - Decrypting a key of OpenSSH's takes about 0.2 seconds in which the process does nothing else. It is done once for each
 *   value that `privateKey` gives, so keep the value where you connect often.
 * - Not there: security keys without an agent (`Unsupported`), DSA keys, GSSAPI and host-based logins.
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
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import {
  type Credential,
  NoAnswer,
  question,
  type Questions,
  type Respond,
  secret
} from "../internal/ssh/auth/credential.ts"
import { type PrivateKeyOptions, type SecretInput, toCredential } from "../internal/ssh/auth/privateKeyOptions.ts"
import * as SshAgent from "./SshAgent.ts"

export type {
  /**
   * A private key, and what belongs to it.
   *
   * @category models
   * @since 0.1.0
   */
  PrivateKeyOptions,
  /**
   * A secret, or an Effect that asks for it when it is needed. A failure of the Effect ends the attempt; the error of the
   * login then has its name, not its words.
   *
   * @category models
   * @since 0.1.0
   */
  SecretInput
} from "../internal/ssh/auth/privateKeyOptions.ts"

export type {
  /**
   * What a server asks in one round of keyboard-interactive: a `name` and an `instruction`, which are often empty, and any
   * number of `prompts`, even none. Where `echo` is false the answer must not be seen while it is typed.
   *
   * @category models
   * @since 0.1.0
   */
  Questions
} from "../internal/ssh/auth/credential.ts"

/**
 * One way to log in.
 *
 * @category models
 * @since 0.1.0
 */
export type SshAuth = Credential

/**
 * What `password` can do beside sending it.
 *
 * @category models
 * @since 0.1.0
 */
export interface PasswordOptions {
  /**
   * Gives a new password when the server wants the old one to be changed; `prompt` is what it says to that. Asked again when
   * the server does not like the new one, three times at most. Without it the attempt ends there.
   */
  readonly change?: ((prompt: string) => Effect.Effect<Redacted.Redacted, unknown>) | undefined
}

/**
 * Logs in with a password (RFC 4252, section 8).
 *
 * **Details**
 *
 * Where the server does not accept passwords as such and asks questions instead (keyboard-interactive, as with PAM), the
 * password answers the first one, if that is the only one in its round and its answer must not be seen. Give
 * `keyboardInteractive` as well to decide otherwise.
 *
 * @category constructors
 * @since 0.1.0
 */
export const password = (password: SecretInput, options: PasswordOptions = {}): SshAuth => {
  const { change } = options
  return {
    _tag: "Password",
    password: secret(password),
    change: change === undefined ? undefined : (prompt) => question(change(prompt))
  }
}

/**
 * Logs in with a private key, or with a certificate of it (RFC 4252, section 7).
 *
 * **Details**
 *
 * Before anything is dialled, `connect` fails with `KeyUnreadable` when the key cannot be read or decrypted, or when
 * `certificate` is one that has expired, is not valid yet, belongs to another key or to a host; with `Unsupported` when the
 * file is the handle of a security key. A certificate that lies beside the key's file and is of no use is passed over, as
 * `ssh` does, and the error of a refused login says so.
 *
 * @category constructors
 * @since 0.1.0
 */
export const privateKey = (options: PrivateKeyOptions): SshAuth => toCredential(options)

/**
 * Which keys of an agent to use.
 *
 * @category models
 * @since 0.1.0
 */
export interface AgentOptions {
  /**
   * The keys to offer to the server, each by its fingerprint (`SHA256:...`), by a line as a `.pub` file has it, or by the path
   * of such a file. Certificates go with their keys. Default: all, certificates first.
   */
  readonly keys?: ReadonlyArray<string> | undefined
}

/**
 * Logs in with the keys of an agent. Default: `SshAgent.fromEnv`.
 *
 * **Details**
 *
 * The server is asked whether a key would do before the agent has to sign. An agent that has no keys, or that refuses to
 * sign, is a failed attempt; the error of the login says which.
 *
 * @category constructors
 * @since 0.1.0
 */
export const agent = (agent: SshAgent.SshAgent = SshAgent.fromEnv, options: AgentOptions = {}): SshAuth => ({
  _tag: "Agent",
  agent,
  keys: options.keys
})

/** The answers that are known beforehand, in order, over all rounds. */
const inOrder = (answers: ReadonlyArray<Redacted.Redacted>) => (): Respond => {
  let next = 0
  return ({ prompts }) => {
    const given = answers.slice(next, next += prompts.length)
    const unanswered = prompts[given.length]
    return unanswered === undefined
      ? Effect.succeed(given)
      : Effect.fail(new NoAnswer({ why: `no answer to ${JSON.stringify(unanswered.prompt)}` }))
  }
}

type Answers = ReadonlyArray<Redacted.Redacted>
type Asked = readonly [respond: (questions: Questions) => Effect.Effect<Answers, unknown>]

const isAsked = (given: Answers | Asked): given is Asked => typeof given[0] === "function"

/**
 * Logs in by answering what the server asks (RFC 4256): a password, a code, a choice.
 *
 * **Details**
 *
 * Either with answers that are known beforehand, given in order to all questions of all rounds, or with a function that is
 * called for each round and gives one answer to each prompt. What it answers to a round without prompts is not sent.
 * A question without an answer ends the attempt; the error of the login has the question.
 *
 * **Example** (Asking for a one-time code)
 *
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { SshAuth } from "hawser"
 *
 * declare const ask: (question: string) => Effect.Effect<string>
 *
 * const auth = SshAuth.keyboardInteractive(({ prompts }) =>
 *   Effect.forEach(prompts, ({ prompt }) => Effect.map(ask(prompt), (answer) => Redacted.make(answer)))
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const keyboardInteractive: {
  (respond: (questions: Questions) => Effect.Effect<ReadonlyArray<Redacted.Redacted>, unknown>): SshAuth
  (...answers: ReadonlyArray<Redacted.Redacted>): SshAuth
} = (...given: Answers | Asked): SshAuth => ({
  _tag: "KeyboardInteractive",
  respond: isAsked(given) ? () => (questions) => question(given[0](questions)) : inOrder(given)
})

/**
 * Logs in with the user name alone, where the server asks for nothing more. As the first of several it makes the server say
 * which methods it accepts, for one more round trip.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: SshAuth = { _tag: "None" }
