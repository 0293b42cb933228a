import type { Client } from "ssh2"
import { ConnectionLost } from "../../errors/SshError.ts"
import type { Sessions } from "./channel/sessions.ts"
import type { HostKey } from "./hostKeys/publicKey.ts"

/** A connection that is ready for channels. */
export interface Connection {
  readonly client: Client
  readonly hostKey: HostKey
  /** Its session channels. */
  readonly sessions: Sessions
  /** Why the connection is gone, once it is. */
  readonly lost: () => ConnectionLost | undefined
  /** Calls back when the connection is gone, before ssh2 ends its channels as if all were well. Gives the way to stop. */
  readonly onLost: (notify: (reason: ConnectionLost) => void) => () => void
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

  end(detail: string): void {
    if (this.reason !== undefined) return
    this.reason = new ConnectionLost({ detail })
    const listeners = [...this.listeners]
    this.listeners.clear()
    for (const notify of listeners) notify(this.reason)
  }
}
