import * as Effect from "effect/Effect"

/** The reason that an effect fails with, as a plain record to compare with. */
export const reasonOf = <A, R>(effect: Effect.Effect<A, { readonly reason: object }, R>) =>
  Effect.map(
    Effect.flip(effect),
    (error): Readonly<Record<string, unknown>> => Object.fromEntries(Object.entries(error.reason))
  )
