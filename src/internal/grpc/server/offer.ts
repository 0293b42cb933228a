import * as Effect from "effect/Effect"
import * as Health from "./health.ts"
import type { Implemented } from "./implement.ts"
import * as Reflection from "./reflection.ts"
import { type Routes, routesOf } from "./route.ts"

/** What a server offers beside the services that it is given. Default: all of it. */
export interface Extras {
  readonly health?: boolean | undefined
  readonly reflection?: boolean | undefined
}

/** All that a server offers. */
export interface Offer {
  readonly routes: Routes
  readonly health: Health.Health
}

/** Services, and what a server says of itself. */
export const offer = Effect.fnUntraced(function*(
  services: ReadonlyArray<Implemented>,
  extras: Extras
): Effect.fn.Return<Offer> {
  const health = yield* Health.make(services.map(({ name }) => name))
  const own = extras.health === false ? services : [...services, health]
  const routes = routesOf([
    ...own.flatMap(({ implementations }) => implementations),
    ...(extras.reflection === false ? [] : Reflection.make(own))
  ])
  return { health, routes }
})
