import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { Duplex } from "node:stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connected, read, readAll, turns, write } from "../support/streams.ts"

const kibi = 1024

const db = { host: "db", port: 5432 }

/** A test on a network of its own, in simulated time. */
const on = (defaults: TestNetwork.LinkOptions, options: TestNetwork.NetworkOptions = {}) =>
  TestNetwork.simulated({ ...options, defaults })

/** Everything that arrives, with the time at which it does. */
const arrivals = (duplex: Duplex) =>
  Effect.map(Clock.Clock, (clock) => {
    const pieces: Array<readonly [at: number, text: string]> = []
    duplex.on("data", (piece: Buffer) => pieces.push([clock.currentTimeMillisUnsafe(), String(piece)]))
    return pieces
  })

const now = Clock.currentTimeMillis

/** How long it takes until the peer has a byte. */
const oneWay = Effect.fnUntraced(function*(from: Duplex, to: Duplex) {
  const sent = yield* now
  yield* write(from, "x")
  yield* read(to, 1)
  return (yield* now) - sent
})

describe("a link's latency", () => {
  it.effect("is none by default: nothing takes time", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      assert.strictEqual(yield* oneWay(client, server), 0)
      assert.strictEqual(yield* now, 0)
    }).pipe(on({})))

  it.effect("counts for the request for a connection, the answer, and bytes, each way", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      assert.strictEqual(yield* now, 100)
      assert.strictEqual(yield* oneWay(client, server), 50)
      assert.strictEqual(yield* oneWay(server, client), 50)
      client.end()
      assert.strictEqual((yield* readAll(server)).ending, "end")
      assert.strictEqual(yield* now, 250)
    }).pipe(on({ latency: "50 millis" })))

  it.effect("counts for the refusal of a connection, too", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Dialer.Dialer.use(({ dial }) => dial("db:1")))
      assert.strictEqual(error.reason._tag, "Refused")
      assert.strictEqual(yield* now, 100)
    }).pipe(on({ latency: "50 millis" }, { hosts: ["db"] })))

  it.effect("does not hold back what is sent behind: what is under way is under way together", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const pieces = yield* arrivals(server)
      yield* write(client, "a")
      yield* Effect.sleep("10 millis")
      yield* write(client, "b")
      yield* Effect.sleep("100 millis")
      assert.deepStrictEqual(pieces, [[150, "a"], [160, "b"]])
    }).pipe(on({ latency: "50 millis" })))

  it.effect("may be any of a range, from the seed, without anything overtaking", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const times: Array<number> = []
      for (let i = 0; i < 50; i++) times.push(yield* oneWay(client, server))
      assert.isTrue(times.every((time) => time >= 10 && time <= 21), String(times))
      assert.isAbove(new Set(times).size, 5)
      const received = yield* Effect.forkChild(read(server, 300), { startImmediately: true })
      for (let i = 0; i < 100; i++) yield* write(client, String(100 + i))
      assert.strictEqual(String(yield* Fiber.join(received)), Array.from({ length: 100 }, (_, i) => 100 + i).join(""))
    }).pipe(on({ latency: { min: "10 millis", max: "20 millis" } })))

  it.effect("may be spread around a mean", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      let total = 0
      for (let i = 0; i < 200; i++) total += yield* oneWay(client, server)
      assert.isAtLeast(total / 200, 45)
      assert.isAtMost(total / 200, 56)
    }).pipe(on({ latency: { mean: "50 millis", deviation: "10 millis" } })))

  it.effect("may be what a function says", () => {
    let next = 0
    return Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      assert.strictEqual(yield* now, 1 + 2)
      assert.strictEqual(yield* oneWay(client, server), 3)
      assert.strictEqual(yield* oneWay(client, server), 4)
    }).pipe(on({ latency: () => ++next }))
  })
})

describe("a link's bandwidth", () => {
  it.effect("is shared by what is sent in one direction, and has what is sent arrive bit by bit", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const received = yield* Effect.forkChild(read(server, 100 * kibi), { startImmediately: true })
      yield* write(client, Buffer.alloc(50 * kibi))
      yield* write(client, Buffer.alloc(50 * kibi))
      yield* Fiber.join(received)
      assert.strictEqual(yield* now, 100)
    }).pipe(on({ bandwidth: 1000 * kibi })))

  it.effect("does not slow down the other direction", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      yield* write(client, Buffer.alloc(1000 * kibi))
      assert.strictEqual(yield* oneWay(server, client), 1)
      client.destroy()
    }).pipe(on({ bandwidth: 1000 * kibi })))
})

