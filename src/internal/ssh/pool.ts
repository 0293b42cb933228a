import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as MutableHashMap from "effect/MutableHashMap"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import { scopedUnlessFailed } from "../net/duplex.ts"

/** What is shared, and how to know that it is gone. */
interface Shared {
  readonly closed: Effect.Effect<unknown>
}

export interface Limits {
  readonly idleTimeToLive: Duration.Input
  /** How many connections there may be to one server. */
  readonly maxConnections: number
  /** With how many users of one connection another one is opened, while there may be. */
  readonly usersPerConnection: number
}

/** One of several connections that go by the same settings. */
interface Key<Settings> {
  readonly settings: Settings
  readonly number: number
}

/** Which connection the next one is to use: the first that has room, a further one, or the one that is used least. */
const choose = (users: Array<number>, { maxConnections, usersPerConnection }: Limits): number => {
  const free = users.findIndex((count) => count < usersPerConnection)
  if (free >= 0) return free
  if (users.length < maxConnections) return users.push(0) - 1
  return users.indexOf(Math.min(...users))
}

/**
 * Shares connections between those who ask for them by the same settings. What is lost is opened anew for the next one who
 * asks; what is used by nobody is closed after a while.
 */
export const make = Effect.fnUntraced(function*<Settings, A extends Shared, E>(
  connect: (settings: Settings) => Effect.Effect<A, E, Scope.Scope>,
  limits: Limits
) {
  const users = MutableHashMap.empty<Settings, Array<number>>()
  const lost = new WeakSet<A>()

  const map: RcMap.RcMap<Key<Settings>, A, E> = yield* RcMap.make({
    lookup: ({ settings }: Key<Settings>) =>
      Effect.tap(
        connect(settings),
        (shared) => Effect.forkScoped(Effect.map(shared.closed, () => lost.add(shared)), { startImmediately: true })
      ),
    idleTimeToLive: limits.idleTimeToLive
  })

  const usersOf = (settings: Settings): Array<number> => {
    const known = MutableHashMap.get(users, settings)
    if (Option.isSome(known)) return known.value
    const counts: Array<number> = []
    MutableHashMap.set(users, settings, counts)
    return counts
  }

  const use = (settings: Settings) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const counts = usersOf(settings)
        const number = choose(counts, limits)
        counts[number] = counts[number]! + 1
        return { counts, number }
      }),
      ({ counts, number }) =>
        Effect.sync(() => {
          counts[number] = counts[number]! - 1
          if (counts.every((count) => count === 0)) MutableHashMap.remove(users, settings)
        })
    )

  return (settings: Settings): Effect.Effect<A, E, Scope.Scope> =>
    scopedUnlessFailed(Effect.flatMap(use(settings), ({ number }) => {
      const key: Key<Settings> = { settings, number }
      // what could not be opened is remembered as well
      const get = Effect.tapError(RcMap.get(map, key), () => RcMap.invalidate(map, key))
      return Effect.filterOrElse(
        get,
        (shared) => !lost.has(shared),
        () => Effect.andThen(RcMap.invalidate(map, key), get)
      )
    }))
})
