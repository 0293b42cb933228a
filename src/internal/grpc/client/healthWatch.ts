import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { CurrentDeadline } from "../deadline.ts"
import * as Backoff from "./backoff.ts"
import type { CallError } from "./callOptions.ts"
import { Calls } from "./calls.ts"
import type { Channel } from "./channel.ts"
import type { Connection } from "./connection.ts"
import * as Health from "./health.ts"
import type { Settings } from "./prepare.ts"

/** A channel of one connection, for as long as it lasts. */
const channelOf = (connection: Connection): Channel => ({
  pick: () => connection.usable() ? connection : undefined,
  // what watches it ends with it
  connection: () => Effect.suspend(() => connection.usable() ? Effect.succeed(connection) : Effect.never),
  state: () => "ready",
  changes: Stream.empty
})

/** What wraps and limits the calls of programs is not for the channel's own. */
const bare = { middleware: [], policyOf: () => undefined, throttle: undefined }

const isUnimplemented = (exit: Exit.Exit<void, CallError>) => {
  const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
  return error?._tag === "GrpcError" && error.reason._tag === "Unimplemented"
}

/**
 * Whether the server of a connection wants calls of a service, now and whenever that changes (gRFC A17). A server that has
 * no health service is healthy. One that ends the call is not, until it says so again: it is asked again after a time.
 */
export const healthWatch =
  (settings: Omit<Settings, "channel">, service: string, backoff: Backoff.Backoff) =>
  (connection: Connection): Stream.Stream<boolean> =>
    Stream.callback<boolean>(
      Effect.fnUntraced(
        function*(queue) {
          const calls = new Calls({ ...settings, ...bare, channel: channelOf(connection) })
          for (let failures = 1;; failures++) {
            const started = yield* Clock.currentTimeMillis
            const exit = yield* Effect.exit(Stream.runForEach(Health.watch(calls, service), (status) => {
              failures = 0
              return Queue.offer(queue, status === "SERVING")
            }))
            const isHealthy = isUnimplemented(exit)
            yield* Queue.offer(queue, isHealthy)
            if (isHealthy) return yield* Queue.end(queue)
            // counted from the start, so that a call that lived long is made again at once
            const elapsed = (yield* Clock.currentTimeMillis) - started
            const delay = yield* Backoff.delay(backoff, Math.max(1, failures))
            yield* Effect.sleep(Duration.subtract(delay, Duration.millis(elapsed)))
          }
        },
        // the channel may have been opened by a handler, and outlive its call
        Effect.provideService(CurrentDeadline, undefined)
      ),
      // only the latest counts
      { bufferSize: 1, strategy: "sliding" }
    ).pipe(Stream.changes)
