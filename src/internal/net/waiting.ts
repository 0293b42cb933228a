import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { Closed, TcpError } from "../../errors/TcpError.ts"
import { close } from "./duplex.ts"

/** Who is called back with connections, without a fiber that waits for each. */
export interface Receiver {
  /** Whether it would take another connection now. While it would not, connections wait as they do for `accept`. */
  readonly ready: () => boolean
  /** Takes a connection, which is then the receiver's to close. */
  readonly take: (duplex: Duplex) => void
  /** The listener is closed: there will be no more. */
  readonly closed: () => void
}

/** What a receiver says to those who call it. */
export interface Reception {
  /** It is ready again. */
  readonly more: () => void
  /** It wants no more. */
  readonly stop: () => void
}

/** Connections that have been made to a listener and that nobody has taken yet; what they send stays unread. */
export class Waiting {
  /** Each with what forgets it when it breaks while it waits. */
  private readonly duplexes = new Map<Duplex, () => void>()
  private readonly takers = new Set<(duplex: Effect.Effect<Duplex, TcpError>) => void>()
  private readonly receivers = new Set<Receiver>()
  private closed = false

  private readonly limit: number
  constructor(limit: number) {
    this.limit = limit
  }

  get isClosed(): boolean {
    return this.closed
  }

  /** Whether a connection that came now would be taken or kept. */
  get hasRoom(): boolean {
    if (this.closed) return false
    if (this.duplexes.size < this.limit || this.takers.size > 0) return true
    for (const receiver of this.receivers) if (receiver.ready()) return true
    return false
  }

  /** Gives a connection to who waits for one; closes it when too many wait already. */
  offer(duplex: Duplex): void {
    for (const receiver of this.receivers) if (receiver.ready()) return receiver.take(duplex)
    const [taker] = this.takers
    if (taker !== undefined) {
      this.takers.delete(taker)
      return taker(Effect.succeed(duplex))
    }
    if (this.closed || this.duplexes.size >= this.limit) return void duplex.destroy()
    const forget = () => void this.duplexes.delete(duplex)
    this.duplexes.set(duplex, forget)
    duplex.once("close", forget)
  }

  /** The one that has waited longest. */
  private first(): Duplex | undefined {
    for (const [duplex, forget] of this.duplexes) {
      this.duplexes.delete(duplex)
      duplex.off("close", forget)
      return duplex
    }
    return undefined
  }

  private readonly take = Effect.callback<Duplex, TcpError>((resume) => {
    const duplex = this.first()
    if (duplex !== undefined) return resume(Effect.succeed(duplex))
    if (this.closed) return resume(Effect.fail(new TcpError({ reason: new Closed() })))
    this.takers.add(resume)
    return Effect.sync(() => void this.takers.delete(resume))
  })

  /** The next connection, which then belongs to the scope; fails with `Closed` once this is closed. */
  readonly accept: Effect.Effect<Duplex, TcpError, Scope.Scope> = Effect.acquireRelease(this.take, close, {
    interruptible: true
  })

  private readonly deliver = (): void => {
    for (const receiver of this.receivers) {
      while (receiver.ready()) {
        const duplex = this.first()
        if (duplex === undefined) return
        receiver.take(duplex)
      }
    }
  }

  /** Calls back with the connections that wait and with those that come. */
  readonly receive = (receiver: Receiver): Reception => {
    if (this.closed) receiver.closed()
    else this.receivers.add(receiver)
    this.deliver()
    return { more: this.deliver, stop: () => void this.receivers.delete(receiver) }
  }

  close(): void {
    this.closed = true
    for (const duplex of this.duplexes.keys()) duplex.destroy()
    this.duplexes.clear()
    for (const taker of this.takers) taker(Effect.fail(new TcpError({ reason: new Closed() })))
    this.takers.clear()
    const receivers = [...this.receivers]
    this.receivers.clear()
    for (const receiver of receivers) receiver.closed()
  }
}
