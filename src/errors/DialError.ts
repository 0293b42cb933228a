/**
 * What can go wrong on the way to a peer, over any path.
 *
 * Every protocol reaches its peer through a `Dialer`, so every protocol fails with this one error while it is
 * connecting. `target` is what the caller asked for, `hop` is the part of the path that could not be passed and
 * `reason` says why.
 *
 * **Example** (Falling back when a database refuses connections)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TcpClient } from "hawser"
 *
 * const ping = TcpClient.TcpClient.use((tcp) => tcp.requestString("db:5432", "PING\n"))
 *
 * const program = ping.pipe(
 *   Effect.catchReason("DialError", "Refused", () => Effect.succeed("the database is down")),
 *   Effect.retry({ times: 3, while: (error) => error._tag === "DialError" && error.isRetryable })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * The target or the settings of the path cannot be understood: `why` says what is wrong with `input`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidTarget extends Schema.TaggedError<InvalidTarget>("hawser/DialError/InvalidTarget")(
  "InvalidTarget",
  { input: Schema.String, why: Schema.String }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `"${this.input}" is not usable: ${this.why}`
  }
}

/**
 * No address was found for `name`; `code` is the system's (`ENOTFOUND`, `EAI_AGAIN`, ...) or, where names are resolved by
 * Effect's `Dns`, the reason of its `DnsError` (`NotFound`, `Timeout`, `ServerFailure`, ...). Retryable when the resolver
 * could not answer now: `EAI_AGAIN`, `Timeout`, `Temporary`, `ServerFailure`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NameNotFound extends Schema.TaggedError<NameNotFound>("hawser/DialError/NameNotFound")(
  "NameNotFound",
  { name: Schema.String, code: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return ["EAI_AGAIN", "Timeout", "Temporary", "ServerFailure"].includes(this.code)
  }
  override get message(): string {
    return `the name "${this.name}" has no address (${this.code})`
  }
}

/**
 * Nothing listens at `address`: every address tried answered with a refusal.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Refused extends Schema.TaggedError<Refused>("hawser/DialError/Refused")(
  "Refused",
  { address: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `connection to ${this.address} refused; is something listening there?`
  }
}

/**
 * There is no route to `address`, or the local system does not permit the connection; `code` is the system's
 * (`EHOSTUNREACH`, `ENETUNREACH`, `EACCES`, ...).
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unreachable extends Schema.TaggedError<Unreachable>("hawser/DialError/Unreachable")(
  "Unreachable",
  { address: Schema.String, code: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return this.code !== "EACCES" && this.code !== "EPERM"
  }
  override get message(): string {
    return `${this.address} cannot be reached (${this.code})`
  }
}

/**
 * The path was not complete after `after`; `phase` says what it was waiting for.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectTimeout extends Schema.TaggedError<ConnectTimeout>("hawser/DialError/ConnectTimeout")(
  "ConnectTimeout",
  { after: Schema.Duration, phase: Schema.String }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `timed out after ${Duration.format(this.after)} while waiting for ${this.phase}`
  }
}

/**
 * Which check of a TLS handshake failed.
 *
 * - `name`: the certificate is not for the name that was dialled
 * - `expired`, `notYetValid`: the certificate's dates
 * - `issuer`: no trusted certificate authority issued it
 * - `selfSigned`: it was issued by itself, and is not trusted
 * - `revoked`: its issuer revoked it, or the revocation lists do not tell whether it did
 * - `pin`: the public key is not a pinned one
 * - `clientCertificate`: the server refused the client's certificate or demands one, or the client has none for us
 * - `protocol`: no common version, cipher or ALPN protocol, or the peer does not speak TLS
 * - `closed`: the connection ended during the handshake
 *
 * @category models
 * @since 0.1.0
 */
export const TlsCheck = Schema.Literals([
  "name",
  "expired",
  "notYetValid",
  "issuer",
  "selfSigned",
  "revoked",
  "pin",
  "clientCertificate",
  "protocol",
  "closed"
])

/**
 * Which check of a TLS handshake failed.
 *
 * @category models
 * @since 0.1.0
 */
export type TlsCheck = typeof TlsCheck.Type

