import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import type { TcpError } from "../../src/errors/TcpError.ts"
import { guardErrors } from "../../src/internal/net/owner.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { breakWith, scriptedConnection } from "../support/connections.ts"
import { reasonOf } from "../support/reason.ts"
import { ScriptedDuplex, turn } from "../support/scripted.ts"

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1")

describe("Connection.read", () => {
  it.effect("gives anything at all when nothing is asked for", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("ab")
      assert.strictEqual(text(yield* connection.read()), "ab")
    }))

  it.effect("gives the bytes up to and with the marker and keeps what follows", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("one\ntwo\nthr")
      assert.strictEqual(text(yield* connection.read({ marker: "\n" })), "one\n")
      assert.strictEqual(text(yield* connection.read({ marker: "\n" })), "two\n")
      assert.strictEqual(text(yield* connection.takeBuffered), "thr")
    }))

  it.effect("finds a marker that arrives byte by byte", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const read = yield* Effect.forkChild(connection.read({ marker: "\r\n\r\n" }))
      for (const byte of "a\r\n\rb\r\n\r\nrest") {
        peer.arrive(byte)
        yield* turn
      }
      assert.strictEqual(text(yield* Fiber.join(read)), "a\r\n\rb\r\n\r\n")
      assert.strictEqual(text(yield* connection.takeBuffered), "rest")
    }))

  it.effect("gives exactly maxSize bytes when the marker does not come before", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("abcdef\n")
      assert.strictEqual(text(yield* connection.read({ marker: "\n", maxSize: 4 })), "abcd")
      assert.strictEqual(text(yield* connection.read({ marker: "\n", maxSize: 4 })), "ef\n")
    }))

  it.effect("counts the marker towards maxSize", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("abc\n")
      assert.strictEqual(text(yield* connection.read({ marker: "\n", maxSize: 3 })), "abc")
      assert.strictEqual(text(yield* connection.read({ marker: "\n", maxSize: 3 })), "\n")
    }))

  it.effect("waits until maxSize bytes are there", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const read = yield* Effect.forkChild(connection.read({ maxSize: 4 }))
      peer.arrive("abc")
      yield* turn
      assert.strictEqual(read.pollUnsafe(), undefined)
      peer.arrive("def")
      assert.strictEqual(text(yield* Fiber.join(read)), "abcd")
    }))

  it.effect("gives what is left when the peer ends, then EndOfStream", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("left")
      peer.endInput()
      assert.strictEqual(text(yield* connection.read({ marker: "\n", maxSize: 100 })), "left")
      assert.deepInclude(yield* reasonOf(connection.read()), { _tag: "EndOfStream", received: 0 })
    }))

  it.effect("sees an end that came before anybody listened", () =>
    Effect.gen(function*() {
      const peer = new ScriptedDuplex()
      peer.endInput()
      peer.resume()
      yield* turn
      assert.isTrue(peer.readableEnded)
      const connection = yield* Connection.fromDuplex(peer)
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "EndOfStream")
    }))

  it.effect("fails with ReadTimeout and keeps what had arrived", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("part")
      const read = yield* Effect.forkChild(reasonOf(connection.read({ marker: "\n", timeout: "3 seconds" })))
      yield* turn
      yield* TestClock.adjust("3 seconds")
      const reason = yield* Fiber.join(read)
      assert.deepInclude(reason, { _tag: "ReadTimeout", received: 4, after: Duration.seconds(3) })
      peer.arrive(" and the rest\n")
      assert.strictEqual(text(yield* connection.read({ marker: "\n" })), "part and the rest\n")
    }))

  it.effect("bounds what may come before a marker that never comes", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive(Buffer.alloc(Framing.defaultMaxSize + 10))
      const reason = yield* reasonOf(connection.read({ marker: "\n" }))
      assert.deepInclude(reason, { _tag: "FrameTooLarge", maxSize: Framing.defaultMaxSize })
      assert.strictEqual((yield* connection.takeBuffered).length, Framing.defaultMaxSize + 10)
    }))

  it.effect("refuses a second reader and goes on with the first", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const first = yield* Effect.forkChild(connection.read(), { startImmediately: true })
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "ConcurrentRead")
      peer.arrive("x")
      assert.strictEqual(text(yield* Fiber.join(first)), "x")
    }))

  it.effect("can be read again after a reader was interrupted", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const first = yield* Effect.forkChild(connection.readExactly(10), { startImmediately: true })
      yield* Fiber.interrupt(first)
      peer.arrive("0123456789")
      assert.strictEqual(text(yield* connection.readExactly(10)), "0123456789")
    }))

  it.effect("gives what arrived before the connection broke, then Reset", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("before")
      yield* Effect.forkChild(Effect.sync(() => peer.destroy(Object.assign(new Error("read"), { code: "ECONNRESET" }))))
      yield* turn
      assert.deepInclude(yield* reasonOf(connection.read({ marker: "\n" })), { _tag: "Reset", code: "ECONNRESET" })
      assert.strictEqual(text(yield* connection.read()), "before")
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "Reset")
    }))

  it.effect("keeps what had arrived while reading was paused when the connection breaks", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("first")
      assert.strictEqual(text(yield* connection.read()), "first")
      const half = Buffer.alloc(200 * 1024, "x")
      for (let i = 0; i < 4; i++) peer.arrive(half)
      yield* turn
      peer.destroy(Object.assign(new Error("read"), { code: "ECONNRESET" }))
      yield* turn
      assert.strictEqual((yield* connection.takeBuffered).length, 4 * half.length)
    }))

  it.effect("fails with Closed after this side closed, also while it waits", () =>
    Effect.gen(function*() {
      const { connection } = yield* scriptedConnection
      const read = yield* Effect.forkChild(reasonOf(connection.read()), { startImmediately: true })
      yield* connection.close
      assert.strictEqual((yield* Fiber.join(read))["_tag"], "Closed")
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "Closed")
      assert.deepEqual(yield* connection.closed, { _tag: "Local" })
    }))

  it.effect("reads nothing before somebody asks", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("early")
      yield* turn
      assert.deepEqual(yield* connection.stats, { bytesRead: 0, bytesWritten: 0 })
      assert.strictEqual(text(yield* connection.read()), "early")
      assert.deepEqual(yield* connection.stats, { bytesRead: 5, bytesWritten: 0 })
    }))

  it.effect("stops reading ahead at its bound and goes on when there is room", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("x")
      yield* connection.read()
      const piece = Buffer.alloc(64 * 1024)
      for (let i = 0; i < 16; i++) {
        peer.arrive(piece)
        yield* turn
      }
      const { bytesRead } = yield* connection.stats
      assert.isAtMost(bytesRead, 256 * 1024 + 64 * 1024)
      assert.isAbove(peer.readableLength, 0)
      assert.strictEqual((yield* connection.readExactly(16 * piece.length)).length, 16 * piece.length)
    }))
})

