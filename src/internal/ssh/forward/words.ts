import type { Client } from "ssh2"
import { onDebug } from "../protocol.ts"

/**
 * What the server said last for people to read. RFC 4254 has no reasons for a forward that is refused; OpenSSH gives one this
 * way, just before, when it is forbidden.
 */
export class Words {
  private last: string | undefined

  constructor(client: Client) {
    onDebug(client, (words) => this.last = words)
  }

  /** What was said since the last time, if anything. */
  take(): string | undefined {
    const { last } = this
    this.last = undefined
    return last
  }
}
