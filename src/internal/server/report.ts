import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { formatSocketAddress, type SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import { EventSink } from "../events.ts"

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

/** The peer of a connection, as far as it is known. */
type Client = Option.Option<SocketAddress>

/** What a server tells the log and the metrics about connections that nobody handled, or that it ended itself. */
export interface Reporter {
  readonly rejected: (client: Client) => void
  readonly handshakeFailed: (client: Client, error: { readonly message: string }) => void
  readonly idle: (client: Client) => void
}

/** Reports to what is in the context, in the name of the server. */
export const reporter = (server: string, context: Context.Context<never>): Reporter => {
  const report = Context.get(context, EventSink)
  const tell = (event: string, client: Client, why: string) =>
    report({
      source: "tcp",
      id: `server ${server}`,
      event,
      detail: `${Option.match(client, { onNone: () => "a client", onSome: formatSocketAddress })}: ${why}`
    })
  return {
    rejected: (client) => {
      rejected.updateUnsafe(1, context)
      tell("rejected", client, "too many connections are open")
    },
    handshakeFailed: (client, { message }) => {
      handshakesFailed.updateUnsafe(1, context)
      tell("handshake failed", client, message)
    },
    idle: (client) => {
      idle.updateUnsafe(1, context)
      tell("idle", client, "nothing came or went for too long")
    }
  }
}