describe("a link's pieces", () => {
  it.effect("may have any size of a range", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const pieces = yield* arrivals(server)
      yield* write(client, "x".repeat(1000))
      yield* turns(1000)
      const sizes = pieces.map(([, text]) => text.length)
      assert.strictEqual(sizes.reduce((a, b) => a + b), 1000)
      assert.isTrue(sizes.slice(0, -1).every((size) => size >= 3 && size <= 9))
      assert.isAbove(new Set(sizes).size, 4)
    }).pipe(on({ fragment: { min: 3, max: 9 } })))

  it.effect("are those that were written, when writes are kept apart", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      for (const text of ["one", "two", "four"]) yield* write(client, text)
      const pieces = yield* arrivals(server)
      yield* turns(20)
      assert.deepStrictEqual(pieces.map(([, text]) => text), ["one", "two", "four"])
      client.write("fifteen characters")
      yield* turns(20)
      assert.deepStrictEqual(pieces.slice(3).map(([, text]) => text), ["fifteen ch", "aracters"])
    }).pipe(on({ coalesce: false, fragment: 10 })))

  it.effect("are joined for as long as small writes wait for company", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const pieces = yield* arrivals(server)
      for (const text of ["a", "b", "c"]) {
        yield* write(client, text)
        yield* Effect.sleep("15 millis")
      }
      yield* write(client, "y".repeat(1460))
      client.end("z")
      yield* readAll(server)
      assert.deepStrictEqual(pieces.map(([at, text]) => [at, text.slice(0, 3)]), [[40, "abc"], [45, "yyy"], [45, "z"]])
    }).pipe(on({ coalesce: "40 millis", fragment: 1460 })))
})

describe("a link's buffer", () => {
  it.effect("holds what is under way and what is unread, then the writer waits", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      assert.strictEqual(yield* write(client, Buffer.alloc(kibi)), "ok")
      const writing = yield* Effect.forkChild(write(client, Buffer.alloc(1)), { startImmediately: true })
      yield* turns(50)
      assert.isUndefined(writing.pollUnsafe())
      yield* read(server, kibi)
      yield* Fiber.join(writing)
      assert.isAtLeast(yield* now, 300)
      client.destroy()
    }).pipe(on({ bufferSize: kibi, latency: "100 millis" })))
})

describe("a slow reader", () => {
  it.effect("takes only so many bytes a second, and slows the writer down", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const received = yield* Effect.forkChild(readAll(server), { startImmediately: true })
      yield* write(client, Buffer.alloc(10 * kibi))
      assert.isAtLeast(yield* now, 8000)
      client.end()
      assert.strictEqual((yield* Fiber.join(received)).bytes.length, 10 * kibi)
      assert.isAtLeast(yield* now, 9900)
      assert.isAtMost(yield* now, 10_100)
    }).pipe(on({ readRate: kibi, bufferSize: kibi, fragment: 100 })))
})

describe("TestNetwork.link", () => {
  it.effect("sets a link, both ways and for connections that are there, until its scope ends", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      const other = yield* connected({ host: "other", port: 80 })
      const slowly = Effect.gen(function*() {
        yield* network.link("client", "db", { latency: "1 second" })
        assert.strictEqual(yield* oneWay(client, server), 1000)
        assert.strictEqual(yield* oneWay(server, client), 1000)
        assert.strictEqual(yield* oneWay(other.client, other.server), 10)
        yield* Effect.scoped(Effect.gen(function*() {
          yield* network.link(["db", "other"], "client", { latency: 0 })
          assert.strictEqual(yield* oneWay(other.client, other.server), 0)
        }))
        assert.strictEqual(yield* oneWay(other.client, other.server), 10)
      })
      yield* Effect.scoped(slowly)
      assert.strictEqual(yield* oneWay(client, server), 10)
    }).pipe(on({ latency: "10 millis" })))

  it.effect("does not let what is sent later overtake what is under way", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* write(client, "slow ")
      yield* network.link("client", "db", { latency: 0 })
      yield* write(client, "fast")
      const received = yield* Effect.forkChild(read(server, 9), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(String(yield* Fiber.join(received)), "slow fast")
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer()), Effect.asVoid))
})
