import type { Client, ClientChannel } from "ssh2"
import { type ChannelRefused, ConnectionLost } from "../../../errors/SshError.ts"
import type { Observer } from "../observe.ts"
import * as Protocol from "../protocol.ts"
import { discard, refusal, type Request } from "./request.ts"

/** Codes of RFC 4254, section 5.1, with which servers say that there are enough sessions on a connection. */
const isLimit = ({ code }: ChannelRefused) => code === 2 || code === 4

type Failure = ConnectionLost | ChannelRefused

/** Somebody who wants a session channel. */
class Ticket {
  readonly number: number
  /** After how many closed sessions it was refused last. */
  closesSeen = 0
  wanted = true
  readonly request: Request
  readonly opened: (channel: ClientChannel) => void
  readonly failed: (reason: Failure) => void

  constructor(
    number: number,
    request: Request,
    opened: (channel: ClientChannel) => void,
    failed: (reason: Failure) => void
  ) {
    this.number = number
    this.request = request
    this.opened = opened
    this.failed = failed
  }
}

/**
 * The session channels of one connection, of which servers allow so many at a time (`MaxSessions`, 10 in OpenSSH). How many
 * is not told: who is refused while others are open waits until one of them is closed, and tries again, in the order in
 * which they came.
 */
export class Sessions {
  private readonly client: Client
  private readonly observer: Pick<Observer, "event">
  private readonly waiting: Array<Ticket> = []
  private tickets = 0
  /** Who waited and is trying again: one at a time, as somebody behind might be luckier. */
  private trying: Ticket | undefined
  /** How many are open or being opened. One counts until the server has closed it too. */
  private held = 0
  private closes = 0

  constructor(client: Client, observer: Pick<Observer, "event">) {
    this.client = client
    this.observer = observer
  }

  /** How many wait for their turn. */
  get queued(): number {
    return this.waiting.length
  }

  /** Asks for a channel. Gives the way to give up. */
  open(
    request: Request,
    opened: (channel: ClientChannel) => void,
    failed: (reason: Failure) => void
  ): () => void {
    const ticket = new Ticket(this.tickets++, request, opened, failed)
    if (this.waiting.length > 0 || this.trying !== undefined) this.waiting.push(ticket)
    else this.attempt(ticket)
    return () => {
      ticket.wanted = false
      const at = this.waiting.indexOf(ticket)
      if (at >= 0) this.waiting.splice(at, 1)
    }
  }

  private attempt(ticket: Ticket): void {
    this.held++
    let requested: () => ClientChannel | undefined = () => undefined
    try {
      ticket.request((error, channel) =>
        error === undefined ? this.confirmed(ticket, channel) : this.refused(ticket, refusal(error), requested())
      )
      requested = Protocol.requested(this.client)
    } catch (cause) {
      // ssh2 throws when its stream can no longer be written
      this.held--
      this.settled(ticket)
      return ticket.failed(new ConnectionLost({ detail: String(cause) }))
    }
  }

  private confirmed(ticket: Ticket, channel: ClientChannel): void {
    const kind = () => channel.subtype ?? channel.type
    this.observer.event("channel opened", kind)
    channel.once("close", () => {
      this.observer.event("channel closed", kind)
      this.release()
    })
    if (ticket.wanted) ticket.opened(channel)
    else discard(channel)
    // there may be room for one more
    if (this.settled(ticket)) this.next()
  }

  private refused(ticket: Ticket, reason: ChannelRefused, channel: ClientChannel | undefined): void {
    if (!isLimit(reason)) {
      // not every server says that it has closed what it refused
      if (channel !== undefined) discard(channel)
      this.settled(ticket)
      this.release()
      this.observer.event("channel refused", () => reason.message)
      if (ticket.wanted) ticket.failed(reason)
      return
    }
    this.held--
    if (ticket.wanted && ticket.closesSeen !== this.closes) {
      // servers free a session some time after they said that it is closed
      ticket.closesSeen = this.closes
      return this.attempt(ticket)
    }
    this.settled(ticket)
    if (!ticket.wanted) return this.next()
    if (this.held > 0) return this.wait(ticket)
    this.observer.event("channel refused", () => reason.message)
    ticket.failed(reason)
    this.next()
  }

  private wait(ticket: Ticket): void {
    const at = this.waiting.findIndex(({ number }) => number > ticket.number)
    this.waiting.splice(at < 0 ? this.waiting.length : at, 0, ticket)
  }

  private readonly release = (): void => {
    this.held--
    this.closes++
    this.next()
  }

  /** Somebody has been answered. Says whether that was who was trying again. */
  private settled(ticket: Ticket): boolean {
    if (ticket !== this.trying) return false
    this.trying = undefined
    return true
  }

  private next(): void {
    if (this.trying !== undefined) return
    this.trying = this.waiting.shift()
    if (this.trying !== undefined) this.attempt(this.trying)
  }
}
