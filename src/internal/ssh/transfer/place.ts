import * as Effect from "effect/Effect"
import type { Files } from "./files.ts"
import { temporaryBeside } from "./names.ts"

/** How long what is left of a failed file may take to be removed. */
const patience = "5 seconds"

/** Where a file is written until it is whole. */
export interface Place {
  readonly path: string
  /** Whether the path is the target's own. */
  readonly final: boolean
  /** Whether what is there stays when the transfer fails, for the next one to go on with. */
  readonly kept: boolean
}

export const placeOf = (target: string, atomic: boolean, resume: boolean): Place =>
  !atomic
    ? { path: target, final: true, kept: true }
    : resume
    ? { path: `${target}.part`, final: false, kept: true }
    : { path: temporaryBeside(target), final: false, kept: false }

/** Has a file written and then put where it belongs; nothing is left of one that fails. */
export const fill = <A, E, E2, R>(
  to: Files<E>,
  target: string,
  place: Place,
  write: Effect.Effect<A, E2, R>
): Effect.Effect<A, E | E2, R> => {
  if (place.final) return write
  const placed = Effect.tap(write, () => to.rename(place.path, target))
  if (place.kept) return placed
  // a server that no longer answers is not waited for
  const cleared = Effect.timeoutOption(Effect.interruptible(to.remove(place.path)), patience)
  return Effect.onError(placed, () => Effect.ignore(cleared))
}
