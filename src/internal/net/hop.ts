import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { ConnectTimeout, DialError, type DialErrorReason } from "../../errors/DialError.ts"
import { dropEvent, EventSink } from "../events.ts"
import { scopedUnlessFailed } from "./duplex.ts"
import * as Target from "./target.ts"

/** Per-dial options. */
export interface DialOptions {
  /** How long the whole path may take, however many hops it has. Default: that of the Dialer at the bottom. */
  readonly connectTimeout?: Duration.Input | undefined
}

/** What a Dialer can do. */
export interface Path {
  readonly dial: (
    target: Target.DialTarget,
    options?: DialOptions
  ) => Effect.Effect<Duplex, DialError, Scope.Scope>
  readonly connectTimeout: Duration.Duration
}

/** One step of a path: something that is done on a connection before it leads to the target. */
export interface Hop {
  /** How errors and spans call it. Never contains credentials. */
  readonly name: string
  /** What has to be dialled below to get there: the target itself, or the proxy's own address. */
  readonly via: (target: Target.Target) => Effect.Effect<Target.DialTarget, DialErrorReason>
  /** What is done on that connection. A failure closes the connection; so does interruption. */
  readonly handshake: (
    duplex: Duplex,
    target: Target.Target
  ) => Effect.Effect<Duplex, DialErrorReason, Scope.Scope>
}

/** Understands a target or fails as this hop. */
export const parseTarget = (input: Target.DialTarget, hop: string): Effect.Effect<Target.Target, DialError> =>
  Effect.mapError(
    Effect.fromResult(Target.parse(input)),
    (reason) => new DialError({ target: reason.input, hop, reason })
  )

/** Tells the log how a dial came out. */
export const reported = <A, R>(
  dial: Effect.Effect<A, DialError, R>,
  target: Target.Target,
  hop: string
): Effect.Effect<A, DialError, R> =>
  Effect.flatMap(EventSink, (report) => {
    if (report === dropEvent) return dial
    const id = Target.format(target)
    return dial.pipe(
      Effect.tap(() => Effect.sync(() => report({ source: "dial", id, event: "dialed", detail: hop }))),
      Effect.tapError((error) =>
        Effect.sync(() => report({ source: "dial", id, event: "failed", detail: error.message }))
      )
    )
  })

/** The path that goes through `below` and then takes one more step. */
export const through = (below: Path, hop: Hop): Path => ({
  connectTimeout: below.connectTimeout,
  dial: Effect.fnUntraced(function*(input, options) {
    const target = yield* parseTarget(input, hop.name)
    const fail = (reason: DialErrorReason, at = hop.name) =>
      new DialError({ target: Target.format(target), hop: at, reason })
    const budget = Duration.fromInputUnsafe(options?.connectTimeout ?? below.connectTimeout)
    const started = yield* Clock.currentTimeMillis
    const via = yield* Effect.mapError(hop.via(target), (reason) => fail(reason))
    const dial = scopedUnlessFailed(Effect.gen(function*() {
      const duplex = yield* Effect.mapError(
        below.dial(via, { ...options, connectTimeout: budget }),
        // who asked for the target is told about the target; the hop that failed keeps its name, and where that is the
        // system's own connect to somewhere else, it is the way to this hop that failed
        (error) => fail(error.reason, error.hop === "direct" && via !== target ? hop.name : error.hop)
      )
      const elapsed = (yield* Clock.currentTimeMillis) - started
      return yield* hop.handshake(duplex, target).pipe(
        Effect.mapError((reason) => fail(reason)),
        Effect.timeoutOrElse({
          duration: Duration.subtract(budget, Duration.millis(elapsed)),
          orElse: () => Effect.fail(fail(new ConnectTimeout({ after: budget, phase: `the answer of ${hop.name}` })))
        })
      )
    }))
    return yield* reported(dial, target, hop.name)
  })
})
