/** TLS of Node's own at the other end, for tests of ours. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { Duplex } from "node:stream"
import * as NodeTls from "node:tls"
import type { TlsHandshake } from "../../src/errors/DialError.ts"
import { client } from "../../src/internal/tls/handshake.ts"
import { resolve, type TlsOptions } from "../../src/internal/tls/options.ts"
import { read } from "./streams.ts"

const portOf = (server: Net.Server) => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : assert.fail("the server does not listen")
}

/** A server on loopback, for as long as the scope lives; what is connected to it goes with it. */
export const listening = <S extends Net.Server>(server: S) => {
  const sockets = new Set<Net.Socket>()
  return Effect.acquireRelease(
    Effect.callback<{ readonly server: S; readonly port: number }>((resume) => {
      server.on("connection", (socket: Net.Socket) => {
        sockets.add(socket)
        socket.on("error", () => {}).on("close", () => sockets.delete(socket))
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, port: portOf(server) })))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
}

/** What connects to a server next. */
export const nextConnection = (server: Net.Server) =>
  Effect.callback<Net.Socket>((resume) => void server.once("connection", (socket) => resume(Effect.succeed(socket))))

/** Both ends of a plain connection over loopback. */
export const socketPair = Effect.gen(function*() {
  const { port, server } = yield* listening(Net.createServer({ allowHalfOpen: true }))
  const [theirs, ours] = yield* Effect.all([nextConnection(server), connectTo(port)], { concurrency: "unbounded" })
  return { theirs, ours }
})

/** A `tls.Server` that sends everything back, and what became of its handshakes. */
export const nodeServer = (options: NodeTls.TlsOptions) => {
  const accepted: Array<{ readonly servername: unknown; readonly alpn: unknown; readonly resumed: boolean }> = []
  const server = NodeTls.createServer(options, (socket) => {
    accepted.push({
      servername: Reflect.get(socket, "servername"),
      alpn: socket.alpnProtocol,
      resumed: socket.isSessionReused()
    })
    socket.on("error", () => {}).pipe(socket)
  }).on("tlsClientError", () => {})
  return Effect.map(listening(server), ({ port }) => ({ port, accepted }))
}

/** A plain connection to a port of loopback. */
export const connectTo = (port: number, options: Partial<Net.TcpNetConnectOpts> = {}) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect({ allowHalfOpen: true, ...options, port, host: "127.0.0.1" }, () => {
        resume(Effect.succeed(socket))
      }).on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** The same stream, but no socket: as what comes out of a proxy, a tunnel or the test network. */
export const disguised = (socket: Duplex): Duplex => {
  const duplex = new Duplex({
    allowHalfOpen: true,
    read: () => void socket.resume(),
    write: (chunk, _, done) => void socket.write(chunk, done),
    final: (done) => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy()
      done(error)
    }
  }).on("error", () => {})
  socket
    .on("data", (chunk: Buffer) => {
      if (!duplex.push(chunk)) socket.pause()
    })
    .on("end", () => duplex.push(null))
    .on("close", () => duplex.destroy())
    .pause()
  return duplex
}

/** How a client of ours comes out against a port of loopback. */
export const shake = Effect.fnUntraced(function*(
  port: number,
  options: TlsOptions,
  host = "db.test",
  over: (socket: Net.Socket) => Duplex = (socket) => socket
) {
  return yield* client(over(yield* connectTo(port)), yield* Effect.orDie(resolve(options)), host)
})

/** What is told of a handshake that fails. */
export const told = ({ check, expected, received }: TlsHandshake) => ({ check, expected, received })

/** How a client of Node's comes out: the socket, or the code of what went wrong. Tickets are collected as they come. */
export const nodeClient = (port: number, options: NodeTls.ConnectionOptions, tickets: Array<Buffer> = []) =>
  Effect.acquireRelease(
    Effect.callback<NodeTls.TLSSocket, string>((resume) => {
      const socket = NodeTls.connect({ host: "127.0.0.1", port, ...options })
      socket.on("session", (ticket) => void tickets.push(ticket))
      socket.once("secureConnect", () => resume(Effect.succeed(socket)))
      socket.on("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(error.code ?? error.message)))
      socket.once("close", () => resume(Effect.fail("closed")))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Says something over a stream that sends it back, and waits for it. */
export const echoes = Effect.fnUntraced(function*(duplex: Duplex, text = "hello") {
  duplex.write(text)
  assert.strictEqual(String(yield* read(duplex, text.length)), text)
})
