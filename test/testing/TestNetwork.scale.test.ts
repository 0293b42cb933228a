import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"

const hosts = 1000
const connectionsEach = 10

/** A host that greets whoever asks, and asks the ten hosts behind it, all of which it is connected to at the same time. */
const member = Effect.fnUntraced(function*(
  host: TestNetwork.TestHost,
  number: number,
  connected: Effect.Effect<void>,
  greeted: (by: string) => void
) {
  const server = TcpServer.layer({ host: "0.0.0.0", port: 7000, maxConnections: 100 }).pipe(Layer.provide(host.layer))
  const services = yield* Layer.build(Layer.merge(server, TcpClient.layer.pipe(Layer.provide(host.layer))))
  const { serve } = Context.get(services, TcpServer.TcpServer)
  yield* Effect.forkScoped(
    serve((connection) =>
      Effect.flatMap(connection.readLine(), (name) => connection.write(`hello ${name}, I am ${host.name}\n`))
    )
  )
  const tcp = Context.get(services, TcpClient.TcpClient)
  const asking = Effect.gen(function*() {
    const connections = yield* Effect.forEach(
      Array.from({ length: connectionsEach }, (_, index) => `host${(number + index + 1) % hosts}:7000`),
      (target) => tcp.connect(target),
      { concurrency: "unbounded" }
    )
    yield* connected
    yield* Effect.forEach(connections, (connection) => connection.write(`${host.name}\n`))
    for (const connection of connections) greeted(yield* connection.readLine())
  })
  return { asking: Effect.scoped(asking) }
})

it.effect("a thousand hosts with ten thousand connections talk to each other", () =>
  Effect.gen(function*() {
    const network = yield* TestNetwork.TestNetwork
    const greetings = new Map<string, number>()
    const greeted = (greeting: string) => greetings.set(greeting, (greetings.get(greeting) ?? 0) + 1)
    let waiting = hosts
    const everybody = yield* Deferred.make<void>()
    const connected = Effect.suspend(() =>
      --waiting === 0 ? Deferred.succeed(everybody, undefined) : Deferred.await(everybody)
    )
    const all = Effect.gen(function*() {
      const members = yield* Effect.forEach(Array.from({ length: hosts }, (_, number) => number), (number) =>
        Effect.flatMap(network.host(`host${number}`), (host) =>
          member(host, number, Effect.asVoid(connected), greeted)))
      const talk = yield* Effect.forkChild(Effect.all(
        members.map(({ asking }) =>
          asking
        ),
        { concurrency: "unbounded" }
      ))
      yield* Deferred.await(everybody)
      assert.strictEqual((yield* network.connections).length, hosts * connectionsEach)
      yield* Fiber.join(talk)
    })
    yield* network.run(Effect.scoped(all))
    assert.strictEqual(greetings.size, hosts * connectionsEach)
    assert.deepStrictEqual(yield* network.connections, [])
  }).pipe(Effect.provide(TestNetwork.layer({
    defaults: { latency: { min: "1 millis", max: "50 millis" }, fragment: { min: 1, max: 20 } },
    events: 0
  }))), 120_000)
