/**
 * SSH clients: run commands on other machines, and dial through them.
 *
 * `Ssh.layer` needs a `Dialer` and reaches its servers through it, so SSH runs over a proxy, over TLS, over another SSH
 * server or over the test network without knowing. `connect` gives a session for as long as the scope lives; `execute` opens
 * one, runs a command and closes it.
 *
 * **Details**
 *
 * - The server's host key is verified before anything secret is sent, by `~/.ssh/known_hosts` unless `hostKeys` says
 *   otherwise.
 * - `jump` hosts and a `proxyCommand` of the settings are the way to the server: each session on the way lives as long as the
 *   one it leads to. When one of them fails or is lost, the error says which.
 * - A server that is silent for three `keepAlive` intervals counts as lost, so a session never hangs on a dead connection.
 * - Signatures with SHA-1 are not offered. Transfers are encrypted with AES-GCM, ChaCha20 or AES-CTR as the two sides agree.
 *
 * **Gotchas**
 *
 * A handshake costs some milliseconds of computing on both sides and several round trips. Keep a session where several
 * commands run on one server, or use `layerPooled`, which keeps sessions for you and connects anew when one was lost.
 *
 * **Example** (Running a command)
 *
 * ```ts
 * import { Effect, Layer, Redacted } from "effect"
 * import { Dialer, Ssh, SshAuth } from "hawser"
 *
 * const program = Effect.gen(function*() {
 *   const ssh = yield* Ssh.Ssh
 *   const { exitCode, text } = yield* ssh.execute(
 *     { host: "db.internal", username: "ops", auth: SshAuth.password(Redacted.make("secret")) },
 *     "df -h /",
 *     { timeout: "10 seconds" }
 *   )
 *   yield* Effect.log(exitCode, text)
 * }).pipe(Effect.provide(Ssh.layer.pipe(Layer.provide(Dialer.layer))))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import { cast } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DialError, DialErrorReason } from "../errors/DialError.ts"
import { SshError, type SshErrorReason } from "../errors/SshError.ts"
import { scopedUnlessFailed } from "../internal/net/duplex.ts"
import * as Observe from "../internal/observe.ts"
import * as Command from "../internal/proxy/command.ts"
import * as Ssh2Auth from "../internal/ssh/auth/authentication.ts"
import * as Ssh2Client from "../internal/ssh/client.ts"
import type { Connection } from "../internal/ssh/connection.ts"
import * as FakeConnection from "../internal/ssh/fake/connection.ts"
import { memoryFiles } from "../internal/ssh/fake/files.ts"
import { Observer } from "../internal/ssh/observe.ts"
import * as Pool from "../internal/ssh/pool.ts"
import type {
  Command as RunningCommand,
  CommandAnswer,
  CommandHandler,
  CommandRequest
} from "../internal/ssh/testServer/command.ts"
import * as Handlers from "../internal/ssh/testServer/handlers.ts"
import { serveFiles } from "../internal/ssh/testServer/sftp.ts"
import { Dialer } from "./Dialer.ts"
import * as HostKeys from "./HostKeys.ts"
import type * as SshProcess from "./SshProcess.ts"
import * as SshSession from "./SshSession.ts"
import type { SshSettings } from "./SshSettings.ts"

/**
 * The service: `connect` opens a session for as long as the scope lives, `execute` runs one command in a session of its own.
 *
 * **Details**
 *
 * Besides `DialError` for the way there, `connect` fails with `SshError` for these reasons: `KeyUnreadable`,
 * `AgentUnavailable` and `Unsupported` for the ways to log in, before anything is dialled; `HostKeyRejected`, and
 * `Unsupported` for a host that only a certificate authority vouches for; `AuthenticationFailed`, `HandshakeFailed`,
 * `HandshakeTimeout`; and `Unknown` where a file of host keys cannot be read or written. `execute` adds those of `SshSession.execute`.
 *
 * @category services
 * @since 0.1.0
 */
export class Ssh extends Context.Service<Ssh, {
  readonly connect: (
    settings: SshSettings
  ) => Effect.Effect<SshSession.SshSession, DialError | SshError, Scope.Scope>
  readonly execute: <E = never, R = never>(
    settings: SshSettings,
    command: string,
    options?: SshProcess.ExecuteOptions<E, R>
  ) => Effect.Effect<SshProcess.CommandResult, DialError | SshError | E, R>
}>()("hawser/Ssh") {}

const isMany = <A>(value: A | ReadonlyArray<A>): value is ReadonlyArray<A> => Array.isArray(value)

/** How errors, spans and events call a server: `ssh ops@bastion:22`. */
const nameOf = ({ host, username }: SshSettings, port: number): string =>
  `ssh ${username}@${host.includes(":") ? `[${host}]` : host}:${port}`

