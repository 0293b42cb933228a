/** Something that happened on the network. */
export interface NetworkEvent {
  /** When, in milliseconds on the clock of the network's layer. */
  readonly at: number
  /**
   * - `listen`, `unlisten`: a host begins or ends to listen on a port.
   * - `connect`: a connection is asked for; `connected`, `refused`: how it went.
   * - `send`: bytes were taken from a writer; `receive`: they were handed to a reader.
   * - `end`, `reset`: the end of the stream, or a reset, arrived; `close`: an end was closed.
   * - `drop`, `hold`, `delay`, `corrupt`: what a rule did to a packet; `timeout`: a sender gave up.
   * - `crash`, `start`: a host went down or came up; `failed`: a program on it ended with an error.
   */
  readonly what:
    | "close"
    | "connect"
    | "connected"
    | "corrupt"
    | "crash"
    | "delay"
    | "drop"
    | "end"
    | "failed"
    | "hold"
    | "listen"
    | "receive"
    | "refused"
    | "reset"
    | "send"
    | "start"
    | "timeout"
    | "unlisten"
  /** The host where it came from, or the one that it is about. */
  readonly from: string
  /** The host that it was for. */
  readonly to?: string
  readonly port?: number
  /** The number of the connection, counted from 1. */
  readonly connection?: number
  readonly bytes?: number
}

/** The last things that happened, oldest first. */
export class EventLog {
  private entries: Array<NetworkEvent> = []

  private readonly limit: number
  constructor(limit: number) {
    this.limit = limit
  }

  add(event: NetworkEvent): void {
    if (this.limit === 0) return
    // dropping them in halves costs next to nothing
    if (this.entries.length >= 2 * this.limit) this.entries = this.entries.slice(-this.limit)
    this.entries.push(event)
  }

  get last(): ReadonlyArray<NetworkEvent> {
    return this.entries.slice(-this.limit)
  }
}
