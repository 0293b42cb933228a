import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DialError, Unknown } from "../../../errors/DialError.ts"
import { alarm } from "../../net/deadline.ts"
import * as Target from "../../net/target.ts"
import * as Backoff from "./backoff.ts"
import type { Balancer, Make, Parts } from "./balancer/balancer.ts"
import { pickFirst } from "./balancer/pickFirst.ts"
import { roundRobin } from "./balancer/roundRobin.ts"
import type { Carrier, Connection } from "./connection.ts"
import * as Connections from "./connections.ts"
import * as Endpoint from "./endpoint.ts"

/** Where a channel is: what its connections are together. */
export type ConnectivityState = Endpoint.EndpointState | "shutdown"

/** Nothing can be called any more: the scope of the channel is closed. */
export class ChannelClosed extends Data.TaggedError("ChannelClosed") {}

/** How a channel spreads its calls over several addresses. */
export type Balancing = "pickFirst" | "roundRobin"

const balancers: Record<Balancing, Make> = { pickFirst, roundRobin }

export interface Settings extends Connections.Settings, Endpoint.Settings {
  /** The addresses of the server: these, or those that a resolver gives, the latest list replacing the one before. */
  readonly endpoints: ReadonlyArray<Target.Target> | Stream.Stream<ReadonlyArray<Target.Target>, DialError>
  readonly balancing: Balancing
  /** After how long without calls the connections are closed. */
  readonly idleTimeout: Duration.Duration
  /** How long calls under way may go on when the scope closes. */
  readonly drainTimeout: Duration.Duration
}

/** Where calls get what they are made on. */
export interface Carriers<C extends Carrier = Carrier> {
  /** A connection for one call, if one is there. */
  readonly pick: () => C | undefined
  /**
   * A connection for one call: made where there is none. Fails as the last attempt to connect did, or waits for one that
   * succeeds. It may be gone again by the time that it is used: ask again then.
   */
  readonly connection: (waitForReady: boolean) => Effect.Effect<C, DialError | ChannelClosed>
}

/** Connections to a server, made when they are needed and closed with the scope. */
export interface Channel extends Carriers<Connection> {
  readonly state: () => ConnectivityState
  /** The state now and whenever it changes; ends after `shutdown`. */
  readonly changes: Stream.Stream<ConnectivityState>
}

/** What there is while a channel is not idle. */
interface Awake {
  readonly scope: Scope.Closeable
  /** Missing until the addresses are known. */
  balancer: Balancer | undefined
  /** Why the addresses are not known. */
  unresolved: DialError | undefined
}

const stateOf = ({ balancer, unresolved }: Awake): Endpoint.EndpointState =>
  balancer?.state() ?? (unresolved === undefined ? "connecting" : "transientFailure")

/** Each address once. */
const distinct = (targets: ReadonlyArray<Target.Target>) => [
  ...new Map(targets.map((target) => [Target.format(target), target])).values()
]

const nowhere = (authority: string) =>
  new DialError({ target: authority, hop: "grpc", reason: new Unknown({ detail: "the resolver gives no address" }) })

