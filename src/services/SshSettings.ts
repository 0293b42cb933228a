/**
 * Which SSH server, as whom, over which way, and how to know that it is the right one.
 *
 * Settings are plain data: write them down, or have `fromConfig` read them from the files that `ssh` uses.
 *
 * **Details**
 *
 * `fromConfig` and `resolve` read `~/.ssh/config` and then `/etc/ssh/ssh_config`, as ssh_config(5) has it: the first value of
 * a keyword counts, and all of `IdentityFile`, `CertificateFile`, `SendEnv` and the forwardings; `Host`, `Match` and `Include`,
 * tokens (`%h`) and variables (`${HOME}`). The answers are those of `ssh -G`.
 *
 * - `Match exec` runs commands, and only does so with `matchExec: true`. Otherwise neither `exec` nor `!exec` holds. The same
 *   goes for `command`, `sessiontype` and `version`, which are about the ssh program.
 * - The home folder and the name of the user are those of the system's list of users, whatever `HOME` says.
 * - A file of the user that others can write to is refused, except for `configFile` itself, as `ssh` does.
 *
 * **Gotchas**
 *
 * - `StrictHostKeyChecking no` (or `off`) is read as `accept-new`: the key of a new host is remembered without a question, but
 *   one that has changed is refused, where `ssh` would go on without passwords and forwardings. `ask` refuses new hosts where
 *   there is no `ask` to ask.
 * - `Ciphers`, `MACs`, `KexAlgorithms` and `HostKeyAlgorithms` with `+`, `-` or `^` change the defaults of this library, not
 *   those of OpenSSH; names that it does not know are left out.
 * - Read and kept as data, but of no effect: `AddressFamily`, `BindAddress`, `BindInterface`, `CheckHostIP`, `ControlMaster` and
 *   its like, GSSAPI, host-based logins, `KnownHostsCommand`, PKCS#11, `PubkeyAcceptedAlgorithms`, `UpdateHostKeys`, X11. `RemoteCommand` and `RequestTTY` are
 *   for whoever starts the command.
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
 * **Example** (As `ssh db` would do it)
 *
 * ```ts
 * import { Config, Effect } from "effect"
 * import { Ssh, SshAuth, SshSettings } from "hawser"
 *
 * const uptime = Effect.gen(function*() {
 *   const settings = yield* SshSettings.fromConfig("db", {
 *     passphrase: () => Config.Redacted("KEY_PASSPHRASE"),
 *     auth: ({ host }) => host === "db" ? [SshAuth.password(Config.Redacted("DB_PASSWORD"))] : []
 *   })
 *   const ssh = yield* Ssh.Ssh
 *   return yield* ssh.execute(settings, "uptime")
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { ConfigInvalid, KeyUnreadable, SshError, type SshErrorReason, Unsupported } from "../errors/SshError.ts"
import { wanted as wantedAlgorithms } from "../internal/ssh/config/algorithms.ts"
import * as Forward from "../internal/ssh/config/forward.ts"
import type { HostConfig } from "../internal/ssh/config/hostConfig.ts"
import * as Identities from "../internal/ssh/config/identities.ts"
import { here } from "../internal/ssh/config/machine.ts"
import * as Config from "../internal/ssh/config/resolve.ts"
import { fingerprint } from "../internal/ssh/hostKeys/publicKey.ts"
import * as HostKeys from "./HostKeys.ts"
import * as SshAgent from "./SshAgent.ts"
import * as SshAuth from "./SshAuth.ts"
import type * as SshForward from "./SshForward.ts"

export type {
  /**
   * What the configuration files say about a host, with tokens replaced and paths made absolute. `values` has every keyword in
   * lower case with its values as `ssh -G` prints them, defaults included (flags are `yes` or `no`, lists of algorithms as they
   * are written); `placeOf` says in which file and line a keyword is set.
   *
   * @category models
   * @since 0.1.0
   */
  HostConfig
} from "../internal/ssh/config/hostConfig.ts"

export type {
  /**
   * A server on the way, as `ProxyJump` names it.
   *
   * @category models
   * @since 0.1.0
   */
  Jump
} from "../internal/ssh/config/jump.ts"

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
   * A command whose input and output are the connection to the server, instead of the Dialer, as `ProxyCommand` has it: `%h`
   * and `%p` in it stand for host and port. With `jump`, it leads to the first of those.
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
   * How long it may take from there until commands can run: the keys, the verification of the host key, the login. The
   * time in which a person is asked for something does not count. Default 20 seconds.
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
  readonly agentForwarding?: SshAgent.SshAgent | undefined
}

