/**
 * The place that knows private parts of ssh2, besides `packets.ts` and `auth/exchange.ts`. Each of them is looked for before it is used, and where it is gone
 * something that ssh2 documents takes its place, which does less.
 */
import type { Client, ClientChannel } from "ssh2"
import { isLent, mayLend } from "./packets.ts"

/** The receive window of every channel as ssh2 opens it, in bytes. */
export const initialWindow = 2 * 1024 * 1024

type Channel = Pick<ClientChannel, "readableEnded" | "writable"> & {
  readonly incoming: unknown
  readonly outgoing: unknown
}

/** What `ClientChannel`'s types do not have. */
interface Direction {
  readonly id: number
  state: "open" | "eof" | "closing" | "closed"
  window: number
}

interface Protocol {
  readonly signal: (channel: number, name: string) => void
  readonly windowChange: (channel: number, rows: number, columns: number, height: number, width: number) => void
  readonly channelWindowAdjust: (channel: number, bytes: number) => void
  readonly rekey: () => void
  readonly ping: () => void
}

const get = (of: unknown, name: string): unknown =>
  typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined

const isDirection = (value: unknown): value is Direction =>
  typeof get(value, "id") === "number" && typeof get(value, "state") === "string" &&
  typeof get(value, "window") === "number"

const hasMethod = <Name extends keyof Protocol>(protocol: unknown, name: Name): protocol is Pick<Protocol, Name> =>
  typeof get(protocol, name) === "function"

const protocolOf = (channel: object): unknown => get(get(channel, "_client"), "_protocol")

/** Whether something is a channel on the client's side; where ssh2's types say less than it gives. */
export const isChannel = (value: object): value is ClientChannel => "outgoing" in value && "stderr" in value

/**
 * Whether one direction of a channel is open. ssh2 keeps a state for each that its types do not have, and no event or
 * property says the same in time. Where the state is gone, the stream's own is the next best.
 */
export const isOpen = (channel: Channel, direction: "incoming" | "outgoing"): boolean => {
  const state = get(channel[direction], "state")
  if (state === undefined) return direction === "outgoing" ? channel.writable : !channel.readableEnded
  return state === "open"
}

/** Whether the server still knows the channel: it ends the connection over requests for one that it does not know. */
const isKnown = (channel: Channel): boolean => {
  const sent = get(channel.outgoing, "state")
  const received = get(channel.incoming, "state")
  return (sent === "open" || sent === "eof") && (received === "open" || received === "eof")
}

/** Sends a signal (`TERM`, ...) to a channel's process. ssh2's own way stops working with the end of the input. */
export const signal = (channel: ClientChannel, name: string): void => {
  const protocol = protocolOf(channel)
  if (!isDirection(channel.outgoing) || !hasMethod(protocol, "signal")) return channel.signal(name)
  if (isKnown(channel)) protocol.signal(channel.outgoing.id, name)
}

/** Says that a terminal has another size now, in characters. */
export const resize = (channel: ClientChannel, columns: number, rows: number): void => {
  const protocol = protocolOf(channel)
  if (!isDirection(channel.outgoing) || !hasMethod(protocol, "windowChange")) {
    return channel.setWindow(rows, columns, 0, 0)
  }
  if (isKnown(channel)) protocol.windowChange(channel.outgoing.id, rows, columns, 0, 0)
}

/** Has the two sides agree on new session keys. Says whether it could be asked for. */
export const rekey = (client: Client): boolean => {
  const protocol = get(client, "_protocol")
  if (!hasMethod(protocol, "rekey")) return false
  protocol.rekey()
  return true
}

/**
 * Asks the server whether it is still there. Any answer is one: it need not know the question. The documented way asks it not to
 * listen where it does not.
 */
export const ping = (client: Client, answered: () => void): void => {
  const protocol = get(client, "_protocol")
  // who waits for an answer to a request of the whole connection, in the order of the requests
  const callbacks = get(client, "_callbacks")
  if (!hasMethod(protocol, "ping") || !Array.isArray(callbacks)) return void client.unforwardIn("", 0, answered)
  callbacks.push(answered)
  protocol.ping()
}