/** Opens a channel, idle at first. */
export const open = Effect.fnUntraced(function*(settings: Settings): Effect.fn.Return<Channel, never, Scope.Scope> {
  const { endpoints, idleTimeout } = settings
  const clock = yield* Clock.Clock
  // what calls bring about is none of theirs
  const run = Effect.runForkWith(yield* Effect.context())
  const states = yield* PubSub.sliding<ConnectivityState>({ capacity: 16, replay: 1 })
  const lists = Stream.isStream(endpoints) ? endpoints : Stream.succeed(endpoints)
  /** Those who wait for a connection, and what has each look whether there is one. */
  const waiting = new Set<() => void>()
  let state: ConnectivityState = "idle"
  let isClosed = false
  let awake: Awake | undefined
  let stopIdleAlarm = () => {}
  PubSub.publishUnsafe(states, state)

  const pick = () => awake?.balancer?.pick()

  const onChange = () => {
    const next = isClosed ? "shutdown" : awake === undefined ? "idle" : stateOf(awake)
    if (next !== state) PubSub.publishUnsafe(states, state = next)
    for (const look of waiting) look()
  }

  const onRoom = () => {
    for (const look of waiting) {
      if (pick() === undefined) return
      look()
    }
  }

  // closed in the reverse order, after the calls have ended
  const connections = yield* Connections.make(settings, onRoom)
  const awakeScope = yield* Effect.flatMap(Effect.scope, (scope) => Scope.fork(scope))

  const parts: Parts = {
    connect: connections.connect,
    endpoint: (connect, onChange) => Endpoint.make(connect, settings, onChange),
    onChange
  }

  const update = (current: Awake, list: ReadonlyArray<Target.Target>): Effect.Effect<void, DialError> => {
    const targets = distinct(list)
    if (!Arr.isArrayNonEmpty(targets)) return Effect.fail(nowhere(settings.authority))
    if (current.balancer !== undefined) return current.balancer.update(targets)
    return balancers[settings.balancing](parts, targets).pipe(
      Effect.tap((balancer) =>
        Effect.sync(() => {
          current.balancer = balancer
          balancer.connect()
          onChange()
        })
      ),
      Scope.provide(current.scope)
    )
  }

  /** Follows the addresses. While there are no new ones, those that were known before are used. */
  const resolve = Effect.fnUntraced(function*(current: Awake) {
    for (let failures = 0;;) {
      const result = yield* Effect.result(
        Stream.runForEach(lists, (list) =>
          Effect.tap(update(current, list), () =>
            Effect.sync(() => {
              failures = 0
            })))
      )
      if (Result.isSuccess(result)) return
      current.unresolved = result.failure
      onChange()
      yield* Effect.sleep(yield* Backoff.delay(settings.backoff, ++failures))
    }
  })

  const wake = () => {
    const current: Awake = { scope: Scope.forkUnsafe(awakeScope), balancer: undefined, unresolved: undefined }
    awake = current
    onChange()
    run(Effect.forkIn(resolve(current), current.scope, { startImmediately: true }))
    watchIdle(clock.currentTimeMillisUnsafe())
  }

  /** Stops connecting; connections that have calls stay until these have ended. */
  const rest = Effect.suspend(() => {
    const current = awake
    awake = undefined
    stopIdleAlarm()
    return current === undefined ? Effect.void : Scope.close(current.scope, Exit.void)
  })

  /** Rests when there was no call for long enough, of which it is known that there was one at `since`. */
  const watchIdle = (since: number) => {
    const left = Duration.subtract(idleTimeout, Duration.millis(clock.currentTimeMillisUnsafe() - since))
    stopIdleAlarm = alarm(clock, left, () => {
      const now = clock.currentTimeMillisUnsafe()
      const last = waiting.size > 0 ? now : Math.max(since, connections.idleSince() ?? now)
      if (now - last < Duration.toMillis(idleTimeout)) return watchIdle(last)
      run(rest)
      onChange()
    })
  }

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      isClosed = true
      onChange()
      yield* rest
      yield* connections.drain(settings.drainTimeout)
    })
  )

  const found = (
    waitForReady: boolean
  ): Effect.Effect<Connection, DialError | ChannelClosed> | undefined => {
    if (isClosed) return Effect.fail(new ChannelClosed())
    const connection = pick()
    if (connection !== undefined) return Effect.succeed(connection)
    const failure = awake?.balancer?.failure() ?? awake?.unresolved
    if (state === "transientFailure" && !waitForReady && failure !== undefined) return Effect.fail(failure)
    if (awake === undefined) wake()
    else awake.balancer?.connect()
    return undefined
  }

  return {
    pick,
    connection: (waitForReady) =>
      Effect.callback((resume) => {
        const look = () => {
          const outcome = found(waitForReady)
          if (outcome === undefined) return
          waiting.delete(look)
          resume(outcome)
        }
        waiting.add(look)
        look()
        return Effect.sync(() => void waiting.delete(look))
      }),
    state: () => state,
    changes: Stream.takeUntil(Stream.fromPubSub(states), (state) => state === "shutdown")
  }
})
