import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as HttpHeaders from "effect/http/Headers"
import * as HttpTraceContext from "effect/http/HttpTraceContext"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import { dropEvent, EventSink } from "../../events.ts"
import type { MethodDefinition } from "../definition.ts"
import { type RawHeaders, single } from "../wire/metadata.ts"
import { Code, codeName } from "../wire/status.ts"

const sessions = Metric.counter("hawser_grpc_server_connections_total", {
  description: "HTTP/2 connections that gRPC servers accepted",
  incremental: true
})

const active = Metric.gauge("hawser_grpc_server_connections_active", {
  description: "HTTP/2 connections of gRPC servers that are open"
})

/** What is counted of the calls of one method, kept because making a metric costs more than counting with it. */
export class Meters {
  private readonly method: string
  private readonly startedCounter: Metric.Counter<number>
  private readonly duration: Metric.Metric<Duration.Duration, unknown>
  private readonly received: Metric.Counter<number>
  private readonly sent: Metric.Counter<number>
  private readonly byCode: Array<Metric.Counter<number> | undefined> = []

  constructor(method: string) {
    const messages = (direction: string) =>
      Metric.counter("hawser_grpc_server_messages_total", {
        description: "Messages of gRPC calls that ended, by method and direction",
        incremental: true,
        attributes: { method, direction }
      })
    this.method = method
    this.startedCounter = Metric.counter("hawser_grpc_server_started_total", {
      description: "gRPC calls that a server began to serve, by method",
      incremental: true,
      attributes: { method }
    })
    this.duration = Metric.timer("hawser_grpc_server_duration", {
      description: "How long gRPC calls took until their status, by method",
      attributes: { method }
    })
    this.received = messages("received")
    this.sent = messages("sent")
  }

  started(context: Context.Context<never>): void {
    this.startedCounter.updateUnsafe(1, context)
  }

  completed(code: number, millis: number, received: number, sent: number, context: Context.Context<never>): void {
    const counter = this.byCode[code] ??= Metric.counter("hawser_grpc_server_completed_total", {
      description: "gRPC calls that ended, by method and status",
      incremental: true,
      attributes: { method: this.method, status: codeName(code) }
    })
    counter.updateUnsafe(1, context)
    this.duration.updateUnsafe(Duration.millis(millis), context)
    if (received > 0) this.received.updateUnsafe(received, context)
    if (sent > 0) this.sent.updateUnsafe(sent, context)
  }
}

/** What a server tells the log and the metrics of its connections; its methods count for themselves. */
export class Reporter {
  private readonly context: Context.Context<never>
  private readonly report: (typeof EventSink)["Service"]

  constructor(context: Context.Context<never>) {
    this.context = context
    this.report = Context.get(context, EventSink)
  }

  private tell(id: string, event: string, detail: () => string): void {
    if (this.report !== dropEvent) this.report({ source: "grpc", id, event, detail: detail() })
  }

  connected(id: string, client: string): void {
    sessions.updateUnsafe(1, this.context)
    active.modifyUnsafe(1, this.context)
    this.tell(id, "accepted", () => client)
  }

  disconnected(id: string, why: string): void {
    active.modifyUnsafe(-1, this.context)
    this.tell(id, "closed", () => why)
  }

  completed(id: string, method: string, code: number, message: string, millis: number): void {
    this.tell(id, code === Code.ok ? "completed" : "failed", () => {
      const said = message === "" ? "" : `: ${message}`
      return `${method} ${codeName(code)} after ${Math.round(millis)} ms${said}`
    })
  }
}

/** How a call shows in traces: OpenTelemetry's conventions for RPC. */
export const spanAttributes = (
  definition: Pick<MethodDefinition, "service" | "name">,
  client: string | undefined
): Record<string, unknown> => ({
  "rpc.system": "grpc",
  "rpc.service": definition.service,
  "rpc.method": definition.name,
  ...(client === undefined ? {} : { "client.address": client })
})

/** The client's span (W3C Trace Context), which that of the call is a child of. */
export const parentSpan = (headers: RawHeaders): Option.Option<Tracer.ExternalSpan> => {
  const traceparent = single(headers, "traceparent")
  return traceparent === undefined
    ? Option.none()
    : HttpTraceContext.w3c(HttpHeaders.fromRecordUnsafe({ traceparent }))
}
