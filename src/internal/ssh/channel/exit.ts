import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ClientChannel } from "ssh2"
import type { ConnectionLost } from "../../../errors/SshError.ts"
import type { Connection } from "../connection.ts"

/** How a process ended. */
export interface Exit {
  readonly exitCode: Option.Option<number>
  readonly signal: Option.Option<string>
  /** Whether the signal left a core dump. */
  readonly coreDumped: boolean
  /** What the server says about the signal, often nothing. */
  readonly description: string
}

/**
 * Waits for the end of a channel's process, and of the channel. ssh2 ends a channel whose connection is gone as if the
 * process had finished, so what the connection says counts.
 */
export class Ending {
  readonly exit = Deferred.makeUnsafe<Exit, ConnectionLost>()
  /** Both sides have closed the channel. */
  readonly closed = Deferred.makeUnsafe<void, ConnectionLost>()
  private readonly forget: () => void

  constructor(connection: Connection, channel: ClientChannel) {
    this.forget = connection.onLost((reason) => this.fail(reason))
    const exited = (code?: number | null, signal?: string, dump?: boolean, description?: string) =>
      Deferred.doneUnsafe(
        this.exit,
        Effect.succeed({
          exitCode: Option.fromNullishOr(code),
          signal: Option.fromNullishOr(signal),
          coreDumped: dump === true,
          description: description ?? ""
        })
      )
    channel
      .on("exit", exited)
      .on("close", (code?: number | null, signal?: string, dump?: boolean, description?: string) => {
        this.forget()
        // servers need not say how a process ended (RFC 4254, section 6.10)
        exited(code, signal, dump, description)
        Deferred.doneUnsafe(this.closed, Effect.void)
      })
  }

  /** Tells all that wait that there is nothing to wait for. */
  fail(reason: ConnectionLost): void {
    this.forget()
    Deferred.doneUnsafe(this.exit, Effect.fail(reason))
    Deferred.doneUnsafe(this.closed, Effect.fail(reason))
  }
}
