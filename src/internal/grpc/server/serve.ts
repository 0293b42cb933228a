import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { formatSocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type { Duplex } from "node:stream"
import type { TcpError } from "../../../errors/TcpError.ts"
import { addressOf } from "../../net/duplex.ts"
import type { Bound } from "../../net/listen.ts"
import type { Opening } from "../../server/opening.ts"
import { reporter } from "../../server/report.ts"
import * as Serving from "../../server/serving.ts"
import type { Routes } from "./route.ts"
import { Sessions, type SessionSettings } from "./session.ts"

/** What is served, and where. */
export interface Served {
  readonly bound: Bound
  /** What has to happen on a connection before it speaks HTTP/2. */
  readonly open: Opening | undefined
  readonly settings: SessionSettings
  readonly routes: Routes
  /** Done first when it is interrupted. */
  readonly stopListening: Effect.Effect<void>
  readonly maxConnections: number
  /** How long calls may go on when it is interrupted. */
  readonly drainTimeout: Duration.Duration
}

/** Serves connections until it is interrupted, and then drains. */
export const serve = (
  { bound, drainTimeout, maxConnections, open, routes, settings, stopListening }: Served
): Effect.Effect<never, TcpError> => {
  const report = reporter(formatSocketAddress(bound.address), settings.context)
  const sessions = new Sessions()

  const run = (duplex: Duplex) => {
    const client = addressOf(duplex, "remote")
    if (open === undefined) return sessions.serve(settings, routes, duplex, client)
    return Effect.matchEffect(open(duplex), {
      onFailure: (error) =>
        Effect.andThen(
          Effect.sync(() => report.handshakeFailed(client, error)),
          Effect.logDebug("the handshake with a client failed", error)
        ),
      onSuccess: ({ remoteAddress, stream }) =>
        sessions.serve(settings, routes, stream, Option.orElse(Option.fromUndefinedOr(remoteAddress), () => client))
    })
  }
  return Serving.serve({
    bound,
    stopListening: Effect.andThen(stopListening, Effect.sync(() => sessions.drain())),
    maxConnections,
    reject: false,
    served: 0
  }, {
    run,
    failed: (cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logWarning("a gRPC connection failed", cause),
    rejected: () => {},
    drainTimeout
  })
}
