/**
 * A server in a process of its own that says what idle connections cost it:
 * `node --expose-gc --import ./test/support/source.ts test/support/manyConnections.ts hawser|raw`.
 * Both greet a client with "+\n" and give it back what it sends. Prints its port; for each line it is sent, it prints how
 * many connections it has and how many bytes it uses, and after "end" it ends.
 */
import { Effect, Layer } from "effect"
import { isInetAddress } from "effect/net/NetAddress"
import { type Connection, Listener, TcpServer } from "hawser"
import * as Net from "node:net"

let connections = 0

const tell = (line: unknown) => void process.stdout.write(`${JSON.stringify(line)}\n`)

const echo = (connection: Connection.Connection) =>
  Effect.gen(function*() {
    connections++
    yield* connection.write("+\n")
    while (true) yield* connection.write(yield* connection.read())
  })

const hawser = TcpServer.TcpServer.use((server) => {
  if (isInetAddress(server.address)) tell(server.address.port)
  return server.serve(echo)
}).pipe(Effect.provide(TcpServer.layer({ maxConnections: 100_000 }).pipe(Layer.provide(Listener.layer))))

const raw = () => {
  const server = Net.createServer({ noDelay: true }, (socket) => {
    connections++
    socket.on("error", () => {}).on("data", (data: Buffer) => socket.write(data))
    socket.write("+\n")
  }).listen(0, "127.0.0.1", () => {
    const address = server.address()
    tell(typeof address === "object" ? address?.port : 0)
  })
}

if (process.argv[2] === "raw") raw()
else Effect.runFork(hawser)

process.stdin.on("data", (data) => {
  if (String(data).includes("end")) process.exit(0)
  globalThis.gc?.()
  globalThis.gc?.()
  tell({ connections, heap: process.memoryUsage().heapUsed })
}).on("end", () => process.exit(0))
