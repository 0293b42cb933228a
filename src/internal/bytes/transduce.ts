import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { TcpError, type TcpErrorReason } from "../../errors/TcpError.ts"
import type { Taken } from "./framing.ts"

/** Makes something of what comes: what was good before a failure, and the failure, if any. */
export interface Machine<In, Out> {
  readonly push: (input: ReadonlyArray<In>) => Taken<Out>
  readonly end: () => Taken<Out>
}

/** A stream through a machine, a batch at a time. What was good before a failure comes before it. */
export const transduce = <E, R, In, Out>(
  stream: Stream.Stream<In, E, R>,
  make: () => Machine<In, Out>
): Stream.Stream<Out, E | TcpError, R> =>
  Stream.transformPull(stream, (pull) =>
    Effect.sync(() => {
      const machine = make()
      let failed: TcpErrorReason | undefined
      let ended = false
      type Batch = Pull.Pull<Arr.NonEmptyReadonlyArray<Out>, E | TcpError, void, R>
      const give = ({ failure, frames }: Taken<Out>): Batch => {
        failed = failure
        return Arr.isArrayNonEmpty(frames) ? Effect.succeed(frames) : next
      }
      const more: Batch = Pull.matchEffect(pull, {
        onSuccess: (input) => give(machine.push(input)),
        onFailure: Effect.failCause,
        onDone: () => {
          ended = true
          return give(machine.end())
        }
      })
      const next: Batch = Effect.suspend(() =>
        failed !== undefined ? Effect.fail(new TcpError({ reason: failed })) : ended ? Cause.done() : more
      )
      return next
    }))
