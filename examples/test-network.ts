import { Console, Effect, Layer, Stream } from "effect"
import { Framing, TcpClient, TcpServer } from "hawser"
import { TestNetwork } from "hawser/testing"

/** What is tested: a server that answers each line in capitals. */
const shout = TcpServer.TcpServer.use((server) =>
  server.serve((connection) =>
    connection.frames(Framing.lines()).pipe(
      Stream.runForEach((line) => connection.write(`${line.toUpperCase()}\n`))
    )
  )
)

/** The same server and client as on a real network, over one in memory that delivers byte by byte. */
const test = Effect.gen(function*() {
  yield* Effect.forkScoped(shout)
  const tcp = yield* TcpClient.TcpClient
  const network = yield* TestNetwork.TestNetwork

  yield* Console.log(yield* tcp.requestString("server:7000", "hello\n"))

  const connection = yield* tcp.connect("server:7000")
  yield* network.reset("server")
  const error = yield* Effect.flip(connection.readLine())
  yield* Console.log(error.reason._tag)
}).pipe(
  Effect.scoped,
  Effect.provide(
    Layer.merge(TcpServer.layer({ host: "server", port: 7000 }), TcpClient.layer).pipe(
      Layer.provideMerge(TestNetwork.layer({ defaults: { fragment: 1 } }))
    )
  )
)

Effect.runFork(test)
