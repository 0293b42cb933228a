import { assert, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connected, read, write } from "../support/streams.ts"

const db = { host: "db", port: 5432 }
const latency = "50 millis"

it.layer(TestNetwork.layer({ defaults: { latency } }))("a network that tests share", (it) => {
  it.effect("is moved by the test clock", () =>
    Effect.gen(function*() {
      const dialling = yield* Effect.forkScoped(connected(db))
      yield* TestClock.adjust("99 millis")
      assert.isUndefined(dialling.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const { client, server } = yield* Fiber.join(dialling)
      const reading = yield* Effect.forkScoped(Effect.timeout(read(server, 1), "51 millis"))
      yield* write(client, "x")
      // far beyond both: what is due first happens first
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(String(yield* Fiber.join(reading)), "x")
    }))

  it.effect("is there for the next test, too", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      assert.deepStrictEqual(yield* network.connections, [])
      assert.isAbove((yield* network.events).length, 3)
    }))
})

it.effect("brings the program's random numbers from its seed", () =>
  Effect.gen(function*() {
    const drawn = (seed: number) => Effect.provide(Random.nextInt, TestNetwork.layer({ seed }))
    assert.strictEqual(yield* drawn(1), yield* drawn(1))
    assert.notStrictEqual(yield* drawn(1), yield* drawn(2))
  }))

it.live("takes real time on a real clock", () =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const started = clock.currentTimeMillisUnsafe()
    const { client, server } = yield* connected(db)
    yield* write(client, "x")
    yield* read(server, 1)
    assert.isAtLeast(clock.currentTimeMillisUnsafe() - started, 149)
  }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer({ defaults: { latency } }))))

it.live("runs a program as it is on a real clock", () =>
  Effect.gen(function*() {
    const network = yield* TestNetwork.TestNetwork
    assert.strictEqual(yield* network.run(Effect.succeed(42)), 42)
  }).pipe(Effect.provide(TestNetwork.layer())))
