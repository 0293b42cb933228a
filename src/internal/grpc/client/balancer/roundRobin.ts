import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Target from "../../../net/target.ts"
import type { Connection } from "../connection.ts"
import type { Endpoint, EndpointState } from "../endpoint.ts"
import type { Make } from "./balancer.ts"

interface Member {
  readonly endpoint: Endpoint
  readonly scope: Scope.Closeable
}

/** Keeps a connection to each address and gives the calls to those that are ready, in turn. */
export const roundRobin: Make = Effect.fnUntraced(function*(parts, initial) {
  const membersScope = yield* Effect.scope
  const members = new Map<string, Member>()
  let ready: ReadonlyArray<Connection> = []
  let turn = 0

  const endpoints = () => Array.from(members.values(), ({ endpoint }) => endpoint)

  const onChange = () => {
    ready = endpoints().flatMap((endpoint) => endpoint.connection() ?? [])
    for (const endpoint of endpoints()) endpoint.connect()
    parts.onChange()
  }

  const state = (): EndpointState => {
    const states = endpoints().map((endpoint) => endpoint.state())
    return states.includes("ready")
      ? "ready"
      : states.every((state) => state === "transientFailure")
      ? "transientFailure"
      : "connecting"
  }

  const update = Effect.fnUntraced(function*(targets: ReadonlyArray<Target.Target>) {
    const wanted = new Map(targets.map((target) => [Target.format(target), target]))
    for (const [name, target] of wanted) {
      if (members.has(name)) continue
      const scope = yield* Scope.fork(membersScope)
      const endpoint = yield* Scope.provide(parts.endpoint(parts.connect(target), onChange), scope)
      members.set(name, { endpoint, scope })
    }
    for (const [name, { scope }] of members) {
      if (wanted.has(name)) continue
      members.delete(name)
      yield* Scope.close(scope, Exit.void)
    }
    onChange()
  })

  yield* update(initial)
  return {
    state,
    failure: () => endpoints().map((endpoint) => endpoint.failure()).findLast((failure) => failure !== undefined),
    pick: () => {
      for (let tried = 0; tried < ready.length; tried++) {
        turn = (turn + 1) % ready.length
        const connection = ready[turn]
        if (connection?.usable() === true) return connection
      }
      return undefined
    },
    // it always does
    connect: () => {},
    update
  }
})