/**
 * How configuration files are read.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResolveOptions {
  /** The file to read, instead of `~/.ssh/config` and `/etc/ssh/ssh_config`; it may begin with `~/`. */
  readonly configFile?: string | undefined
  /** Whom to log in as, whatever the files say (`ssh -l`). */
  readonly username?: string | undefined
  /** The port, whatever the files say (`ssh -p`). */
  readonly port?: number | undefined
  /** Whether `Match exec` may run its commands, as the user of this process. Default false: such blocks do not apply. */
  readonly matchExec?: boolean | undefined
  /** The variables that `${NAME}` and `SendEnv` mean, and `SSH_AUTH_SOCK`. Default: those of this process. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
}

/**
 * How configuration files become settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConfigOptions extends ResolveOptions {
  /**
   * The passphrase of an encrypted key, by the path of its file. Asked for when a server would take the key. Without it such
   * keys are passed over, as `ssh` does in batch mode.
   */
  readonly passphrase?: ((path: string) => SshAuth.SecretInput) | undefined
  /**
   * Ways to log in to a server besides the keys of the files and the agent: passwords and answers to questions. Asked for each
   * server on the way too, so say for which server a secret is. `PreferredAuthentications`, `PasswordAuthentication` and
   * `KbdInteractiveAuthentication` decide when they are tried, and whether.
   */
  readonly auth?: ((server: HostConfig) => ReadonlyArray<SshAuth.SshAuth>) | undefined
  /** Who is asked about new hosts where `StrictHostKeyChecking` is `ask`, which is the default. Default: they are refused. */
  readonly ask?: ((question: HostKeys.Question) => Effect.Effect<HostKeys.Answer, SshErrorReason>) | undefined
}

/**
 * Settings that come from configuration files, and what else they say about the host.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConfiguredSettings extends SshSettings {
  /** What to forward; `session.forward` starts it. */
  readonly forwards: ReadonlyArray<SshForward.ForwardSettings>
  /** All that the files say. */
  readonly config: HostConfig
}

const failed = (host: string) =>
  Effect.mapError((reason: SshErrorReason) => new SshError({ server: `ssh ${host}`, reason }))

const resolveWith = (host: string, options: ResolveOptions, proxyJump?: Config.ResolveOptions["proxyJump"]) =>
  Effect.flatMap(here(options.environment), (machine) => Config.resolve(host, { ...options, machine, proxyJump }))

/**
 * Finds out what the configuration files say about a host: `ssh -G` as data, for tools. Fails with `ConfigInvalid`, with the
 * file and the line, where `ssh` would refuse the files.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resolve: (
  host: string,
  options?: ResolveOptions
) => Effect.Effect<HostConfig, SshError> = Effect.fn("SshSettings.resolve")(
  (host: string, options: ResolveOptions = {}) => failed(host)(resolveWith(host, options))
)

const first = ({ values }: HostConfig, keyword: string) => values[keyword]?.[0]

/** A value that is written somewhere, and not a default. */
const written = (config: HostConfig, keyword: string) =>
  config.placeOf(keyword) === undefined ? undefined : first(config, keyword)

const seconds = (text: string | undefined): Duration.Input | undefined =>
  text === undefined || text === "0" ? undefined : `${Number(text)} seconds`

/** Keys that this process can sign with, and those that its agent can. */
const keysOf = Effect.fnUntraced(function*(config: HostConfig, { passphrase }: ConfigOptions) {
  const { certificateFiles, identityAgent, identityFiles } = config
  const identities = yield* Identities.find(identityFiles, certificateFiles)
  const ways: Array<SshAuth.SshAuth> = []
  if (identityAgent !== undefined) {
    const agent = SshAgent.socket(identityAgent)
    const keys = identities.flatMap(({ publicKey }) => publicKey === undefined ? [] : [fingerprint(publicKey)])
    // servers allow few tries: those that are named come first
    if (keys.length > 0) ways.push(SshAuth.agent(agent, { keys }))
    if (first(config, "identitiesonly") !== "yes") ways.push(SshAuth.agent(agent))
  }
  const unusable: Array<SshErrorReason> = []
  for (const { certificate, encrypted, path: key } of identities) {
    if (Result.isFailure(encrypted)) unusable.push(encrypted.failure)
    else if (!encrypted.success) ways.push(SshAuth.privateKey({ key, certificate }))
    else if (passphrase !== undefined) ways.push(SshAuth.privateKey({ key, certificate, passphrase: passphrase(key) }))
    else unusable.push(new KeyUnreadable({ detail: `the file "${key}" is encrypted, and nobody gives its passphrase` }))
  }
  return { ways, unusable }
})

