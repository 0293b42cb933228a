import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Framing from "../../src/services/Framing.ts"
import { breakWith, connectedPair, pattern, scriptedConnection } from "../support/connections.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"
import { turns } from "../support/streams.ts"

const lines = Framing.lines()

/** All that `consume` gives, copied while it may be. */
const collecting = () => {
  const pieces: Array<Buffer> = []
  return { take: (bytes: Uint8Array) => void pieces.push(Buffer.from(bytes)), all: () => Buffer.concat(pieces) }
}

describe("Connection.consume", () => {
  it.effect("gives what was buffered first and then the rest, until the peer ends", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const { all, take } = collecting()
      peer.arrive("head\nbuf")
      assert.strictEqual(yield* connection.readLine(), "head")
      yield* connection.unread(Buffer.from("un"))
      const consuming = yield* Effect.forkChild(connection.consume(take), { startImmediately: true })
      assert.strictEqual(String(all()), "unbuf")
      for (const piece of ["fe", "red"]) {
        peer.arrive(piece)
        yield* turn
      }
      assert.strictEqual(String(all()), "unbuffered")
      peer.endInput()
      yield* Fiber.join(consuming)
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "EndOfStream")
      assert.strictEqual((yield* connection.stats).bytesRead, "head\nbuffered".length)
    }))

  it.effect("is done at once when the peer has ended, after what is left", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const { all, take } = collecting()
      peer.arrive("a\nleft")
      peer.endInput()
      yield* connection.readLine()
      yield* connection.closed
      yield* connection.consume(take)
      yield* connection.consume(take)
      assert.strictEqual(String(all()), "left")
    }))

  it.effect("takes any amount without holding the peer back", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      let total = 0
      const consuming = yield* Effect.forkChild(connection.consume((bytes) => void (total += bytes.length)), {
        startImmediately: true
      })
      const piece = Buffer.alloc(64 * 1024)
      for (let i = 0; i < 20; i++) {
        peer.arrive(piece)
        yield* turn
      }
      assert.strictEqual(total, 20 * piece.length)
      assert.strictEqual(peer.readableLength, 0)
      yield* Fiber.interrupt(consuming)
    }))

  it.effect("dies with what the consumer throws, now or later, and goes on after the piece that it was given", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const defect = new Error("bug")
      const consumer = (bytes: Uint8Array) => {
        if (String(bytes) === "bad") throw defect
      }
      const consuming = yield* Effect.forkChild(connection.consume(consumer), { startImmediately: true })
      for (const piece of ["good", "bad", "next"]) {
        peer.arrive(piece)
        yield* turn
      }
      assert.deepStrictEqual(yield* Fiber.await(consuming), Exit.die(defect))
      assert.strictEqual(String(yield* connection.read()), "next")
      yield* connection.unread(Buffer.from("bad"))
      assert.deepStrictEqual(yield* Effect.exit(connection.consume(consumer)), Exit.die(defect))
      peer.arrive("after")
      assert.strictEqual(String(yield* connection.read()), "after")
    }))

  it.effect("keeps the buffered pieces behind the one on which the consumer threw", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("0")
      yield* connection.read()
      for (const piece of ["one", "two", "three"]) {
        peer.arrive(piece)
        yield* turn
      }
      const seen: Array<string> = []
      const exit = yield* Effect.exit(connection.consume((bytes) => {
        seen.push(String(bytes))
        throw new Error("bug")
      }))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(seen.join("") + String(yield* connection.takeBuffered), "onetwothree")
    }))

  it.effect("stops when it is interrupted, and what comes then is there for the next read", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const { all, take } = collecting()
      const consuming = yield* Effect.forkChild(connection.consume(take), { startImmediately: true })
      peer.arrive("consumed ")
      yield* turn
      yield* Fiber.interrupt(consuming)
      peer.arrive("read")
      assert.strictEqual(String(yield* connection.readExactly(4)), "read")
      assert.strictEqual(String(all()), "consumed ")
    }))

  it.effect("goes on when something is put back meanwhile", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const { all, take } = collecting()
      const consuming = yield* Effect.forkChild(connection.consume(take), { startImmediately: true })
      peer.arrive("a")
      yield* turn
      yield* connection.unread(Buffer.from("b"))
      yield* turn
      peer.arrive("c")
      yield* turn
      peer.endInput()
      yield* Fiber.join(consuming)
      assert.strictEqual(String(all()), "abc")
    }))

  it.effect("fails with Reset, after what had arrived", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const { all, take } = collecting()
      const consuming = yield* Effect.forkChild(reasonOf(connection.consume(take)), { startImmediately: true })
      peer.arrive("before")
      yield* breakWith(peer, "ECONNRESET")
      assert.deepInclude(yield* Fiber.join(consuming), { _tag: "Reset", code: "ECONNRESET" })
      assert.strictEqual(String(all()), "before")
      assert.deepInclude(yield* reasonOf(connection.consume(take)), { _tag: "Reset", code: "ECONNRESET" })
    }))

  it.effect("fails with Closed when this side closes", () =>
    Effect.gen(function*() {
      for (const name of ["close", "closeRead"] as const) {
        const { connection } = yield* scriptedConnection
        const consuming = yield* Effect.forkChild(reasonOf(connection.consume(() => {})), { startImmediately: true })
        yield* connection[name]
        assert.strictEqual((yield* Fiber.join(consuming))["_tag"], "Closed")
      }
    }))

  it.effect("fails with ConcurrentRead while another fiber reads, and refuses others while it runs", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const first = yield* Effect.forkChild(connection.readLine(), { startImmediately: true })
      assert.strictEqual((yield* reasonOf(connection.consume(() => {})))["_tag"], "ConcurrentRead")
      peer.arrive("x\n")
      assert.strictEqual(yield* Fiber.join(first), "x")
      const { all, take } = collecting()
      const consuming = yield* Effect.forkChild(connection.consume(take), { startImmediately: true })
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "ConcurrentRead")
      assert.strictEqual((yield* reasonOf(connection.runFrames(lines, () => Effect.void)))["_tag"], "ConcurrentRead")
      peer.arrive("y")
      peer.endInput()
      yield* Fiber.join(consuming)
      assert.strictEqual(String(all()), "y")
    }))
})

describeOnNetworks("Connection.consume", (test, network) => {
  const bytewise = network === "on the test network, byte by byte"

  test("consumes every byte once, in order, in memory that is only lent", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const sent = pattern(bytewise ? 20_000 : 8 * 1024 * 1024 + 13)
      const { all, take } = collecting()
      const consuming = yield* Effect.forkChild(client.consume(take))
      yield* server.write(sent)
      yield* server.closeWrite
      yield* Fiber.join(consuming)
      assert.isTrue(all().equals(sent))
      assert.strictEqual((yield* client.stats).bytesRead, sent.length)
    }), 60_000)

  test("consumes for a while, reads for a while, and again", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const sent = pattern(bytewise ? 5_000 : 500_000)
      const { all, take } = collecting()
      const sending = yield* Effect.forkChild(Effect.andThen(server.write(sent), server.closeWrite))
      for (let round = 0; round < 10; round++) {
        const consuming = yield* Effect.forkChild(client.consume(take), { startImmediately: true })
        yield* turns(round)
        yield* Fiber.interrupt(consuming)
        yield* Effect.exit(Effect.map(client.readExactly(17), take))
      }
      yield* client.consume(take)
      yield* Fiber.join(sending)
      assert.isTrue(all().equals(sent))
    }))
})
