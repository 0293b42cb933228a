import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Activity } from "./activity.ts"
import { Agenda } from "./agenda.ts"

/**
 * What happens on a network, in its order: by time, and at one time in the order in which it was set. Everything happens in
 * a turn of the event loop of its own, never inside of what set it: microtasks and ticks run in between, as they do
 * between the events of real sockets.
 *
 * One sleeper waits on the clock for whatever is next.
 */
export class Timeline {
  /** Whether things still happen. */
  isOpen = true
  private readonly later = new Agenda<() => void>()
  private sleeper: Fiber.Fiber<void> | undefined
  private wakesAt = Infinity

  private readonly clock: Clock.Clock
  private readonly activity: Activity
  constructor(clock: Clock.Clock, activity: Activity) {
    this.clock = clock
    this.activity = activity
  }

  /** In milliseconds. */
  now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** When the next event is that has to wait for its time. */
  get nextDue(): number | undefined {
    return this.later.first?.due
  }

  /** Lets something happen in the next turn of the event loop, after what was set before. */
  soon(event: () => void): void {
    setImmediate(() => this.happen(event))
  }

  /**
   * Lets something happen at a time, which may have a fraction of a millisecond; soon where that is over. Gives what cancels
   * it, until it happens.
   */
  at(millis: number, event: () => void): () => void {
    if (!this.isOpen) return () => {}
    if (millis <= this.now()) return this.soonUnlessCancelled(event)
    let cancel = this.later.add(millis, () => {
      cancel = this.soonUnlessCancelled(event)
    })
    if (millis < this.wakesAt) this.sleepUntil(millis)
    return () => {
      cancel()
      if (this.later.first === undefined) this.stopSleeping()
    }
  }

  /** Drops all that has not happened yet. */
  close(): void {
    this.isOpen = false
    this.later.clear()
    this.stopSleeping()
  }

  private happen(event: () => void): void {
    if (!this.isOpen) return
    this.activity.note()
    event()
  }

  private soonUnlessCancelled(event: () => void): () => void {
    const turn = setImmediate(() => this.happen(event))
    return () => clearImmediate(turn)
  }

  private stopSleeping(): void {
    const sleeper = this.sleeper
    this.sleeper = undefined
    this.wakesAt = Infinity
    sleeper?.interruptUnsafe()
  }

  private sleepUntil(due: number): void {
    this.stopSleeping()
    this.wakesAt = due
    // clocks tell whole milliseconds: a fraction would be waited for again and again
    this.sleeper = Effect.runFork(this.clock.sleep(Duration.millis(Math.ceil(due - this.now()))))
    this.sleeper.addObserver((exit) => {
      if (Exit.isSuccess(exit)) this.wake()
    })
  }

  private wake(): void {
    this.sleeper = undefined
    this.wakesAt = Infinity
    const now = this.now()
    for (let next = this.later.take(now); next !== undefined; next = this.later.take(now)) next.what()
    if (this.later.first !== undefined) this.sleepUntil(this.later.first.due)
  }
}
