import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { formatSocketAddress, type SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Take from "effect/Take"
import type { Duplex } from "node:stream"
import type { DialError } from "../../../errors/DialError.ts"
import { type ConnectionLost, SshError } from "../../../errors/SshError.ts"
import { TcpError } from "../../../errors/TcpError.ts"
import { addressOf } from "../../net/duplex.ts"
import type { Bound } from "../../net/listen.ts"
import { relay } from "../../net/relay.ts"
import { serve } from "../../server/serving.ts"
import type { Observer } from "../observe.ts"

/** A connection that was made to a forward. */
export interface Forwarded {
  /** Counts the connections of a forward, from 1. */
  readonly connection: number
  /** Who made it, where that is known: unix sockets do not say. */
  readonly from: Option.Option<SocketAddress>
  /** Where it leads to. Empty while a client of a SOCKS server has not said it. */
  readonly target: string
}

/** The target was reached, and bytes go both ways. */
export interface ForwardOpened extends Forwarded {
  readonly _tag: "Opened"
}

/** Both sides have ended. */
export interface ForwardClosed extends Forwarded {
  readonly _tag: "Closed"
}

/** The target was not reached, what the client said is no SOCKS, or one of the sides broke. */
export interface ForwardFailed extends Forwarded {
  readonly _tag: "Failed"
  readonly error: DialError | TcpError
}

export type ForwardEvent = ForwardOpened | ForwardClosed | ForwardFailed

/** A forward that is running. */
export interface Forward {
  readonly address: SocketAddress
  readonly connections: Effect.Effect<number>
  readonly events: Stream.Stream<ForwardEvent, SshError>
}

/** Leads a connection that was made to a forward on to its target, and says so with `to` as soon as it is known. */
export type Route = (
  duplex: Duplex,
  to: (target: string) => void
) => Effect.Effect<Duplex, DialError | TcpError, Scope.Scope>

export interface Options<E> {
  /** How errors call the server. */
  readonly server: string
  readonly observer: Observer
  readonly listen: Effect.Effect<Bound, E, Scope.Scope>
  readonly route: Route
  /** Waits until the session is gone. */
  readonly lost: Effect.Effect<ConnectionLost>
  readonly maxConnections: number
}

/** How many events a subscriber may be behind before it misses the oldest. */
const eventBuffer = 1024

/** An event in words. */
const describe = (address: SocketAddress, event: ForwardEvent): string => {
  const from = Option.match(event.from, { onNone: () => "a client", onSome: formatSocketAddress })
  const to = event.target === "" ? "nowhere yet" : event.target
  const why = event._tag === "Failed" ? `: ${event.error.message}` : ""
  return `${from} at ${formatSocketAddress(address)} to ${to}${why}`
}

/** Leads each connection that is made to an address on to another one, for as long as the scope and the session live. */
export const forward = Effect.fnUntraced(function*<E>(options: Options<E>) {
  const scope = yield* Effect.scope
  const listening = yield* Scope.fork(scope)
  const bound = yield* Scope.provide(options.listen, listening)
  const events = yield* PubSub.sliding<Take.Take<ForwardEvent, SshError>>(eventBuffer)

  const tell = (event: ForwardEvent) => {
    PubSub.publishUnsafe(events, [event])
    if (event._tag !== "Opened") options.observer.forwarded(event._tag === "Failed" ? event.error.reason._tag : "ok")
    options.observer.event(`forward ${event._tag.toLowerCase()}`, () => describe(bound.address, event))
  }

  let connections = 0
  const run = (duplex: Duplex) => {
    const from = addressOf(duplex, "remote")
    const connection = ++connections
    let target = ""
    const forwarded = () => ({ connection, from, target })
    const route = options.route(duplex, (known) => target = known)
    return Effect.flatMap(route, (reached) => {
      tell({ _tag: "Opened", ...forwarded() })
      return Effect.mapError(relay(duplex, reached), (reason) => new TcpError({ reason }))
    }).pipe(Effect.match({
      onSuccess: () => tell({ _tag: "Closed", ...forwarded() }),
      onFailure: (error) => tell({ _tag: "Failed", ...forwarded(), error })
    }))
  }

  const source = {
    bound,
    stopListening: Scope.close(listening, Exit.void),
    maxConnections: options.maxConnections,
    reject: false,
    served: 0
  }
  const service = {
    run,
    failed: (cause: unknown) => Effect.logDebug("a forwarded connection died", cause),
    rejected: () => {},
    drainTimeout: 0
  }
  const lost = Effect.flatMap(options.lost, (reason) => Effect.fail(new SshError({ server: options.server, reason })))
  const running = Effect.raceFirst(Effect.catch(serve(source, service), () => Effect.never), lost)
  yield* Effect.forkIn(
    Effect.onExit(running, (exit) =>
      Effect.sync(() => {
        const ended = Exit.findErrorOption(exit)
        PubSub.endUnsafe(events, Option.match(ended, { onNone: () => Exit.void, onSome: Exit.fail }))
      })),
    scope,
    // its events end even if it is closed at once
    { startImmediately: true }
  )
  const started: Forward = {
    address: bound.address,
    connections: Effect.sync(() => source.served),
    events: Stream.fromPubSubTake(events)
  }
  return started
})
