import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { scriptedConnection } from "../support/connections.ts"
import { reasonOf } from "../support/reason.ts"
import { ScriptedDuplex, turn } from "../support/scripted.ts"

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1")

describe("Connection.write", () => {
  it.effect("writes bytes, text, several pieces at once, frames and encoded text", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      yield* connection.write(Uint8Array.of(0x41))
      yield* connection.write("B")
      yield* connection.writeAll(["C", Uint8Array.of(0x44)])
      yield* connection.writeFrame(Framing.lines(), "E")
      yield* connection.writeString("ж", { encoding: "windows-1251" })
      assert.strictEqual(peer.sent, "ABCDE\n\xe6")
      assert.strictEqual((yield* connection.stats).bytesWritten, 7)
    }))

  it.effect("a character that the encoding lacks is an error and nothing is sent", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const reason = yield* reasonOf(connection.writeString("a漢", { encoding: "windows-1251" }))
      assert.deepInclude(reason, { _tag: "Encoding", encoding: "windows-1251" })
      assert.strictEqual(peer.sent, "")
    }))

  it.effect("waits for a slow peer and goes on when it has room", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.stalled = true
      const writes = yield* Effect.forkChild(
        Effect.forEach([1, 2, 3], () => connection.write("0123456789abcdef0123456789")),
        { startImmediately: true }
      )
      yield* turn
      assert.strictEqual((yield* connection.stats).bytesWritten, 26)
      peer.unstall()
      yield* Fiber.join(writes)
      assert.strictEqual((yield* connection.stats).bytesWritten, 78)
    }))

  it.effect("fails with WriteTimeout when the peer takes nothing", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.stalled = true
      const write = yield* Effect.forkChild(
        reasonOf(connection.write("0123456789abcdef0123456789", { timeout: "1 second" }))
      )
      yield* turn
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(write))["_tag"], "WriteTimeout")
      peer.unstall()
    }))

  it.effect("a write that waits fails when the connection breaks", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.stalled = true
      const write = yield* Effect.forkChild(reasonOf(connection.write("0123456789abcdef0123456789")), {
        startImmediately: true
      })
      yield* turn
      peer.destroy(Object.assign(new Error("write"), { code: "EPIPE" }))
      assert.deepInclude(yield* Fiber.join(write), { _tag: "Reset", code: "EPIPE" })
      assert.strictEqual((yield* reasonOf(connection.write("more")))["_tag"], "Reset")
      const end = yield* connection.closed
      assert.strictEqual(end._tag, "Broken")
    }))

  it.effect("an interrupted write leaves no listener behind", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const before = peer.listenerCount("drain") + peer.listenerCount("close")
      peer.stalled = true
      const write = yield* Effect.forkChild(connection.write("0123456789abcdef0123456789"), { startImmediately: true })
      yield* turn
      yield* Fiber.interrupt(write)
      assert.strictEqual(peer.listenerCount("drain") + peer.listenerCount("close"), before)
      peer.unstall()
    }))

  it.effect("closeWrite fails with Closed on a connection that is closed", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      yield* connection.close
      assert.isTrue(peer.writableFinished)
      assert.strictEqual((yield* reasonOf(connection.closeWrite))["_tag"], "Closed")
    }))

  it.effect("closeWrite ends our side; reading goes on; writing fails with Closed", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      yield* connection.write("bye")
      yield* connection.closeWrite
      yield* connection.closeWrite
      assert.isTrue(peer.writableFinished)
      assert.strictEqual((yield* reasonOf(connection.write("more")))["_tag"], "Closed")
      peer.arrive("answer")
      assert.strictEqual(text(yield* connection.read()), "answer")
    }))

  it.effect("writes is a sink that leaves the connection open", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      yield* Stream.run(Stream.make("a", Buffer.from("b"), "c"), connection.writes)
      yield* connection.write("d")
      assert.strictEqual(peer.sent, "abcd")
    }))
})

describe("Connection scope", () => {
  it.effect("closing the scope flushes what was written, then closes the stream", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const peer = new ScriptedDuplex()
      const connection = yield* Scope.provide(Connection.fromDuplex(peer), scope)
      peer.stalled = true
      yield* connection.write("x")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* turn
      assert.isFalse(peer.destroyed)
      peer.unstall()
      yield* Fiber.join(closing)
      assert.isTrue(peer.destroyed)
      assert.isTrue(peer.writableFinished)
    }))

  it.effect("closing the scope does not wait for ever for a peer that takes nothing", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const peer = new ScriptedDuplex()
      const connection = yield* Scope.provide(Connection.fromDuplex(peer), scope)
      peer.stalled = true
      yield* connection.write("x")
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(peer.destroyed)
      assert.isFalse(peer.writableFinished)
    }))

  it.effect("an interrupted scope closes the stream at once", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const peer = new ScriptedDuplex()
      const connection = yield* Scope.provide(Connection.fromDuplex(peer), scope)
      peer.stalled = true
      yield* connection.write("x")
      yield* Scope.close(scope, Exit.interrupt())
      assert.isTrue(peer.destroyed)
    }))

  it.effect("closed notices that the peer ended though nobody reads, and takes nothing away", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const closed = yield* Effect.forkChild(connection.closed, { startImmediately: true })
      peer.arrive("last words")
      peer.endInput()
      assert.deepEqual(yield* Fiber.join(closed), { _tag: "Peer" })
      yield* connection.write("still heard")
      assert.strictEqual(peer.sent, "still heard")
      assert.strictEqual(text(yield* connection.read()), "last words")
      assert.deepEqual(yield* connection.closed, { _tag: "Peer" })
    }))

  it.effect("closed reads ahead no further than its bound", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const closed = yield* Effect.forkChild(connection.closed, { startImmediately: true })
      const piece = Buffer.alloc(64 * 1024)
      for (let i = 0; i < 16; i++) {
        peer.arrive(piece)
        yield* turn
      }
      assert.isAtMost((yield* connection.stats).bytesRead, 256 * 1024 + piece.length)
      assert.strictEqual((yield* connection.readExactly(16 * piece.length)).length, 16 * piece.length)
      yield* Fiber.interrupt(closed)
    }))

  it.effect("closed says that the peer closed", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.destroy()
      assert.deepEqual(yield* connection.closed, { _tag: "Peer" })
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "EndOfStream")
    }))

  it.effect("has no addresses and no TLS where the stream has none, and an id of its own", () =>
    Effect.gen(function*() {
      const { connection } = yield* scriptedConnection
      const other = yield* scriptedConnection
      assert.deepEqual(connection.localAddress, Option.none())
      assert.deepEqual(connection.remoteAddress, Option.none())
      assert.deepEqual(connection.tls, Option.none())
      assert.notStrictEqual(connection.id, other.connection.id)
    }))
})
