import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { within } from "../../../net/deadline.ts"
import * as Target from "../../../net/target.ts"
import type { Connection } from "../connection.ts"
import type { Endpoint } from "../endpoint.ts"
import type { Make } from "./balancer.ts"

/** How long an attempt goes on alone (RFC 8305, as for the addresses of one name). */
const headStart = Duration.millis(250)

/** The first connection: each attempt starts when the one before it has failed, or beside it when that takes long. */
const race = <A, E>([first, ...others]: readonly [Effect.Effect<A, E>, ...Array<Effect.Effect<A, E>>]): Effect.Effect<
  A,
  E
> => {
  if (!Arr.isArrayNonEmpty(others)) return first
  return Effect.suspend(() => {
    const failed = Latch.makeUnsafe(false)
    return Effect.race(
      Effect.tapError(first, () => failed.open),
      Effect.andThen(within(failed.await, headStart, () => Effect.void), race(others))
    )
  })
}

/**
 * Uses one address, the first in their order that can be connected to, for as long as the connection lasts. Then it is
 * idle: the next call connects again.
 */
export const pickFirst: Make = Effect.fnUntraced(function*(parts, initial) {
  let targets = initial
  const retireIfGone = (connection: Connection | undefined) => {
    if (connection === undefined) return
    const name = Target.format(connection.target)
    if (!targets.some((target) => Target.format(target) === name)) connection.retire("its address is gone")
  }
  const endpoint: Endpoint = yield* parts.endpoint(
    (made) => race(Arr.map(targets, (target) => parts.connect(target)(made))),
    () => {
      // the addresses may have changed while it was connecting
      retireIfGone(endpoint.connection())
      parts.onChange()
    }
  )
  return {
    state: endpoint.state,
    failure: endpoint.failure,
    pick: () => {
      const connection = endpoint.connection()
      return connection?.usable() === true ? connection : undefined
    },
    connect: endpoint.connect,
    update: (next) =>
      Effect.sync(() => {
        targets = next
        endpoint.hurry()
        retireIfGone(endpoint.connection())
      })
  }
})