/** Calls back with the words of a server that takes its leave; ssh2 keeps them to itself where the server means well. */
export const onDisconnect = (client: Client, notify: (words: string) => void): void => {
  const handlers = get(get(client, "_protocol"), "_handlers")
  const before = get(handlers, "DISCONNECT")
  if (typeof before !== "function" || typeof handlers !== "object" || handlers === null) return
  Reflect.set(handlers, "DISCONNECT", (protocol: unknown, reason: unknown, words: unknown) => {
    if (typeof words === "string") notify(words)
    before(protocol, reason, words)
  })
}

/**
 * Calls back with what the server says for people to read (SSH_MSG_DEBUG). ssh2 has a place for who wants to know, and fills it
 * only to describe each and every packet.
 */
export const onDebug = (client: Client, notify: (words: string) => void): void => {
  const handlers = get(get(client, "_protocol"), "_handlers")
  if (typeof handlers !== "object" || handlers === null || get(handlers, "DEBUG") !== undefined) return
  Reflect.set(handlers, "DEBUG", (_protocol: unknown, _display: unknown, words: unknown) => {
    if (typeof words === "string") notify(words)
  })
}

/**
 * Has ssh2 no longer ask for agent forwarding with each command and shell, as its settings told it to. Says whether it could be
 * told.
 */
export const stopAgentForwarding = (client: Client): boolean => {
  const config = get(client, "config")
  return typeof config === "object" && config !== null && get(config, "allowAgentFwd") === true &&
    Reflect.set(config, "allowAgentFwd", false)
}

const isClient = (value: unknown): value is Client =>
  typeof get(value, "emit") === "function" && typeof get(value, "destroy") === "function"

/**
 * The channel of the request that was made just before: ssh2 leaves a channel open whose request is refused, and gives it to
 * nobody.
 */
export const requested = (client: Client): () => ClientChannel | undefined => {
  const channels = get(client, "_chanMgr")
  const id = get(channels, "_cur")
  return () => {
    const channel = get(get(channels, "_channels"), String(id))
    return typeof channel === "object" && channel !== null && isChannel(channel) ? channel : undefined
  }
}

/** Ends a connection whose server does not keep to the protocol. */
const breakOff = (channel: ClientChannel, why: string): void => {
  const client = get(channel, "_client")
  if (!isClient(client)) return channel.close()
  client.emit("error", new Error(why))
  client.destroy()
}

/** Who takes what a channel brings. */
export interface Receiver {
  /** Takes bytes. They may be `lent`: in memory that is overwritten as soon as this has returned. */
  onData(bytes: Uint8Array, isError: boolean, lent: boolean): void
  /** Nothing more will come, of the output or of the error output. */
  onEnd(isError: boolean): void
}

/** What a channel brings, on its way to the receiver. */
export interface Incoming {
  /** Whether ssh2 hands it over itself, without a stream in between. */
  readonly direct: boolean
  /** So many bytes were taken from the receiver: the server may send as many again. */
  taken(bytes: number): void
  /** Lets the server send so many bytes more ahead of what is taken, for good. Says whether it can. */
  grant(bytes: number): boolean
  /** Drops what still comes, and takes it off the server's hands no more. */
  stop(): void
}

/** After how many bytes that were taken the server hears of it, which costs a packet. */
const refill = initialWindow / 2

type OpenChannel = ClientChannel & { readonly incoming: Direction; readonly outgoing: Direction }

/**
 * Takes a channel's bytes from ssh2 as they come, and its window too. ssh2's window counts what its streams took, forgets
 * the one output over the other and drops bytes where it was widened; this one counts what the receiver took.
 */
class Direct implements Incoming {
  readonly direct = true
  private readonly channel: OpenChannel
  private readonly protocol: Pick<Protocol, "channelWindowAdjust">
  private readonly receiver: Receiver
  private allowed = initialWindow
  private untold = 0
  private widened = false
  private stopped = false

