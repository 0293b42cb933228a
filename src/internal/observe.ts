import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Tracer from "effect/Tracer"

/**
 * Runs an effect in a span where a tracer collects spans. Effect's own tracer keeps them for nobody, and making one costs
 * about a tenth of a connection.
 */
export const traced =
  (name: string, attributes?: () => Record<string, unknown>, kind: Tracer.SpanKind = "client") =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Exclude<R, Tracer.ParentSpan>> =>
    Effect.withFiber<A, E, R | Exclude<R, Tracer.ParentSpan>>((fiber) =>
      fiber.getRef(Tracer.Tracer) === Tracer.Tracer.defaultValue()
        ? effect
        : Effect.withSpan(effect, name, { kind, attributes: attributes?.() ?? {}, captureStackTrace: false })
    )

/** Which side opened a connection. */
export type Role = "dialed" | "accepted"

const ofRoles = <A>(make: (role: Role) => A): Record<Role, A> => ({
  dialed: make("dialed"),
  accepted: make("accepted")
})

const connections = ofRoles((role) =>
  Metric.counter("hawser_connections_total", {
    description: "Connections that were opened, by role",
    incremental: true,
    attributes: { role }
  })
)

const active = ofRoles((role) =>
  Metric.gauge("hawser_connections_active", { description: "Connections that are open, by role", attributes: { role } })
)

const bytes = {
  read: Metric.counter("hawser_bytes_total", {
    description: "Bytes of closed connections, by direction",
    incremental: true,
    attributes: { direction: "read" }
  }),
  written: Metric.counter("hawser_bytes_total", {
    description: "Bytes of closed connections, by direction",
    incremental: true,
    attributes: { direction: "written" }
  })
}

/** Counts a connection that was opened. */
export const connectionOpened = (role: Role, context: Context.Context<never>): void => {
  connections[role].updateUnsafe(1, context)
  active[role].modifyUnsafe(1, context)
}

/** Counts a connection that was closed. */
export const connectionClosed = (
  role: Role,
  { bytesRead, bytesWritten }: { readonly bytesRead: number; readonly bytesWritten: number },
  context: Context.Context<never>
): void => {
  active[role].modifyUnsafe(-1, context)
  bytes.read.updateUnsafe(bytesRead, context)
  bytes.written.updateUnsafe(bytesWritten, context)
}

const dials = Metric.counter("hawser_dials_total", {
  description: "Dials of whole paths that were tried, by outcome: ok, or the reason of the DialError",
  incremental: true
})

const dialDuration = Metric.timer("hawser_dial_duration", {
  description: "How long successful dials of whole paths took"
})

const dialsMade = Metric.withAttributes(dials, { outcome: "ok" })

/** Counts a dial that succeeded. */
export const dialSucceeded = (millis: number, context: Context.Context<never>): void => {
  dialsMade.updateUnsafe(1, context)
  dialDuration.updateUnsafe(Duration.millis(millis), context)
}

/** Counts a dial that failed, by the reason of its `DialError`. */
export const dialFailed = (reason: string, context: Context.Context<never>): void =>
  Metric.withAttributes(dials, { outcome: reason }).updateUnsafe(1, context)
