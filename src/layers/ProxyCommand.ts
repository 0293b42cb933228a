/**
 * What is dialled is reached by a command of this machine, as `ssh` does with `ProxyCommand`.
 *
 * The command is started for each dial. Its input and its output are the connection: what is written goes to its input, what
 * it prints is read. `%h` and `%p` in it stand for the host and the port that are dialled.
 *
 * **Details**
 *
 * - The user's shell (`SHELL`, otherwise `/bin/sh`) runs the command, by `exec`. On Windows it is `cmd.exe`.
 * - The command ends with the scope of the connection: its input is closed, it gets SIGHUP and, two seconds later, SIGKILL;
 *   the scope waits until it is gone. What a shell has started besides, as in a pipeline, only loses its input and output.
 * - When the command ends with another exit code than 0, reading and writing fail with that code and with what it printed to
 *   its error output last. When it ends with 0, that is the end of the connection; when it only closes its output, the other
 *   direction stays open.
 * - Names of hosts are letters, digits, dots, hyphens and underscores only, so none of them can be more than a name to the
 *   shell.
 *
 * The errors are `DialError`s whose `hop` is `command` and its first word (`"command nc"`):
 *
 * - `InvalidTarget`: the target is a unix socket, or the command has other tokens than `%h`, `%p` and `%%`
 * - `Unknown`: the shell cannot be started
 *
 * **Gotchas**
 *
 * - A command cannot say that it is connected. A dial succeeds as soon as the shell runs, so a target that cannot be reached
 *   shows at the first read. `Ssh.connect`, where the server is the first to speak, makes `ProxyRefused` of it, with the exit
 *   code and the last words of the command.
 * - Commands are started by the system, whatever Dialer there is: this layer ends a path and goes over nothing.
 *
 * **Example** (A server that only another machine reaches)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { ProxyCommand, Ssh } from "hawser"
 *
 * const Live = Ssh.layer.pipe(
 *   Layer.provide(ProxyCommand.layer("ssh -q -W [%h]:%p gate.example.com"))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Command from "../internal/proxy/command.ts"
import { Dialer } from "../services/Dialer.ts"

/**
 * How commands are used.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProxyCommandOptions {
  /**
   * What the Dialer's own `connectTimeout` is, which layers above it take where nobody says otherwise: for their handshakes, as
   * starting a command takes no time worth mentioning. Default 10 seconds.
   */
  readonly connectTimeout?: Duration.Input | undefined
}

/**
 * A Dialer whose connections are commands. Each call makes a new layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (command: string, options: ProxyCommandOptions = {}): Layer.Layer<Dialer> =>
  Layer.sync(
    Dialer,
    () => Dialer.of(Command.path(command, Duration.fromInputUnsafe(options.connectTimeout ?? "10 seconds")))
  )
