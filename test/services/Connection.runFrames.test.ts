import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { breakWith, connectedPair } from "../support/connections.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { ScriptedDuplex, turn } from "../support/scripted.ts"
import { turns } from "../support/streams.ts"

/** A stream that shows in which packets its bytes leave. */
class PacketDuplex extends ScriptedDuplex {
  readonly packets: Array<string> = []
  override _write(chunk: Buffer, encoding: string, callback: () => void) {
    this.packets.push(String(chunk))
    super._write(chunk, encoding, callback)
  }
  override _writev(chunks: ReadonlyArray<{ readonly chunk: Buffer }>, callback: () => void) {
    this.packets.push(chunks.map(({ chunk }) => String(chunk)).join(""))
    callback()
  }
}

const open = Effect.gen(function*() {
  const peer = new PacketDuplex()
  const connection = yield* Connection.fromDuplex(peer)
  return { peer, connection }
})

const lines = Framing.lines()

/** Runs a handler over the lines that arrive. */
const running = <E, R>(
  connection: Connection.Connection,
  handler: (line: string) => Effect.Effect<unknown, E, R>
) => Effect.forkChild(connection.runFrames(lines, handler), { startImmediately: true })

/** A handler that notes what it is given. */
const noting = () => {
  const seen: Array<string> = []
  return { seen, note: (line: string) => Effect.sync(() => void seen.push(line)) }
}

describe("Connection.runFrames", () => {
  it.effect("handles frames in their order, however they are cut", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      const serving = yield* running(connection, note)
      for (const piece of ["on", "e\ntw", "o\nthree\nfour\nfi"]) {
        peer.arrive(piece)
        yield* turn
      }
      assert.deepStrictEqual(seen, ["one", "two", "three", "four"])
      peer.arrive("ve\n")
      peer.endInput()
      yield* Fiber.join(serving)
      assert.deepStrictEqual(seen, ["one", "two", "three", "four", "five"])
    }))

  it.effect("handles what had arrived before it began", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      peer.arrive("greeting\none\ntwo\n")
      assert.strictEqual(yield* connection.readLine(), "greeting")
      peer.endInput()
      yield* connection.runFrames(lines, note)
      assert.deepStrictEqual(seen, ["one", "two"])
    }))

  it.effect("handles one frame at a time, whether its handler waits or not", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      let inside = 0
      peer.arrive("now a\nlater b\nlater c\nnow d\nnow e\nlater f\n")
      peer.endInput()
      yield* connection.runFrames(lines, (line) =>
        Effect.gen(function*() {
          assert.strictEqual(++inside, 1)
          if (line.startsWith("later")) yield* turns(3)
          yield* note(line)
          inside--
        }))
      assert.deepStrictEqual(seen, ["now a", "later b", "later c", "now d", "now e", "later f"])
    }))

  it.effect("needs no stack for many frames, whether their handlers wait or not", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      let count = 0
      peer.arrive("\n".repeat(20_000))
      peer.endInput()
      yield* connection.runFrames(lines, () => Effect.suspend(() => ++count % 2 === 0 ? Effect.yieldNow : Effect.void))
      assert.strictEqual(count, 20_000)
    }))

  it.effect("lets a handler read from the same connection", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const bodies: Array<string> = []
      const serving = yield* running(connection, (header) =>
        Effect.map(connection.readExactly(Number(header)), (body) => void bodies.push(String(body))))
      for (const piece of ["3\nabc5\nde", "fgh2\ni", "j0\n4", "\nklm"]) {
        peer.arrive(piece)
        yield* turn
      }
      assert.deepStrictEqual(bodies, ["abc", "defgh", "ij", ""])
      peer.arrive("n")
      peer.endInput()
      yield* Fiber.join(serving)
      assert.deepStrictEqual(bodies, ["abc", "defgh", "ij", "", "klmn"])
    }))

  it.effect("gives handlers the services that were there", () =>
    Effect.gen(function*() {
      class Name extends Context.Service<Name, string>()("test/Name") {}
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      peer.arrive("hello\n")
      peer.endInput()
      yield* connection.runFrames(lines, (line) => Name.use((name) => note(`${line} ${name}`))).pipe(
        Effect.provideService(Name, "world")
      )
      assert.deepStrictEqual(seen, ["hello world"])
    }))

  it.effect("takes a last frame that the framing allows without its end", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      peer.arrive("one\nlast")
      peer.endInput()
      yield* connection.runFrames(lines, note)
      assert.deepStrictEqual(seen, ["one", "last"])
    }))
})

