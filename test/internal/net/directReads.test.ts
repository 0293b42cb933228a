import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import { type Duplex, PassThrough } from "node:stream"
import { DirectReads, directReads } from "../../../src/internal/net/directReads.ts"
import * as Tls from "../../../src/layers/Tls.ts"
import * as Connection from "../../../src/services/Connection.ts"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as Listener from "../../../src/services/Listener.ts"
import * as TcpServer from "../../../src/services/TcpServer.ts"
import * as TestCertificates from "../../../src/testing/TestCertificates.ts"
import { pattern } from "../../support/connections.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { reasonOf } from "../../support/reason.ts"
import { rawServer } from "../../support/servers.ts"
import { read, readAll, resetByUs, turns, write } from "../../support/streams.ts"

const size = 64 * 1024

/** What a socket reads into in bulk. */
const ownSize = 32 * 1024

const live = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>,
  timeout?: number
) =>
  it.live(
    title,
    () => leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer))),
    timeout
  )

/** One of our sockets and its peer, a socket of Node's own. */
const open = Effect.fnUntraced(function*(server: Effect.Success<ReturnType<typeof rawServer>>) {
  const socket = yield* (yield* Dialer.Dialer).dial(server.address)
  assert.isDefined(directReads(socket))
  return { socket, peer: yield* server.next }
})

const connect = Effect.flatMap(rawServer(), open)

/** How many bytes a socket has taken from the system. */
const bytesRead = (duplex: Duplex) => "bytesRead" in duplex ? Number(duplex.bytesRead) : NaN

