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
 *   `*`, `?` and `!`, `@revoked`, comments. They are read anew for each connection. A server on a port other than 22 for which
 *   there is no line is looked up without its port as well, where it may be known but not contradicted. The address behind
 *   a name is not looked up (`CheckHostIP` of `ssh` is off).
 * - Of the types of key a server may show, those that the file knows for the host are asked for first, so that a host
 *   known by its RSA key does not show the Ed25519 key that it has as well.
 * - A key is checked again whenever the two sides agree on new session keys; it must stay the same.
 * - RSA keys are accepted with SHA-2 signatures only (RFC 8332).
 *
 * **Gotchas**
 *
 * Host certificates are not supported: the server shows its plain key. A host for which there is a `@cert-authority` line
 * and no key is refused with `Unsupported`; one that is known by its plain key as well is accepted by that.
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
import { dual } from "effect/Function"
import { type HostKeyRejected, type SshErrorReason, Unknown } from "../errors/SshError.ts"
import * as Decision from "../internal/ssh/hostKeys/decision.ts"
import * as Files from "../internal/ssh/hostKeys/files.ts"
import * as HostNames from "../internal/ssh/hostKeys/hostNames.ts"
import * as KnownHosts from "../internal/ssh/hostKeys/knownHosts.ts"
import * as PublicKey from "../internal/ssh/hostKeys/publicKey.ts"
import { refusal, rejected } from "../internal/ssh/hostKeys/refusal.ts"
import { asking } from "../internal/ssh/patience.ts"

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
  /** The name to look its key up by instead, without a port: `hostKeyAlias` of the settings. */
  readonly alias?: string | undefined
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
  readonly verify: (key: PublicKey.HostKey) => Effect.Effect<void, SshErrorReason>
  /** Runs once the server has proved that it holds the key that was accepted. */
  readonly proved: (key: PublicKey.HostKey) => Effect.Effect<void, SshErrorReason>
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

/**
 * Refuses a key: what a decision of your own fails with. `detail` says why in words.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reject = (
  server: Server,
  key: PublicKey.HostKey,
  why: HostKeyRejected["why"],
  detail: string
): Effect.Effect<never, HostKeyRejected> => Effect.fail(rejected(server, key, why, detail))

/**
 * Accepts keys by a decision of your own, as from a database. `verify` fails with `reject` (or another reason of `SshError`)
 * to refuse. The time it takes counts for `handshakeTimeout`.
 *
 * **Example** (Host keys from an inventory)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { HostKeys } from "hawser"
 *
 * declare const inventory: { readonly fingerprintOf: (host: string) => Effect.Effect<string> }
 *
 * const hostKeys = HostKeys.make((server, key) =>
 *   Effect.flatMap(inventory.fingerprintOf(server.host), (expected) =>
 *     expected === key.fingerprint
 *       ? Effect.void
 *       : HostKeys.reject(server, key, "changed", `the inventory has ${expected}`))
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  verify: (server: Server, key: PublicKey.HostKey) => Effect.Effect<void, SshErrorReason>
): HostKeys => ({
  check: (server) =>
    Effect.succeed({
      preferredTypes: [],
      verify: (key) => verify(server, key),
      proved: () => Effect.void
    })
})

/** A check against known hosts, with what to do about a host that nothing is known about. */
const checkAgainst = (
  { lines, looked }: Files.KnownHosts,
  server: Server,
  options?: {
    readonly unknown: (key: PublicKey.HostKey, refused: SshErrorReason) => Effect.Effect<void, SshErrorReason>
    readonly proved: Check["proved"]
  }
): Check => {
  const known = Decision.lookUp(lines, HostNames.namesOf(server))
  return {
    preferredTypes: Decision.preferredTypes(known),
    verify: (key) => {
      const decision = Decision.decide(known, key)
      if (decision._tag === "Known") return Effect.void
      const refused = refusal(server, key, decision, looked)
      return decision._tag === "Unknown" && options !== undefined
        ? options.unknown(key, refused)
        : Effect.fail(refused)
    },
    proved: options?.proved ?? (() => Effect.void)
  }
}

/**
 * Settings of `knownHosts`.
 *
 * @category models
 * @since 0.1.0
 */
export interface KnownHostsOptions {
  /**
   * The files to read. One that is not there counts as empty, and so does one that cannot be read; the error says so then.
   * Default: those of `ssh`, which are `known_hosts` and `known_hosts2` in `~/.ssh`, and `ssh_known_hosts` and
   * `ssh_known_hosts2` in `/etc/ssh`.
   */
  readonly files?: ReadonlyArray<string> | undefined
}

