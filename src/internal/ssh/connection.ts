import type * as Effect from "effect/Effect"
import type { Client } from "ssh2"
import { ConnectionLost } from "../../errors/SshError.ts"
import type { Request } from "./channel/request.ts"
import type { Sessions } from "./channel/sessions.ts"
import type { HostKey } from "./hostKeys/publicKey.ts"
import type { Negotiated } from "./negotiated.ts"
import type { Observer } from "./observe.ts"

/** A connection that is ready for channels. */
export interface Connection {
  readonly client: Client
  readonly hostKey: HostKey
  /** The server's identification line. */
  readonly serverVersion: string
  /** What the server said to everybody before the login; empty where it said nothing. */
  readonly banner: string
  readonly algorithms: Negotiated
  readonly observer: Observer
  /** Its session channels. */
  readonly sessions: Sessions
  /** Asks for a command or a shell whose programs may ask an agent of ours, where there is one that they may ask. */
  readonly withAgent: (request: Request) => Request
  /** Why the connection is gone, once it is. */
  readonly lost: () => ConnectionLost | undefined
  /** Calls back when the connection is gone, before ssh2 ends its channels as if all were well. Gives the way to stop. */
  readonly onLost: (notify: (reason: ConnectionLost) => void) => () => void
  /** Waits until the two sides have agreed on new keys. */
  readonly rekey: Effect.Effect<void, ConnectionLost>
  /** Takes leave of the server. */
  readonly close: Effect.Effect<void>
}

/** Whether the connection is there, and who wants to know when it is not. */
export class Life {
  private reason: ConnectionLost | undefined
  private readonly listeners = new Set<(reason: ConnectionLost) => void>()

  readonly lost = () => this.reason

  readonly onLost = (notify: (reason: ConnectionLost) => void) => {
    this.listeners.add(notify)
    return () => void this.listeners.delete(notify)
  }

  end(detail: string, cause?: Error): void {
    if (this.reason !== undefined) return
    this.reason = new ConnectionLost({ detail, ...(cause === undefined ? {} : { cause }) })
    const listeners = [...this.listeners]
    this.listeners.clear()
    for (const notify of listeners) notify(this.reason)
  }
}
