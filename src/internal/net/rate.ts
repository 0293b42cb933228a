import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * How often something may happen, by key: `limit` times at once and then evenly over each `window` (GCRA, the leaky
 * bucket as a meter). Of a key it keeps one number, until nothing of its past counts any more.
 */
export class Rate {
  /** When the last one that was allowed would have happened if all had come evenly. */
  private readonly theoretical = new Map<string, number>()
  private sweepAt = 0
  private readonly interval: number
  private readonly window: number

  constructor(limit: number, window: Duration.Duration) {
    this.window = Duration.toMillis(window)
    this.interval = this.window / Math.max(1, limit)
  }

  /**
   * Takes the next turn of a key and says how long to wait for it, as a success; or, where that would be longer than
   * `patience`, takes none and says so as a failure.
   */
  take(key: string, patience: Duration.Duration): Effect.Effect<Duration.Duration, Duration.Duration> {
    return Effect.clockWith((clock) => {
      const now = clock.currentTimeMillisUnsafe()
      this.sweep(now)
      const next = Math.max(now, this.theoretical.get(key) ?? now) + this.interval
      const wait = Duration.millis(Math.max(0, Math.ceil(next - this.window - now)))
      if (Duration.isGreaterThan(wait, patience)) return Effect.fail(wait)
      this.theoretical.set(key, next)
      return Effect.succeed(wait)
    })
  }

  /** How many keys are known. */
  get size(): number {
    return this.theoretical.size
  }

  private sweep(now: number) {
    if (now < this.sweepAt) return
    this.sweepAt = now + this.window
    for (const [key, time] of this.theoretical) if (time <= now) this.theoretical.delete(key)
  }
}
