import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/** How long to wait between attempts to connect (gRPC's connection-backoff.md). */
export interface Backoff {
  /** From the start of the first attempt to that of the second. */
  readonly initial: Duration.Duration
  /** How many times as long each further wait is. */
  readonly multiplier: number
  readonly max: Duration.Duration
  /** The part by which each wait is made longer or shorter at random, from 0 to 1. */
  readonly jitter: number
}

export const defaults: Backoff = {
  initial: Duration.seconds(1),
  multiplier: 1.6,
  max: Duration.seconds(120),
  jitter: 0.2
}

/** How long to wait after so many attempts in a row that failed. */
export const delay = (
  { initial, jitter, max, multiplier }: Backoff,
  failures: number
): Effect.Effect<Duration.Duration> =>
  Effect.map(Random.next, (random) => {
    const millis = Math.min(Duration.toMillis(initial) * multiplier ** (failures - 1), Duration.toMillis(max))
    return Duration.millis(millis * (1 + jitter * (2 * random - 1)))
  })
