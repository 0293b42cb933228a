import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DialError, Unknown } from "../../../errors/DialError.ts"
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
  /** Why the last attempt failed, while the state is `transientFailure`. */
  readonly failure: () => DialError | undefined
  /** Has an idle endpoint connect. */
  readonly connect: () => void
  /** Ends the wait for the next attempt. */
  readonly hurry: () => void
}

/**
 * An endpoint for as long as the scope lives. Its connections live on in `connections` until the calls on them have ended.
 */
export const make = Effect.fnUntraced(function*(
  connect: Effect.Effect<Connection, DialError, Scope.Scope>,
  connections: Scope.Scope,
  settings: Settings,
  onChange: () => void
): Effect.fn.Return<Endpoint, never, Scope.Scope> {
  let state: EndpointState = "idle"
  let connection: Connection | undefined
  /** The same, whether it may be used or not. */
  let made: Connection | undefined
  let failure: DialError | undefined
  const wanted = Latch.makeUnsafe(false)
  const hurry = Latch.makeUnsafe(false)

  const become = (next: EndpointState, why?: DialError) => {
    state = next
    failure = why
    onChange()
  }

  const attempt = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.fork(connections)
      const connected = yield* restore(Scope.provide(connect, scope)).pipe(
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
      made = connected
      yield* Effect.forkIn(Effect.andThen(connected.over, Scope.close(scope, Exit.void)), connections)
      return [connected, scope] as const
    })
  )

  /** Tries until there is a connection. */
  const connected = Effect.gen(function*() {
    for (let failures = 1;; failures++) {
      const started = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(attempt)
      if (Exit.isSuccess(exit)) return exit.value
      const error = Cause.findErrorOption(exit.cause)
      if (Option.isNone(error)) return yield* exit
      hurry.closeUnsafe()
      become("transientFailure", error.value)
      // it is counted from the start of the attempt
      const elapsed = (yield* Clock.currentTimeMillis) - started
      const left = Duration.subtract(yield* Backoff.delay(settings.backoff, failures), Duration.millis(elapsed))
      yield* Effect.raceFirst(Effect.sleep(left), hurry.await)
    }
  })

  /** Follows what the server says of its health. */
  const followHealth = (of: Connection, health: Stream.Stream<boolean>) =>
    Stream.runForEach(health, (healthy) =>
      Effect.sync(() => {
        if (!of.usable()) return
        connection = healthy ? of : undefined
        if (healthy) become("ready")
        else {
          const detail = "the server says that it is not serving"
          become(
            "transientFailure",
            new DialError({ target: Target.format(of.target), hop: "grpc", reason: new Unknown({ detail }) })
          )
        }
      }))

  const live = Effect.gen(function*() {
    for (;;) {
      yield* wanted.await
      become("connecting")
      const [current, scope] = yield* connected
      if (settings.onConnected !== undefined) {
        yield* Effect.forkIn(followHealth(current, settings.onConnected(current)), scope)
      } else {
        connection = current
        become("ready")
      }
      yield* current.retired
      connection = undefined
      wanted.closeUnsafe()
      become("idle")
    }
  })
  yield* Effect.forkScoped(
    Effect.ensuring(live, Effect.sync(() => made?.retire("its address is not used any more"))),
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
