import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { Closed, TcpError } from "../../errors/TcpError.ts"
import { close } from "./duplex.ts"

/** Connections that have been made to a listener and that nobody has taken yet; what they send stays unread. */
export class Waiting {
  private readonly duplexes = new Set<Duplex>()
  private readonly takers = new Set<(duplex: Effect.Effect<Duplex, TcpError>) => void>()
  private closed = false

  private readonly limit: number
  constructor(limit: number) {
    this.limit = limit
  }

  /** Gives a connection to who waits for one; closes it when too many wait already. */
  offer(duplex: Duplex): void {
    const [taker] = this.takers
    if (taker !== undefined) {
      this.takers.delete(taker)
      return taker(Effect.succeed(duplex))
    }
    if (this.closed || this.duplexes.size >= this.limit) return void duplex.destroy()
    this.duplexes.add(duplex)
    duplex.once("close", () => this.duplexes.delete(duplex))
  }

  private readonly take = Effect.callback<Duplex, TcpError>((resume) => {
    const [duplex] = this.duplexes
    if (duplex !== undefined) {
      this.duplexes.delete(duplex)
      return resume(Effect.succeed(duplex))
    }
    if (this.closed) return resume(Effect.fail(new TcpError({ reason: new Closed() })))
    this.takers.add(resume)
    return Effect.sync(() => void this.takers.delete(resume))
  })

  /** The next connection, which then belongs to the scope; fails with `Closed` once this is closed. */
  readonly accept: Effect.Effect<Duplex, TcpError, Scope.Scope> = Effect.acquireRelease(this.take, close, {
    interruptible: true
  })

  close(): void {
    this.closed = true
    for (const duplex of this.duplexes) duplex.destroy()
    this.duplexes.clear()
    for (const taker of this.takers) taker(Effect.fail(new TcpError({ reason: new Closed() })))
    this.takers.clear()
  }
}
