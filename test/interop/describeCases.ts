import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { leavesNothing } from "../support/leaks.ts"
import { allCases, type CaseName } from "./cases.ts"
import { directions, run } from "./directions.ts"
import type { Path } from "./path.ts"

/** Defines the tests of cases, all unless told, in a direction and over paths. */
export const describeCases = (
  direction: keyof typeof directions,
  over: { readonly [path: string]: () => Layer.Layer<Path, unknown> },
  names: ReadonlyArray<CaseName> = allCases
): void => {
  describe(`gRPC interop, ${direction}`, () => {
    for (const [path, network] of Object.entries(over)) {
      for (const name of names) {
        it.live(
          `${name} ${path}`,
          () => leavesNothing(Effect.scoped(run(name, directions[direction])).pipe(Effect.provide(network()))),
          60_000
        )
      }
    }
  })
}
