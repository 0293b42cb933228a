import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Duplex } from "node:stream"
import { closed } from "../../../src/internal/net/duplex.ts"
import { relay } from "../../../src/internal/net/relay.ts"
import { describeOnNetworks } from "../../support/network.ts"
import { temporaryFolder } from "../../support/servers.ts"
import { connected, read, readAll, resetByUs, stuffed, turns, write } from "../../support/streams.ts"

/** Two connections whose near ends are joined: what one far end writes, the other one reads. */
const joined = Effect.gen(function*() {
  const left = yield* connected()
  const right = yield* connected()
  const fiber = yield* Effect.forkChild(Effect.result(relay(left.server, right.server)), { startImmediately: true })
  return { a: left.client, b: right.client, near: [left.server, right.server] as const, fiber }
})

/** Writes as much as is taken without waiting, and says how many bytes that were. */
const writeUntilFull = (duplex: Duplex, piece: Buffer) =>
  Effect.gen(function*() {
    let written = 0
    // what a writer is told at first is only that its own buffer is full
    for (let quiet = 0; quiet < 50;) {
      yield* turns(1)
      if (duplex.writableNeedDrain) quiet++
      else {
        quiet = 0
        duplex.write(piece)
        written += piece.length
      }
    }
    return written
  })

describeOnNetworks("relay", (test, network) => {
  test("passes bytes on in both directions", () =>
    Effect.gen(function*() {
      const { a, b } = yield* joined
      yield* write(a, "ping")
      assert.strictEqual(String(yield* read(b, 4)), "ping")
      yield* write(b, "pong")
      assert.strictEqual(String(yield* read(a, 4)), "pong")
    }))

  test("passes each end on by itself, and is done with the second", () =>
    Effect.gen(function*() {
      const { a, b, fiber } = yield* joined
      a.end("question")
      const { bytes, ending } = yield* readAll(b)
      assert.strictEqual(String(bytes), "question")
      assert.strictEqual(ending, "end")
      b.end("answer")
      assert.strictEqual(String((yield* readAll(a)).bytes), "answer")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Success")
    }))

  test("closes a stream also while its end is on its way", () =>
    Effect.gen(function*() {
      const { fiber, near } = yield* joined
      near[1].end()
      // the system is asked to shut it down in the next tick
      process.nextTick(() => fiber.interruptUnsafe())
      yield* Fiber.await(fiber)
      yield* closed(near[1])
    }))

  test("passes on what had arrived before it began", () =>
    Effect.gen(function*() {
      const left = yield* connected()
      const right = yield* connected()
      left.client.end("early")
      right.client.end("both")
      yield* turns(50)
      const fiber = yield* Effect.forkChild(relay(left.server, right.server))
      assert.strictEqual(String((yield* readAll(right.client)).bytes), "early")
      assert.strictEqual(String((yield* readAll(left.client)).bytes), "both")
      yield* Fiber.join(fiber)
    }))

  // a megabyte of single bytes takes its time
  if (network !== "on the test network, byte by byte") {
    test("holds a writer back while the other side does not read", () =>
      Effect.gen(function*() {
        const { a, b } = yield* joined
        const written = yield* writeUntilFull(a, Buffer.alloc(network === "on loopback" ? 1_048_576 : 4096))
        // the buffers of the system and of four streams, and not all that somebody wants to write
        assert.isBelow(written, 64 * 1_048_576)
        a.end()
        let received = 0
        b.on("data", (piece: Buffer) => received += piece.length)
        yield* Effect.callback<void>((resume) => void b.once("end", () => resume(Effect.void)))
        assert.strictEqual(received, written)
      }), 30_000)
  }

  test("resets the other side when one breaks, and says what happened", () =>
    Effect.gen(function*() {
      const { a, b, fiber } = yield* joined
      yield* write(a, "half a sent")
      assert.strictEqual(String(yield* read(b, 11)), "half a sent")
      yield* resetByUs(a)
      assert.strictEqual((yield* readAll(b)).ending, "ECONNRESET")
      const result = yield* Fiber.join(fiber)
      assert.propertyVal(result._tag === "Failure" ? result.failure : {}, "code", "ECONNRESET")
    }))

  test("resets one side when the other is closed here before it had ended", () =>
    Effect.gen(function*() {
      const { a, fiber, near } = yield* joined
      yield* turns(5)
      near[1].destroy()
      assert.strictEqual((yield* readAll(a)).ending, "ECONNRESET")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Failure")
    }))

  test("fails at once where one side was closed before", () =>
    Effect.gen(function*() {
      const left = yield* connected()
      const right = yield* connected()
      left.server.destroy()
      yield* closed(left.server)
      const error = yield* Effect.flip(relay(left.server, right.server))
      assert.strictEqual(error.code, "ECONNABORTED")
      assert.isTrue(right.server.destroyed)
      const again = yield* Effect.flip(relay(right.server, left.server))
      assert.strictEqual(again.code, "ECONNABORTED")
    }))

  test("resets both sides when it is interrupted, also while one is full", () =>
    Effect.gen(function*() {
      const { a, b, fiber } = yield* joined
      a.write(Buffer.alloc(network === "on loopback" ? 16_777_216 : 262_144))
      yield* stuffed(b)
      yield* Fiber.interrupt(fiber)
      // what had arrived before the reset may be read or not, but never an end
      b.resume()
      a.resume()
      for (const end of [a, b]) {
        yield* closed(end)
        assert.isFalse(end.readableEnded)
      }
    }), 30_000)

  test("closes unix sockets, which know no reset", () =>
    Effect.gen(function*() {
      const left = yield* connected({ path: `${yield* temporaryFolder}/left` })
      const right = yield* connected()
      const fiber = yield* Effect.forkChild(Effect.result(relay(left.server, right.server)), { startImmediately: true })
      yield* resetByUs(right.client)
      yield* readAll(left.client)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Failure")
      assert.isTrue(left.server.destroyed)
    }))

  test("leaves no listeners behind", () =>
    Effect.gen(function*() {
      const { a, b, fiber, near } = yield* joined
      const count = (duplex: Duplex) => duplex.eventNames().length
      a.end()
      b.end()
      a.resume()
      b.resume()
      yield* Fiber.join(fiber)
      const { server } = yield* connected()
      assert.isAtMost(count(near[0]), count(server))
      assert.isAtMost(count(near[1]), count(server))
    }))
})
