import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Host, Program } from "./hosts.ts"

/** A program of a host: it runs while the host is up, each time from the beginning. */
export interface HostProgram extends Program {
  /** Ends it for good and waits for its finalizers. */
  readonly stop: Effect.Effect<void>
}

/** Starts a program on a host; `failed` is told when it ends by itself with an error. */
export const startOn = <E, R>(
  host: Host,
  program: Effect.Effect<unknown, E, R>,
  context: Context.Context<R>,
  failed: (cause: Cause.Cause<E>) => void
): HostProgram => {
  const running = new Set<Fiber.Fiber<unknown, E>>()
  const start = () => {
    const fiber = Effect.runForkWith(context)(program)
    running.add(fiber)
    fiber.addObserver((exit) => {
      running.delete(fiber)
      if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) failed(exit.cause)
    })
  }
  const own: HostProgram = {
    start,
    kill: () => {
      for (const fiber of running) fiber.interruptUnsafe()
    },
    stop: Effect.suspend(() => {
      host.programs.delete(own)
      return Fiber.interruptAll(running)
    })
  }
  host.programs.add(own)
  if (host.isUp) start()
  return own
}
