import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Tracer from "effect/Tracer"
import { dropEvent, EventSink } from "./events.ts"

/**
 * Runs an effect in a span where a tracer collects spans. Effect's own tracer keeps them for nobody, and making one costs
 * about a tenth of a connection.
 */
export const traced =
  (name: string, attributes?: () => Record<string, unknown>, kind: Tracer.SpanKind = "client") =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Exclude<R, Tracer.ParentSpan>> =>
    Effect.withFiber<A, E, R | Exclude<R, Tracer.ParentSpan>>((fiber) =>
      // only a tracer that somebody provided is there
      fiber.cache.tracer === undefined
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

/** What is told of a connection. */
interface Observed {
  readonly number: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

/** Names a connection in logs. */
export const connectionId = ({ number }: Pick<Observed, "number">): string => `tcp-${number}`

/** Counts a connection that was opened. */
export const connectionOpened = (role: Role, context: Context.Context<never>): void => {
  connections[role].updateUnsafe(1, context)
  active[role].modifyUnsafe(1, context)
}

/** Counts a connection that was closed, and says so. */
export const connectionClosed = (connection: Observed, role: Role, context: Context.Context<never>): void => {
  const { bytesRead, bytesWritten } = connection
  active[role].modifyUnsafe(-1, context)
  bytes.read.updateUnsafe(bytesRead, context)
  bytes.written.updateUnsafe(bytesWritten, context)
  const report = Context.get(context, EventSink)
  if (report === dropEvent) return
  report({
    source: "tcp",
    id: connectionId(connection),
    event: "closed",
    detail: `${bytesRead} bytes read, ${bytesWritten} bytes written`
  })
}

/** What is counted of the dials of one hop, kept because making a metric costs more than counting with it. */
interface DialMetrics {
  readonly dials: Map<string, Metric.Counter<number>>
  readonly duration: Metric.Metric<Duration.Duration, unknown>
}

const dialMetrics = new Map<string, DialMetrics>()

const dialMetricsOf = (hop: string): DialMetrics => {
  let metrics = dialMetrics.get(hop)
  if (metrics === undefined) {
    metrics = {
      dials: new Map(),
      duration: Metric.timer("hawser_dial_duration", {
        description: "How long successful dials took, by the hop that the path ends with and over all hops below it",
        attributes: { hop }
      })
    }
    dialMetrics.set(hop, metrics)
  }
  return metrics
}

const countDial = ({ dials }: DialMetrics, hop: string, outcome: string, context: Context.Context<never>): void => {
  let counter = dials.get(outcome)
  if (counter === undefined) {
    counter = Metric.counter("hawser_dials_total", {
      description: "Dials, by the hop that the path ends with and by outcome: ok, or the reason of the DialError",
      incremental: true,
      attributes: { hop, outcome }
    })
    dials.set(outcome, counter)
  }
  counter.updateUnsafe(1, context)
}

/** Counts a dial that succeeded: at each hop of its path. */
export const dialSucceeded = (hop: string, millis: number, context: Context.Context<never>): void => {
  const metrics = dialMetricsOf(hop)
  countDial(metrics, hop, "ok", context)
  metrics.duration.updateUnsafe(Duration.millis(millis), context)
}

/** Counts a dial that failed, by the reason of its `DialError`: at each hop of its path that was tried. */
export const dialFailed = (hop: string, reason: string, context: Context.Context<never>): void =>
  countDial(dialMetricsOf(hop), hop, reason, context)
