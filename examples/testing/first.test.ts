import { assert, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
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

it.effect("shouts, however slowly and in however many pieces it is spoken to", () =>
  Effect.gen(function*() {
    yield* Effect.forkScoped(shout)
    const tcp = yield* TcpClient.TcpClient
    assert.strictEqual(yield* tcp.requestString("server:7000", "hello\n"), "HELLO\n")
  }).pipe(
    Effect.provide([TcpServer.layer({ host: "server", port: 7000 }), TcpClient.layer]),
    TestNetwork.simulated({ defaults: { latency: "2 seconds", fragment: 1 } })
  ))
