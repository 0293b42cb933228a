import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import { alarm } from "./deadline.ts"

/** Real time, for what goes on outside the program or has to end also where the clock is a test's and nobody turns it. */
export const realClock: Clock.Clock = Context.get(Context.empty(), Clock.Clock)

const settling = new WeakSet<Clock.Clock>()

/**
 * Says of a test's clock that it waits at each point of its time until nothing moves any more. What is due then is really
 * late, and anything that depends on real time would make two runs differ.
 */
export const markSettling = (clock: Clock.Clock): void => void settling.add(clock)

/** Whether a clock waits until nothing moves any more before it goes on. */
export const isSettling = (clock: Clock.Clock): boolean => settling.has(clock)

/** Long enough to be hardly ever seen where somebody turns the clock, and yet an end. */
const lastResort = Duration.seconds(2)

/**
 * Calls `ring` when the time is over on the clock, and under a test's clock also when it has really passed: what waits for a
 * peer at the end of a program must not wait for ever because nobody turns the clock any more.
 */
export const alarmAnyway = (clock: Clock.Clock, duration: Duration.Duration, ring: () => void): () => void => {
  if (clock === realClock) return alarm(clock, duration, ring)
  const rings = () => {
    stop()
    ring()
  }
  const stops = [
    alarm(clock, duration, rings),
    alarm(realClock, isSettling(clock) ? Duration.max(duration, lastResort) : duration, rings)
  ]
  const stop = () => {
    for (const stopAlarm of stops) stopAlarm()
  }
  return stop
}

/** Milliseconds by a clock, with fractions, for measuring how long something takes. */
export const stopwatch = (clock: Clock.Clock) => (): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