/**
 * Accepts the keys that `known_hosts` files know for the host. The default of every connection.
 *
 * **Details**
 *
 * Rejects with `unknown` when no line is about the host, `changed` when the host is known by other keys, of whatever type,
 * and `revoked` when a line revokes the key. Fails with `Unsupported` when the host is known by a certificate authority
 * only. The decisions are those of `ssh -o StrictHostKeyChecking=yes`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const knownHosts = (options?: KnownHostsOptions): HostKeys => {
  const files = options?.files ?? Files.defaultFiles
  return { check: (server) => Effect.map(Files.load(files), (known) => checkAgainst(known, server)) }
}

/**
 * Accepts the keys of a text in the format of `known_hosts` files, such as a secret store or an environment variable holds.
 * `name` is what errors call it, by default "the given known hosts". Decides as `knownHosts` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromText = (text: string, name = "the given known hosts"): HostKeys => {
  const known = {
    lines: KnownHosts.parse(Buffer.from(text), { name, isFile: false }),
    looked: `no line for it in ${name}`
  }
  return { check: (server) => Effect.succeed(checkAgainst(known, server)) }
}

/**
 * Accepts the key with this fingerprint, or one of several (`SHA256:...`, as `ssh-keygen -l` prints it). Any other key is
 * rejected as `changed`. Something else than such a fingerprint fails with `Unknown`, before anything is dialled.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fingerprint = (...fingerprints: readonly [string, ...ReadonlyArray<string>]): HostKeys => {
  const expected = fingerprints.map((one) => one.replace(/=+$/, ""))
  const wrong = expected.find((one) => !/^SHA256:[A-Za-z0-9+/]{43}$/.test(one))
  const hostKeys = make((server, key) =>
    expected.includes(key.fingerprint)
      ? Effect.void
      : reject(server, key, "changed", `expected ${expected.join(" or ")}`)
  )
  return wrong === undefined ? hostKeys : {
    check: () =>
      Effect.fail(new Unknown({ detail: `"${wrong}" is not a fingerprint as ssh-keygen -l prints it (SHA256:...)` }))
  }
}

/**
 * A server that nothing is known about, and the key that it shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Question {
  readonly server: Server
  /** The name that it would be remembered by: `bastion`, `[bastion]:2222`. */
  readonly name: string
  readonly key: PublicKey.HostKey
  /** Where the same key stands for other names: `~/.ssh/known_hosts:3: bastion.internal`. */
  readonly alsoKnownAs: ReadonlyArray<string>
}

/**
 * What to do about a key: accept it and add it to the file, accept it for this connection, or refuse it.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = "remember" | "once" | "reject"

/**
 * Settings of `ask` and `acceptNew`.
 *
 * @category models
 * @since 0.1.0
 */
export interface RememberOptions {
  /**
   * The files to read. New keys are added to the first of them, which is made where it is missing (its folder for the user
   * alone, mode 0700, the file 0600). Default: as for `knownHosts`.
   */
  readonly files?: readonly [string, ...ReadonlyArray<string>] | undefined
  /** Write the names of hosts so that nobody can read them in the file (`HashKnownHosts` of `ssh`). Default false. */
  readonly hash?: boolean | undefined
}

const alsoKnownAs = (known: Files.KnownHosts, key: PublicKey.HostKey): ReadonlyArray<string> =>
  KnownHosts.others(known.lines, key).map((entry) =>
    `${KnownHosts.place(entry)}: ${
      entry.names.startsWith("|") ? "a hashed name" : Buffer.from(entry.names, "latin1").toString()
    }`
  )

