/**
 * A peer that is an SSH server.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import { fingerprint } from "../../internal/ssh/hostKeys/publicKey.ts"
import type * as Command from "../../internal/ssh/testServer/command.ts"
import * as Handlers from "../../internal/ssh/testServer/handlers.ts"
import * as Keys from "../../internal/ssh/testServer/keys.ts"
import * as Login from "../../internal/ssh/testServer/login.ts"
import type * as Model from "../../internal/ssh/testServer/model.ts"
import * as Server from "../../internal/ssh/testServer/server.ts"
import type { Decision } from "../../internal/ssh/testServer/session.ts"
import { serveFiles } from "../../internal/ssh/testServer/sftp.ts"
import { Dialer } from "../../services/Dialer.ts"
import * as HostKeys from "../../services/HostKeys.ts"
import { Listener } from "../../services/Listener.ts"
import * as SshAuth from "../../services/SshAuth.ts"
import type { SshSettings } from "../../services/SshSettings.ts"
import * as Peer from "./peer.ts"
import * as Files from "./sshFiles.ts"

/**
 * A command, a shell or a subsystem that a client runs.
 *
 * **Details**
 *
 * - `kind` is `"exec"`, `"shell"` or `"subsystem"`; `command` is the command line, or the name of the subsystem.
 * - `user` is logged in; `env` has what the client has sent; `terminal` is the terminal that it asked for, if any, and
 *   `windowSize` and `windowChanges` say how large that is now, and each time that it changes.
 * - `stdin` is what the client sends, up to its end. `stdout` and `stderr` write, no faster than the client takes it, so
 *   neither side stores what the other has no room for. Where there is a terminal, `stderr` is the output.
 * - `signals` are those that the client sends, once it runs. Until then a signal ends the command, as it would a process: it is
 *   interrupted, and the exit status names the signal.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshCommand extends Command.Command {}

/**
 * How a command ends: with an exit code, with 0 and this output, with all of it (`{ stdout, stderr, code }`, where a `code` of
 * `null` says nothing of how it ended), or by a signal (`{ signal: "TERM" }`). Nothing at all is exit code 0.
 *
 * @category models
 * @since 0.1.0
 */
export type SshAnswer = Command.CommandAnswer

/**
 * Runs a command: an effect with the whole command in its hands, or a function that looks at it and says what it answers.
 *
 * It runs in a scope of its own and is interrupted when the client closes the channel or is gone. One that fails, or dies, has
 * its message on the error output and exit code 255.
 *
 * @category models
 * @since 0.1.0
 */
export type SshHandler<R = never> = (command: SshCommand) => SshAnswer | Effect.Effect<SshAnswer, unknown, R>

/**
 * The commands of a server: one handler for all, or what each command line answers. Other command lines are not found then, as
 * in a shell: exit code 127.
 *
 * @category models
 * @since 0.1.0
 */
export type SshCommands<R = never> = SshHandler<R> | Readonly<Record<string, SshAnswer | SshHandler<R>>>

/**
 * Questions that are asked at once by keyboard-interactive (RFC 4256), with the answers that let in.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshQuestions extends Model.QuestionRound {}

/**
 * What an SSH server can be told.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshServerOptions<R = never> extends Peer.PeerOptions {
  /** Who may log in. Default: anybody. */
  readonly username?: string | undefined
  /** The password that lets in. Without a password, keys and questions everybody is let in, whatever they offer. */
  readonly password?: Redacted.Redacted | undefined
  /** The password has expired: whoever knows it is asked for a new one, until it is this one. */
  readonly newPassword?: Redacted.Redacted | undefined
  /** The public keys that let in, as lines of an `authorized_keys` file. */
  readonly publicKeys?: ReadonlyArray<string> | undefined
  /** What keyboard-interactive asks, round after round. */
  readonly keyboardInteractive?: ReadonlyArray<SshQuestions> | undefined
  /** Whether any of these lets in, or all of them are needed: first a key, then the password, then the answers. Default "any". */
  readonly require?: "any" | "all" | undefined
  /** The private key of the server, or several, in PEM or OpenSSH's format. Default: an Ed25519 key that all of them share. */
  readonly hostKey?: string | ReadonlyArray<string> | undefined
  /** What it says before anybody is logged in. Default: nothing. */
  readonly banner?: string | undefined
  /** What every command has in its environment, below what the client sends. Default: nothing. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** What commands do. Default: they are refused. */
  readonly exec?: SshCommands<R> | undefined
  /** What a login shell does. Default: it is refused. */
  readonly shell?: SshHandler<R> | undefined
  /** What subsystems do, by their names. Default: all but `sftp` are refused. */
  readonly subsystems?: Readonly<Record<string, SshHandler<R>>> | undefined
  /** The files that SFTP serves: those of `TestPeers.sshFiles`, or what there is in them to begin with. Default: no SFTP. */
  readonly sftp?: Files.SshFiles | Readonly<Record<string, Files.SshFile>> | undefined
  /**
   * Whether it forwards: connects to targets (`"db:5432"`) through the `Dialer` that is there when it starts, and listens for
   * its clients on 127.0.0.1 through the `Listener`. A function decides for each target, or address to listen on. Default false.
   */
  readonly forwarding?: boolean | ((target: string) => boolean) | undefined
}

