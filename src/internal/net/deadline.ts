import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

interface Alarm {
  readonly due: number
  readonly ring: () => void
}

/**
 * The alarms of one clock. All of them share one sleeper, which is there while there are alarms: work that ends in time,
 * as nearly all does, starts and stops no timer of its own where it is not alone.
 */
class Alarms {
  private readonly pending = new Set<Alarm>()
  private sleeper: Fiber.Fiber<void> | undefined
  private wakesAt = Infinity

  private readonly clock: Clock.Clock
  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  set(millis: number, ring: () => void): Alarm {
    const alarm = { due: this.clock.currentTimeMillisUnsafe() + millis, ring }
    this.pending.add(alarm)
    if (alarm.due < this.wakesAt) this.sleepUntil(alarm.due)
    return alarm
  }

  stop(alarm: Alarm): void {
    if (this.pending.delete(alarm) && this.pending.size === 0) this.stopSleeping()
  }

  private stopSleeping() {
    const sleeper = this.sleeper
    this.sleeper = undefined
    this.wakesAt = Infinity
    sleeper?.interruptUnsafe()
  }

  private sleepUntil(due: number) {
    this.stopSleeping()
    this.wakesAt = due
    const sleep = this.clock.sleep(Duration.millis(Math.max(0, due - this.clock.currentTimeMillisUnsafe())))
    this.sleeper = Effect.runFork(sleep)
    this.sleeper.addObserver((exit) => {
      if (Exit.isSuccess(exit)) this.wake()
    })
  }

  private wake() {
    this.sleeper = undefined
    this.wakesAt = Infinity
    const now = this.clock.currentTimeMillisUnsafe()
    let next = Infinity
    for (const alarm of this.pending) {
      if (alarm.due > now) next = Math.min(next, alarm.due)
      else {
        this.pending.delete(alarm)
        alarm.ring()
      }
    }
    if (next < this.wakesAt && this.pending.size > 0) this.sleepUntil(next)
  }
}

const alarmsOf = new WeakMap<Clock.Clock, Alarms>()

const never = () => {}

/**
 * Calls `ring` when the time is over on the Effect clock, unless what this gives is called before. For work that is a
 * callback anyway: a race of fibers, as `Effect.timeout` has it, costs a fifth of a connection.
 */
export const alarm = (clock: Clock.Clock, duration: Duration.Duration, ring: () => void): () => void => {
  if (!Duration.isFinite(duration)) return never
  let alarms = alarmsOf.get(clock)
  if (alarms === undefined) alarmsOf.set(clock, alarms = new Alarms(clock))
  const shared = alarms
  const set = shared.set(Duration.toMillis(duration), ring)
  return () => shared.stop(set)
}