const defaultRekeyBytes = 1024 ** 3

/** The Dialer that leads to a server: by a command and through other servers, where the settings say so. */
const wayTo = (dialer: Dialer["Service"], { jump = [], proxyCommand }: SshSettings) => {
  const first = proxyCommand === undefined ? dialer : Command.path(proxyCommand, dialer.connectTimeout)
  return Effect.reduce(
    isMany(jump) ? jump : [jump],
    () => first,
    (below, server) => Effect.map(open(below, server), (session) => session.dialer)
  )
}

const open: (
  dialer: Dialer["Service"],
  settings: SshSettings
) => Effect.Effect<SshSession.SshSession, DialError | SshError, Scope.Scope> = Effect.fnUntraced(function*(
  dialer,
  settings
) {
  const port = settings.port ?? 22
  const name = nameOf(settings, port)
  const failed = Effect.mapError((reason: SshErrorReason) => new SshError({ server: name, reason }))
  const attempts = yield* failed(
    Ssh2Auth.prepare(isMany(settings.auth) ? settings.auth : [settings.auth])
  )
  const hostKeys = yield* failed(
    (settings.hostKeys ?? HostKeys.knownHosts()).check({ host: settings.host, port, alias: settings.hostKeyAlias })
  )
  const observer = new Observer(name, yield* Effect.context())
  const connection = yield* scopedUnlessFailed(Effect.gen(function*() {
    const way = yield* wayTo(dialer, settings)
    const duplex = yield* way.dial({ host: settings.host, port }, { connectTimeout: settings.connectTimeout }).pipe(
      Effect.retry({ times: (settings.connectionAttempts ?? 1) - 1, schedule: Schedule.spaced("1 second") })
    )
    return yield* failed(Ssh2Client.connect(duplex, {
      username: settings.username,
      attempts,
      hostKeys,
      algorithms: settings.algorithms,
      keepAlive: settings.keepAlive === false
        ? undefined
        : Duration.fromInputUnsafe(settings.keepAlive ?? "15 seconds"),
      keepAliveCount: settings.keepAliveCount ?? 3,
      rekeyBytes: settings.rekey?.bytes ?? defaultRekeyBytes,
      rekeyInterval: Duration.fromInputUnsafe(settings.rekey?.interval ?? "1 hour"),
      handshakeTimeout: Duration.fromInputUnsafe(settings.handshakeTimeout ?? "20 seconds"),
      agent: settings.agentForwarding,
      observer
    })).pipe(
      Effect.tapError(({ reason }) => Effect.sync(() => observer.failed(reason))),
      Effect.mapError((error) => Command.refusalOf(duplex) ?? error)
    )
  }))
  observer.event("connected", () => {
    const { keyExchange, receiving } = connection.algorithms
    return `${connection.serverVersion}, ${keyExchange}, ${receiving.cipher}, ${connection.hostKey.fingerprint}`
  })
  return SshSession.make(connection, name, { connectTimeout: dialer.connectTimeout, env: settings.env })
})

const over = (connect: Ssh["Service"]["connect"]): Ssh["Service"] => {
  const traced = (settings: SshSettings) =>
    Observe.traced("Ssh.connect", () => ({ "server.name": nameOf(settings, settings.port ?? 22) }))(connect(settings))
  return {
    connect: traced,
    execute: (settings, command, options) =>
      Effect.scoped(Effect.flatMap(traced(settings), (session) => session.execute(command, options)))
  }
}

/**
 * The service over a Dialer you have in hand.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (dialer: Dialer["Service"]): Ssh["Service"] => over((settings) => open(dialer, settings))

/**
 * SSH over the Dialer below.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Ssh, never, Dialer> = Layer.fresh(Layer.effect(Ssh, Effect.map(Dialer, make)))

/**
 * How sessions are shared.
 *
 * @category models
 * @since 0.1.0
 */
export interface PoolOptions {
  /** How long a session that nobody uses is kept. Default 1 minute. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** How many connections there may be to one server. Default 4. */
  readonly maxConnections?: number | undefined
  /**
   * With how many users of one connection another one is opened, as long as there may be more. Default 10, which is how many
   * commands OpenSSH runs on one connection (`MaxSessions`).
   */
  readonly usersPerConnection?: number | undefined
}

