import type { Client } from "ssh2"
import { onDebug } from "../protocol.ts"

/** OpenSSH: `Server has disabled port forwarding.`, `port forwarding refused`. It also says this way what a key may do. */
const isRefusal = (words: string) => /\bforwarding\b/.test(words) && /\b(?:disabled|refused|denied)\b/.test(words)

/**
 * What the server said last for people to read. RFC 4254 has no reasons for a forward that is refused; OpenSSH gives one this
 * way, just before, when it is forbidden.
 */
export class Words {
  private last: string | undefined

  constructor(client: Client) {
    onDebug(client, (words) => {
      if (isRefusal(words)) this.last = words
    })
  }

  /** Why something was refused since the last time, if that was said. */
  take(): string | undefined {
    const { last } = this
    this.last = undefined
    return last
  }
}
