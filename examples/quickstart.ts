import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Stream } from "effect"
import { Dialer, Listener, TcpClient, TcpServer } from "hawser"

const program = Effect.gen(function*() {
  const server = yield* TcpServer.TcpServer
  yield* Effect.forkScoped(server.serve((connection) => Stream.run(connection.reads, connection.writes)))
  const tcp = yield* TcpClient.TcpClient
  yield* Console.log(yield* tcp.requestString(server.address, "hello\n"))
})

const Live = Layer.merge(TcpServer.layer({ port: 0 }), TcpClient.layer).pipe(
  Layer.provide([Dialer.layer, Listener.layer])
)

program.pipe(Effect.scoped, Effect.provide(Live), NodeRuntime.runMain)
