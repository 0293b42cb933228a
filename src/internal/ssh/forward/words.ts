import type { Client } from "ssh2"

type OnDebug = (protocol: unknown, display: boolean, message: string) => void

const get = (of: unknown, name: string): unknown =>
  typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined

/**
 * What the server said last for people to read (SSH_MSG_DEBUG). RFC 4254 has no reasons for a forward that is refused;
 * OpenSSH gives one this way, just before, when it is forbidden. ssh2 has a place for who wants to know, and fills it only to
 * describe each and every packet. Where that place is gone, nothing is ever said.
 */
export class Words {
  private last: string | undefined

  constructor(client: Client) {
    const handlers = get(get(client, "_protocol"), "_handlers")
    if (typeof handlers !== "object" || handlers === null || !("DEBUG" in handlers)) return
    const handler: OnDebug = (_protocol, _display, message) => this.last = message
    handlers.DEBUG ??= handler
  }

  /** What was said since the last time, if anything. */
  take(): string | undefined {
    const { last } = this
    this.last = undefined
    return last
  }
}
