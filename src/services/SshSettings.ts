/**
 * Which SSH server, as whom, over which way, and how to know that it is the right one.
 *
 * Settings are plain data: write them down, or read them from the files that `ssh` uses.
 *
 * **Example** (Through two jump hosts)
 *
 * ```ts
 * import { SshAuth, type SshSettings } from "hawser"
 *
 * const auth = SshAuth.privateKey({ key: "~/.ssh/id_ed25519" })
 *
 * const settings: SshSettings.SshSettings = {
 *   host: "db.internal",
 *   username: "ops",
 *   auth,
 *   jump: [
 *     { host: "gate.example.com", username: "ops", auth },
 *     { host: "bastion.internal", username: "ops", auth }
 *   ]
 * }
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as HostKeys from "./HostKeys.ts"
import type { SshAgent } from "./SshAgent.ts"
import type * as SshAuth from "./SshAuth.ts"

/**
 * Which algorithms to offer, in order of preference, by the names of the protocol. What is not given keeps the default:
 * no SHA-1, no CBC, no Diffie-Hellman group of less than 2048 bits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Algorithms {
  readonly keyExchange?: ReadonlyArray<string> | undefined
  readonly hostKey?: ReadonlyArray<string> | undefined
  readonly cipher?: ReadonlyArray<string> | undefined
  readonly mac?: ReadonlyArray<string> | undefined
  readonly compression?: ReadonlyArray<string> | undefined
}

/**
 * Which server, as whom, and how to know that it is the right one.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshSettings {
  /** A name or an address, without brackets. */
  readonly host: string
  /** Default 22. */
  readonly port?: number | undefined
  /** Whom to log in as. */
  readonly username: string
  /** One way to log in, or several that are tried in order. */
  readonly auth: SshAuth.SshAuth | ReadonlyArray<SshAuth.SshAuth>
  /** Which host keys to accept. Default `HostKeys.knownHosts()`. */
  readonly hostKeys?: HostKeys.HostKeys | undefined
  /** The name to look the host key up by, without a port. Default: `host` and `port`. */
  readonly hostKeyAlias?: string | undefined
  /** Servers to go through, the first one first: each is dialled from the one before. */
  readonly jump?: SshSettings | ReadonlyArray<SshSettings> | undefined
  /**
   * A command whose input and output are the connection to the server, instead of the Dialer: `%h` and `%p` in it stand for
   * host and port. The shell of this machine runs it. With `jump`, it leads to the first of those.
   */
  readonly proxyCommand?: string | undefined
  /** Which algorithms to offer. */
  readonly algorithms?: Algorithms | undefined
  /**
   * How long the way to the server's port may take, from where it is dialled: the logins to servers on the way have times of
   * their own. Default: that of the Dialer.
   */
  readonly connectTimeout?: Duration.Input | undefined
  /** How often to try to reach that port, with a second between. Default 1. */
  readonly connectionAttempts?: number | undefined
  /**
   * How long it may take from there until commands can run: the keys, the verification of the host key, the login. Default
   * 20 seconds.
   */
  readonly handshakeTimeout?: Duration.Input | undefined
  /**
   * How often to ask a silent server whether it is still there. `false` never asks. Default 15 seconds.
   */
  readonly keepAlive?: Duration.Input | false | undefined
  /** After how many questions without an answer the session counts as lost. Default 3. */
  readonly keepAliveCount?: number | undefined
  /**
   * When to agree on new session keys: after so many bytes in both directions together, default 1 GiB, and after so long,
   * default 1 hour, as soon as something passes.
   */
  readonly rekey?: {
    readonly bytes?: number | undefined
    readonly interval?: Duration.Input | undefined
  } | undefined
  /** Environment variables for every command and shell, as far as the server allows them (`AcceptEnv`). */
  readonly env?: Readonly<Record<string, string>> | undefined
  /**
   * An agent that commands and shells on the server may ask, as `ssh -A` has it: they log in elsewhere with its keys, and so
   * can the server's administrator while the session lasts. Where the server does not allow it they run without. Default: none.
   */
  readonly agentForwarding?: SshAgent | undefined
}
