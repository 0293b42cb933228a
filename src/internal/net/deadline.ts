import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

const never = () => {}

/**
 * Calls `ring` when the time is over on the Effect clock, unless what this gives is called before. For work that is a
 * callback anyway: a race of fibers, as `Effect.timeout` has it, costs a fifth of a connection.
 */
export const alarm = (
  fiber: Fiber.Fiber<unknown, unknown>,
  duration: Duration.Duration,
  ring: () => void
): () => void => {
  if (!Duration.isFinite(duration)) return never
  const sleeper = Effect.runForkWith(fiber.context)(fiber.getRef(Clock.Clock).sleep(duration))
  sleeper.addObserver((exit) => {
    if (Exit.isSuccess(exit)) ring()
  })
  return () => sleeper.interruptUnsafe()
}