const methods: Readonly<Record<string, ReadonlyArray<SshAuth.SshAuth["_tag"]>>> = {
  none: ["None"],
  publickey: ["PrivateKey", "Agent"],
  "keyboard-interactive": ["KeyboardInteractive"],
  password: ["Password"]
}

const flagOf: Readonly<Record<string, string>> = {
  publickey: "pubkeyauthentication",
  "keyboard-interactive": "kbdinteractiveauthentication",
  password: "passwordauthentication"
}

/** The ways to log in, in the order of ssh. */
const authOf = Effect.fnUntraced(function*(config: HostConfig, options: ConfigOptions) {
  const preferred = first(config, "preferredauthentications") ?? "publickey,keyboard-interactive,password"
  const allowed = ["none", ...preferred.split(",")].filter((name) => first(config, flagOf[name] ?? "") !== "no")
  const { unusable, ways } = allowed.includes("publickey")
    ? yield* keysOf(config, options)
    : { ways: [], unusable: [] }
  const all = [...ways, ...options.auth?.(config) ?? []]
  const auth = allowed.flatMap((name) => all.filter(({ _tag }) => methods[name]?.includes(_tag) === true))
  if (auth.length > 0) return auth
  // with nothing to log in with, the server at least says what it wants
  return unusable[0] === undefined ? [SshAuth.none] : yield* unusable[0]
})

const hostKeysOf = (config: HostConfig, { ask }: ConfigOptions): HostKeys.HostKeys => {
  const { globalKnownHostsFiles, revokedHostKeys, userKnownHostsFiles } = config
  const [users, ...others] = userKnownHostsFiles.filter((file) => file !== "/dev/null")
  const hash = first(config, "hashknownhosts") === "yes"
  const asking = (handler: NonNullable<ConfigOptions["ask"]>) => {
    if (users !== undefined) return HostKeys.ask(handler, { files: [users, ...others, ...globalKnownHostsFiles], hash })
    // there is no file to remember in
    const once = (question: HostKeys.Question) =>
      Effect.map(handler(question), (answer) => answer === "remember" ? "once" as const : answer)
    return HostKeys.ask(once, { files: ["/dev/null", ...globalKnownHostsFiles] })
  }
  const strict = first(config, "stricthostkeychecking")
  const hostKeys = strict === "accept-new" || strict === "no"
    ? asking(() => Effect.succeed("remember"))
    : strict === "ask" && ask !== undefined
    ? asking(ask)
    : HostKeys.knownHosts({ files: [...userKnownHostsFiles, ...globalKnownHostsFiles] })
  return revokedHostKeys.reduce((hostKeys, file) => HostKeys.withRevoked(hostKeys, file), hostKeys)
}

const forwardsOf = (config: HostConfig): ReadonlyArray<SshForward.ForwardSettings> => {
  const { dynamicForwards, localForwards, remoteForwards } = config
  const anywhere = first(config, "gatewayports") === "yes"
  return [
    ...localForwards.map((forward) => Forward.toSettings("localforward", forward, anywhere)),
    ...dynamicForwards.map((forward) => Forward.toSettings("dynamicforward", forward, anywhere)),
    ...remoteForwards.map((forward) => Forward.toSettings("remoteforward", forward, anywhere))
  ]
}

const unsupported = (detail: string) => new Unsupported({ feature: "other", detail })

