/**
 * An open connection to an SSH server, on which commands run and through which others dial.
 *
 * Everything a session opens is a channel: many at a time share the one connection, each with a flow control of its own. A
 * channel belongs to the scope it was opened in; the session belongs to the scope it was connected in.
 *
 * **Details**
 *
 * - When the connection is lost, everything on it fails at once with `ConnectionLost`: output that was cut short never
 *   looks like output that ended.
 * - Servers allow so many commands, shells and subsystems at a time on one connection (`MaxSessions`, 10 in OpenSSH): one
 *   more waits for its turn.
 * - A server that is silent is asked whether it is still there (`keepAlive`), and both sides agree on new keys now and then
 *   (`rekey`), also in the middle of transfers.
 * - Nothing is sent again or reconnected behind your back: what a command had done is not known. Connect anew.
 *
 * **Gotchas**
 *
 * - Closing a channel does not end the process: most servers only close its input and output, which it may not notice.
 * - `stdout` and `stderr` share one window: a command that fills the one while nobody reads it stops on the other
 *   as well. Read both (`execute` does), or redirect one in the command.
 *
 * **Example** (Following a log over SSH)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Ssh, SshAuth } from "hawser"
 *
 * const follow = Effect.scoped(Effect.gen(function*() {
 *   const ssh = yield* Ssh.Ssh
 *   const session = yield* ssh.connect({
 *     host: "web-1",
 *     username: "ops",
 *     auth: SshAuth.privateKey({ key: "~/.ssh/id_ed25519" })
 *   })
 *   const process = yield* session.exec("tail -f /var/log/app.log 2>/dev/null")
 *   yield* process.stdout.pipe(
 *     Stream.decodeText,
 *     Stream.splitLines,
 *     Stream.runForEach((line) => Effect.log(line))
 *   )
 * }))
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type ConnectionLost, SshError } from "../errors/SshError.ts"
import type { Connection } from "../internal/ssh/connection.ts"
import * as Ssh2Direct from "../internal/ssh/forward/direct.ts"
import type { HostKey } from "../internal/ssh/hostKeys/publicKey.ts"
import type { Negotiated } from "../internal/ssh/negotiated.ts"
import * as Ssh2Sftp from "../internal/ssh/sftp/open.ts"
import type { Dialer } from "./Dialer.ts"
import * as Sftp from "./Sftp.ts"
import * as SshForward from "./SshForward.ts"
import * as SshProcess from "./SshProcess.ts"
import * as SshTransfer from "./SshTransfer.ts"

export type {
  /**
   * What the two sides agreed on, by the names of the protocol: the key exchange, the signature of the host key, and cipher,
   * MAC and compression of each direction. The MAC of a cipher that brings its own is `implicit`.
   *
   * @category models
   * @since 0.1.0
   */
  Negotiated
} from "../internal/ssh/negotiated.ts"

/**
 * An open connection to an SSH server.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshSession extends SshProcess.Programs, SshForward.SshForwards, SshTransfer.SessionTransfers {
  /** How errors call it: `ssh ops@bastion:22`. */
  readonly name: string
  /** The key by which the server was recognised. */
  readonly hostKey: HostKey
  /** How the server calls itself: `SSH-2.0-OpenSSH_9.2p1 Debian-2`. */
  readonly serverVersion: string
  /** What the server said to everybody before the login. It is the server's text: show it as such. */
  readonly banner: Option.Option<string>
  /** What the two sides agreed on when they met. */
  readonly algorithms: Negotiated
  /**
   * Has the two sides agree on new keys, and waits until they have. Done without being asked as `SshSettings.rekey` says.
   * Transfers go on afterwards as if nothing had happened. Fails with `ConnectionLost`.
   */
  readonly rekey: Effect.Effect<void, SshError>
  /**
   * The server's files, over a channel of its own that is closed with the scope. Errors: `ChannelRefused` where the server has no
   * SFTP, `TransferProtocol`, `ConnectionLost`.
   */
  readonly sftp: Effect.Effect<Sftp.Sftp, SshError, Scope.Scope>
  /**
   * Dials from the server, as `ssh -W` and `ssh -L` do; unix sockets too where the server is OpenSSH. Names are resolved
   * there. What is dialled ends with an error when the session does.
   */
  readonly dialer: Dialer["Service"]
  /** Waits until the connection is gone, and says why. */
  readonly closed: Effect.Effect<ConnectionLost>
  /** Closes the session before its scope ends: everything on it fails with `ConnectionLost`. */
  readonly close: Effect.Effect<void>
}

/** What the settings of a session say beyond its connection. */
interface SessionSettings {
  readonly connectTimeout: Duration.Duration
  readonly env: Readonly<Record<string, string>> | undefined
}

/**
 * Makes a session of a connection.
 *
 * @internal
 */
export const make = (connection: Connection, name: string, settings: SessionSettings): SshSession => {
  const dialer = Ssh2Direct.path(connection, name, settings.connectTimeout)
  const programs = SshProcess.make(connection, name, settings.env)
  const client = Effect.mapError(Ssh2Sftp.open(connection), (reason) => new SshError({ server: name, reason }))
  const closed = Effect.callback<ConnectionLost>((resume) => {
    const lost = connection.lost()
    if (lost !== undefined) return resume(Effect.succeed(lost))
    return Effect.sync(connection.onLost((reason) => resume(Effect.succeed(reason))))
  })
  return {
    name,
    hostKey: connection.hostKey,
    serverVersion: connection.serverVersion,
    banner: connection.banner === "" ? Option.none() : Option.some(connection.banner),
    algorithms: connection.algorithms,
    rekey: Effect.mapError(connection.rekey, (reason) => new SshError({ server: name, reason })),
    close: connection.close,
    sftp: client.pipe(
      Effect.map((client) => Sftp.make(client, name, SshTransfer.ofSftp(name, client, programs))),
      Effect.withSpan("SshSession.sftp")
    ),
    dialer,
    closed,
    ...programs,
    ...SshTransfer.ofSession(name, client, programs),
    ...SshForward.make(connection, name, dialer, closed)
  }
}
