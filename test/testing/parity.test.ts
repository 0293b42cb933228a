import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { addressOf } from "../../src/internal/net/duplex.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { describeParity } from "../support/network.ts"
import { connected, echo, read, readAll, resetByUs, stuffed, turns, write } from "../support/streams.ts"

const loopback = { host: "127.0.0.1", port: 0 }

/** Bytes of which each place can be told from its neighbours. */
const pattern = (length: number) => Buffer.alloc(length, Buffer.from(Array.from({ length: 251 }, (_, i) => i)))

describeParity("dialling and listening", (test, network) => {
  // a large transfer in pieces of one byte proves nothing that a small one does not
  const large = network === "on the test network, byte by byte" ? 20_000 : 1024 * 1024

  test("connects, and each end knows both addresses", () =>
    Effect.gen(function*() {
      const { bound, client, server } = yield* connected()
      assert.deepStrictEqual(addressOf(client, "remote"), Option.some(bound.address))
      assert.deepStrictEqual(addressOf(server, "local"), Option.some(bound.address))
      assert.deepStrictEqual(addressOf(server, "remote"), addressOf(client, "local"))
      const own = Option.getOrThrow(addressOf(client, "local"))
      assert.isTrue(NetAddress.isInetAddress(own) && NetAddress.isLoopback(own.address) && own.port > 0)
    }))

  test("gives streams that are not flowing and may be half-open", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      for (const end of [client, server]) {
        assert.notStrictEqual(end.readableFlowing, true)
        assert.isTrue(end.allowHalfOpen)
        assert.isAtLeast(end.listenerCount("error"), 1)
      }
    }))

  test("carries bytes both ways, in order", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      yield* echo(server)
      const sent = pattern(large)
      const received = yield* Effect.forkChild(readAll(client), { startImmediately: true })
      client.end(sent)
      const { bytes, ending } = yield* Fiber.join(received)
      assert.isTrue(bytes.equals(sent))
      assert.strictEqual(ending, "end")
    }))

  test("keeps one direction open when the other has ended", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      client.end("question")
      const asked = yield* readAll(server)
      assert.deepStrictEqual({ ...asked, bytes: asked.bytes.toString() }, { bytes: "question", ending: "end" })
      yield* turns(10)
      assert.isTrue(client.readable && server.writable)
      server.end("answer")
      const answered = yield* readAll(client)
      assert.deepStrictEqual({ ...answered, bytes: answered.bytes.toString() }, { bytes: "answer", ending: "end" })
    }))

  test("refuses where nobody listens", () =>
    Effect.gen(function*() {
      const { address } = yield* Effect.scoped((yield* Listener.Listener).bind(loopback))
      const error = yield* Effect.flip((yield* Dialer.Dialer).dial(address))
      assert.strictEqual(error.reason._tag, "Refused")
      assert.strictEqual(error.hop, "direct")
      assert.strictEqual(error.target, NetAddress.formatSocketAddress(address))
    }))

  test("does not dial port 0", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip((yield* Dialer.Dialer).dial(loopback))
      assert.strictEqual(error.reason._tag, "InvalidTarget")
    }))

  test("chooses a free port for port 0, and has each address once", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const { address } = yield* listener.bind(loopback)
      const other = yield* listener.bind(loopback)
      assert.notDeepEqual(address, other.address)
      const error = yield* Effect.flip(listener.bind(address))
      assert.strictEqual(error.reason._tag, "AddressInUse")
    }))

  test("has an address again once its listener is closed", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const { address } = yield* Effect.scoped(listener.bind(loopback))
      const again = yield* listener.bind(address)
      assert.deepStrictEqual(again.address, address)
    }))

  test("says who has a reset, after what had arrived", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      yield* write(server, "last words")
      yield* resetByUs(server)
      const { bytes, ending } = yield* readAll(client)
      assert.strictEqual(bytes.toString(), "last words")
      assert.strictEqual(ending, "ECONNRESET")
    }))

  test("delivers what was written before an end was closed, then the end, even when it was closed for an error", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      yield* write(server, "last words")
      server.destroy(new Error("something else went wrong"))
      const { bytes, ending } = yield* readAll(client)
      assert.strictEqual(bytes.toString(), "last words")
      assert.strictEqual(ending, "end")
    }))

  test("loses the first write to an end that is closed, and fails the next", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      server.destroy()
      assert.strictEqual((yield* readAll(client)).ending, "end")
      assert.strictEqual(yield* write(client, "nobody hears this"), "ok")
      // the answer to it may take its time
      const again = Effect.repeat(Effect.andThen(turns(1), write(client, "nor this")), {
        while: (outcome) => outcome === "ok"
      })
      assert.strictEqual(yield* again, "EPIPE")
    }))

  test("is reset by an end that closes with bytes unread", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      client.write(Buffer.alloc(256 * 1024))
      yield* stuffed(server)
      server.destroy()
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
    }))

  test("cancels the write that waits when its own end is closed", () =>
    Effect.gen(function*() {
      const { client } = yield* connected()
      const writing = yield* Effect.forkChild(write(client, Buffer.alloc(64 * 1024 * 1024)), { startImmediately: true })
      yield* turns(10)
      client.destroy()
      assert.strictEqual(yield* Fiber.join(writing), "ECANCELED")
    }))

  test("sends what was written when the scope closes", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* Listener.Listener).bind(loopback)
      const received = yield* Effect.forkChild(Effect.flatMap(bound.accept, readAll), { startImmediately: true })
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* (yield* Dialer.Dialer).dial(bound.address)
        client.write(pattern(large))
      }))
      const { bytes, ending } = yield* Fiber.join(received)
      assert.isTrue(bytes.equals(pattern(large)))
      assert.strictEqual(ending, "end")
    }))

  test("closes each end with its own scope", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* Listener.Listener).bind(loopback)
      const scope = yield* Scope.make()
      const client = yield* Scope.provide((yield* Dialer.Dialer).dial(bound.address), scope)
      const server = yield* bound.accept
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(client.destroyed)
      assert.isFalse(server.destroyed)
      assert.strictEqual((yield* readAll(server)).ending, "end")
    }))

  test("gives the connections that came before accept in their order, and still has them after an interruption", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* Listener.Listener).bind(loopback)
      const waiting = yield* Effect.forkChild(bound.accept, { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      const dialer = yield* Dialer.Dialer
      for (const name of ["a", "b"]) yield* write(yield* dialer.dial(bound.address), name)
      const names = yield* Effect.forEach(["", ""], () => Effect.flatMap(bound.accept, (end) => read(end, 1)))
      assert.deepStrictEqual(names.map(String), ["a", "b"])
    }))

  test("closes the connections that are too many to wait", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* Listener.Listener).bind(loopback, { pending: 1 })
      const dialer = yield* Dialer.Dialer
      const first = yield* dialer.dial(bound.address)
      const second = yield* dialer.dial(bound.address)
      assert.strictEqual((yield* readAll(second)).ending, "end")
      const server = yield* bound.accept
      yield* write(first, "!")
      assert.strictEqual(String(yield* read(server, 1)), "!")
    }))

  test("fails accept once the listener is closed, and leaves accepted connections alone", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const bound = yield* Scope.provide((yield* Listener.Listener).bind(loopback), scope)
      const client = yield* (yield* Dialer.Dialer).dial(bound.address)
      const server = yield* bound.accept
      const late = yield* (yield* Dialer.Dialer).dial(bound.address)
      const pending = yield* Effect.forkChild(Effect.flip(Effect.andThen(bound.accept, bound.accept)), {
        startImmediately: true
      })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(pending)).reason._tag, "Closed")
      assert.strictEqual((yield* Effect.flip(bound.accept)).reason._tag, "Closed")
      assert.isFalse(late.destroyed)
      yield* write(client, "?")
      assert.strictEqual(String(yield* read(server, 1)), "?")
    }))

  test("carries a Connection: lines, the end of the stream and resets", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected()
      const [near, far] = [
        yield* Connection.fromDuplex(client),
        yield* Connection.fromDuplex(server, { role: "accepted" })
      ]
      yield* near.write("first\nsec")
      yield* near.write("ond\nrest")
      assert.strictEqual(yield* far.readLine(), "first")
      assert.strictEqual(yield* far.readLine(), "second")
      yield* near.closeWrite
      assert.strictEqual(yield* far.readString({ maxSize: 100 }), "rest")
      assert.strictEqual((yield* Effect.flip(far.readExactly(1))).reason._tag, "EndOfStream")
      yield* resetByUs(server)
      assert.strictEqual((yield* Effect.flip(near.readExactly(1))).reason._tag, "Reset")
    }))
})