/** What ssh does and this library does not, where going on without it would do something else. */
const refuseUnsupported = (config: HostConfig): Unsupported | undefined => {
  const canonicalize = first(config, "canonicalizehostname")
  if (canonicalize !== "no") return unsupported(`CanonicalizeHostname ${canonicalize}`)
  if (config.proxyCommand === "-") return unsupported("ProxyCommand -, which is the terminal of this process")
  return config.proxyCommand !== undefined && first(config, "proxyusefdpass") === "yes"
    ? unsupported("ProxyUseFdpass")
    : undefined
}

const addressOf = ({ hostname, port, username }: HostConfig) => `${username}@${hostname}:${port}`

/** A host and, before it, the last server on the way, which has the others before it. */
const settingsOf: (
  host: string,
  options: ConfigOptions,
  proxyJump: Config.ResolveOptions["proxyJump"],
  behind: ReadonlyArray<string>
) => Effect.Effect<ConfiguredSettings, SshErrorReason> = Effect.fnUntraced(
  function*(host, options, proxyJump, behind) {
    const config = yield* resolveWith(host, options, proxyJump)
    const refused = refuseUnsupported(config)
    if (refused !== undefined) return yield* refused
    const way = [...behind, addressOf(config)]
    if (behind.includes(addressOf(config))) {
      return yield* new ConfigInvalid({
        ...config.placeOf("proxyjump") ?? { file: options.configFile ?? "~/.ssh/config", line: 0 },
        detail: `the way through jump hosts leads back to where it began: ${way.toReversed().join(" -> ")}`
      })
    }
    const last = config.proxyJump.at(-1)
    const before = config.proxyJump.slice(0, -1)
    const jump = last === undefined ? undefined : yield* settingsOf(
      last.host,
      { ...options, username: last.username, port: last.port },
      before.length > 0 ? before : undefined,
      way
    )
    const keepAlive = written(config, "serveraliveinterval")
    const [rekeyBytes, rekeyInterval] = config.values["rekeylimit"] ?? []
    const algorithms = yield* Effect.fromResult(wantedAlgorithms((keyword) => first(config, keyword)))
    const { forwardedAgent, proxyCommand } = config
    return {
      host: config.hostname,
      port: config.port,
      username: config.username,
      auth: yield* authOf(config, options),
      hostKeys: hostKeysOf(config, options),
      hostKeyAlias: first(config, "hostkeyalias"),
      jump,
      // its tokens are replaced already
      proxyCommand: proxyCommand?.replaceAll("%", "%%"),
      algorithms,
      connectTimeout: seconds(written(config, "connecttimeout")),
      connectionAttempts: Math.max(1, Number(first(config, "connectionattempts"))),
      keepAlive: keepAlive === "0" ? false : seconds(keepAlive),
      keepAliveCount: Number(first(config, "serveralivecountmax")),
      rekey: {
        bytes: rekeyBytes === "0" ? undefined : Number(rekeyBytes),
        interval: seconds(rekeyInterval)
      },
      env: config.env,
      agentForwarding: forwardedAgent === undefined ? undefined : SshAgent.socket(forwardedAgent),
      forwards: forwardsOf(config),
      config
    }
  }
)

/**
 * Settings as `ssh` would take them from its configuration files, for `Ssh.connect`.
 *
 * **Details**
 *
 * - The keys are those of `IdentityFile`, or those that `ssh` looks for (`~/.ssh/id_ed25519`, `id_ecdsa`, `id_rsa`, ...), with
 *   their certificates. Files that are not there or that cannot be used are passed over; the agent comes first, and only with
 *   the keys of these files where `IdentitiesOnly` is set. When nothing is left to log in with, `fromConfig` fails for the
 *   first file that cannot be used.
 * - Each server of `ProxyJump` is looked up in the same files, as `ssh` does, and has its own user, keys and known hosts.
 * - `ServerAliveInterval`, `ConnectTimeout` and `RekeyLimit` replace the defaults of this library where they are written.
 *
 * Errors: `ConfigInvalid`, with the file and the line, also for a way through jump hosts that leads back to where it began;
 * `Unsupported` for `CanonicalizeHostname`, `ProxyUseFdpass` and lists of algorithms of which none is there; `KeyUnreadable`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromConfig: (
  host: string,
  options?: ConfigOptions
) => Effect.Effect<ConfiguredSettings, SshError> = Effect.fn("SshSettings.fromConfig")(
  (host: string, options: ConfigOptions = {}) => failed(host)(settingsOf(host, options, undefined, []))
)
