import * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import { Duplex } from "node:stream"
import type { ClientChannel, PseudoTtyOptions, ShellOptions } from "ssh2"
import { type ChannelRefused, ConnectionLost } from "../../../errors/SshError.ts"
import { copyOf } from "../../net/directReads.ts"
import { guardErrors } from "../../net/owner.ts"
import type { Connection } from "../connection.ts"
import * as Protocol from "../protocol.ts"
import { Ending, type Exit } from "./exit.ts"
import { openSession } from "./open.ts"

type Done = (error?: Error | null) => void

/** As sockets name their errors, so that what is written for sockets understands them. */
const socketError = (code: string, message: string, cause?: unknown) =>
  Object.assign(new Error(message, { cause }), { code })

const channelClosed = new ConnectionLost({ detail: "the channel was closed" })

const farEndClosed = () => socketError("EPIPE", "the far end closed it")

/**
 * A channel that behaves like a socket. ssh2's own do not: destroying them goes through the protocol, a write may never
 * call back, and a connection that is gone looks like the end of the bytes.
 */
export class ChannelDuplex extends Duplex implements Protocol.Receiver {
  readonly channel: ClientChannel
  private readonly incoming: Protocol.Incoming
  private readonly ending: Ending
  private readonly onErrorOutput: ((bytes: Uint8Array) => void) | undefined
  private readonly forget: () => void
  private writing: Done | undefined
  /** How many bytes were handed to the stream and not yet seen to be read from it. */
  private unread = 0

  constructor(connection: Connection, channel: ClientChannel, onErrorOutput?: (bytes: Uint8Array) => void) {
    super({ allowHalfOpen: true })
    this.channel = channel
    this.onErrorOutput = onErrorOutput
    this.ending = new Ending(connection, channel)
    this.forget = connection.onLost((reason) => this.onLost(reason))
    channel.on("close", () => this.settle(farEndClosed()))
    this.incoming = Protocol.receive(channel, this)
  }

  /** How the process behind it ended; for channels that have one. */
  get exit(): Effect.Effect<Exit, ConnectionLost> {
    return Deferred.await(this.ending.exit)
  }

  /** Lets the server send so many bytes more ahead of what is read, for good. Says whether it can. */
  grant(bytes: number): boolean {
    return this.incoming.grant(bytes)
  }

  /** Sends a signal (`TERM`, ...) to the process behind it. */
  signal(name: string): void {
    Protocol.signal(this.channel, name)
  }

  /** Says that its terminal has another size now. */
  resize(columns: number, rows: number): void {
    Protocol.resize(this.channel, columns, rows)
  }

  onData(given: Uint8Array, isError: boolean, lent: boolean): void {
    const bytes = lent ? copyOf(given) : given
    if (isError) {
      this.onErrorOutput?.(bytes)
      return this.incoming.taken(bytes.length)
    }
    this.unread += bytes.length
    this.push(bytes)
    this.tellTaken()
  }

  onEnd(isError: boolean): void {
    if (!isError) this.push(null)
  }

  /** What came whole is not made worse by the connection's end. */
  private onLost(reason: ConnectionLost): void {
    if (Protocol.isOpen(this.channel, "incoming") || Protocol.isOpen(this.channel, "outgoing")) {
      this.destroy(socketError("ECONNRESET", reason.message, reason))
    }
  }

  private tellTaken(): void {
    const taken = this.unread - this.readableLength
    if (taken <= 0) return
    this.unread -= taken
    this.incoming.taken(taken)
  }

  override _read(): void {
    this.tellTaken()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    if (!Protocol.isOpen(this.channel, "outgoing")) return done(farEndClosed())
    this.writing = done
    this.channel.write(chunk, () => this.settle())
  }

  override _final(done: Done): void {
    if (!Protocol.isOpen(this.channel, "outgoing")) return done()
    this.writing = () => done()
    this.channel.end(() => this.settle())
  }

  override _destroy(error: Error | null, done: Done): void {
    this.forget()
    // a stream that has ended is destroyed by itself, and a process may still have to say how it ended
    const over = error === null && this.readableEnded && this.writableFinished
    if (!over || this.channel.type !== "session") this.release()
    this.settle(error ?? farEndClosed())
    done(error)
  }

  /** Closes the channel, also where the stream is over and the process is not. */
  release(): void {
    this.incoming.stop()
    this.channel.close()
    this.ending.fail(channelClosed)
  }

  /** Answers the write that is under way, once: ssh2 may answer it, or the end of the channel does. */
  private settle(error?: Error): void {
    const { writing } = this
    this.writing = undefined
    writing?.(error)
  }
}

/** What a command or a subsystem may be told besides its name. */
export interface SessionDuplexOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Takes what the process writes to its error output. Default: it is dropped. */
  readonly onErrorOutput?: ((bytes: Uint8Array) => void) | undefined
}

/** Opens a channel to a subsystem (`sftp`, ...). */
export const openSubsystem = (
  connection: Connection,
  name: string,
  options?: SessionDuplexOptions
): Effect.Effect<ChannelDuplex, ConnectionLost | ChannelRefused> =>
  openSession(
    connection,
    (done) => connection.client.subsys(name, done),
    (channel) => guardErrors(new ChannelDuplex(connection, channel, options?.onErrorOutput))
  )

/** Opens a channel to a command: its input and its output. */
export const openExec = (
  connection: Connection,
  command: string,
  options?: SessionDuplexOptions
): Effect.Effect<ChannelDuplex, ConnectionLost | ChannelRefused> =>
  openSession(
    connection,
    (done) => connection.client.exec(command, options?.env === undefined ? {} : { env: options.env }, done),
    (channel) => guardErrors(new ChannelDuplex(connection, channel, options?.onErrorOutput))
  )

/** Opens a channel to a login shell in a terminal. */
export const openShell = (
  connection: Connection,
  terminal: PseudoTtyOptions,
  options: ShellOptions
): Effect.Effect<ChannelDuplex, ConnectionLost | ChannelRefused> =>
  openSession(
    connection,
    (done) => connection.client.shell(terminal, options, done),
    (channel) => guardErrors(new ChannelDuplex(connection, channel))
  )
