import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { cast } from "effect/Function"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Duplex } from "node:stream"
import { Closed, TcpError } from "../../errors/TcpError.ts"
import { closeOwned, markClosedIn } from "../net/duplex.ts"
import type { Bound } from "../net/listen.ts"

/** Where connections come from, and how many are served at once. */
export interface Source {
  readonly bound: Pick<Bound, "receive">
  readonly stopListening: Effect.Effect<void>
  readonly maxConnections: number
  /** Whether connections beyond the limit are closed, instead of having them wait. */
  readonly reject: boolean
  /** How many are being served; shared by all who serve from here. */
  served: number
}

/** What becomes of the connections. */
export interface Service<R> {
  /** Runs for each connection, in a fiber and a scope of its own; closes it with the scope. */
  readonly run: (duplex: Duplex) => Effect.Effect<void, unknown, R>
  /** Is told when that has failed. */
  readonly failed: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Is told of a connection that is about to be closed because there are too many. */
  readonly rejected: (duplex: Duplex) => void
  /** How long those that run may go on after an interruption. */
  readonly drainTimeout: Duration.Input
}

/** The scope of a connection, by which its fiber also finds what it serves: so all run the same effect. */
interface ConnectionScope extends Scope.Closeable {
  readonly duplex: Duplex
}

const scopeOf = (fiber: Fiber.Fiber<unknown, unknown>): ConnectionScope =>
  cast(Context.getUnsafe(fiber.context, Scope.Scope))

/**
 * Serves until it is interrupted or the listener closes, then stops listening, lets what runs finish for a while and
 * interrupts the rest.
 *
 * Accepting is a callback, a counter and one fiber: this is what a server does most often.
 */
export const serve = <R>(
  source: Source,
  service: Service<R>
): Effect.Effect<never, TcpError, Exclude<R, Scope.Scope>> =>
  Effect.contextWith((context: Context.Context<Exclude<R, Scope.Scope>>) => {
    // a connection is no part of the span of a server that runs for months
    const base = Context.omit(Tracer.ParentSpan)(context)
    const fibers = new Set<Fiber.Fiber<unknown, unknown>>()
    let whenEmpty = () => {}

    const take = (duplex: Duplex) => {
      if (source.served >= source.maxConnections) {
        service.rejected(duplex)
        duplex.destroy()
        return
      }
      source.served++
      const scope: ConnectionScope = Object.assign(Scope.makeUnsafe(), { duplex })
      markClosedIn(scope, duplex)
      Effect.runForkWith(cast<unknown, Context.Context<R>>(Context.add(base, Scope.Scope, scope)))(each)
    }

    const finish = (exit: Exit.Exit<void, unknown>) =>
      Effect.withFiber((fiber) => {
        const scope = scopeOf(fiber)
        const close = Effect.andThen(Scope.close(scope, exit), Effect.suspend(() => closeOwned(scope.duplex, exit)))
        const closed = Exit.isSuccess(exit) ? close : Effect.andThen(service.failed(exit.cause), close)
        return Effect.andThen(closed, Effect.sync(() => left(fiber)))
      })
    // known before it runs: the first thing that it does may be to have the server stopped
    const run = Effect.withFiber((fiber) => {
      fibers.add(fiber)
      return service.run(scopeOf(fiber).duplex)
    })
    const each = Effect.onExit(run, finish)
    const left = (fiber: Fiber.Fiber<unknown, unknown>) => {
      fibers.delete(fiber)
      source.served--
      if (!source.reject) reception?.more()
      if (fibers.size === 0) whenEmpty()
    }

    let reception: ReturnType<Bound["receive"]> | undefined
    const receive = Effect.callback<never, TcpError>((resume) => {
      reception = source.bound.receive({
        ready: () => source.reject || source.served < source.maxConnections,
        take,
        closed: () => resume(Effect.fail(new TcpError({ reason: new Closed() })))
      })
    })
    const empty = Effect.callback<void>((resume) => {
      whenEmpty = () => resume(Effect.void)
      if (fibers.size === 0) whenEmpty()
    })
    return Effect.onExit(receive, () =>
      Effect.sync(() => reception?.stop()).pipe(
        Effect.andThen(source.stopListening),
        Effect.andThen(Effect.timeoutOption(empty, service.drainTimeout)),
        Effect.andThen(Effect.suspend(() => Fiber.interruptAll(fibers)))
      ))
  })