/**
 * The service with sessions that are shared: `connect` gives whoever asks with the same settings the same session, and
 * `execute` runs its command in it, without a login of its own. Sessions are closed with the scope.
 *
 * **Details**
 *
 * - Settings are the same when they are equal: the same object, or objects with equal values. Functions in them, as those of
 *   `HostKeys`, are equal to themselves only, so keep settings in a constant.
 * - A session that was lost is opened anew for the next one who asks. Who was using it is told with `ConnectionLost`; nothing
 *   is run a second time, as nobody knows what it did the first time.
 * - `connect` counts as a user of the session until its scope ends, `execute` until its command has.
 * - A session's `close` closes it for all who use it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pool = (options: PoolOptions = {}): Effect.Effect<Ssh["Service"], never, Dialer | Scope.Scope> =>
  Effect.gen(function*() {
    const dialer = yield* Dialer
    return over(
      yield* Pool.make((settings: SshSettings) => open(dialer, settings), {
        idleTimeToLive: options.idleTimeToLive ?? "1 minute",
        maxConnections: options.maxConnections ?? 4,
        usersPerConnection: options.usersPerConnection ?? 10
      })
    )
  })

/**
 * SSH over the Dialer below, with sessions that are shared and reconnect: see `pool`. Each call makes a new layer with
 * sessions of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPooled = (options?: PoolOptions): Layer.Layer<Ssh, never, Dialer> =>
  Layer.fresh(Layer.effect(Ssh, pool(options)))

/**
 * A command, a shell or a subsystem that a test answers.
 *
 * **Details**
 *
 * - `kind` is `"exec"`, `"shell"` or `"subsystem"`; `command` is the command line, or the name of the subsystem; `user`, `env`
 *   and `terminal` are what the program asked for.
 * - `stdin` is what the program sends, up to its end. `stdout` and `stderr` write, no faster than the program reads.
 * - `signals` are those that the program sends, once it runs. Until then a signal ends the command.
 * - `windowSize` and `windowChanges` say how large the terminal is.
 *
 * @category testing
 * @since 0.1.0
 */
export interface TestCommand extends RunningCommand {}

/**
 * What a command comes to: an exit code, its output with exit code 0, all of it (`{ stdout, stderr, code }`, where a `code` of
 * `null` says nothing of how it ended), or a signal that ended it (`{ signal: "TERM" }`). Nothing at all is exit code 0.
 *
 * @category testing
 * @since 0.1.0
 */
export type TestAnswer = CommandAnswer

/**
 * Answers a command: at once, or with an effect that has the command in its hands and is interrupted when the program closes
 * it. One that fails or dies has its message on the error output, and exit code 255.
 *
 * @category testing
 * @since 0.1.0
 */
export type TestHandler<R = never> = Handlers.Handler<R>

/**
 * Answers commands: one handler for all, or what each command line answers. Others are then not found, as in a shell (exit code
 * 127).
 *
 * @category testing
 * @since 0.1.0
 */
export type TestCommands<R = never> = Handlers.Commands<R>

/**
 * What servers do in a test. What a program uses and a test does not give is a defect that says so.
 *
 * @category testing
 * @since 0.1.0
 */
export interface TestHandlers<R = never> {
  /** What commands do. */
  readonly exec?: TestCommands<R> | undefined
  /** What a login shell does. */
  readonly shell?: TestHandler<R> | undefined
  /** Subsystems by name. */
  readonly subsystems?: Readonly<Record<string, TestHandler<R>>> | undefined
  /**
   * The files that all servers have to begin with, by path; a path that ends with `/` is a folder. They are in memory and live
   * as long as the layer.
   */
  readonly files?: Readonly<Record<string, string | Uint8Array>> | undefined
  /** Says why a server cannot be reached or lets nobody in: what it fails with, `connect` fails with. Default: all can be. */
  readonly connect?: ((settings: SshSettings) => Effect.Effect<void, DialErrorReason | SshErrorReason, R>) | undefined
  /** Anything else of a session, or in place of it: `{ dialer }`, `{ forwardLocal: ... }`. */
  readonly session?: Partial<SshSession.SshSession> | undefined
}

/** What handlers need. */
type TestServices<H> = H extends TestHandlers<infer R> ? unknown extends R ? never : Exclude<R, Scope.Scope> : never

const isDialReason = Schema.is(DialErrorReason)

const missing = (part: string) => new Error(`Ssh.layerTest: no handler for \`${part}\``)
const dying = (part: string) => () => Effect.die(missing(part))
const dyingStream = (part: string) => () => Stream.die(missing(part))

