import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import { alarm } from "../../net/deadline.ts"

/** How a dead connection is noticed. */
export interface KeepAliveSettings {
  readonly interval: Duration.Duration
  /** How long an answer may take. */
  readonly timeout: Duration.Duration
  /** Ask while no call is under way too. */
  readonly withoutCalls: boolean
}

/** A connection as it is seen from here. */
export interface Watched {
  readonly isInUse: () => boolean
  /** How many bytes have come, or `undefined` where nobody counts them. */
  readonly received: () => number | undefined
  readonly ping: (answered: () => void) => void
  readonly dead: () => void
}

/** Asks the servers of one channel now and then whether they are still there. */
export class KeepAlive {
  private readonly settings: KeepAliveSettings
  private readonly clock: Clock.Clock
  private interval: Duration.Duration

  constructor(settings: KeepAliveSettings, clock: Clock.Clock) {
    this.settings = settings
    this.clock = clock
    this.interval = settings.interval
  }

  /** A server complained of too many pings: from now on all are asked half as often. */
  slowDown(): void {
    this.interval = Duration.times(this.interval, 2)
  }

  /** Watches a connection until what this gives is called. */
  watch(watched: Watched): () => void {
    let watching = true
    let stopAlarm = () => {}
    const after = (duration: Duration.Duration, ring: () => void) => {
      stopAlarm = alarm(this.clock, duration, ring)
    }
    const wait = () => {
      const before = watched.received()
      // the answer may be queued behind much else: who still sends is still there
      after(this.settings.timeout, () => watched.received() === before ? watched.dead() : wait())
    }
    const rest = () =>
      after(this.interval, () => {
        if (!this.settings.withoutCalls && !watched.isInUse()) return rest()
        wait()
        watched.ping(() => {
          if (!watching) return
          stopAlarm()
          rest()
        })
      })
    rest()
    return () => {
      watching = false
      stopAlarm()
    }
  }
}
