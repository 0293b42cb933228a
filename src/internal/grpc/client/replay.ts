import * as Effect from "effect/Effect"
import type { RawHeaders } from "../wire/metadata.ts"
import { Code, ownStatus, type Status } from "../wire/status.ts"
import type { Exchange, Outcome } from "./exchange.ts"
import type { Strategy } from "./retry.ts"

/** How attempts come about. */
export interface Attempts {
  /**
   * Starts one, now or when there is a connection; `previous` have been made before it. Gives what stops it where it has
   * not started yet.
   */
  readonly start: (
    previous: number,
    onStarted: (exchange: Exchange) => void,
    onFailed: (outcome: Outcome) => void
  ) => () => void
  /** Calls back after a time on the program's clock; gives what stops it. */
  readonly after: (millis: number, callback: () => void) => () => void
}

/** How much of what was sent is kept for another attempt; with more the attempt under way is the last one. */
const capacity = 1024 * 1024

/** A server that refuses a call unseen is asked again, at once, this many times (gRFC A6, transparent retries). */
const maxTransparent = 2

const nothing = () => {}

/**
 * A call of one or more attempts (gRFC A6). What is sent is kept, and sent again by a further attempt, until one attempt
 * is answered with headers: then the call is committed to it.
 */
export class Replaying implements Exchange {
  onChange: () => void = nothing

  private readonly attempts: Attempts
  private readonly strategy: Strategy
  /** What has been sent, as long as another attempt may have to send it. */
  private kept: Array<Buffer> = []
  private keptSize = 0
  private sendComplete = false
  private readonly live = new Set<Exchange>()
  private committed: Exchange | undefined
  private ownOutcome: Outcome | undefined
  private started = 0
  private transparent = 0
  /** Attempts that wait for their time or for a connection. */
  private readonly pending = new Set<() => void>()

  constructor(attempts: Attempts, strategy: Strategy) {
    this.attempts = attempts
    this.strategy = strategy
  }

  /** Starts the first attempt. */
  begin(): void {
    this.start()
  }

  get headers(): RawHeaders | undefined {
    return this.committed?.headers
  }

  get outcome(): Outcome | undefined {
    return this.ownOutcome ?? this.committed?.outcome
  }

  get hasMessages(): boolean {
    return this.committed?.hasMessages ?? false
  }

  take(): Effect.Effect<Array<Uint8Array>, Status> {
    return this.committed?.take() ?? Effect.succeed([])
  }

  get hasRoom(): boolean {
    if (this.committed !== undefined) return this.committed.hasRoom
    for (const exchange of this.live) if (!exchange.hasRoom) return false
    return this.live.size > 0 || this.keptSize === 0
  }

  send(frames: Buffer): boolean {
    if (this.committed !== undefined) return this.committed.send(frames)
    if (this.keptSize + frames.byteLength > capacity && this.live.size > 0) {
      const [exchange] = this.live
      this.commit(exchange!)
      return exchange!.send(frames)
    }
    this.kept.push(frames)
    this.keptSize += frames.byteLength
    for (const exchange of this.live) exchange.send(frames)
    return this.hasRoom
  }

  completeSend(): void {
    this.sendComplete = true
    if (this.committed !== undefined) this.committed.completeSend()
    else for (const exchange of this.live) exchange.completeSend()
  }

  abort(status: Status): void {
    if (this.outcome !== undefined) return
    this.ownOutcome = status
    this.stopPending()
    for (const exchange of this.live) this.drop(exchange, status)
    this.committed?.abort(status)
    this.onChange()
  }

  private start(): void {
    const previous = this.started++
    let settled = false
    const begun = () => {
      settled = true
      this.pending.delete(stop)
    }
    let stop = nothing
    stop = this.attempts.start(previous, (exchange) => {
      begun()
      this.join(exchange)
    }, (outcome) => {
      begun()
      this.failed(outcome)
    })
    if (!settled) this.pending.add(stop)
    const hedgeAfter = this.strategy.hedgeAfter(this.started)
    if (hedgeAfter !== undefined && !this.isSettled()) this.startAfter(hedgeAfter)
  }

  private startAfter(millis: number): void {
    if (millis <= 0) return this.start()
    const stop = this.attempts.after(millis, () => {
      this.pending.delete(stop)
      this.start()
    })
    this.pending.add(stop)
  }

  private isSettled(): boolean {
    return this.committed !== undefined || this.ownOutcome !== undefined
  }

  /** An attempt has begun: it is told all that was said so far. */
  private join(exchange: Exchange): void {
    if (this.isSettled()) return exchange.abort(ownStatus(Code.cancelled, "another attempt was faster"))
    this.live.add(exchange)
    exchange.onChange = () => this.changed(exchange)
    for (const frames of this.kept) exchange.send(frames)
    if (this.sendComplete) exchange.completeSend()
    this.changed(exchange)
  }

  private changed(exchange: Exchange): void {
    if (this.committed === undefined && this.live.has(exchange)) {
      const { outcome } = exchange
      if (exchange.headers !== undefined || outcome?.code === Code.ok) this.commit(exchange)
      else if (outcome !== undefined) {
        this.live.delete(exchange)
        return this.failed(outcome, exchange)
      }
    }
    if (this.committed?.outcome !== undefined) this.strategy.ended(this.committed.outcome)
    this.onChange()
  }

  /** An attempt came to nothing. */
  private failed(outcome: Outcome, exchange?: Exchange): void {
    if (this.isSettled()) return
    if (outcome.unprocessed === true && this.transparent < maxTransparent) {
      this.transparent++
      this.started--
      return this.start()
    }
    const again = this.strategy.retryAfter(outcome, this.started)
    if (again !== undefined) {
      // an attempt that was to be started beside this one takes its place
      if (this.live.size === 0 || again === 0) {
        this.stopPending()
        this.startAfter(again)
      }
      return
    }
    if (this.strategy.isHedging && !this.strategy.isFatal(outcome) && this.live.size + this.pending.size > 0) return
    this.stopPending()
    for (const other of this.live) this.drop(other, outcome)
    if (exchange === undefined) this.ownOutcome = outcome
    else this.committed = exchange
    this.kept = []
    this.strategy.ended(outcome)
    this.onChange()
  }

  private commit(exchange: Exchange): void {
    this.committed = exchange
    this.kept = []
    this.stopPending()
    for (const other of this.live) {
      if (other !== exchange) this.drop(other, ownStatus(Code.cancelled, "another attempt was faster"))
    }
  }

  private drop(exchange: Exchange, status: Status): void {
    this.live.delete(exchange)
    exchange.onChange = nothing
    exchange.abort(status)
  }

  private stopPending(): void {
    for (const stop of this.pending) stop()
    this.pending.clear()
  }
}
