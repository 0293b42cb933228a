import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

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
    // clocks tell whole milliseconds: what is due within one would be waited for again and again
    const alarm = { due: this.clock.currentTimeMillisUnsafe() + Math.ceil(millis), ring }
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

/**
 * Runs an effect for no longer than `duration` on the Effect clock, then interrupts it, waits for its finalizers and goes on
 * with `orElse`: what `Effect.timeoutOrElse` does with two fibers and a timer, with one fiber and the shared alarm.
 */
export const within = <A, E, R, A2, E2>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  orElse: () => Effect.Effect<A2, E2>
): Effect.Effect<A | A2, E | E2, R> =>
  Duration.isFinite(duration)
    ? Effect.contextWith((context: Context.Context<R>) =>
      Effect.callback((resume) => {
        const running = Effect.runForkWith(context)(effect)
        const exit = running.pollUnsafe()
        if (exit !== undefined) return resume(exit)
        let late = false
        const stop = alarm(Context.get(context, Clock.Clock), duration, () => {
          late = true
          running.interruptUnsafe()
        })
        running.addObserver((exit) => {
          stop()
          resume(late && Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause) ? orElse() : exit)
        })
        return Effect.suspend(() => {
          stop()
          return Fiber.interrupt(running)
        })
      })
    )
    : effect
