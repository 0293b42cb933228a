/**
 * Which host keys to accept: how a client knows that it talks to the right SSH server.
 *
 * A server proves who it is with a host key. Whoever accepts any key can be made to send passwords and commands to
 * anybody on the path, so a key is accepted only where something says that it belongs to the host: a `known_hosts` file
 * (the default), a fingerprint that came by another way, or, for the first meeting, the decision to trust.
 *
 * **Details**
 *
 * - `known_hosts` files are read as OpenSSH reads them: hashed names, `[host]:port`, several names and keys, patterns with
 *   `*`, `?` and `!`, `@revoked`, comments. They are read anew for each connection.
 * - Of the types of key a server may show, those that the file knows for the host are asked for first, so that a host
 *   known by its RSA key is not "unknown" because it has an Ed25519 key as well.
 * - A key is checked again whenever the two sides agree on new session keys; it must stay the same.
 * - RSA keys are accepted with SHA-2 signatures only (RFC 8332).
 *
 * **Gotchas**
 *
 * `@cert-authority` lines are passed over: host certificates are not supported, and the server then shows its plain key.
 *
 * **Example** (Pinning a key that was read from the machine's console)
 *
 * ```ts
 * import { HostKeys, SshAuth, type SshSettings } from "hawser"
 *
 * const settings: SshSettings.SshSettings = {
 *   host: "bastion",
 *   username: "ops",
 *   auth: SshAuth.privateKey({ key: "~/.ssh/id_ed25519" }),
 *   hostKeys: HostKeys.fingerprint("SHA256:8dQbV2+wV7QJXK0h6Wc3ZpLPfC0aoLx1cYTDl1u0pGg")
 * }
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { HostKeyRejected, type SshErrorReason, Unknown } from "../errors/SshError.ts"
import * as KnownHosts from "../internal/ssh/hostKeys/knownHosts.ts"
import { fingerprint as fingerprintOf, type HostKey as ShownKey } from "../internal/ssh/hostKeys/publicKey.ts"
import * as UserFiles from "../internal/ssh/userFiles.ts"

export type {
  /**
   * A key as a server shows it: its `type` (`ssh-ed25519`, ...), its `bytes` in SSH's own format, and its `fingerprint`
   * (`SHA256:...`, as `ssh-keygen -l` prints it).
   *
   * @category models
   * @since 0.1.0
   */
  HostKey
} from "../internal/ssh/hostKeys/publicKey.ts"

/**
 * The server whose key is being checked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server {
  /** The name or address that was asked for. */
  readonly host: string
  readonly port: number
}

/**
 * What is decided about one connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Check {
  /** Types of key to ask the server for first. */
  readonly preferredTypes: ReadonlyArray<string>
  /** Accepts a key or says why not. It may take its time: nothing is sent to the server meanwhile. */
  readonly verify: (key: ShownKey) => Effect.Effect<void, SshErrorReason>
  /** Runs once the server has proved that it holds the key that was accepted. */
  readonly proved: (key: ShownKey) => Effect.Effect<void, SshErrorReason>
}

/**
 * Which host keys to accept. `check` runs once for each connection, before anything is dialled.
 *
 * @category models
 * @since 0.1.0
 */
export interface HostKeys {
  readonly check: (server: Server) => Effect.Effect<Check, SshErrorReason>
}

const reject = (
  server: Server,
  key: ShownKey,
  why: HostKeyRejected["why"],
  detail: string
): Effect.Effect<never, HostKeyRejected> =>
  Effect.fail(
    new HostKeyRejected({
      host: KnownHosts.hostName(server.host, server.port),
      fingerprint: key.fingerprint,
      why,
      detail
    })
  )

