import * as Context from "effect/Context"

/**
 * When the call that is being handled has to be over, in milliseconds of the Effect clock. Calls that a handler makes
 * inherit it: they have no more time than the one they are made for.
 */
export const CurrentDeadline = Context.Reference<number | undefined>("hawser/internal/grpc/CurrentDeadline", {
  defaultValue: () => undefined
})
