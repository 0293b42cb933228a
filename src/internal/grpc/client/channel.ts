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
import { EventSink } from "../../events.ts"
import { alarm, within } from "../../net/deadline.ts"
import * as Target from "../../net/target.ts"
import * as Backoff from "./backoff.ts"
import type { Balancer, Make, Parts } from "./balancer/balancer.ts"
import { pickFirst } from "./balancer/pickFirst.ts"
import { roundRobin } from "./balancer/roundRobin.ts"
import * as Connection from "./connection.ts"
import * as Endpoint from "./endpoint.ts"
import { KeepAlive, type KeepAliveSettings } from "./keepAlive.ts"

/** Where a channel is: what its connections are together. */
export type ConnectivityState = Endpoint.EndpointState | "shutdown"

/** Nothing can be called any more: the scope of the channel is closed. */
export class ChannelClosed extends Data.TaggedError("ChannelClosed") {}

/** How a channel spreads its calls over several addresses. */
export type Balancing = "pickFirst" | "roundRobin"

const balancers: Record<Balancing, Make> = { pickFirst, roundRobin }

export interface Settings extends Connection.Settings, Endpoint.Settings {
  /** The addresses of the server: these, or those that a resolver gives, the latest list replacing the one before. */
  readonly endpoints: ReadonlyArray<Target.Target> | Stream.Stream<ReadonlyArray<Target.Target>, DialError>
  /** What requests carry as `:authority`, and events as the name of the server. */
  readonly authority: string
  readonly balancing: Balancing
  readonly keepAlive: KeepAliveSettings | undefined
  /** After how long without calls the connections are closed. */
  readonly idleTimeout: Duration.Duration
  /** How long calls under way may go on when the scope closes. */
  readonly drainTimeout: Duration.Duration
}

/** Connections to a server, made when they are needed and closed with the scope. */
export interface Channel {
  /** A connection for one call, if one is there. */
  readonly pick: () => Connection.Connection | undefined
  /**
   * A connection for one call: made where there is none. Fails as the last attempt to connect did, or waits for one that
   * succeeds. It may be gone again by the time that it is used: ask again then.
   */
  readonly connection: (waitForReady: boolean) => Effect.Effect<Connection.Connection, DialError | ChannelClosed>
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

/** Opens a channel, idle at first. */
export const open = Effect.fnUntraced(function*(settings: Settings): Effect.fn.Return<Channel, never, Scope.Scope> {
  const { authority, endpoints, idleTimeout } = settings
  const sink = yield* EventSink
  const clock = yield* Clock.Clock
  // what calls bring about is none of theirs
  const run = Effect.runForkWith(yield* Effect.context())
  const keepAlive = settings.keepAlive === undefined ? undefined : new KeepAlive(settings.keepAlive, clock)
  const states = yield* PubSub.sliding<ConnectivityState>({ capacity: 16, replay: 1 })
  const channelScope = yield* Effect.scope
  // closed in the reverse order, after the calls have ended
  const connectionsScope = yield* Scope.fork(channelScope, "parallel")
  const awakeScope = yield* Scope.fork(channelScope)
  const connections = new Set<Connection.Connection>()
  const waiting = new Set<() => void>()
  const lists = Stream.isStream(endpoints) ? endpoints : Stream.succeed(endpoints)
  let state: ConnectivityState = "idle"
  let isClosed = false
  let awake: Awake | undefined
  let stopIdleAlarm = () => {}
  PubSub.publishUnsafe(states, state)

  const onChange = () => {
    const next = isClosed ? "shutdown" : awake === undefined ? "idle" : stateOf(awake)
    if (next !== state) PubSub.publishUnsafe(states, state = next)
    for (const look of waiting) look()
  }

  const pick = () => awake?.balancer?.pick()

  const onRoom = () => {
    for (const look of waiting) {
      if (pick() === undefined) return
      look()
    }
  }

  const refuse = (target: Target.Target | undefined, detail: string, cause?: unknown) =>
    Effect.fail(
      new DialError({
        target: target === undefined ? authority : Target.format(target),
        hop: "grpc",
        reason: new Unknown({ detail, ...(cause === undefined ? {} : { cause }) })
      })
    )

  const connect = (target: Target.Target): Endpoint.Connect => (made) => {
    const report = (event: string, detail: string) => sink({ source: "grpc", id: Target.format(target), event, detail })
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const scope = yield* Scope.fork(connectionsScope)
        const connection = yield* restore(
          Scope.provide(Connection.connect(target, settings, keepAlive, onRoom), scope)
        ).pipe(
          Effect.catchDefect((cause) => refuse(target, "the Dialer failed in a way that it should not", cause)),
          Effect.tapError((error) => Effect.sync(() => report("failed", error.message))),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
        made(connection)
        connections.add(connection)
        report("connected", authority)
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => {
            connections.delete(connection)
            report("disconnected", authority)
          })
        )
        yield* Effect.forkIn(Effect.andThen(connection.over, Scope.close(scope, Exit.void)), connectionsScope)
        return connection
      })
    )
  }

  const parts: Parts = {
    connect,
    endpoint: (connect, onChange) => Endpoint.make(connect, settings, onChange),
    onChange
  }

  const update = (current: Awake, list: ReadonlyArray<Target.Target>): Effect.Effect<void, DialError> => {
    const targets = distinct(list)
    if (!Arr.isArrayNonEmpty(targets)) return refuse(undefined, "the resolver gives no address")
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
      let last = waiting.size > 0 ? now : since
      for (const connection of connections) last = Math.max(last, connection.idleSince() ?? now)
      if (now - last < Duration.toMillis(idleTimeout)) watchIdle(last)
      else {
        run(rest)
        onChange()
      }
    })
  }

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      isClosed = true
      onChange()
      yield* rest
      const drained = Effect.forEach([...connections], ({ over }) => over, { concurrency: "unbounded", discard: true })
      yield* within(drained, settings.drainTimeout, () => Effect.void)
      for (const { calls } of connections) {
        for (const call of calls) call.cancel("the channel was closed")
      }
    })
  )

  const found = (
    waitForReady: boolean
  ): Effect.Effect<Connection.Connection, DialError | ChannelClosed> | undefined => {
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