describe("Connection.runFrames and what it writes", () => {
  it.effect("answers frames that came together in one packet", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const serving = yield* running(connection, (line) => connection.write(line))
      peer.arrive("a\nb\nc\n")
      yield* turn
      assert.deepStrictEqual(peer.packets, ["abc"])
      peer.arrive("d\n")
      yield* turn
      assert.deepStrictEqual(peer.packets, ["abc", "d"])
      peer.endInput()
      yield* Fiber.join(serving)
    }))

  it.effect("sends the answers that are ready when a handler waits", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const gate = yield* Deferred.make<void>()
      const serving = yield* running(connection, (line) =>
        Effect.andThen(connection.write(line), line === "b" ? Deferred.await(gate) : Effect.void))
      peer.arrive("a\nb\nc\nd\n")
      yield* turn
      assert.deepStrictEqual(peer.packets, ["ab"])
      yield* Deferred.succeed(gate, undefined)
      yield* turn
      assert.deepStrictEqual(peer.packets, ["ab", "cd"])
      peer.endInput()
      yield* Fiber.join(serving)
    }))

  it.effect("sends the answers before a frame whose handler fails", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      peer.arrive("a\nb\nbad\nc\n")
      const failure = yield* Effect.flip(
        connection.runFrames(lines, (line) =>
          Effect.andThen(line === "bad" ? Effect.fail("bad") : Effect.void, connection.write(line)))
      )
      assert.strictEqual(failure, "bad")
      assert.deepStrictEqual(peer.packets, ["ab"])
      yield* connection.write("after")
      assert.deepStrictEqual(peer.packets, ["ab", "after"])
    }))

  it.effect("waits with a handler whose peer takes nothing, and loses no answer", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      peer.stalled = true
      const serving = yield* running(
        connection,
        (line) => Effect.andThen(note(line), connection.write(line.repeat(20)))
      )
      peer.arrive("a\n")
      peer.arrive("b\nc\n")
      yield* turn
      assert.deepStrictEqual(seen, ["a"])
      peer.unstall()
      yield* turn
      peer.endInput()
      yield* Fiber.join(serving)
      assert.strictEqual(peer.packets.join(""), "a".repeat(20) + "b".repeat(20) + "c".repeat(20))
    }))

  it.effect("lets a handler end our side", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      const serving = yield* running(connection, (line) =>
        line === "quit" ? Effect.andThen(connection.write("bye"), connection.closeWrite) : note(line))
      peer.arrive("a\nquit\nb\n")
      yield* turns(3)
      assert.deepStrictEqual(peer.packets, ["bye"])
      assert.isTrue(peer.writableFinished)
      peer.endInput()
      yield* Fiber.join(serving)
      assert.deepStrictEqual(seen, ["a", "b"])
    }))
})

