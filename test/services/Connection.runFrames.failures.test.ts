import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { breakWith } from "../support/connections.ts"
import { reasonOf } from "../support/reason.ts"
import { lines, noting, packetConnection, running } from "../support/runFrames.ts"
import { ScriptedDuplex, turn } from "../support/scripted.ts"
import { turns } from "../support/streams.ts"

describe("Connection.runFrames when something goes wrong", () => {
  it.effect("fails with what a handler fails with, and the next frame is still there", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      for (const wait of [Effect.void, turn]) {
        peer.arrive("good\nbad\nnext\n")
        const failure = yield* Effect.flip(
          connection.runFrames(lines, (line) => line === "bad" ? Effect.andThen(wait, Effect.fail("no")) : Effect.void)
        )
        assert.strictEqual(failure, "no")
        assert.strictEqual(yield* connection.readLine(), "next")
      }
    }))

  it.effect("dies as a handler does, now or later, or when it throws", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const defect = new Error("bug")
      const handlers: ReadonlyArray<() => Effect.Effect<void>> = [
        () => Effect.die(defect),
        () => Effect.andThen(turn, Effect.die(defect)),
        () => {
          throw defect
        }
      ]
      for (const handler of handlers) {
        peer.arrive("one\nnext\n")
        assert.deepStrictEqual(yield* Effect.exit(connection.runFrames(lines, handler)), Exit.die(defect))
        assert.strictEqual(yield* connection.readLine(), "next")
      }
    }))

  it.effect("is interrupted when a handler interrupts itself", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      for (const wait of [Effect.void, turn]) {
        peer.arrive("one\nnext\n")
        const exit = yield* Effect.exit(connection.runFrames(lines, () => Effect.andThen(wait, Effect.interrupt)))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.strictEqual(yield* connection.readLine(), "next")
      }
    }))

  it.effect("can be interrupted while it waits, and what comes then is there for the next read", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      const serving = yield* running(connection, note)
      peer.arrive("one\nhal")
      yield* turn
      yield* Fiber.interrupt(serving)
      peer.arrive("f\ntwo\n")
      yield* turn
      assert.deepStrictEqual(seen, ["one"])
      assert.strictEqual(yield* connection.readLine(), "half")
      assert.strictEqual(yield* connection.readLine(), "two")
    }))

  it.effect("interrupts the handler that runs, waits for its finalizers and handles nothing more", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      const serving = yield* running(connection, (line) =>
        Effect.andThen(note(line), Effect.never).pipe(
          Effect.ensuring(Effect.andThen(turns(3), note(`${line} is over`)))
        ))
      peer.arrive("one\ntwo\n")
      yield* turn
      assert.deepStrictEqual(seen, ["one"])
      yield* Fiber.interrupt(serving)
      assert.deepStrictEqual(seen, ["one", "one is over"])
      assert.strictEqual(yield* connection.readLine(), "two")
    }))

  it.effect("goes no further when a handler has the whole interrupted, and sends what it wrote", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      const stop = (): Effect.Effect<void> =>
        Effect.andThen(
          Effect.forkDetach(Fiber.interrupt(serving), { startImmediately: true }),
          Effect.onInterrupt(Effect.never, () => note("interrupted"))
        )
      const serving = yield* running(
        connection,
        (line) => Effect.andThen(connection.write(line), line === "stop" ? stop() : Effect.void)
      )
      peer.arrive("a\nstop\nb\n")
      yield* Fiber.await(serving)
      yield* turn
      assert.deepStrictEqual(seen, ["interrupted"])
      assert.deepStrictEqual(peer.packets, ["astop"])
      assert.strictEqual(yield* connection.readLine(), "b")
    }))

  it.effect("interrupts a handler that reads, which takes nothing away", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const serving = yield* running(connection, () => connection.readExactly(10))
      peer.arrive("header\nbody")
      yield* turn
      yield* Fiber.interrupt(serving)
      assert.strictEqual(String(yield* connection.readExactly(4)), "body")
    }))

  it.effect("fails with FrameTooLarge after the frames before, and keeps the bytes", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      peer.arrive("ok\nfine\nthis is too long\n")
      const reason = yield* reasonOf(connection.runFrames(Framing.lines({ maxSize: 6 }), note))
      assert.deepInclude(reason, { _tag: "FrameTooLarge", maxSize: 6 })
      assert.deepStrictEqual(seen, ["ok", "fine"])
      assert.strictEqual(yield* connection.readLine(), "this is too long")
    }))

  it.effect("fails with Encoding on a frame that is no text, and keeps the bytes", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      peer.arrive("ok\n")
      peer.arrive(Uint8Array.of(0xff, 0x0a))
      assert.deepInclude(yield* reasonOf(connection.runFrames(lines, note)), { _tag: "Encoding", encoding: "utf-8" })
      assert.deepStrictEqual(seen, ["ok"])
      assert.deepStrictEqual([...yield* connection.takeBuffered], [0xff, 0x0a])
    }))

  it.effect("fails with EndOfStream when the peer ends inside a frame", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      const serving = yield* Effect.forkChild(
        reasonOf(connection.runFrames(Framing.delimited(";"), (frame) => note(String(frame)))),
        { startImmediately: true }
      )
      peer.arrive("one;tw")
      yield* turn
      peer.endInput()
      assert.deepInclude(yield* Fiber.join(serving), { _tag: "EndOfStream", received: 2 })
      assert.deepStrictEqual(seen, ["one"])
      assert.strictEqual(String(yield* connection.takeBuffered), "tw")
    }))

  it.effect("fails with Reset, after the frames that had arrived, also while a handler runs", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      const gate = yield* Deferred.make<void>()
      const serving = yield* Effect.forkChild(
        reasonOf(connection.runFrames(lines, (line) => Effect.andThen(note(line), Deferred.await(gate)))),
        { startImmediately: true }
      )
      peer.arrive("one\ntwo\nthr")
      yield* turn
      yield* breakWith(peer, "ECONNRESET")
      yield* turn
      assert.deepStrictEqual(seen, ["one"])
      yield* Deferred.succeed(gate, undefined)
      assert.deepInclude(yield* Fiber.join(serving), { _tag: "Reset", code: "ECONNRESET" })
      assert.deepStrictEqual(seen, ["one", "two"])
    }))

  it.effect("fails with Reset while it waits", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const serving = yield* Effect.forkChild(reasonOf(connection.runFrames(lines, () => Effect.void)), {
        startImmediately: true
      })
      yield* breakWith(peer, "ETIMEDOUT")
      assert.deepInclude(yield* Fiber.join(serving), { _tag: "Reset", code: "ETIMEDOUT" })
    }))

  it.effect("fails with ConcurrentRead while another fiber reads, which goes on", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const first = yield* Effect.forkChild(connection.readLine(), { startImmediately: true })
      const reason = yield* reasonOf(connection.runFrames(lines, () => Effect.void))
      assert.strictEqual(reason["_tag"], "ConcurrentRead")
      peer.arrive("x\n")
      assert.strictEqual(yield* Fiber.join(first), "x")
    }))

  it.effect("refuses another reader while it waits, and goes on", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      const serving = yield* running(connection, note)
      const others = [
        connection.read(),
        connection.runFrames(lines, () => Effect.void),
        connection.consume(() => {})
      ]
      for (const other of others) assert.strictEqual((yield* reasonOf(other))["_tag"], "ConcurrentRead")
      peer.arrive("x\n")
      peer.endInput()
      yield* Fiber.join(serving)
      assert.deepStrictEqual(seen, ["x"])
    }))

  it.effect("does not take over from somebody who reads when a handler is done", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const gate = yield* Deferred.make<void>()
      const serving = yield* Effect.forkChild(reasonOf(connection.runFrames(lines, () => Deferred.await(gate))), {
        startImmediately: true
      })
      peer.arrive("one\n")
      yield* turn
      const other = yield* Effect.forkChild(connection.readLine(), { startImmediately: true })
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(serving))["_tag"], "ConcurrentRead")
      peer.arrive("two\n")
      assert.strictEqual(yield* Fiber.join(other), "two")
    }))

  for (const name of ["closeRead", "close"] as const) {
    it.effect(`fails with Closed when a handler calls ${name}, and handles nothing more`, () =>
      Effect.gen(function*() {
        const { connection, peer } = yield* packetConnection
        const { note, seen } = noting()
        peer.arrive("one\ntwo\nthree\n")
        const reason = yield* reasonOf(
          connection.runFrames(lines, (line) => Effect.andThen(note(line), line === "two" ? connection[name] : turn))
        )
        assert.strictEqual(reason["_tag"], "Closed")
        assert.deepStrictEqual(seen.slice(0, 2), ["one", "two"])
        if (name === "closeRead") {
          assert.deepStrictEqual(seen, ["one", "two"])
          yield* connection.write("still writes")
          assert.deepStrictEqual(peer.packets, ["still writes"])
        }
      }))
  }

  it.effect("fails with Closed when the scope closes while it waits", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const connection = yield* Scope.provide(Connection.fromDuplex(new ScriptedDuplex()), scope)
      const serving = yield* Effect.forkChild(reasonOf(connection.runFrames(lines, () => Effect.void)), {
        startImmediately: true
      })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(serving))["_tag"], "Closed")
    }))

  it.effect("a slow handler holds the peer back, and everything is handled in the end", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      const gate = yield* Deferred.make<void>()
      let handled = 0
      const serving = yield* Effect.forkChild(
        connection.runFrames(lines, (line) =>
          Effect.andThen(
            handled === 0 ? Deferred.await(gate) : Effect.void,
            Effect.sync(() => handled += line.length)
          )),
        { startImmediately: true }
      )
      const piece = Buffer.from(`${"x".repeat(1023)}\n`.repeat(64))
      for (let i = 0; i < 20; i++) {
        peer.arrive(piece)
        yield* turn
      }
      assert.isAtMost((yield* connection.stats).bytesRead, 256 * 1024 + piece.length)
      assert.isAbove(peer.readableLength, 0)
      yield* Deferred.succeed(gate, undefined)
      peer.endInput()
      yield* Fiber.join(serving)
      assert.strictEqual(handled, 20 * 64 * 1023)
    }))

  it.effect("reads ahead again while a handler waits, once there is room", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      let handled = 0
      const serving = yield* running(connection, () =>
        Effect.suspend(() => ++handled === 1 ? turns(30) : handled === 200 ? Effect.never : Effect.void))
      const piece = Buffer.from(`${"x".repeat(1023)}\n`.repeat(64))
      for (let i = 0; i < 20; i++) {
        peer.arrive(piece)
        yield* turn
      }
      const { bytesRead } = yield* connection.stats
      yield* turns(30)
      assert.strictEqual(handled, 200)
      assert.isAbove((yield* connection.stats).bytesRead, bytesRead)
      yield* Fiber.interrupt(serving)
    }))

  it.effect("leaves no listener behind", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
      peer.arrive("first\n")
      yield* connection.readLine()
      const listeners = () => peer.eventNames().map((name) => [name, peer.listenerCount(name)])
      const before = listeners()
      for (let i = 0; i < 3; i++) {
        const serving = yield* running(connection, (line) => Effect.andThen(connection.write(line), Effect.never))
        peer.arrive("x\n")
        yield* turn
        yield* Fiber.interrupt(serving)
      }
      assert.deepStrictEqual(listeners(), before)
    }))
})