describe("Connection.readExactly, readUntil, readLine, readFrame", () => {
  it.effect("readExactly keeps a part that the peer left unfinished", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("abc")
      peer.endInput()
      assert.deepInclude(yield* reasonOf(connection.readExactly(5)), { _tag: "EndOfStream", received: 3 })
      assert.strictEqual(text(yield* connection.readExactly(3)), "abc")
    }))

  it.effect("readExactly of nothing needs nothing", () =>
    Effect.gen(function*() {
      const { connection } = yield* scriptedConnection
      assert.strictEqual((yield* connection.readExactly(0)).length, 0)
    }))

  it.effect("readUntil gives what comes before the marker, or includes it", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("a::b::c")
      assert.strictEqual(text(yield* connection.readUntil("::")), "a")
      assert.strictEqual(text(yield* connection.readUntil("::", { includeMarker: true })), "b::")
    }))

  it.effect("readUntil fails with FrameTooLarge and keeps everything", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("abcdef;")
      assert.deepInclude(yield* reasonOf(connection.readUntil(";", { maxSize: 5 })), {
        _tag: "FrameTooLarge",
        maxSize: 5
      })
      assert.strictEqual(text(yield* connection.readUntil(";", { maxSize: 6 })), "abcdef")
    }))

  it.effect("readLine takes LF and CR LF, and a last line without either", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("unix\nwindows\r\nlast")
      peer.endInput()
      assert.strictEqual(yield* connection.readLine(), "unix")
      assert.strictEqual(yield* connection.readLine(), "windows")
      assert.strictEqual(yield* connection.readLine(), "last")
      assert.strictEqual((yield* reasonOf(connection.readLine()))["_tag"], "EndOfStream")
    }))

  it.effect("bytes that are no text are a typed error and stay", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive(Uint8Array.of(0xff, 0xfe, 0x0a))
      assert.deepInclude(yield* reasonOf(connection.readLine()), { _tag: "Encoding", encoding: "utf-8" })
      assert.deepInclude(yield* reasonOf(connection.readString()), { _tag: "Encoding" })
      assert.deepEqual([...yield* connection.takeBuffered], [0xff, 0xfe, 0x0a])
    }))

  it.effect("readString decodes the encoding that is asked for", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive(Uint8Array.of(0xcf, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2, 0x0a))
      assert.strictEqual(yield* connection.readString({ marker: "\n", encoding: "windows-1251" }), "Привет\n")
    }))

  it.effect("looks for its marker in what is put back while it waits, and no more in what is taken away", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const read = yield* Effect.forkChild(connection.read({ marker: "end" }), { startImmediately: true })
      peer.arrive("12345e")
      yield* turn
      assert.strictEqual(text(yield* connection.takeBuffered), "12345e")
      peer.arrive("nd")
      yield* turn
      yield* connection.unread(Buffer.from("0end"))
      assert.strictEqual(text(yield* Fiber.join(read)), "0end")
      assert.strictEqual(text(yield* connection.takeBuffered), "nd")
    }))

  it.effect("unread bytes are read first", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("world")
      yield* connection.read()
      yield* connection.unread(Buffer.from("hello "))
      peer.arrive("world")
      assert.strictEqual(text(yield* connection.readExactly(11)), "hello world")
    }))

  it.effect("a stream that broke before it became a connection is broken and not ended, after what had arrived", () =>
    Effect.gen(function*() {
      const peer = guardErrors(new ScriptedDuplex())
      peer.arrive("before")
      yield* breakWith(peer, "ECONNRESET")
      yield* turn
      const connection = yield* Connection.fromDuplex(peer)
      assert.strictEqual(text(yield* connection.read()), "before")
      assert.deepInclude(yield* reasonOf(connection.read()), { _tag: "Reset", code: "ECONNRESET" })
      assert.deepInclude(yield* reasonOf(connection.write("late")), { _tag: "Reset", code: "ECONNRESET" })
    }))

  it.effect("closeRead drops what comes and fails later reads", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const waiting = yield* Effect.forkChild(reasonOf(connection.read()), { startImmediately: true })
      yield* connection.closeRead
      assert.strictEqual((yield* Fiber.join(waiting))["_tag"], "Closed")
      peer.arrive("ignored")
      yield* turn
      assert.strictEqual(peer.readableLength, 0)
      assert.strictEqual((yield* connection.takeBuffered).length, 0)
      yield* connection.write("still writes")
      assert.strictEqual(peer.sent, "still writes")
    }))
})

