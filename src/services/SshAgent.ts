/**
 * Agents that hold private keys and sign with them, so that a program can log in without ever seeing a key.
 *
 * An agent is a value: something that can be connected to and then speaks the agent protocol. Give one to
 * `SshAuth.agent` to log in with its keys, or to a session to let commands on the server use it.
 *
 * **Details**
 *
 * - `fromEnv` is the agent that `ssh` uses too, `socket` one that listens elsewhere (gpg-agent, a password manager, Pageant
 *   and Windows' own by the path of a named pipe), `inMemory` holds keys in this process.
 * - Each question is a connection of its own. Listing keys may take 10 seconds, signing two minutes, as a person may have to
 *   touch a security key or to allow it.
 * - All keys that the agent can sign with can be used: certificates and security keys (`sk-ssh-ed25519@openssh.com`) too.
 *
 * **Gotchas**
 *
 * Keys that an agent limits to certain destinations (`ssh-add -h`) are not signed with: it is not told which server asks.
 *
 * **Example** (An agent that only this program knows)
 *
 * ```ts
 * import { Config, Effect } from "effect"
 * import { Ssh, SshAgent, SshAuth } from "hawser"
 *
 * const hostname = Effect.gen(function*() {
 *   const ssh = yield* Ssh.Ssh
 *   const agent = SshAgent.inMemory({ key: yield* Config.Redacted("DEPLOY_KEY") })
 *   return yield* ssh.execute({ host: "db.internal", username: "ops", auth: SshAuth.agent(agent) }, "hostname")
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { AgentUnavailable } from "../errors/SshError.ts"
import * as AgentClient from "../internal/ssh/auth/agent.ts"
import * as Agents from "../internal/ssh/auth/agents.ts"
import type { Agent } from "../internal/ssh/auth/credential.ts"
import { type PrivateKeyOptions, toCredential } from "../internal/ssh/auth/privateKeyOptions.ts"
import { fingerprint, typeOf } from "../internal/ssh/hostKeys/publicKey.ts"

/**
 * Who holds private keys and signs with them: `name` is what errors call it, `connect` opens a connection that speaks the
 * agent protocol (draft-ietf-sshm-ssh-agent) for as long as the scope lives. Make one of your own from anything that gives
 * such a connection.
 *
 * @category models
 * @since 0.1.0
 */
export type SshAgent = Agent

/**
 * A key that an agent holds.
 *
 * @category models
 * @since 0.1.0
 */
export interface AgentKey {
  /** `ssh-ed25519`, `sk-ssh-ed25519@openssh.com`, `ssh-rsa-cert-v01@openssh.com`, ... */
  readonly type: string
  /** `SHA256:...` of the key, also where it is in a certificate, as `ssh-add -l` prints it. */
  readonly fingerprint: string
  /** What whoever added it called it. */
  readonly comment: string
  /** A line as a `.pub` file has it. */
  readonly publicKey: string
}

/**
 * The agent that listens at a unix socket, whose path may begin with `~/`, or at a named pipe of Windows
 * (`\\.\pipe\openssh-ssh-agent`).
 *
 * **Details**
 *
 * Connecting fails with `AgentUnavailable` when nobody listens there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const socket = (path: string): SshAgent => Agents.socket(path)

/**
 * The agent that the variable `SSH_AUTH_SOCK` names, looked up by `Config` whenever it is connected to.
 *
 * **Details**
 *
 * Connecting fails with `AgentUnavailable` when there is no such variable, or nobody listens there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromEnv: SshAgent = Agents.fromEnv

/**
 * An agent in this process that holds these keys, with their certificates. It signs and does nothing else: keys can neither
 * be added nor removed by who connects to it, and RSA keys sign with SHA-2 only.
 *
 * **Details**
 *
 * Connecting fails with `AgentUnavailable` when a key cannot be read; the `KeyUnreadable` is its cause.
 *
 * @category constructors
 * @since 0.1.0
 */
export const inMemory = (...keys: ReadonlyArray<PrivateKeyOptions>): SshAgent => Agents.inMemory(keys.map(toCredential))

/**
 * What an agent holds, as `ssh-add -L` lists it. Fails with `AgentUnavailable`, also when it is silent for 10 seconds.
 *
 * @category combinators
 * @since 0.1.0
 */
export const keys = (agent: SshAgent): Effect.Effect<ReadonlyArray<AgentKey>, AgentUnavailable> =>
  Effect.map(AgentClient.list(agent), (held) =>
    held.map(({ bytes, comment }) => ({
      type: typeOf(bytes),
      fingerprint: fingerprint(AgentClient.keyOf(bytes)),
      comment,
      publicKey: `${typeOf(bytes)} ${bytes.toString("base64")} ${comment}`.trimEnd()
    })))
