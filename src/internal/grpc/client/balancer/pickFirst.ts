import * as Effect from "effect/Effect"
import * as Target from "../../../net/target.ts"
import type { Make } from "./balancer.ts"

/**
 * Uses one address, the first in their order that can be connected to, for as long as the connection lasts. Then it is
 * idle: the next call connects again.
 */
export const pickFirst: Make = Effect.fnUntraced(function*(parts, initial) {
  let targets = initial
  const connectFirst = Effect.suspend(() =>
    targets.slice(1).reduce(
      (attempt, target) => Effect.catch(attempt, () => parts.connect(target)),
      parts.connect(targets[0]!)
    )
  )
  const endpoint = yield* parts.endpoint(connectFirst, parts.onChange)
  const pick = () => {
    const connection = endpoint.connection()
    return connection?.usable() === true ? connection : undefined
  }
  return {
    state: endpoint.state,
    failure: endpoint.failure,
    pick,
    connect: endpoint.connect,
    update: (next) =>
      Effect.sync(() => {
        targets = next
        endpoint.hurry()
        const connection = pick()
        if (connection === undefined) return
        const name = Target.format(connection.target)
        if (!targets.some((target) => Target.format(target) === name)) connection.retire("its address is gone")
      })
  }
})
