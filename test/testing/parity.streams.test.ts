import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { pattern } from "../support/connections.ts"
import { describeParity } from "../support/network.ts"
import { endOf, failureOf } from "../support/parity.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connected, resetByUs, stuffed, turns } from "../support/streams.ts"

/** More than anything on the way holds. */
const flood = Buffer.alloc(64 * 1024 * 1024)

/** Both ends of a connection, and the stream below the far one. */
const pair = Effect.fnUntraced(function*(address?: DialTarget) {
  const { client, server } = yield* connected(address)
  return {
    near: yield* Connection.fromDuplex(client),
    far: yield* Connection.fromDuplex(server, { role: "accepted" }),
    farStream: server
  }
})

const ended = { error: "TcpError: EndOfStream", received: 0, message: "the peer has ended the stream" }
const closed = { error: "TcpError: Closed", message: "the connection is closed on this side" }
const broken = {
  error: "TcpError: Reset",
  code: "ECONNRESET",
  cause: "ECONNRESET",
  message: "the connection broke (ECONNRESET)"
}
const gone = { error: "TcpError: Reset", code: "EPIPE", cause: "EPIPE", message: "the connection broke (EPIPE)" }

const unixSocket = Effect.map(temporaryFolder, (folder): DialTarget => ({ path: `${folder}/server.sock` }))

const wheres: ReadonlyArray<
  readonly [string, Effect.Effect<DialTarget | undefined, never, Effect.Services<typeof unixSocket>>]
> = [
  ["a connection", Effect.undefined],
  ["a connection to a unix socket", unixSocket]
]

for (const [name, where] of wheres) {
  describeParity(name, (test, network) => {
    const large = network === "on the test network, byte by byte" ? 20_000 : 1024 * 1024
    const ends = Effect.flatMap(where, pair)

    test("says how much there was when the peer ended too early", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        yield* far.write("ab")
        yield* far.closeWrite
        assert.deepStrictEqual(yield* failureOf(near.readExactly(4)), {
          error: "TcpError: EndOfStream",
          received: 2,
          message: "the peer has ended the stream after 2 of the bytes that were expected"
        })
        assert.strictEqual(yield* near.readLine(), "ab")
        assert.deepStrictEqual(yield* failureOf(near.read()), ended)
      }))

    test("ends one way and goes on the other way, and then ends there", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        yield* near.write("question")
        yield* near.closeWrite
        assert.strictEqual(yield* far.readString({ maxSize: 100 }), "question")
        assert.deepStrictEqual(yield* failureOf(far.read()), ended)
        assert.deepStrictEqual(yield* failureOf(near.write("more")), closed)
        yield* far.write("answer")
        yield* far.closeWrite
        assert.strictEqual(yield* near.readString({ maxSize: 100 }), "answer")
        assert.deepStrictEqual(yield* failureOf(near.read()), ended)
        assert.deepStrictEqual([yield* endOf(near.closed), yield* endOf(far.closed)], ["Peer", "Peer"])
      }))

    test("gives what arrived before a timeout to the next read", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        yield* far.write("hel")
        assert.strictEqual(String(yield* near.readExactly(1)), "h")
        assert.deepStrictEqual(yield* failureOf(near.read({ marker: "\n", timeout: "50 millis" })), {
          error: "TcpError: ReadTimeout",
          after: "50ms",
          received: 2,
          message: "nothing complete arrived within 50ms; 2 bytes are buffered"
        })
        yield* far.write("lo\n")
        assert.strictEqual(yield* near.readLine(), "ello")
      }))

    test("refuses a frame that is too large, and has still got it", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        yield* far.write("a long line\n")
        assert.deepStrictEqual(yield* failureOf(near.readUntil("\n", { maxSize: 5 })), {
          error: "TcpError: FrameTooLarge",
          maxSize: 5,
          message: "a frame is longer than the limit of 5 bytes"
        })
        assert.strictEqual(yield* near.readLine(), "a long line")
      }))

    test("refuses a second reader, and the first one goes on", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        const first = yield* Effect.forkChild(near.readLine(), { startImmediately: true })
        assert.strictEqual((yield* failureOf(near.read()))["error"], "TcpError: ConcurrentRead")
        yield* far.write("for the first\n")
        assert.strictEqual(yield* Fiber.join(first), "for the first")
      }))

    test("fails a read that waits when this side closes, and everything after that", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        const waiting = yield* Effect.forkChild(failureOf(near.read()), { startImmediately: true })
        yield* near.close
        assert.deepStrictEqual(yield* Fiber.join(waiting), closed)
        assert.deepStrictEqual(yield* failureOf(near.write("late")), closed)
        assert.deepStrictEqual([yield* endOf(near.closed), yield* endOf(far.closed)], ["Local", "Peer"])
        assert.deepStrictEqual(yield* failureOf(far.read()), ended)
      }))

    test("drops what comes when nobody wants to read any more, and still sends", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        yield* near.closeRead
        yield* far.write(pattern(large))
        yield* near.write("still here\n")
        assert.strictEqual(yield* far.readLine(), "still here")
        assert.deepStrictEqual(yield* failureOf(near.read()), closed)
      }))

    test("loses what is written first to a peer that is gone, and then says so", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        yield* far.close
        assert.deepStrictEqual(yield* failureOf(near.read()), ended)
        yield* near.write("nobody hears this")
        // the answer to it may take its time
        const writing = Effect.forever(Effect.andThen(near.write("nor this"), turns(1)))
        assert.deepInclude(yield* failureOf(writing), { error: "TcpError: Reset", code: "EPIPE" })
        yield* turns(1)
        assert.deepStrictEqual([yield* endOf(near.closed), yield* failureOf(near.read())], [gone, gone])
      }))

    test("is held up while the peer does not read, for as long as it may be", () =>
      Effect.gen(function*() {
        const { near } = yield* ends
        const late = {
          error: "TcpError: WriteTimeout",
          after: "50ms",
          message: "the peer did not take the data within 50ms"
        }
        assert.deepStrictEqual(yield* failureOf(near.write(flood, { timeout: "50 millis" })), late)
        assert.deepStrictEqual(yield* failureOf(near.write("more", { timeout: "50 millis" })), late)
      }))

    test("carries much both ways at once, at the pace of a slow reader", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        const bytes = pattern(large)
        const received = (connection: Connection.Connection) =>
          Stream.runFold(
            Stream.tap(connection.reads, () => turns(1)),
            () => [] as ReadonlyArray<Uint8Array>,
            (pieces, piece) => [...pieces, piece]
          )
        const [there, here] = yield* Effect.all([
          received(far),
          received(near),
          Effect.andThen(near.write(bytes), near.closeWrite),
          Effect.andThen(far.write(bytes), far.closeWrite)
        ], { concurrency: "unbounded" })
        assert.isTrue(Buffer.concat(there).equals(bytes))
        assert.isTrue(Buffer.concat(here).equals(bytes))
        assert.deepStrictEqual(yield* near.stats, { bytesRead: large, bytesWritten: large })
        assert.deepStrictEqual(yield* far.stats, yield* near.stats)
      }))

    test("gives the frames that are whole, and says that one was cut off", () =>
      Effect.gen(function*() {
        const { far, near } = yield* ends
        yield* far.write("one\ntwo\nthr")
        yield* far.closeWrite
        const got: Array<string> = []
        const frames = Stream.runForEach(
          near.frames(Framing.delimited("\n")),
          (frame) => Effect.sync(() => void got.push(Buffer.from(frame).toString()))
        )
        assert.deepInclude(yield* failureOf(frames), { error: "TcpError: EndOfStream", received: 3 })
        assert.deepStrictEqual(got, ["one", "two"])
      }))
  })
}

