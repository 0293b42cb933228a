import { Effect } from "effect"
import { Framing, TcpServer } from "hawser"

// renewed certificates are picked up, silent clients are closed, a load balancer may say who its clients are
export const Live = TcpServer.layer({
  port: 7000,
  maxConnections: 1000,
  idleTimeout: "5 minutes",
  tls: { cert: "./server.pem", key: "./server.key", reload: "1 hour" },
  proxyProtocol: { trusted: ["10.0.0.0/8"] }
})

// one line in, one line out: the fastest way to serve
export const echo = TcpServer.TcpServer.use((server) =>
  server.serve((connection) => connection.runFrames(Framing.lines(), (line) => connection.write(`${line}\n`)))
)

// all connections as one mailbox, for programs that poll
export const poll = Effect.gen(function*() {
  const mailbox = yield* (yield* TcpServer.TcpServer).mailbox
  const { data, id } = yield* mailbox.next({ timeout: "1 second", maxSize: 4096 })
  yield* mailbox.write(id, data)
}).pipe(Effect.scoped)
