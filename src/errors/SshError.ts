/**
 * What can go wrong with SSH, once the server's port has been reached.
 *
 * Not reaching it is a `DialError`, which stands beside this one in the error channel. A command that ends with an exit
 * code other than 0 is not an error: the code is in its result.
 *
 * **Example** (Telling a wrong password from a lost connection)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Ssh, SshAuth } from "hawser"
 *
 * const uptime = Ssh.Ssh.use((ssh) => ssh.execute({ host: "db", username: "ops", auth: SshAuth.none }, "uptime"))
 *
 * const program = uptime.pipe(
 *   Effect.catchReason("SshError", "AuthenticationFailed", ({ remaining }) =>
 *     Effect.die(`give me one of ${remaining.join(", ")}`)),
 *   Effect.retry({ times: 3, while: (error) => error.isRetryable })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * Why a host key was not accepted.
 *
 * - `unknown`: nothing is known about this host; the key may be right, and somebody has to say so once
 * - `changed`: another key is known for this host; either the host was reinstalled or somebody sits in between
 * - `revoked`: the key is marked as revoked
 *
 * @category models
 * @since 0.1.0
 */
export const HostKeyProblem = Schema.Literals(["unknown", "changed", "revoked"])

/**
 * Why a host key was not accepted.
 *
 * @category models
 * @since 0.1.0
 */
export type HostKeyProblem = typeof HostKeyProblem.Type

/**
 * The server's host key was not accepted, and nothing was sent to it.
 *
 * `host` is the name that was looked up (`[bastion]:2222`), `keyType` and `fingerprint` (`SHA256:...`) are those of the key it
 * showed. `known` is the line that speaks against it: another key of the host, or the revocation of this one. `detail` says
 * all of it in words, and what to do.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HostKeyRejected extends Schema.TaggedError<HostKeyRejected>("hawser/SshError/HostKeyRejected")(
  "HostKeyRejected",
  {
    host: Schema.String,
    keyType: Schema.optional(Schema.String),
    fingerprint: Schema.String,
    why: HostKeyProblem,
    detail: Schema.String,
    known: Schema.optional(
      Schema.Struct({ file: Schema.String, line: Schema.Int, keyType: Schema.String, fingerprint: Schema.String })
    )
  }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    const key = this.keyType === undefined ? this.fingerprint : `${this.keyType} ${this.fingerprint}`
    return `the host key of ${this.host} is ${this.why}: it showed ${key}; ${this.detail}`
  }
}

/**
 * The server accepted none of the ways to log in. `tried` are the methods that were tried, in order: the name of the method,
 * then what is to be known in parentheses (which key, why an attempt was given up), as in `publickey (SHA256:... ~/.ssh/id_rsa)`.
 * `remaining` are those the server would still accept.
 *
 * @category reasons
 * @since 0.1.0
 */
export class AuthenticationFailed extends Schema.TaggedError<AuthenticationFailed>(
  "hawser/SshError/AuthenticationFailed"
)("AuthenticationFailed", { tried: Schema.Array(Schema.String), remaining: Schema.Array(Schema.String) }) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    const list = (methods: ReadonlyArray<string>) => methods.length === 0 ? "nothing" : methods.join(", ")
    return `authentication failed: tried ${list(this.tried)}; the server accepts ${list(this.remaining)}`
  }
}

/**
 * The two sides could not agree, the peer does not speak SSH, or the connection was lost before they were through, without a
 * word of the server, which is `closed`; `detail` says what happened.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HandshakeFailed extends Schema.TaggedError<HandshakeFailed>("hawser/SshError/HandshakeFailed")(
  "HandshakeFailed",
  { detail: Schema.String, closed: Schema.optional(Schema.Boolean), cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return this.closed === true
  }
  override get message(): string {
    return `the SSH handshake failed: ${this.detail}`
  }
}

/**
 * The session was not ready after `after`; `phase` says what it was waiting for.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HandshakeTimeout extends Schema.TaggedError<HandshakeTimeout>("hawser/SshError/HandshakeTimeout")(
  "HandshakeTimeout",
  { after: Schema.Duration, phase: Schema.String }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `timed out after ${Duration.format(this.after)} while waiting for ${this.phase}`
  }
}

/**
 * A private key cannot be used: the file is missing, the format is not known, or the passphrase is missing or wrong.
 * Found out before anything is dialled.
 *
 * @category reasons
 * @since 0.1.0
 */
export class KeyUnreadable extends Schema.TaggedError<KeyUnreadable>("hawser/SshError/KeyUnreadable")(
  "KeyUnreadable",
  { detail: Schema.String }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the private key cannot be used: ${this.detail}`
  }
}

/**
 * The server did not open a channel, or refused to run the command on it. `code` is that of RFC 4254, section 5.1
 * (1 prohibited, 2 connect failed, 3 unknown type, 4 resource shortage), or 0 where the server gave none.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ChannelRefused extends Schema.TaggedError<ChannelRefused>("hawser/SshError/ChannelRefused")(
  "ChannelRefused",
  { code: Schema.Int, detail: Schema.String }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return this.code === 4
  }
  override get message(): string {
    return `the server refused: ${this.detail} (${this.code})`
  }
}

/**
 * The connection to the server is gone. What a command had done by then is not known. `detail` says how it ended, in the
 * server's words where it said any, and `cause` is the system's error where there is one.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectionLost extends Schema.TaggedError<ConnectionLost>("hawser/SshError/ConnectionLost")(
  "ConnectionLost",
  { detail: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `the SSH connection is gone: ${this.detail}`
  }
}

/**
 * The command had not ended after `after`. Its channel was closed; servers do not always end the process then.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CommandTimeout extends Schema.TaggedError<CommandTimeout>("hawser/SshError/CommandTimeout")(
  "CommandTimeout",
  { after: Schema.Duration }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the command had not ended after ${Duration.format(this.after)}`
  }
}