// no such thing as a reset is known to unix sockets
describeParity("a connection that breaks", (test) => {
  test("gives what had arrived, and says so to every operation from then on", () =>
    Effect.gen(function*() {
      const { far, farStream, near } = yield* pair()
      yield* far.write("ab")
      yield* resetByUs(farStream)
      assert.deepStrictEqual(yield* failureOf(near.readExactly(4)), broken)
      assert.strictEqual(String(yield* near.takeBuffered), "ab")
      assert.deepStrictEqual(yield* failureOf(near.read()), broken)
      assert.deepStrictEqual(yield* failureOf(near.write("x")), broken)
      assert.deepStrictEqual(yield* endOf(near.closed), broken)
    }))

  test("tells whoever waits for it without reading or writing", () =>
    Effect.gen(function*() {
      const { farStream, near } = yield* pair()
      const waiting = yield* Effect.forkChild(endOf(near.closed), { startImmediately: true })
      yield* resetByUs(farStream)
      assert.deepStrictEqual(yield* Fiber.join(waiting), broken)
    }))

  test("fails a write that waits", () =>
    Effect.gen(function*() {
      const { farStream, near } = yield* pair()
      const writing = yield* Effect.forkChild(failureOf(near.write(flood)), { startImmediately: true })
      yield* stuffed(farStream)
      yield* resetByUs(farStream)
      assert.deepStrictEqual(yield* Fiber.join(writing), broken)
      assert.deepStrictEqual([yield* failureOf(near.write("x")), yield* failureOf(near.read())], [broken, broken])
    }))

  test("is one that was closed while there was more to read", () =>
    Effect.gen(function*() {
      const { farStream, near } = yield* pair()
      const writing = yield* Effect.forkChild(Effect.exit(near.write(flood)), { startImmediately: true })
      yield* stuffed(farStream)
      farStream.destroy()
      yield* Fiber.join(writing)
      assert.deepStrictEqual([yield* failureOf(near.read()), yield* endOf(near.closed)], [broken, broken])
    }))
})