/** The bytes of one connection, which are no other's. */
const content = (id: number, length: number) => {
  const bytes = Buffer.alloc(length)
  for (let at = 0, state = id + 1; at < length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}

type Reading = (duplex: Duplex) => Effect.Effect<ReadonlyArray<Uint8Array>, unknown, Scope.Scope>

const over = (read: (connection: Connection.Connection) => ReturnType<Reading>): Reading => (duplex) =>
  Effect.flatMap(Connection.fromDuplex(duplex), read)

const untilEnd = (duplex: Duplex, pieces: ReadonlyArray<Uint8Array>) =>
  Effect.callback<ReadonlyArray<Uint8Array>>((resume) => void duplex.once("end", () => resume(Effect.succeed(pieces))))

/** Every way to read: the pieces as they were given, kept until the end. */
const readings: Record<string, Reading> = {
  "data events": (duplex) => {
    const pieces: Array<Buffer> = []
    duplex.on("data", (piece: Buffer) => pieces.push(piece))
    return untilEnd(duplex, pieces)
  },
  "readable events": (duplex) => {
    const pieces: Array<Buffer> = []
    duplex.on("readable", () => {
      for (let piece: Buffer | null; (piece = duplex.read()) !== null;) pieces.push(piece)
    })
    return untilEnd(duplex, pieces)
  },
  "for await": (duplex) =>
    Effect.promise(async () => {
      const pieces: Array<Buffer> = []
      for await (const piece of duplex) pieces.push(piece)
      return pieces
    }),
  "pipe": (duplex) => readings["data events"]!(duplex.pipe(new PassThrough())),
  "read in batches": over((connection) => Effect.map(Stream.runCollect(connection.reads), (pieces) => [...pieces])),
  "read in sizes": over(Effect.fnUntraced(function*(connection) {
    const pieces: Array<Uint8Array> = []
    for (let n = 1;; n = n * 3 % 100_003) {
      const piece = yield* Effect.option(connection.read({ maxSize: n }))
      if (piece._tag === "None") return pieces
      pieces.push(piece.value)
    }
  })),
  "consume": over((connection) => {
    const pieces: Array<Uint8Array> = []
    return Effect.as(connection.consume((bytes) => void pieces.push(Uint8Array.from(bytes))), pieces)
  })
}

/** Sizes around those at which reading changes. */
const writeSizes = [
  1,
  2,
  100,
  ownSize,
  ownSize + 1,
  size - 1,
  1,
  size,
  size + 1,
  3,
  2 * size,
  5 * size + 7,
  1,
  1000,
  size / 2,
  size / 2 + 1
]

/** Writes to one peer, in pieces, each when the other peers have had their turn. */
const send = (peer: Net.Socket, bytes: Buffer, first: number) =>
  Effect.gen(function*() {
    for (let at = 0, i = first; at < bytes.length; i++) {
      const next = at + (writeSizes[i % writeSizes.length] ?? 1)
      yield* write(peer, bytes.subarray(at, next))
      at = next
      if (i % 3 === 0) yield* turns(1)
    }
    peer.end()
  })

describe("DirectReads", () => {
  /** Says of one read what the sink is given: whether it is lent, and whether it is the memory that was read into. */
  const reading = () => {
    const reads = new DirectReads()
    const socket = new Net.Socket()
    return {
      reads,
      read: (count: number) => {
        const into = reads.nextBuffer()
        const given: Array<{ readonly lent: boolean; readonly copied: boolean; readonly into: Buffer }> = []
        reads.sink = {
          receive: (bytes, lent) => {
            assert.strictEqual(bytes.length, count)
            given.push({ lent, copied: bytes.buffer !== into.buffer, into })
            return true
          }
        }
        reads.deliver(socket, count)
        return given[0] ?? assert.fail("the sink was given nothing")
      }
    }
  }

  it("lends the memory that all sockets share", () => {
    const [one, other] = [reading(), reading()]
    const given = [one.read(1), other.read(1), one.read(size - 1)]
    for (const { copied, into, lent } of given) {
      assert.deepStrictEqual({ copied, lent }, { copied: false, lent: true })
      assert.strictEqual(into, given[0]?.into)
    }
  })

  it("gives a bulk transfer memory of its own, a new one for each read, as long as they fill it", () => {
    const { read } = reading()
    const shared = read(size).into
    const bulk = [read(ownSize), read(ownSize), read(ownSize / 2 + 1)]
    for (const { copied, lent } of bulk) assert.deepStrictEqual({ copied, lent }, { copied: false, lent: false })
    assert.strictEqual(new Set([shared, ...bulk.map(({ into }) => into)]).size, 4)
    assert.strictEqual(read(10).into, shared)
  })

  it("copies little out of memory of its own, so that it does not hold all of that", () => {
    const { read } = reading()
    read(size)
    const { copied, lent } = read(ownSize / 2)
    assert.deepStrictEqual({ copied, lent }, { copied: true, lent: false })
  })

  it("stays with the shared memory when nothing is kept", () => {
    const { read, reads } = reading()
    reads.keeps = false
    const given = [read(size), read(size), read(size)]
    for (const { lent } of given) assert.isTrue(lent)
    assert.strictEqual(new Set(given.map(({ into }) => into)).size, 1)
  })

  it("puts copies into the stream where nobody reads directly", () => {
    const reads = new DirectReads()
    const socket = new Net.Socket()
    reads.nextBuffer().write("first")
    assert.isTrue(reads.deliver(socket, 5))
    reads.nextBuffer().write("other")
    assert.isTrue(reads.deliver(socket, 5))
    assert.strictEqual(String(socket.read()), "firstother")
    assert.isFalse(reads.deliver(socket, size))
  })
})

describe("sockets that read into shared memory", () => {
  live(
    "give each its own bytes, and what was given never changes, however they are read",
    () =>
      Effect.gen(function*() {
        const server = yield* rawServer()
        const connections = yield* Effect.forEach(
          Object.entries(readings).flatMap((reading) => Array.from({ length: 6 }, () => reading)),
          Effect.fnUntraced(function*([name, read], id) {
            const { peer, socket } = yield* open(server)
            const reading = yield* Effect.forkChild(read(socket), { startImmediately: true })
            return { name, id, peer, reading, sent: content(id, 700_000 + 1_000 * id) }
          })
        )
        yield* Effect.forEach(connections, ({ id, peer, sent }) => send(peer, sent, id), {
          concurrency: "unbounded",
          discard: true
        })
        for (const { id, name, reading, sent } of connections) {
          assert.isTrue(Buffer.concat(yield* Fiber.join(reading)).equals(sent), `socket ${id}, by ${name}`)
        }
      }),
    60_000
  )

  live("keep what a bulk transfer gave unchanged while others talk", () =>
    Effect.gen(function*() {
      const server = yield* rawServer()
      const bulk = yield* open(server)
      const talk = yield* open(server)
      const talking = yield* Connection.fromDuplex(talk.socket)
      const sent = content(1, 16 * 1024 * 1024)
      const kept = yield* Effect.forkChild(over((connection) => Stream.runCollect(connection.reads))(bulk.socket), {
        startImmediately: true
      })
      bulk.peer.end(sent)
      for (let i = 0; i < 200; i++) {
        talk.peer.write(`${i}\n`)
        assert.strictEqual(yield* talking.readLine(), String(i))
      }
      assert.isTrue(Buffer.concat(yield* Fiber.join(kept)).equals(sent))
    }), 60_000)

  live(
    "read no further than a stream's limit when nobody takes anything, and lose nothing",
    () =>
      Effect.gen(function*() {
        const { peer, socket } = yield* connect
        const sent = content(3, 32 * 1024 * 1024)
        peer.end(sent)
        yield* turns(500)
        const bound = socket.readableHighWaterMark + size
        assert.isAtMost(bytesRead(socket), bound)
        const pieces: Array<Buffer> = []
        socket.on("data", (piece: Buffer) => {
          pieces.push(piece)
          if (pieces.length % 50 === 1) socket.pause()
        })
        const ended = yield* Effect.forkChild(untilEnd(socket, pieces), { startImmediately: true })
        while (ended.pollUnsafe() === undefined) {
          yield* turns(20)
          if (socket.isPaused()) {
            const taken = pieces.reduce((sum, piece) => sum + piece.length, 0)
            assert.isAtMost(bytesRead(socket) - taken, bound)
            socket.resume()
          }
        }
        assert.isTrue(Buffer.concat(pieces).equals(sent))
      }),
    60_000
  )

  live("read no further than a connection's limit when nobody reads, and lose nothing", () =>
    Effect.gen(function*() {
      const { peer, socket } = yield* connect
      const connection = yield* Connection.fromDuplex(socket)
      const sent = content(4, 32 * 1024 * 1024)
      peer.end(sent)
      yield* turns(200)
      assert.isAtMost(bytesRead(socket), socket.readableHighWaterMark + size)
      assert.isTrue(Buffer.from(yield* connection.readExactly(1000)).equals(sent.subarray(0, 1000)))
      yield* turns(500)
      assert.isAtMost((yield* connection.stats).bytesRead, 256 * 1024 + size)
      assert.isAtMost(bytesRead(socket), 256 * 1024 + 2 * size)
      const rest = Buffer.concat(yield* Stream.runCollect(connection.reads))
      assert.isTrue(rest.equals(sent.subarray(1000)))
    }), 60_000)

  live("end with the peer, also with one that ends before anybody reads", () =>
    Effect.gen(function*() {
      const { peer, socket } = yield* connect
      peer.end("last words")
      yield* turns(20)
      const connection = yield* Connection.fromDuplex(socket)
      assert.strictEqual(String(yield* connection.readExactly(10)), "last words")
      assert.deepInclude(yield* reasonOf(connection.read()), { _tag: "EndOfStream", received: 0 })
      assert.deepEqual(yield* connection.closed, { _tag: "Peer" })
    }))

  live("go on reading after our side has ended", () =>
    Effect.gen(function*() {
      const { peer, socket } = yield* connect
      const connection = yield* Connection.fromDuplex(socket)
      yield* connection.write("question")
      yield* connection.closeWrite
      const asked = yield* readAll(peer.resume())
      assert.strictEqual(String(asked.bytes), "question")
      const sent = content(5, 1024 * 1024)
      peer.end(sent)
      assert.isTrue(Buffer.concat(yield* Stream.runCollect(connection.reads)).equals(sent))
    }))

  live("go on writing after the peer has ended", () =>
    Effect.gen(function*() {
      const { peer, socket } = yield* connect
      const connection = yield* Connection.fromDuplex(socket)
      peer.end()
      assert.strictEqual((yield* reasonOf(connection.read()))["_tag"], "EndOfStream")
      const all = yield* Effect.forkChild(readAll(peer.resume()), { startImmediately: true })
      yield* connection.write("still heard")
      yield* connection.closeWrite
      assert.strictEqual(String((yield* Fiber.join(all)).bytes), "still heard")
    }))

  live("give what had been read before a reset, then the reset", () =>
    Effect.gen(function*() {
      const { peer, socket } = yield* connect
      const connection = yield* Connection.fromDuplex(socket)
      const sent = content(6, 8 * 1024 * 1024)
      peer.write(sent)
      assert.isTrue(Buffer.from(yield* connection.readExactly(10)).equals(sent.subarray(0, 10)))
      yield* turns(100)
      yield* resetByUs(peer)
      // it is heard of as soon as somebody reads again
      const closed = yield* Effect.forkChild(connection.closed, { startImmediately: true })
      const got: Array<Uint8Array> = []
      const failure = yield* reasonOf(
        Stream.runForEach(connection.reads, (piece) => Effect.sync(() => got.push(piece)))
      )
      assert.deepInclude(failure, { _tag: "Reset", code: "ECONNRESET" })
      const bytes = Buffer.concat(got)
      assert.isAtLeast(bytes.length, 128 * 1024)
      assert.isTrue(bytes.equals(sent.subarray(10, 10 + bytes.length)))
      assert.strictEqual((yield* Fiber.join(closed))._tag, "Broken")
    }))

  live("have a reset noticed by somebody who waits", () =>
    Effect.gen(function*() {
      const { peer, socket } = yield* connect
      const connection = yield* Connection.fromDuplex(socket)
      const reading = yield* Effect.forkChild(reasonOf(connection.read()), { startImmediately: true })
      yield* resetByUs(peer)
      assert.deepInclude(yield* Fiber.join(reading), { _tag: "Reset", code: "ECONNRESET" })
    }))

  live("carry TLS, both ways at once", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const server = yield* Layer.build(
        TcpServer.layer({ port: 0, drainTimeout: 0, tls: yield* authority.issue({ names: ["127.0.0.1"] }) })
      )
      const sent = pattern(5 * 1024 * 1024 + 13)
      yield* Effect.gen(function*() {
        const { address, serve } = yield* TcpServer.TcpServer
        yield* Effect.forkScoped(
          serve((connection) => Effect.ignore(Stream.run(connection.reads, connection.writes)))
        )
        const path = yield* Layer.build(Tls.layer({ ca: authority.certificate }))
        const connection = yield* Effect.provide(
          Dialer.Dialer.use((dialer) =>
            Effect.flatMap(dialer.dial(address), (duplex) => Connection.fromDuplex(duplex))
          ),
          path
        )
        const sending = yield* Effect.forkChild(connection.write(sent))
        assert.isTrue(Buffer.from(yield* connection.readExactly(sent.length)).equals(sent))
        yield* Fiber.join(sending)
        assert.isTrue(connection.tls._tag === "Some")
      }).pipe(Effect.provide(server))
    }), 60_000)

  it.live.prop(
    "lose and repeat nothing when a connection takes over from somebody who read the stream",
    {
      pieces: Schema.NonEmptyArray(Schema.Literals([1, 7, 100, size - 1, size, size + 1])).check(
        Schema.isMaxLength(6)
      ),
      taken: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
      putBack: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
      pause: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
    },
    ({ pause, pieces, putBack, taken }) =>
      Effect.gen(function*() {
        const { peer, socket } = yield* connect
        const sent = content(taken, pieces.reduce((sum, piece) => sum + piece, 100))
        let at = 100
        peer.write(sent.subarray(0, at))
        const head = taken === 0 ? Buffer.alloc(0) : yield* read(socket, taken)
        assert.isTrue(head.equals(sent.subarray(0, taken)))
        const back = Math.min(putBack, taken)
        if (back > 0) socket.unshift(head.subarray(taken - back))
        for (const piece of pieces) peer.write(sent.subarray(at, at += piece))
        peer.end()
        yield* turns(pause)
        const connection = yield* Connection.fromDuplex(socket)
        const rest = Buffer.concat(yield* Stream.runCollect(connection.reads))
        assert.isTrue(rest.equals(sent.subarray(taken - back)))
      }).pipe(Effect.scoped, Effect.provide(Dialer.layer)),
    { arbitrary: { runs: 60 }, timeout: 60_000 }
  )
})
