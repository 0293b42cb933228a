import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as NodeTls from "node:tls"

/** TLS in front of a proxy: what comes over it goes to `port` of loopback. Gives the port; `onSecure` sees each client. */
export const inTls = (options: NodeTls.TlsOptions, port: number, onSecure?: (socket: NodeTls.TLSSocket) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: NodeTls.Server; readonly sockets: Set<Net.Socket> }>((resume) => {
        const sockets = new Set<Net.Socket>()
        const own = (socket: Net.Socket) => {
          sockets.add(socket)
          return socket.on("error", () => {}).on("close", () => sockets.delete(socket))
        }
        const server = NodeTls.createServer({ ...options, allowHalfOpen: true }, (outside) => {
          onSecure?.(outside)
          const inside = own(Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true }))
          own(outside).on("close", () => inside.destroy()).pipe(inside)
          inside.on("close", () => outside.destroy()).pipe(outside)
        })
        server.on("connection", own).listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
      }),
      ({ server, sockets }) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    ),
    ({ server }) => {
      const bound = server.address()
      return typeof bound === "object" && bound !== null ? bound.port : 0
    }
  )