describe("Connection with sizes and markers that make no sense", () => {
  for (
    const [name, read] of [
      ["an empty marker", (c) => c.read({ marker: "" })],
      ["an empty marker with a size", (c) => c.read({ marker: "", maxSize: 3 })],
      ["reading until nothing", (c) => c.readUntil("")],
      ["frames that end with nothing", (c) => c.readFrame(Framing.delimited(""))],
      ["a negative number of bytes", (c) => c.readExactly(-1)],
      ["half a byte", (c) => c.readExactly(0.5)],
      ["no number", (c) => c.read({ maxSize: NaN })],
      ["a negative limit", (c) => c.readLine({ maxSize: -1 })]
    ] as ReadonlyArray<readonly [string, (c: Connection.Connection) => Effect.Effect<unknown, TcpError>]>
  ) {
    it.effect(`refuses ${name} and loses nothing`, () =>
      Effect.gen(function*() {
        const { connection, peer } = yield* scriptedConnection
        peer.arrive("abc\n")
        assert.strictEqual((yield* reasonOf(read(connection)))["_tag"], "Unknown")
        assert.strictEqual(text(yield* connection.readExactly(4)), "abc\n")
      }))
  }

  it.effect("takes Infinity for no limit", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("abc\n")
      assert.strictEqual(text(yield* connection.readUntil("\n", { maxSize: Infinity })), "abc")
    }))
})