/**
 * A command that was run, or is running.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshCommandRecord extends Command.CommandRequest {
  /** What became of it: `Running`, `Exited`, `Killed` by a signal, or `Interrupted` because its client was gone. */
  readonly status: Command.CommandStatus
}

/**
 * An attempt to log in: by whom, how (`"password"`, ...), and whether it was `"accepted"`, `"refused"`, or right and not yet enough
 * (`"partial"`). What was offered is not kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshLogin extends Model.Login {}

/**
 * An SSH server that is running.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshServerPeer extends Peer.Peer {
  /** Its public key, as a line of an `authorized_keys` file, or of a `known_hosts` file behind the names. */
  readonly hostKey: string
  /** The fingerprint of its key (`SHA256:...`), as `HostKeys.fingerprint` takes it. */
  readonly fingerprint: string
  /**
   * Settings that connect to it: its address, its key, the user, and the password where it has one. Without, the client offers
   * nothing: give `auth` yourself where keys or questions are needed.
   */
  readonly settings: SshSettings
  /** The attempts to log in, in order. */
  readonly logins: Effect.Effect<ReadonlyArray<SshLogin>>
  /** The commands, shells and subsystems, in the order in which they were started. */
  readonly commands: Effect.Effect<ReadonlyArray<SshCommandRecord>>
  /** The files that SFTP serves; none without SFTP. */
  readonly files: Files.SshFiles
  /** Breaks all connections, without a word. It goes on listening. */
  readonly disconnect: Effect.Effect<void>
}

/** What is done about a request, where the handlers have all that they need. */
const decider = <R>(
  { exec, sftp, shell, subsystems = {} }: SshServerOptions<R>,
  files: Files.SshFiles,
  context: Context.Context<Exclude<R, Scope.Scope>>
) => {
  const run = (handler: SshHandler<R> | undefined): Decision =>
    handler === undefined ? "refuse" : Handlers.provided(handler, context)
  const sftpOrRefuse: Decision = sftp === undefined ? "refuse" : serveFiles({ files: Files.servedTo(files) })
  const ofKind: Readonly<Record<Command.CommandRequest["kind"], (command: string) => Decision>> = {
    exec: () => run(exec === undefined ? undefined : Handlers.handlerOfAll(exec)),
    shell: () => run(shell),
    subsystem: (name) =>
      Object.hasOwn(subsystems, name) ? run(subsystems[name]) : name === "sftp" ? sftpOrRefuse : "refuse"
  }
  return ({ command, kind }: Command.CommandRequest): Decision => ofKind[kind](command)
}

const allows = (forwarding: boolean | ((target: string) => boolean)) =>
  typeof forwarding === "function" ? forwarding : () => forwarding

const settingsOf = <R>(
  { password, username }: SshServerOptions<R>,
  { address }: Peer.Peer,
  key: string
): SshSettings => ({
  host: NetAddress.isInetAddress(address) ? NetAddress.formatIp(address.address) : address.path,
  port: NetAddress.isInetAddress(address) ? address.port : 0,
  username: username ?? "test",
  auth: password === undefined ? SshAuth.none : SshAuth.password(password),
  hostKeys: HostKeys.fingerprint(key)
})