/**
 * The command wrote more than `maxSize` bytes to its output and its error output together. Its channel was closed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class OutputTooLarge extends Schema.TaggedError<OutputTooLarge>("hawser/SshError/OutputTooLarge")(
  "OutputTooLarge",
  { maxSize: Schema.Int }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the command wrote more than ${this.maxSize} bytes`
  }
}

/**
 * The agent that holds the keys cannot be asked: there is no socket, nobody listens there, or it does not answer as an agent
 * does. Found out before anything is dialled.
 *
 * @category reasons
 * @since 0.1.0
 */
export class AgentUnavailable extends Schema.TaggedError<AgentUnavailable>("hawser/SshError/AgentUnavailable")(
  "AgentUnavailable",
  { detail: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the SSH agent cannot be asked: ${this.detail}`
  }
}

/**
 * Something that SSH has and this library does not carry. `feature` says what: a host that is known by a certificate
 * authority only, a server that insists on a post-quantum key exchange, a security key without an agent, ...
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unsupported extends Schema.TaggedError<Unsupported>("hawser/SshError/Unsupported")(
  "Unsupported",
  {
    feature: Schema.Literals(["host certificate", "post-quantum key exchange", "security key", "algorithm", "other"]),
    detail: Schema.String
  }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `not supported (${this.feature}): ${this.detail}`
  }
}

/**
 * An `ssh_config` file cannot be read or understood. `line` is 0 where the file as a whole is meant.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>("hawser/SshError/ConfigInvalid")(
  "ConfigInvalid",
  { file: Schema.String, line: Schema.Int, detail: Schema.String }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `${this.file}${this.line === 0 ? "" : `:${this.line}`}: ${this.detail}`
  }
}

/**
 * The server does not forward: it may be forbidden there, or `address` is in use.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ForwardRefused extends Schema.TaggedError<ForwardRefused>("hawser/SshError/ForwardRefused")(
  "ForwardRefused",
  { address: Schema.String, detail: Schema.String }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the server does not forward ${this.address}: ${this.detail}`
  }
}

/**
 * What an SFTP server answers when it cannot do something (draft-ietf-secsh-filexfer-02, section 7, by number):
 * 1 `EndOfFile`, 2 `NoSuchFile`, 3 `PermissionDenied`, 4 `Failure`, 5 `BadMessage`, 6 `NoConnection`, 7 `ConnectionLost`,
 * 8 `OpUnsupported`. OpenSSH says `Failure` to all that has no number here: a full disk, a folder that is not empty, a file
 * that exists. `Other` is a number of later versions.
 *
 * @category models
 * @since 0.1.0
 */
export const SftpStatusName = Schema.Literals([
  "EndOfFile",
  "NoSuchFile",
  "PermissionDenied",
  "Failure",
  "BadMessage",
  "NoConnection",
  "ConnectionLost",
  "OpUnsupported",
  "Other"
])

/**
 * What an SFTP server answers when it cannot do something.
 *
 * @category models
 * @since 0.1.0
 */
export type SftpStatusName = typeof SftpStatusName.Type

/**
 * The SFTP server could not do something with a file. `operation` is what (`open`, `rename`, ...), `path` with which file,
 * `code` the number of its answer, `status` its name and `detail` the server's words.
 *
 * @category reasons
 * @since 0.1.0
 */
export class SftpStatus extends Schema.TaggedError<SftpStatus>("hawser/SshError/SftpStatus")(
  "SftpStatus",
  {
    operation: Schema.String,
    path: Schema.String,
    code: Schema.Int,
    status: SftpStatusName,
    detail: Schema.String
  }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `${this.operation} ${JSON.stringify(this.path)}: ${
      this.detail === "" ? this.status : this.detail
    } (${this.code})`
  }
}

/**
 * The other side does not speak SFTP, or SCP, as it should: the server printed something before it began, an answer is too
 * long or has no question, a file is shorter than it was said to be. The channel was closed.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TransferProtocol extends Schema.TaggedError<TransferProtocol>("hawser/SshError/TransferProtocol")(
  "TransferProtocol",
  { detail: Schema.String }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the file transfer cannot go on: ${this.detail}`
  }
}

/**
 * Something this library has no name for; `cause` is the system's error.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unknown extends Schema.TaggedError<Unknown>("hawser/SshError/Unknown")(
  "Unknown",
  { detail: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether trying again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return this.detail
  }
}

/**
 * Everything that can go wrong with SSH.
 *
 * @category models
 * @since 0.1.0
 */
export const SshErrorReason = Schema.Union([
  HostKeyRejected,
  AuthenticationFailed,
  HandshakeFailed,
  HandshakeTimeout,
  KeyUnreadable,
  ChannelRefused,
  ConnectionLost,
  CommandTimeout,
  OutputTooLarge,
  AgentUnavailable,
  Unsupported,
  ConfigInvalid,
  ForwardRefused,
  SftpStatus,
  TransferProtocol,
  Unknown
])

/**
 * Everything that can go wrong with SSH.
 *
 * @category models
 * @since 0.1.0
 */
export type SshErrorReason = typeof SshErrorReason.Type

/**
 * SSH failed. `server` says with whom (`ssh ops@bastion:22`) and `reason` why.
 *
 * @category errors
 * @since 0.1.0
 */
export class SshError extends Schema.TaggedError<SshError>("hawser/SshError")("SshError", {
  server: Schema.String,
  reason: SshErrorReason
}) {
  /** The reason, so that tools which print causes show it. */
  override readonly cause = this.reason

  /** Whether trying again, unchanged, could succeed. */
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return `${this.server}: ${this.reason.message}`
  }
}
