import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isHostPort } from "effect/net/Host"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { ConnectTimeout, DialError, type DialErrorReason, NameNotFound, Refused } from "../../errors/DialError.ts"
import { within } from "../net/deadline.ts"
import { closeIn } from "../net/duplex.ts"
import * as Hop from "../net/hop.ts"
import * as Target from "../net/target.ts"
import { FakeDuplex } from "./duplex.ts"

/** Answers on its end of a connection, which is closed with the scope. */
export type Serve = (duplex: Duplex) => Effect.Effect<unknown, never, Scope.Scope>

const defaultTimeout = Duration.seconds(10)

/**
 * Dials a target at which a handler answers, which runs until it is done or `handlers` is closed. A handler that dies ends
 * the connection with an error that says so: a test should not wait for an answer that does not come.
 */
export const dial = (
  answer: (target: Target.Target) => Effect.Effect<Serve, DialErrorReason>,
  handlers: Scope.Scope
): Hop.Path["dial"] =>
  Hop.dialing("direct", (target, options) => {
    const name = Target.format(target)
    const after = Hop.budgetOf(options, defaultTimeout)
    const late = () => Effect.fail(new ConnectTimeout({ after, phase: "the connection" }))
    return Effect.gen(function*() {
      const serve = yield* within(answer(target), after, late)
      const [ours, theirs] = FakeDuplex.pair()
      const broken = (cause: Cause.Cause<never>) =>
        Effect.sync(() => {
          if (Cause.hasInterruptsOnly(cause)) return
          const { message } = Cause.prettyErrors(cause)[0] ?? new Error("unknown")
          ours.destroy(new Error(`the handler of ${name} died: ${message}`, { cause: Cause.squash(cause) }))
        })
      // who waits is told before the end of the scope looks like the end of the stream
      const serving = Effect.scoped(Effect.tapCause(serve(theirs), broken))
      const connected = yield* closeIn(yield* Effect.scope, ours)
      yield* Effect.forkIn(serving, handlers, { startImmediately: true })
      return connected
    }).pipe(Effect.mapError((reason) => new DialError({ target: name, hop: "direct", reason })))
  })

/** Where several targets are known: a target, by its name and as others may write it. */
export const keyOf = (input: string): string => {
  const target = Target.parse(input)
  return Result.isSuccess(target) ? Target.format(target.success) : input
}

/** What a network says of a target at which nobody answers, where `known` answer: no such name, or nobody is listening. */
export const nobodyAt = (target: Target.Target, known: ReadonlyArray<string>): DialErrorReason => {
  const address = Target.format(target)
  if (!isHostPort(target) || Target.familyOf(target) !== undefined) return new Refused({ address })
  const name = Target.hostOf(target)
  return name === "localhost" || known.some((other) => other.startsWith(`${name}:`))
    ? new Refused({ address })
    : new NameNotFound({ name, code: "ENOTFOUND" })
}