/**
 * An SSH server for as long as the scope lives: its commands are effects, its files are in memory, and nothing of it runs on
 * the machine.
 *
 * **Details**
 *
 * - Commands, shells and subsystems run beside each other, each in a fiber of its own that is interrupted with its channel.
 * - SFTP is version 3 with OpenSSH's extensions (`posix-rename`, `statvfs`, `hardlink`, `fsync`, `limits`, `copy-data`).
 * - Forwarding reaches its targets through the `Dialer` that is there; refusals have the words of OpenSSH, so that a client can
 *   tell `Refused` from `NameNotFound`. Without a `Dialer` nothing is reached.
 * - It keeps no time of its own: nothing happens because time passes.
 *
 * Errors: as `Listener.bind`, and `TlsConfigError` where `tls` makes no sense. A key that cannot be read is a defect.
 *
 * **Example** (A command, a file, and what the server has seen)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Ssh } from "hawser"
 * import { TestNetwork, TestPeers } from "hawser/testing"
 *
 * const test = Effect.gen(function*() {
 *   const server = yield* TestPeers.sshServer({
 *     exec: { "uname -a": "Linux\n", "deploy": ({ user }) => Effect.succeed(user === "ops" ? 0 : 1) },
 *     sftp: { "/etc/motd": "welcome\n" }
 *   })
 *   const ssh = yield* Ssh.Ssh
 *   const { text } = yield* ssh.execute(server.settings, "uname -a")
 *   return [text, yield* server.commands]
 * }).pipe(Effect.scoped, Effect.provide(Ssh.layer.pipe(Layer.provideMerge(TestNetwork.layer()))))
 * ```
 *
 * @category peers
 * @since 0.1.0
 */
export const sshServer: <R = never>(options?: SshServerOptions<R>) => Effect.Effect<
  SshServerPeer,
  TcpError | TlsConfigError,
  Listener | Scope.Scope | Exclude<R, Scope.Scope>
> = Effect.fn("TestPeers.sshServer")(function*<R>(options: SshServerOptions<R> = {}) {
  const { forwarding = false, hostKey = Keys.ownHostKey(), sftp = {} } = options
  const context = yield* Effect.context<Exclude<R, Scope.Scope>>()
  const files = Files.isSshFiles(sftp) ? sftp : yield* Files.sshFiles(sftp)
  const listener = yield* Listener
  const dialer = yield* Effect.serviceOption(Dialer)
  const logins: Array<SshLogin> = []
  const commands: Array<Command.Running> = []
  const open = new Set<Duplex>()
  const [firstKey, ...moreKeys] = (typeof hostKey === "string" ? [hostKey] : hostKey).map(Keys.parse)
  const key = firstKey ?? Keys.parse(Keys.ownHostKey())
  const login: Login.LoginOptions = {
    ...options,
    keys: (options.publicKeys ?? []).map(Keys.parse),
    questions: options.keyboardInteractive,
    all: options.require === "all"
  }
  const settings: Server.ServerOptions = {
    hostKeys: [key, ...moreKeys],
    banner: options.banner,
    authenticate: () => Login.authenticate(login, (attempt) => logins.push(attempt)),
    env: options.env ?? {},
    allowsAgents: false,
    decide: decider(options, files, context),
    onCommand: (running) => commands.push(running),
    forwarding: {
      allows: allows(forwarding),
      dial: Option.getOrUndefined(Option.map(dialer, ({ dial }) => dial)),
      bind: listener.bind
    }
  }
  const peer = yield* Peer.start(options, (stream) => {
    open.add(stream)
    return Effect.ensuring(Server.serve(settings, stream), Effect.sync(() => open.delete(stream)))
  })
  const publicKey = key.getPublicSSH()
  return {
    ...peer,
    hostKey: Keys.publicLine(key),
    fingerprint: fingerprint(publicKey),
    settings: settingsOf(options, peer, fingerprint(publicKey)),
    logins: Effect.sync(() => [...logins]),
    commands: Effect.sync(() => commands.map(({ record }) => record)),
    files,
    disconnect: Effect.sync(() => {
      for (const stream of open) stream.destroy()
    })
  }
})

/**
 * A pair of Ed25519 keys: `private` in OpenSSH's format, encrypted where there is a passphrase, and `public` as a line of an
 * `authorized_keys` file.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshKeyPair extends Model.KeyPair {}

/**
 * Makes a pair of Ed25519 keys, to log in with (`SshAuth.privateKey({ key })` and `publicKeys`) or to be a server's own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sshKeyPair = (passphrase?: Redacted.Redacted): Effect.Effect<SshKeyPair> =>
  Effect.sync(() => Keys.generate(passphrase))