  constructor(channel: OpenChannel, protocol: Pick<Protocol, "channelWindowAdjust">, receiver: Receiver) {
    this.channel = channel
    this.protocol = protocol
    this.receiver = receiver
    channel.push = (chunk: Uint8Array | null) => this.push(channel, chunk, false)
    channel.stderr.push = (chunk: Uint8Array | null) => this.push(channel.stderr, chunk, true)
    mayLend(channel)
    // ssh2's own ends a stream that has ended, for which Node makes an error with a stack trace that nobody sees
    channel.destroy = () => {
      channel.close()
      return channel
    }
  }

  private push(stream: ClientChannel | ClientChannel["stderr"], chunk: Uint8Array | null, isError: boolean): boolean {
    if (chunk === null) {
      // says that the end was seen, as the event would: ssh2 then closes the channel without waiting for a reader
      stream.readable = false
      if (!this.stopped) this.receiver.onEnd(isError)
      return true
    }
    this.channel.incoming.window = initialWindow
    this.allowed -= chunk.length
    if (this.allowed < -initialWindow) breakOff(this.channel, "the server sent more than it was allowed to")
    else if (!this.stopped) this.receiver.onData(chunk, isError, isLent())
    return true
  }

  taken(bytes: number): void {
    this.untold += bytes
    if (this.untold < refill) return
    // whoever sends much may always have a whole window on the way, also while it does not yet hear of what was taken
    if (!this.widened) this.untold += refill
    this.widened = true
    this.adjust()
  }

  grant(bytes: number): boolean {
    this.untold += bytes
    this.adjust()
    return true
  }

  private adjust(): void {
    const bytes = this.untold
    this.untold = 0
    this.allowed += bytes
    if (this.channel.incoming.state === "open" && isKnown(this.channel)) {
      this.protocol.channelWindowAdjust(this.channel.outgoing.id, bytes)
    }
  }

  stop(): void {
    this.stopped = true
  }
}

/** Up to how many bytes that nobody took a stream of ssh2's goes on giving. */
const readAhead = 65_536

/** The same over the streams of ssh2, which read further ahead. */
class Flowing implements Incoming {
  readonly direct = false
  private readonly channel: ClientChannel
  private untaken = 0

  constructor(channel: ClientChannel, receiver: Receiver) {
    this.channel = channel
    const attach = (stream: ClientChannel | ClientChannel["stderr"], isError: boolean) =>
      stream
        .on("data", (chunk: Uint8Array) => {
          this.untaken += chunk.length
          if (this.untaken >= readAhead) this.pause()
          receiver.onData(chunk, isError, false)
        })
        .on("end", () => receiver.onEnd(isError))
    attach(channel, false)
    attach(channel.stderr, true)
  }

  private pause(): void {
    this.channel.pause()
    this.channel.stderr.pause()
  }

  taken(bytes: number): void {
    this.untaken -= bytes
    if (this.untaken >= readAhead) return
    this.channel.resume()
    this.channel.stderr.resume()
  }

  grant(): boolean {
    return false
  }

  stop(): void {
    // what is not wanted has to flow away all the same, or the channel never closes
    this.channel.removeAllListeners("data").resume()
    this.channel.stderr.removeAllListeners("data").resume()
  }
}

/** Has a channel that was opened just now give what it brings to a receiver. */
export const receive = (channel: ClientChannel, receiver: Receiver): Incoming => {
  channel.on("error", () => {})
  channel.stderr.on("error", () => {})
  const protocol = protocolOf(channel)
  const isKnownShape = (channel: ClientChannel): channel is OpenChannel =>
    isDirection(channel.incoming) && isDirection(channel.outgoing) &&
    get(channel, "_waitChanDrain") === false && channel.readableLength + channel.stderr.readableLength === 0
  return isKnownShape(channel) && hasMethod(protocol, "channelWindowAdjust")
    ? new Direct(channel, protocol, receiver)
    : new Flowing(channel, receiver)
}