/**
 * Accepts keys by a decision of your own: ask a person, look into a database. `verify` fails with `HostKeyRejected` (or
 * another reason of `SshError`) to refuse. The time it takes counts for `handshakeTimeout`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  verify: (server: Server, key: ShownKey) => Effect.Effect<void, SshErrorReason>
): HostKeys => ({
  check: (server) =>
    Effect.succeed({
      preferredTypes: [],
      verify: (key) => verify(server, key),
      proved: () => Effect.void
    })
})

const place = (entry: KnownHosts.KnownHost) => `${entry.file}:${entry.line}`

const load = (files: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<KnownHosts.KnownHost>, SshErrorReason> =>
  Effect.map(
    Effect.forEach(files, (file) =>
      Effect.mapBoth(UserFiles.readIfThere(file), {
        onSuccess: (bytes) => KnownHosts.parse(bytes.toString("utf8"), file),
        onFailure: (cause) => new Unknown({ detail: `cannot read known hosts from "${file}" (${cause.code})`, cause })
      })),
    (all) => all.flat()
  )

/** Refuses everything but a known key; what to do about a host that nothing is known about is the caller's. */
const verifyKnown = (
  entries: ReadonlyArray<KnownHosts.KnownHost>,
  server: Server,
  key: ShownKey,
  unknown: Effect.Effect<void, SshErrorReason>
): Effect.Effect<void, SshErrorReason> => {
  const host = KnownHosts.hostName(server.host, server.port)
  const found = KnownHosts.find(entries, host, key)
  switch (found._tag) {
    case "Match":
      return Effect.void
    case "Revoked":
      return reject(server, key, "revoked", `${place(found.entry)} revokes this ${key.type} key`)
    case "Changed":
      return reject(
        server,
        key,
        "changed",
        `${place(found.entry)} knows the ${key.type} key ${fingerprintOf(found.entry.key)}`
      )
    case "OtherTypes":
      return reject(
        server,
        key,
        "unknown",
        `it showed an ${key.type} key; known are ${
          found.entries.map((entry) => `${entry.keyType} (${place(entry)})`).join(", ")
        }`
      )
    default:
      return unknown
  }
}

/**
 * Settings of `knownHosts`.
 *
 * @category models
 * @since 0.1.0
 */
export interface KnownHostsOptions {
  /** The files to read; one that does not exist counts as empty. Default `["~/.ssh/known_hosts"]`. */
  readonly files?: ReadonlyArray<string> | undefined
}

const userFile = "~/.ssh/known_hosts"

/**
 * Accepts the keys that `known_hosts` files know for the host. The default of every connection.
 *
 * **Details**
 *
 * Rejects with `unknown` when no line is about the host (or only lines with other types of key are), `changed` when the
 * host is known by another key of the same type, and `revoked` when a line revokes the key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const knownHosts = (options?: KnownHostsOptions): HostKeys => {
  const files = options?.files ?? [userFile]
  return {
    check: Effect.fnUntraced(function*(server) {
      const entries = yield* load(files)
      return {
        preferredTypes: KnownHosts.knownTypes(entries, KnownHosts.hostName(server.host, server.port)),
        verify: (key) =>
          verifyKnown(
            entries,
            server,
            key,
            reject(server, key, "unknown", `no line for it in ${files.join(", ")}`)
          ),
        proved: () => Effect.void
      }
    })
  }
}

/**
 * Accepts the key with this fingerprint, or one of several (`SHA256:...`, as `ssh-keygen -l` prints it). Any other key is
 * rejected as `changed`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fingerprint = (...fingerprints: readonly [string, ...ReadonlyArray<string>]): HostKeys => {
  const expected = fingerprints.map((one) => one.replace(/=+$/, ""))
  return make((server, key) =>
    expected.includes(key.fingerprint)
      ? Effect.void
      : reject(server, key, "changed", `expected ${expected.join(" or ")}, not this ${key.type} key`)
  )
}

/**
 * Settings of `acceptNew`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AcceptNewOptions {
  /** The file that is read and added to; it is made where it is missing. Default `"~/.ssh/known_hosts"`. */
  readonly file?: string | undefined
}

/**
 * Trust on first use: accepts the key of a host that nothing is known about and adds it to the file; from then on it is
 * `knownHosts`. A key that differs from what the file knows is rejected.
 *
 * **Details**
 *
 * The key is written after the server has proved that it holds it, so nobody can plant the key of somebody else. If it
 * cannot be written the connection fails, with `Unknown`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const acceptNew = (options?: AcceptNewOptions): HostKeys => {
  const file = options?.file ?? userFile
  return {
    check: Effect.fnUntraced(function*(server) {
      const host = KnownHosts.hostName(server.host, server.port)
      const entries = yield* load([file])
      const record = (key: ShownKey) =>
        Effect.mapError(
          UserFiles.appendLine(file, KnownHosts.format(host, key)),
          (cause) => new Unknown({ detail: `cannot add the host key to "${file}" (${cause.code})`, cause })
        )
      return {
        preferredTypes: KnownHosts.knownTypes(entries, host),
        verify: (key) => verifyKnown(entries, server, key, Effect.void),
        // another connection may have met the host meanwhile
        proved: (key) => Effect.flatMap(load([file]), (now) => verifyKnown(now, server, key, record(key)))
      }
    })
  }
}

/**
 * Accepts any key. Anyone on the path can then pose as the server, read what is sent and change what comes back.
 *
 * @category constructors
 * @since 0.1.0
 */
export const insecureAcceptAny: HostKeys = make(() => Effect.void)
