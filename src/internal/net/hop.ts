import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { ConnectTimeout, DialError, type DialErrorReason } from "../../errors/DialError.ts"
import { dropEvent, EventSink } from "../events.ts"
import { dialFailed, dialSucceeded, traced } from "../observe.ts"
import { within } from "./deadline.ts"
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

/** Tells the log and the metrics how a dial came out. */
export const reported = <A, R>(
  dial: Effect.Effect<A, DialError, R>,
  target: Target.Target,
  hop: string
): Effect.Effect<A, DialError, R> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const started = clock.currentTimeMillisUnsafe()
    return Effect.onExit(dial, (exit) => {
      const report = fiber.getRef(EventSink)
      if (Exit.isSuccess(exit)) {
        dialSucceeded(hop, clock.currentTimeMillisUnsafe() - started, fiber.context)
        if (report !== dropEvent) report({ source: "dial", id: Target.format(target), event: "dialed", detail: hop })
        return Effect.void
      }
      const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
      if (error !== undefined) {
        dialFailed(hop, error.reason._tag, fiber.context)
        if (report !== dropEvent) {
          report({ source: "dial", id: Target.format(target), event: "failed", detail: error.message })
        }
      }
      return Effect.void
    })
  })

/** A dial of a path that ends with `hop`: it understands the target and tells everybody concerned how it came out. */
export const dialing = (
  hop: string,
  dial: (target: Target.Target, options: DialOptions | undefined) => Effect.Effect<Duplex, DialError, Scope.Scope>
): Path["dial"] => {
  const inSpan = traced(hop === "direct" ? "Dialer.dial" : `Dialer.dial ${hop}`)
  return (input, options) =>
    inSpan(Effect.suspend(() => {
      const target = Target.parse(input)
      return Result.isSuccess(target)
        ? reported(dial(target.success, options), target.success, hop)
        : Effect.fail(new DialError({ target: target.failure.input, hop, reason: target.failure }))
    }))
}

/** How long a dial may take. */
export const budgetOf = (options: DialOptions | undefined, otherwise: Duration.Duration): Duration.Duration =>
  options?.connectTimeout === undefined ? otherwise : Duration.fromInputUnsafe(options.connectTimeout)

/** The path that goes through `below` and then takes one more step. */
export const through = (below: Path, hop: Hop): Path => ({
  connectTimeout: below.connectTimeout,
  dial: dialing(
    hop.name,
    (target, options) => {
      const fail = (reason: DialErrorReason, at = hop.name) =>
        new DialError({ target: Target.format(target), hop: at, reason })
      const budget = budgetOf(options, below.connectTimeout)
      const handshake = (duplex: Duplex, left: Duration.Duration) =>
        within(
          Effect.mapError(hop.handshake(duplex, target), (reason) => fail(reason)),
          left,
          () => Effect.fail(fail(new ConnectTimeout({ after: budget, phase: `the answer of ${hop.name}` })))
        )
      return Effect.withFiber((fiber) => {
        const clock = fiber.getRef(Clock.Clock)
        const started = clock.currentTimeMillisUnsafe()
        const elapsed = () => Duration.millis(clock.currentTimeMillisUnsafe() - started)
        return Effect.flatMap(
          Effect.mapError(hop.via(target), (reason) => fail(reason)),
          (via) =>
            scopedUnlessFailed(Effect.flatMap(
              Effect.mapError(
                below.dial(via, { ...options, connectTimeout: budget }),
                // who asked for the target is told about the target; the hop that failed keeps its name, and where that is the
                // system's own connect to somewhere else, it is the way to this hop that failed
                (error) => fail(error.reason, error.hop === "direct" && via !== target ? hop.name : error.hop)
              ),
              (duplex) => handshake(duplex, Duration.subtract(budget, elapsed()))
            ))
        )
      })
    }
  )
})