describe("Connection.reads and frames", () => {
  it.effect("reads gives every byte and ends when the peer ends", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const all = yield* Effect.forkChild(Stream.runCollect(connection.reads))
      for (const piece of ["a", "bc", "def"]) {
        peer.arrive(piece)
        yield* turn
      }
      peer.endInput()
      assert.strictEqual(text(Buffer.concat(yield* Fiber.join(all))), "abcdef")
    }))

  it.effect("a slow consumer of reads holds the peer back", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const piece = Buffer.alloc(64 * 1024)
      const slow = yield* Effect.forkChild(Stream.runForEach(connection.reads, () => Effect.never), {
        startImmediately: true
      })
      for (let i = 0; i < 20; i++) {
        peer.arrive(piece)
        yield* turn
      }
      assert.isAtMost((yield* connection.stats).bytesRead, 6 * piece.length)
      yield* Fiber.interrupt(slow)
    }))

  it.effect("frames gives frames however they are cut and fails on one that was cut off", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const seen: Array<string> = []
      const frames = yield* Effect.forkChild(
        reasonOf(Stream.runForEach(connection.frames(Framing.delimited(";")), (frame) =>
          Effect.sync(() =>
            void seen.push(text(frame))
          )))
      )
      for (const piece of ["a;b", "b;;c", "c", ";d"]) {
        peer.arrive(piece)
        yield* turn
      }
      peer.endInput()
      assert.deepInclude(yield* Fiber.join(frames), { _tag: "EndOfStream", received: 1 })
      assert.deepEqual(seen, ["a", "bb", "", "cc"])
    }))

  it.effect("frames before one that fails are delivered first", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      const seen: Array<string> = []
      peer.arrive("ok\nfine\nthis is too long\n")
      const reason = yield* reasonOf(
        Stream.runForEach(connection.frames(Framing.lines({ maxSize: 6 })), (line) =>
          Effect.sync(() => void seen.push(line)))
      )
      assert.strictEqual(reason["_tag"], "FrameTooLarge")
      assert.deepEqual(seen, ["ok", "fine"])
    }))

  it.effect("readFrame takes one and leaves the others", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* scriptedConnection
      peer.arrive("one\ntwo\n")
      assert.strictEqual(yield* connection.readFrame(Framing.lines()), "one")
      assert.strictEqual(text(yield* connection.read()), "two\n")
    }))
})

// ---- the law: whatever is read, interrupted or timed out, every byte comes out once and in order

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Piece = Schema.Array(Schema.Literals(["a", "b", "\n", "\r"])).check(Schema.isMinLength(1), Schema.isMaxLength(7))

/** A read, how many pieces arrive before and during it, and how it is brought to an end if it is not done by then. */
const Step = Schema.Struct({
  operation: Schema.Literals(["any", "exactly", "marker", "maxSize", "markerAndSize", "until", "batch"]),
  ending: Schema.Literals(["interrupt", "timeout"]),
  marker: Schema.Literals(["\n", "ab", "aab", "\r\n\r\n"]),
  size: between(1, 9),
  before: between(0, 2),
  during: between(0, 3)
})

describe("Connection laws", () => {
  it.effect.prop(
    "no byte is lost or repeated by reads that finish, time out or are interrupted",
    {
      pieces: Schema.Array(Piece).check(Schema.isMaxLength(30)),
      steps: Schema.Array(Step).check(Schema.isMaxLength(25))
    },
    ({ pieces, steps }) =>
      Effect.gen(function*() {
        const { connection, peer } = yield* scriptedConnection
        const waiting = pieces.map((letters) => letters.join(""))
        const expected = waiting.join("")
        const got: Array<string> = []
        const deliver = Effect.fnUntraced(function*(count: number) {
          for (const piece of waiting.splice(0, count)) {
            peer.arrive(piece)
            yield* turn
          }
        })
        for (const step of steps) {
          yield* deliver(step.before)
          const timeout = step.ending === "timeout" ? { timeout: "1 second" as const } : {}
          const operation = {
            any: connection.read(timeout),
            exactly: connection.readExactly(step.size),
            marker: connection.read({ marker: step.marker, ...timeout }),
            maxSize: connection.read({ maxSize: step.size, ...timeout }),
            markerAndSize: connection.read({ marker: step.marker, maxSize: step.size, ...timeout }),
            until: connection.readUntil(step.marker, { includeMarker: true }),
            batch: Effect.map(connection.readBatch, (batch) => Buffer.concat(batch))
          }[step.operation]
          const fiber = yield* Effect.forkChild(operation, { startImmediately: true })
          yield* deliver(step.during)
          if (step.ending === "timeout") yield* TestClock.adjust("1 second")
          yield* Fiber.interrupt(fiber)
          const exit = yield* Fiber.await(fiber)
          if (Exit.isSuccess(exit)) got.push(text(exit.value))
        }
        yield* deliver(waiting.length)
        peer.endInput()
        const rest = yield* Stream.runCollect(connection.reads)
        assert.strictEqual(got.join("") + text(Buffer.concat(rest)), expected)
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 300 } }
  )
})