/** What a session cannot do in a test, by what is given. */
const lacking = (
  { exec, files, shell, subsystems = {} }: TestHandlers,
  session: SshSession.SshSession
): Partial<SshSession.SshSession> => ({
  ...(exec === undefined ? { exec: dying("exec"), execute: dying("exec") } : {}),
  ...(shell === undefined ? { shell: dying("shell") } : {}),
  subsystem: (name) =>
    Object.hasOwn(subsystems, name) ? session.subsystem(name) : Effect.die(missing(`subsystems.${name}`)),
  ...(files === undefined ?
    {
      sftp: Effect.die(missing("files")),
      upload: dying("files"),
      uploadProgress: dyingStream("files"),
      download: dying("files"),
      downloadProgress: dyingStream("files"),
      downloadBytes: dying("files")
    } :
    {}),
  dialer: { connectTimeout: session.dialer.connectTimeout, dial: dying("session.dialer") },
  listener: { bind: dying("session.listener") },
  forwardLocal: dying("session.forwardLocal"),
  forwardRemote: dying("session.forwardRemote"),
  forwardDynamic: dying("session.forwardDynamic"),
  forwardRemoteDynamic: dying("session.forwardRemoteDynamic"),
  forward: dying("session.forward")
})

/**
 * SSH for unit tests: handlers answer, and nothing is sent anywhere.
 *
 * **Details**
 *
 * - Every server can be reached, with any user; ways to log in, host keys, `jump` and `proxyCommand` are not looked at, and no
 *   key is read. `connect` decides otherwise.
 * - What a session does with its channels is done as always: `execute` with its limits and timeouts, streams with
 *   backpressure, signals, terminals, SFTP, uploads and downloads, also over SCP where a handler of `exec` speaks it. A command
 *   that is interrupted or whose scope ends interrupts its handler.
 * - A session that is closed fails all that is under way with `ConnectionLost`.
 * - Time is that of Effect's clock, so timeouts are tested with `TestClock`.
 *
 * To test with the real protocol, logins and forwarding use `TestPeers.sshServer` of `hawser/testing`.
 *
 * **Example** (A deployment that is tried without a server)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Ssh, SshAuth } from "hawser"
 *
 * const Test = Ssh.layerTest({
 *   exec: {
 *     "systemctl restart app": 0,
 *     "systemctl is-active app": "active\n",
 *     "journalctl -u app": ({ stdout }) => Effect.andThen(stdout("started\n"), Effect.never)
 *   },
 *   files: { "/srv/app/version": "1\n" }
 * })
 *
 * const program = Effect.gen(function*() {
 *   const ssh = yield* Ssh.Ssh
 *   const session = yield* ssh.connect({ host: "web-1", username: "ops", auth: SshAuth.none })
 *   yield* session.upload(new TextEncoder().encode("2\n"), "/srv/app/version")
 *   yield* session.execute("systemctl restart app")
 *   return (yield* session.execute("systemctl is-active app")).text
 * }).pipe(Effect.scoped, Effect.provide(Test))
 * ```
 *
 * @category testing
 * @since 0.1.0
 */
export const layerTest = <const H extends TestHandlers<unknown>>(
  handlers: H
): Layer.Layer<Ssh, never, TestServices<H>> =>
  Layer.fresh(Layer.effect(
    Ssh,
    Effect.gen(function*() {
      const given: TestHandlers = cast(handlers)
      const { connect, exec = {}, files, shell, subsystems = {} } = given
      const context = Context.omit(Scope.Scope)(yield* Effect.context())
      const clock = yield* Clock.Clock
      const memory = files === undefined ? undefined : memoryFiles(files, () => clock.currentTimeMillisUnsafe())
      const command = Handlers.handlerOfAll(exec)
      const fork = yield* FiberSet.makeRuntime<never, void>()
      const run = (effect: Effect.Effect<void>) => {
        const fiber = fork(effect)
        return () => fiber.interruptUnsafe()
      }
      const sessions = new Set<Connection>()
      // those that are open are lost before their handlers end
      yield* Effect.addFinalizer(() => Effect.forEach(sessions, ({ close }) => close, { discard: true }))

      const handlerOf = ({ command: name, kind }: CommandRequest): CommandHandler => {
        const handler = kind === "exec" ? command : kind === "shell" ? shell : subsystems[name]
        if (handler !== undefined) return Handlers.provided(handler, context)
        return memory === undefined ? dying(name) : serveFiles({ files: memory })
      }
      return over(Effect.fnUntraced(function*(settings) {
        const port = settings.port ?? 22
        const name = nameOf(settings, port)
        yield* (connect?.(settings) ?? Effect.void).pipe(
          Effect.mapError((reason) =>
            isDialReason(reason)
              ? new DialError({ target: `${settings.host}:${port}`, hop: "direct", reason })
              : new SshError({ server: name, reason })
          ),
          Effect.provideContext(context)
        )
        const connection = yield* FakeConnection.connect({ name, user: settings.username, handlerOf, run })
        yield* Effect.acquireRelease(
          Effect.sync(() => sessions.add(connection)),
          () => Effect.sync(() => sessions.delete(connection))
        )
        const session = SshSession.make(connection, name, { connectTimeout: Duration.seconds(10), env: settings.env })
        return { ...session, ...lacking(given, session), ...given.session }
      }))
    })
  ))
