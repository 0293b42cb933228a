import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import { alarm } from "./deadline.ts"
import { isSettling, realClock } from "./realTime.ts"

/** How a dead connection is noticed. */
export interface KeepAliveSettings {
  readonly interval: Duration.Duration
  /** How long an answer may take. */
  readonly timeout: Duration.Duration
  /** Ask while the connection is not in use too. */
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

/**
 * An answer takes real time, also where the clock is a test's and is turned by hours at once: it gets this much, unless the
 * clock itself waits for it.
 */
const grace = 100

/** Asks peers now and then whether they are still there. */
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
      const asked = realClock.currentTimeMillisUnsafe()
      // the answer may be queued behind much else: who still sends is still there
      const orWait = (silent: () => void) => () => watched.received() === before ? silent() : wait()
      after(
        this.settings.timeout,
        orWait(() => {
          const left = isSettling(this.clock) ? 0 : asked + grace - realClock.currentTimeMillisUnsafe()
          if (left <= 0) watched.dead()
          else stopAlarm = alarm(realClock, Duration.millis(left), orWait(watched.dead))
        })
      )
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
