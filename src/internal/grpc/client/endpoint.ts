import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DialError, Unknown } from "../../../errors/DialError.ts"
import { within } from "../../net/deadline.ts"
import * as Target from "../../net/target.ts"
import * as Backoff from "./backoff.ts"
import type { Connection } from "./connection.ts"

/**
 * Where an endpoint is. As in gRPC, one that could not connect stays in `transientFailure` until it can: calls fail at once
 * in between, and do not wait for every further attempt.
 */
export type EndpointState = "idle" | "connecting" | "ready" | "transientFailure"

export interface Settings {
  readonly backoff: Backoff.Backoff
  /** Says of a new connection whether its server is healthy, again and again. Default: it is. */
  readonly onConnected: ((connection: Connection) => Stream.Stream<boolean>) | undefined
}

/** Something that connects when it is asked to, again and again until it has, and is idle once the connection is gone. */
export interface Endpoint {
  readonly state: () => EndpointState
  /** The connection, while the state is `ready`. */
  readonly connection: () => Connection | undefined
  /** Why there is none, while the state is `transientFailure`. */
  readonly failure: () => DialError | undefined
  /** Has an idle endpoint connect. */
  readonly connect: () => void
  /** Ends the wait for the next attempt. */
  readonly hurry: () => void
}

/** Connects; whoever is told of the connections that are made, at once, has to retire them. */
export type Connect = (made: (connection: Connection) => void) => Effect.Effect<Connection, DialError>

const notServing = ({ target }: Connection) =>
  new DialError({
    target: Target.format(target),
    hop: "grpc",
    reason: new Unknown({ detail: "the server says that it is not serving" })
  })

/** An endpoint for as long as the scope lives. Then it takes no more calls, and those under way finish. */
export const make = Effect.fnUntraced(function*(
  connect: Connect,
  settings: Settings,
  onChange: () => void
): Effect.fn.Return<Endpoint, never, Scope.Scope> {
  let state: EndpointState = "idle"
  let connection: Connection | undefined
  let failure: DialError | undefined
  /** Those that were made and are not retired, more than one only while it is not decided which one is used. */
  const made = new Set<Connection>()
  const wanted = Latch.makeUnsafe(false)
  const hurry = Latch.makeUnsafe(false)

  const become = (next: EndpointState, why?: DialError) => {
    state = next
    failure = why
    onChange()
  }

  const retireAllBut = (used: Connection | undefined, why: string) => {
    for (const connection of made) {
      if (connection === used) continue
      made.delete(connection)
      connection.retire(why)
    }
  }

  /** Tries until there is a connection. */
  const connected = Effect.gen(function*() {
    for (let failures = 1;; failures++) {
      const started = yield* Clock.currentTimeMillis
      const result = yield* Effect.result(connect((connection) => void made.add(connection)))
      if (Result.isSuccess(result)) return result.success
      hurry.closeUnsafe()
      become("transientFailure", result.failure)
      // it is counted from the start of the attempt
      const elapsed = (yield* Clock.currentTimeMillis) - started
      const left = Duration.subtract(yield* Backoff.delay(settings.backoff, failures), Duration.millis(elapsed))
      yield* within(hurry.await, left, () => Effect.void)
    }
  })

  const use = (current: Connection) =>
    Effect.sync(() => {
      connection = current
      become("ready")
    })

  const refrain = (current: Connection) =>
    Effect.sync(() => {
      connection = undefined
      become("transientFailure", notServing(current))
    })

  /** Uses a connection until it takes no more calls, or while its server says that it is healthy. */
  const follow = (current: Connection) => {
    if (settings.onConnected === undefined) return Effect.andThen(use(current), current.retired)
    const health = settings.onConnected(current.aside())
    return Effect.raceFirst(
      current.retired,
      Effect.andThen(Stream.runForEach(health, (healthy) => healthy ? use(current) : refrain(current)), Effect.never)
    )
  }

  const live = Effect.gen(function*() {
    for (;;) {
      yield* wanted.await
      become("connecting")
      const current = yield* connected
      retireAllBut(current, "another one was faster")
      yield* follow(current)
      made.delete(current)
      connection = undefined
      wanted.closeUnsafe()
      become("idle")
    }
  })
  yield* Effect.forkScoped(
    Effect.ensuring(live, Effect.sync(() => retireAllBut(undefined, "its address is not used any more"))),
    { startImmediately: true }
  )

  return {
    state: () => state,
    connection: () => connection,
    failure: () => failure,
    connect: () => wanted.openUnsafe(),
    hurry: () => hurry.openUnsafe()
  }
})
