import { cast } from "effect/Function"
import type { Implementation, ServerCall } from "./handler.ts"
import { Meters } from "./observe.ts"

/** A method that is served. */
export interface Route {
  readonly definition: Implementation["definition"]
  readonly handler: (input: unknown, call: ServerCall) => unknown
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly meters: Meters
}

/** All methods of a server, by `:path`, and the names of its services. */
export interface Routes {
  readonly methods: ReadonlyMap<string, Route>
  readonly services: ReadonlySet<string>
}

/** Where a call of each method goes. The first implementation of a method counts. */
export const routesOf = (implementations: ReadonlyArray<Implementation>): Routes => {
  const methods = new Map<string, Route>()
  for (const { definition, handler } of implementations) {
    const path = `/${definition.path}`
    if (methods.has(path)) continue
    methods.set(path, {
      definition,
      handler: cast(handler),
      requestStream: definition.kind === "clientStream" || definition.kind === "bidi",
      responseStream: definition.kind === "serverStream" || definition.kind === "bidi",
      meters: new Meters(definition.path)
    })
  }
  return { methods, services: new Set(implementations.map(({ definition }) => definition.service)) }
}