/**
 * The TLS handshake failed: `check` says what was wrong, `code` is OpenSSL's or Node's own code, `servername` the name of
 * the peer and `detail` the whole story. `expected` and `received` are its two sides where the peer told its own: names,
 * dates, issuers, pins, protocols.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TlsHandshake extends Schema.TaggedError<TlsHandshake>("hawser/DialError/TlsHandshake")(
  "TlsHandshake",
  {
    check: TlsCheck,
    code: Schema.String,
    servername: Schema.String,
    detail: Schema.String,
    expected: Schema.optional(Schema.String),
    received: Schema.optional(Schema.String),
    cause: Schema.optional(Schema.Defect())
  }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return this.check === "closed"
  }
  override get message(): string {
    return `TLS handshake with "${this.servername}" failed on the ${this.check} check: ${this.detail} (${this.code})`
  }
}

/**
 * The proxy understood the request and said no: `code` is its own (a SOCKS reply code, an HTTP status, the exit code of a
 * command), `meaning` what the RFC says it means, or what the command said last.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ProxyRefused extends Schema.TaggedError<ProxyRefused>("hawser/DialError/ProxyRefused")(
  "ProxyRefused",
  { code: Schema.Int, meaning: Schema.String }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return this.code === 502 || this.code === 503 || this.code === 504
  }
  override get message(): string {
    return `the proxy refused: ${this.meaning} (${this.code})`
  }
}

/**
 * The proxy did not accept the credentials, or wants some where none were given; `detail` says which.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ProxyAuthentication extends Schema.TaggedError<ProxyAuthentication>(
  "hawser/DialError/ProxyAuthentication"
)("ProxyAuthentication", { detail: Schema.String }) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the proxy did not authenticate us: ${this.detail}`
  }
}

/**
 * What answered does not speak the proxy's protocol, or stopped in the middle of it; `detail` says what came.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ProxyProtocol extends Schema.TaggedError<ProxyProtocol>("hawser/DialError/ProxyProtocol")(
  "ProxyProtocol",
  { detail: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the proxy's answer makes no sense: ${this.detail}`
  }
}

/**
 * An SSH server did not open the tunnel to the target, or the SSH connection that carries it is gone.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TunnelRefused extends Schema.TaggedError<TunnelRefused>("hawser/DialError/TunnelRefused")(
  "TunnelRefused",
  { detail: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return `the SSH server did not open the tunnel: ${this.detail}`
  }
}

/**
 * The target has failed too often and is left alone for `retryAfter` (`Policy.layer`): nothing was dialled.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>("hawser/DialError/CircuitOpen")(
  "CircuitOpen",
  { retryAfter: Schema.Duration }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `not dialled: it failed too often and is left alone for ${Duration.format(this.retryAfter)}`
  }
}

/**
 * The target was dialled as often as it may be; the next dial is allowed in `retryAfter` (`Policy.layer`): nothing was
 * dialled.
 *
 * @category reasons
 * @since 0.1.0
 */
export class RateLimited extends Schema.TaggedError<RateLimited>("hawser/DialError/RateLimited")(
  "RateLimited",
  { retryAfter: Schema.Duration }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `not dialled: it was dialled too often; the next dial is allowed in ${Duration.format(this.retryAfter)}`
  }
}

/**
 * Something this library has no name for; `cause` is the system's error.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unknown extends Schema.TaggedError<Unknown>("hawser/DialError/Unknown")(
  "Unknown",
  { detail: Schema.String, cause: Schema.optional(Schema.Defect()) }
) {
  /** Whether dialling again could succeed. */
  get isRetryable(): boolean {
    return false
  }
  override get message(): string {
    return this.detail
  }
}

/**
 * Everything that can go wrong on the way to a peer.
 *
 * @category models
 * @since 0.1.0
 */
export const DialErrorReason = Schema.Union([
  InvalidTarget,
  NameNotFound,
  Refused,
  Unreachable,
  ConnectTimeout,
  TlsHandshake,
  ProxyRefused,
  ProxyAuthentication,
  ProxyProtocol,
  TunnelRefused,
  CircuitOpen,
  RateLimited,
  Unknown
])

/**
 * Everything that can go wrong on the way to a peer.
 *
 * @category models
 * @since 0.1.0
 */
export type DialErrorReason = typeof DialErrorReason.Type

/**
 * A connection could not be made.
 *
 * **Details**
 *
 * `target` is what the caller asked for. `hop` is the part of the path that failed: `"direct"` for the operating
 * system's own connect, otherwise the name of the layer (`"tls"`, `"socks5://127.0.0.1:1080"`, `"ssh ops@bastion:22"`).
 * Credentials are in neither.
 *
 * @category errors
 * @since 0.1.0
 */
export class DialError extends Schema.TaggedError<DialError>("hawser/DialError")("DialError", {
  target: Schema.String,
  hop: Schema.String,
  reason: DialErrorReason
}) {
  /** The reason, so that tools which print causes show it. */
  override readonly cause = this.reason

  /** Whether dialling again, unchanged, could succeed. */
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  override get message(): string {
    return this.hop === "direct"
      ? `${this.target}: ${this.reason.message}`
      : `${this.target} via ${this.hop}: ${this.reason.message}`
  }
}
