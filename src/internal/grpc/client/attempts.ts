import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import { alarm } from "../../net/deadline.ts"
import { addMetadata, type MetadataInput, type OutgoingHeaders } from "../wire/metadata.ts"
import { Code, ownStatus } from "../wire/status.ts"
import { encodeTimeout } from "../wire/timeout.ts"
import { Attempt } from "./attempt.ts"
import type { CallError } from "./callOptions.ts"
import type { ChannelClosed } from "./channel.ts"
import type { Carrier } from "./connection.ts"
import type { Outcome } from "./exchange.ts"
import type { Prepared, Settings } from "./prepare.ts"
import type { Attempts } from "./replay.ts"
import { hedging, once, retrying, type Strategy } from "./retry.ts"

/** The deadline of a call. */
export const timedOut = ownStatus(Code.deadlineExceeded, "the timeout has passed")
const closed = ownStatus(Code.cancelled, "the channel is closed")
const notStarted = ownStatus(Code.unavailable, "")

const outcomeOf = (failure: CallError | ChannelClosed): Outcome =>
  failure._tag === "ChannelClosed" ? closed : { ...notStarted, failure }

/** Starts one attempt on a connection. What cannot be started has ended. */
export const begin = (prepared: Prepared, connection: Carrier, headers: OutgoingHeaders): Attempt | Outcome => {
  const left = prepared.deadline === undefined
    ? undefined
    : prepared.deadline - prepared.clock.currentTimeMillisUnsafe()
  if (left !== undefined) {
    if (left <= 0) return timedOut
    headers["grpc-timeout"] = encodeTimeout(left)
  }
  return Attempt.start(connection, headers, prepared.maxReceiveSize)
}

/** How a call that has no connection yet, or needs more than one attempt, gets its attempts. */
export const attemptsOf = ({ channel, credentials }: Settings, prepared: Prepared): Attempts => {
  return {
    after: (millis, callback) => alarm(prepared.clock, Duration.millis(millis), callback),
    start: (previous, onStarted, onFailed) => {
      const start = (connection: Carrier, metadata: MetadataInput | undefined) => {
        const headers = { ...prepared.headers }
        if (previous > 0) headers["grpc-previous-rpc-attempts"] = String(previous)
        const added = addMetadata(headers, metadata)
        if (Result.isFailure(added)) return onFailed({ ...notStarted, failure: added.failure })
        const begun = begin(prepared, connection, headers)
        if (begun instanceof Attempt) onStarted(begun)
        else onFailed(begun)
      }
      const connection = credentials === undefined ? channel.pick() : undefined
      if (connection !== undefined) {
        start(connection, undefined)
        return () => {}
      }
      const metadata: Effect.Effect<MetadataInput | undefined, CallError> = credentials?.(prepared.info) ??
        Effect.undefined
      const fiber = Effect.runForkWith(prepared.context)(
        Effect.flatMap(metadata, (metadata) =>
          Effect.map(
            channel.connection(prepared.waitForReady),
            (connection) => start(connection, metadata)
          ))
      )
      fiber.addObserver((exit) => {
        if (Exit.isSuccess(exit)) return
        const failure = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
        if (failure !== undefined) onFailed(outcomeOf(failure))
        else if (!Cause.hasInterruptsOnly(exit.cause)) {
          onFailed(ownStatus(Code.internal, "the credentials of the call died"))
        }
      })
      return () => fiber.interruptUnsafe()
    }
  }
}

/** Whether there are further attempts, and when. */
export const strategyOf = ({ throttle }: Settings, { context, policy }: Prepared): Strategy => {
  if (policy?.retry !== undefined) {
    return retrying(policy.retry, throttle, () => Context.get(context, Random.Random).nextDoubleUnsafe())
  }
  return policy?.hedging === undefined ? once : hedging(policy.hedging, throttle)
}
