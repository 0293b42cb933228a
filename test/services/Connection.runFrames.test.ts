import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { connectedPair } from "../support/connections.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { lines, noting, packetConnection, running } from "../support/runFrames.ts"
import { turn } from "../support/scripted.ts"
import { turns } from "../support/streams.ts"

describe("Connection.runFrames", () => {
  it.effect("handles frames in their order, however they are cut", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
      const { note, seen } = noting()
      peer.arrive("greeting\none\ntwo\n")
      assert.strictEqual(yield* connection.readLine(), "greeting")
      peer.endInput()
      yield* connection.runFrames(lines, note)
      assert.deepStrictEqual(seen, ["one", "two"])
    }))

  it.effect("handles one frame at a time, whether its handler waits or not", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
      let count = 0
      peer.arrive("\n".repeat(20_000))
      peer.endInput()
      yield* connection.runFrames(lines, () => Effect.suspend(() => ++count % 2 === 0 ? Effect.yieldNow : Effect.void))
      assert.strictEqual(count, 20_000)
    }))

  it.effect("goes on where fibers make way for others after few steps", () =>
    Effect.gen(function*() {
      for (const steps of [3, 4, 8]) {
        const { connection, peer } = yield* packetConnection
        const { note, seen } = noting()
        peer.arrive("a\nb\nc\n")
        peer.endInput()
        yield* Effect.provideService(connection.runFrames(lines, note), Scheduler.MaxOpsBeforeYield, steps)
        assert.deepStrictEqual(seen, ["a", "b", "c"])
      }
    }))

  it.effect("lets a handler read from the same connection", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
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

  it.effect.prop(
    "keeps answers in their order, whatever their sizes, and however they are written",
    {
      answers: Schema.Array(Schema.Struct({
        size: Schema.Literals([0, 1, 100, 4095, 4096, 20_000]),
        how: Schema.Literals(["write", "writeAll", "after a turn"])
      })).check(Schema.isMaxLength(30)),
      together: Schema.Literals([1, 3, 100])
    },
    ({ answers, together }) =>
      Effect.gen(function*() {
        const { connection, peer } = yield* packetConnection
        const texts = answers.map(({ size }, i) => String.fromCharCode(97 + i % 26).repeat(size))
        const serving = yield* running(connection, (line) => {
          const text = texts[Number(line)] ?? ""
          switch (answers[Number(line)]?.how) {
            case "writeAll":
              return connection.writeAll([text.slice(0, 10), text.slice(10)])
            case "after a turn":
              return Effect.andThen(turn, connection.write(text))
            default:
              return connection.write(text)
          }
        })
        for (let i = 0; i < answers.length; i += together) {
          peer.arrive(answers.slice(i, i + together).map((_, k) => `${i + k}\n`).join(""))
        }
        peer.endInput()
        yield* Fiber.join(serving)
        assert.isTrue(peer.packets.join("") === texts.join(""))
        assert.strictEqual((yield* connection.stats).bytesWritten, texts.join("").length)
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 100 } }
  )

  it.effect("sends the answers of a burst before our side ends, and before the connection closes", () =>
    Effect.gen(function*() {
      for (const end of ["closeWrite", "close"] as const) {
        const { connection, peer } = yield* packetConnection
        peer.arrive("a\nb\nc\n")
        peer.endInput()
        yield* Effect.exit(
          connection.runFrames(lines, (line) => line === "b" ? connection[end] : connection.write(line))
        )
        assert.strictEqual(peer.packets[0], "a")
      }
    }))

  it.effect("waits with a handler whose peer takes nothing, and loses no answer", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* packetConnection
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
      const { connection, peer } = yield* packetConnection
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