/**
 * Asks about the keys of hosts that nothing is known about, as `ssh` asks its user; those of known hosts are decided as by
 * `knownHosts`, so nobody is asked about a key that has changed or was revoked.
 *
 * **Details**
 *
 * Who is asked may take their time, which does not count for `handshakeTimeout`; servers have limits of their own, though
 * (`LoginGraceTime` of OpenSSH: two minutes).
 *
 * A key is written after the server has proved that it holds it, so nobody can plant the key of somebody else. If it
 * cannot be written the connection fails, with `Unknown`; so it does, before anything is dialled, when the file to write to
 * is there and cannot be read. Lines are added whole, and one that another connection has added meanwhile is not added
 * again; if that has another key, the connection fails with `changed`. (Two processes that meet a host in the same instant
 * may both add it.)
 *
 * **Example** (Asking on the terminal)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Prompt } from "effect/cli"
 * import { HostKeys } from "hawser"
 *
 * const hostKeys = Effect.map(Effect.context<Prompt.Environment>(), (terminal) =>
 *   HostKeys.ask(({ key, name }) =>
 *     Prompt.Select<HostKeys.Answer>({
 *       message: `${name} shows ${key.type} ${key.fingerprint}`,
 *       choices: [
 *         { title: "That is right", value: "remember" },
 *         { title: "Accept it this time", value: "once" },
 *         { title: "Do not connect", value: "reject" }
 *       ]
 *     }).pipe(Effect.orElseSucceed((): HostKeys.Answer => "reject"), Effect.provideContext(terminal))
 *   ))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const ask = (
  handler: (question: Question) => Effect.Effect<Answer, SshErrorReason>,
  options?: RememberOptions
): HostKeys => {
  const files = options?.files ?? Files.defaultFiles
  const check: HostKeys["check"] = Effect.fnUntraced(function*(server) {
    const known = yield* Files.loadForWriting(files)
    const { name } = HostNames.namesOf(server)
    let remember = false
    const unknown = (key: PublicKey.HostKey) => {
      const refuse = (because: string) => reject(server, key, "unknown", `${known.looked}, and ${because}`)
      // what could not be found again would be new each time
      if (!HostNames.isWritable(server) || PublicKey.parse(key.bytes) === undefined) {
        return refuse("no file can hold this name and key")
      }
      return Effect.flatMap(asking(handler({ server, name, key, alsoKnownAs: alsoKnownAs(known, key) })), (answer) => {
        if (answer === "reject") return refuse("it was not accepted")
        remember = answer === "remember"
        return Effect.void
      })
    }
    const record = (key: PublicKey.HostKey) =>
      Files.exclusively(Effect.gen(function*() {
        // another connection may have met the host meanwhile
        const now = yield* Files.loadForWriting(files)
        const add = Files.append(files[0], KnownHosts.format(name, key, { hash: options?.hash === true }))
        yield* checkAgainst(now, server, { unknown: () => add, proved: () => Effect.void }).verify(key)
      }))
    return checkAgainst(known, server, { unknown, proved: (key) => remember ? record(key) : Effect.void })
  })
  return { check }
}

/**
 * Trust on first use: accepts the key of a host that nothing is known about and adds it to the file; from then on it is
 * `knownHosts`. Decides as `ssh -o StrictHostKeyChecking=accept-new`, except that a key which is revoked for the host without
 * its port is refused. What is said about files at `ask` holds here too.
 *
 * @category constructors
 * @since 0.1.0
 */
export const acceptNew = (options?: RememberOptions): HostKeys => ask(() => Effect.succeed("remember"), options)

/**
 * Accepts any key. Anyone on the path can then pose as the server, read what is sent and change what comes back.
 *
 * @category constructors
 * @since 0.1.0
 */
export const insecureAcceptAny: HostKeys = make(() => Effect.void)

/**
 * Asks `that` about keys that are `unknown` to `self`. What `self` rejects as `changed` or `revoked` stays rejected.
 *
 * **Example** (The keys of a deployment first, then those of the user)
 *
 * ```ts
 * import { Config, Effect } from "effect"
 * import { HostKeys } from "hawser"
 *
 * const hostKeys = Effect.map(
 *   Config.String("SSH_KNOWN_HOSTS"),
 *   (text) => HostKeys.orElse(HostKeys.fromText(text, "SSH_KNOWN_HOSTS"), HostKeys.knownHosts())
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const orElse: {
  (that: HostKeys): (self: HostKeys) => HostKeys
  (self: HostKeys, that: HostKeys): HostKeys
} = dual(2, (self: HostKeys, that: HostKeys): HostKeys => ({
  check: (server) =>
    Effect.zipWith(self.check(server), that.check(server), (first, second): Check => {
      let accepting = first
      return {
        // a key of a type that only the second knows would count as changed for the first
        preferredTypes: first.preferredTypes.length > 0 ? first.preferredTypes : second.preferredTypes,
        verify: (key) =>
          Effect.catchTag(first.verify(key), "HostKeyRejected", (reason) => {
            if (reason.why !== "unknown") return Effect.fail(reason)
            accepting = second
            return second.verify(key)
          }),
        proved: (key) => accepting.proved(key)
      }
    })
}))

/**
 * Refuses the keys that a file revokes (`RevokedHostKeys` of `ssh`), with `revoked`, whatever else accepts them: public keys,
 * one a line, or a key revocation list as `ssh-keygen -k` makes it. Fails with `Unknown`, before anything is dialled, when the
 * file is not there or cannot be understood.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withRevoked: {
  (file: string): (self: HostKeys) => HostKeys
  (self: HostKeys, file: string): HostKeys
} = dual(2, (self: HostKeys, file: string): HostKeys => ({
  check: Effect.fnUntraced(function*(server) {
    const revocations = yield* Files.revocations(file)
    const check = yield* self.check(server)
    return {
      ...check,
      verify: (key) =>
        revocations.has(key)
          ? reject(server, key, "revoked", `${file} revokes it; the server needs a new key`)
          : check.verify(key)
    }
  })
}))