describe("Connection.runFrames when something goes wrong", () => {
  it.effect("fails with what a handler fails with, and the next frame is still there", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
      for (const wait of [Effect.void, turn]) {
        peer.arrive("one\nnext\n")
        const exit = yield* Effect.exit(connection.runFrames(lines, () => Effect.andThen(wait, Effect.interrupt)))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.strictEqual(yield* connection.readLine(), "next")
      }
    }))

  it.effect("can be interrupted while it waits, and what comes then is there for the next read", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
      const serving = yield* running(connection, () => connection.readExactly(10))
      peer.arrive("header\nbody")
      yield* turn
      yield* Fiber.interrupt(serving)
      assert.strictEqual(String(yield* connection.readExactly(4)), "body")
    }))

  it.effect("fails with FrameTooLarge after the frames before, and keeps the bytes", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      peer.arrive("ok\nfine\nthis is too long\n")
      const reason = yield* reasonOf(connection.runFrames(Framing.lines({ maxSize: 6 }), note))
      assert.deepInclude(reason, { _tag: "FrameTooLarge", maxSize: 6 })
      assert.deepStrictEqual(seen, ["ok", "fine"])
      assert.strictEqual(yield* connection.readLine(), "this is too long")
    }))

  it.effect("fails with Encoding on a frame that is no text, and keeps the bytes", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const { note, seen } = noting()
      peer.arrive("ok\n")
      peer.arrive(Uint8Array.of(0xff, 0x0a))
      assert.deepInclude(yield* reasonOf(connection.runFrames(lines, note)), { _tag: "Encoding", encoding: "utf-8" })
      assert.deepStrictEqual(seen, ["ok"])
      assert.deepStrictEqual([...yield* connection.takeBuffered], [0xff, 0x0a])
    }))

  it.effect("fails with EndOfStream when the peer ends inside a frame", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
      const serving = yield* Effect.forkChild(reasonOf(connection.runFrames(lines, () => Effect.void)), {
        startImmediately: true
      })
      yield* breakWith(peer, "ETIMEDOUT")
      assert.deepInclude(yield* Fiber.join(serving), { _tag: "Reset", code: "ETIMEDOUT" })
    }))

  it.effect("fails with ConcurrentRead while another fiber reads, which goes on", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
      const first = yield* Effect.forkChild(connection.readLine(), { startImmediately: true })
      const reason = yield* reasonOf(connection.runFrames(lines, () => Effect.void))
      assert.strictEqual(reason["_tag"], "ConcurrentRead")
      peer.arrive("x\n")
      assert.strictEqual(yield* Fiber.join(first), "x")
    }))

  it.effect("refuses another reader while it waits, and goes on", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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
        const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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
      const { connection, peer } = yield* open
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

describeOnNetworks("Connection.runFrames", (test, network) => {
  const bytewise = network === "on the test network, byte by byte"

  test("echoes lines in order, and both sides end cleanly", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const count = bytewise ? 200 : 20_000
      const serving = yield* Effect.forkChild(
        Effect.andThen(
          server.runFrames(lines, (line) => server.writeFrame(lines, `> ${line}`)),
          server.closeWrite
        )
      )
      const answers = yield* Effect.forkChild(Stream.runCollect(client.frames(lines)))
      yield* Stream.run(
        Stream.map(Stream.range(1, count), (i) => `line ${i}\n`),
        client.writes
      )
      yield* client.closeWrite
      assert.deepStrictEqual(yield* Fiber.join(answers), Array.from({ length: count }, (_, i) => `> line ${i + 1}`))
      yield* Fiber.join(serving)
    }))

  test("a slow handler holds the sender back", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const gate = yield* Deferred.make<void>()
      const size = bytewise ? 300_000 : 16 * 1024 * 1024
      let handled = 0
      const serving = yield* Effect.forkChild(server.runFrames(Framing.delimited(";"), (frame) =>
        Effect.andThen(
          handled === 0 ? Deferred.await(gate) : Effect.void,
          Effect.sync(() => handled += frame.length + 1)
        )))
      const message = `${"x".repeat(9_999)};`
      const sending = yield* Effect.forkChild(
        Effect.andThen(
          Effect.forEach(Array.from({ length: Math.ceil(size / 10_000) }), () => client.write(message), {
            discard: true
          }),
          client.closeWrite
        )
      )
      yield* turns(2_000)
      assert.isAtMost((yield* server.stats).bytesRead, 256 * 1024 + 64 * 1024)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(sending)
      yield* Fiber.join(serving)
      assert.strictEqual(handled, Math.ceil(size / 10_000) * 10_000)
    }), 60_000)

  test("runFrames and consume fail with Reset when the peer resets", () =>
    Effect.gen(function*() {
      for (
        const read of [
          (c: Connection.Connection) => c.runFrames(lines, () => Effect.void),
          (c: Connection.Connection) => c.consume(() => {})
        ]
      ) {
        const { client, server, streams } = yield* connectedPair
        const reading = yield* Effect.forkChild(reasonOf(read(client)), { startImmediately: true })
        // unread bytes make the close a reset
        yield* client.write("never read")
        yield* server.read({ maxSize: 1 })
        yield* Effect.sync(() => {
          if ("resetAndDestroy" in streams.server && typeof streams.server.resetAndDestroy === "function") {
            streams.server.resetAndDestroy()
          }
        })
        assert.deepInclude(yield* Fiber.join(reading), { _tag: "Reset", code: "ECONNRESET" })
      }
    }))
})
