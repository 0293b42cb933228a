import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Metric from "effect/Metric"
import type * as Tracer from "effect/Tracer"
import { GrpcError } from "../../../errors/GrpcError.ts"
import type { MethodDefinition } from "../definition.ts"
import { codeName } from "../wire/status.ts"
import type { Outcome } from "./exchange.ts"

/** What is counted of the calls of one method, kept because making a metric costs more than counting with it. */
interface Meters {
  readonly started: Metric.Counter<number>
  readonly duration: Metric.Metric<Duration.Duration, unknown>
  readonly sent: Metric.Counter<number>
  readonly received: Metric.Counter<number>
  readonly completed: Map<string, Metric.Counter<number>>
}

const methods = new Map<string, Meters>()

const metersOf = (method: string): Meters => {
  let meters = methods.get(method)
  if (meters === undefined) {
    const messages = (direction: string) =>
      Metric.counter("hawser_grpc_client_messages_total", {
        description: "Messages of gRPC calls, by method and direction",
        incremental: true,
        attributes: { method, direction }
      })
    meters = {
      started: Metric.counter("hawser_grpc_client_started_total", {
        description: "gRPC calls that were started, by method",
        incremental: true,
        attributes: { method }
      }),
      duration: Metric.timer("hawser_grpc_client_duration", {
        description: "How long gRPC calls took until their status, by method",
        attributes: { method }
      }),
      sent: messages("sent"),
      received: messages("received"),
      completed: new Map()
    }
    methods.set(method, meters)
  }
  return meters
}

/** How metrics and the log call the way a call ended. */
export const outcomeName = (outcome: Outcome): string => outcome.failure?._tag ?? codeName(outcome.code)

/** Tells the log. */
export type Report = (event: string, detail: string) => void

/** What is told of one call while it goes on. */
export class Observed {
  private readonly method: string
  private readonly context: Context.Context<never>
  private readonly meters: Meters
  private readonly began: number
  private readonly now: () => number
  private readonly report: Report | undefined

  constructor(method: string, context: Context.Context<never>, now: () => number, report: Report | undefined) {
    this.method = method
    this.report = report
    this.context = context
    this.meters = metersOf(method)
    this.now = now
    this.began = now()
    this.meters.started.updateUnsafe(1, context)
    report?.("called", method)
  }

  sent(messages: number): void {
    this.meters.sent.updateUnsafe(messages, this.context)
  }

  received(messages: number): void {
    this.meters.received.updateUnsafe(messages, this.context)
  }

  ended(outcome: Outcome): void {
    const name = outcomeName(outcome)
    let counter = this.meters.completed.get(name)
    if (counter === undefined) {
      counter = Metric.counter("hawser_grpc_client_completed_total", {
        description: "gRPC calls that ended, by method and by status, or by the error that kept them from starting",
        incremental: true,
        attributes: { method: this.method, status: name }
      })
      this.meters.completed.set(name, counter)
    }
    counter.updateUnsafe(1, this.context)
    this.report?.("ended", `${this.method} ${name}`)
    this.meters.duration.updateUnsafe(Duration.millis(this.now() - this.began), this.context)
  }
}

/** How a call shows in traces: OpenTelemetry's conventions for RPC. */
export const spanAttributes = (
  definition: Pick<MethodDefinition, "service" | "name">,
  server: string
): Record<string, unknown> => ({
  "rpc.system": "grpc",
  "rpc.service": definition.service,
  "rpc.method": definition.name,
  "server.address": server
})

/** What an error says a call ended with, for its span. */
export const statusCodeOf = (error: unknown): number | undefined =>
  error instanceof GrpcError ? error.reason.code : undefined

/** The header that lets the server's spans be children of a span of ours (W3C Trace Context). */
export const traceparent = (span: Tracer.AnySpan): string =>
  `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`
