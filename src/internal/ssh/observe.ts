import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Metric from "effect/Metric"
import { dropEvent, EventSink } from "../events.ts"

const sessions = Metric.counter("hawser_ssh_sessions_total", {
  description: "SSH sessions that were opened",
  incremental: true
})

const active = Metric.gauge("hawser_ssh_sessions_active", { description: "SSH sessions that are open" })

const lost = Metric.counter("hawser_ssh_sessions_lost_total", {
  description: "SSH sessions that ended without being closed on this side",
  incremental: true
})

const handshakes = Metric.timer("hawser_ssh_handshake_duration", {
  description: "How long successful SSH handshakes took, from the open connection to the login"
})

const ofDirection = (direction: "read" | "written") =>
  Metric.counter("hawser_ssh_bytes_total", {
    description: "Bytes of closed SSH sessions as they were on the network, by direction",
    incremental: true,
    attributes: { direction }
  })

const bytes = { read: ofDirection("read"), written: ofDirection("written") }

/** Counters by a label, kept because making a metric costs more than counting with it. */
const countersBy = (name: string, label: string, description: string) => {
  const counters = new Map<string, Metric.Counter<number>>()
  return (value: string, context: Context.Context<never>): void => {
    let counter = counters.get(value)
    if (counter === undefined) {
      counter = Metric.counter(name, { description, incremental: true, attributes: { [label]: value } })
      counters.set(value, counter)
    }
    counter.updateUnsafe(1, context)
  }
}

const countFailure = countersBy(
  "hawser_ssh_failures_total",
  "reason",
  "SSH sessions that could not be opened, by the reason of the SshError"
)

const countCommand = countersBy(
  "hawser_ssh_commands_total",
  "outcome",
  "SSH commands that were executed, by outcome: ok, failed (another exit code than 0), killed (by a signal), unknown (the " +
    "server did not say), interrupted, input (what the command was to read could not be had), or the reason of the SshError"
)

const countForwarded = countersBy(
  "hawser_ssh_forwarded_total",
  "outcome",
  "Connections that were forwarded over SSH, by outcome: ok, or the reason of the DialError or the TcpError"
)

/** How much passed on the network. */
export interface Traffic {
  readonly received: number
  readonly sent: number
}

/** Tells the log and the metrics what becomes of one session. */
export class Observer {
  private readonly name: string
  private readonly context: Context.Context<never>

  constructor(name: string, context: Context.Context<never>) {
    this.name = name
    this.context = context
  }

  /** Words cost something: they are made where somebody listens. */
  event(event: string, detail: () => string): void {
    const report = Context.get(this.context, EventSink)
    if (report !== dropEvent) report({ source: "ssh", id: this.name, event, detail: detail() })
  }

  failed(reason: { readonly _tag: string; readonly message: string }): void {
    countFailure(reason._tag, this.context)
    this.event("failed", () => reason.message)
  }

  opened(millis: number): void {
    sessions.updateUnsafe(1, this.context)
    active.modifyUnsafe(1, this.context)
    handshakes.updateUnsafe(Duration.millis(millis), this.context)
  }

  closed(detail: string, wasLost: boolean, { received, sent }: Traffic): void {
    active.modifyUnsafe(-1, this.context)
    if (wasLost) lost.updateUnsafe(1, this.context)
    bytes.read.updateUnsafe(received, this.context)
    bytes.written.updateUnsafe(sent, this.context)
    this.event("closed", () => `${detail}; ${received} bytes read, ${sent} bytes written`)
  }

  forwarded(outcome: string): void {
    countForwarded(outcome, this.context)
  }

  command(outcome: string): void {
    countCommand(outcome, this.context)
  }
}
