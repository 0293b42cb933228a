import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { formatSocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type { Duplex } from "node:stream"
import { EventSink } from "../events.ts"
import { addressOf } from "../net/duplex.ts"

const rejected = Metric.counter("hawser_server_rejected_total", {
  description: "Connections that servers closed at once because they had too many",
  incremental: true
})

const handshakesFailed = Metric.counter("hawser_server_handshakes_failed_total", {
  description: "Clients of servers that did not get through the PROXY header or the TLS handshake",
  incremental: true
})

const idle = Metric.counter("hawser_server_idle_total", {
  description: "Connections that servers closed because nothing had come or gone for too long",
  incremental: true
})

/** What a server tells the log and the metrics about connections that nobody handled, or that it ended itself. */
export interface Reporter {
  readonly rejected: (duplex: Duplex) => void
  readonly handshakeFailed: (duplex: Duplex, error: { readonly message: string }) => void
  readonly idle: (duplex: Duplex) => void
}

/** Reports to what is in the context, in the name of the server. */
export const reporter = (server: string, context: Context.Context<never>): Reporter => {
  const report = Context.get(context, EventSink)
  const tell = (event: string, duplex: Duplex, why: string) => {
    const client = Option.match(addressOf(duplex, "remote"), { onNone: () => "a client", onSome: formatSocketAddress })
    report({ source: "tcp", id: `server ${server}`, event, detail: `${client}: ${why}` })
  }
  return {
    rejected: (duplex) => {
      rejected.updateUnsafe(1, context)
      tell("rejected", duplex, "too many connections are open")
    },
    handshakeFailed: (duplex, { message }) => {
      handshakesFailed.updateUnsafe(1, context)
      tell("handshake failed", duplex, message)
    },
    idle: (duplex) => {
      idle.updateUnsafe(1, context)
      tell("idle", duplex, "nothing came or went for too long")
    }
  }
}
