import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import * as Stream from "effect/Stream"
import { DialError } from "../../src/errors/DialError.ts"
import { TcpError } from "../../src/errors/TcpError.ts"
import { TlsConfigError } from "../../src/errors/TlsConfigError.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connectedPair, pattern } from "../support/connections.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { blackhole, closedPort } from "../support/servers.ts"
import { resetByUs, turns } from "../support/streams.ts"

/** A listener, and a socket of Effect's that leads to it. */
const listening = Effect.gen(function*() {
  const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
  const socket = yield* Effect.provide(TcpClient.makeSocket(address), TcpClient.layer)
  return {
    socket,
    address,
    accept: Effect.flatMap(accept, (duplex) => Connection.fromDuplex(duplex, { role: "accepted" }))
  }
})

/** The reason of a socket's error, with the class of what caused it. */
const reasonOf = <A, R>(effect: Effect.Effect<A, Socket.SocketError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }): Readonly<Record<string, unknown>> => {
    const cause = "cause" in reason ? reason.cause : undefined
    return {
      reason: reason._tag,
      ...("code" in reason ? { code: reason.code } : {}),
      ...("kind" in reason ? { kind: reason.kind } : {}),
      ...(cause instanceof TcpError || cause instanceof DialError ? { cause: cause.reason._tag } : {}),
      ...(cause instanceof TlsConfigError ? { cause: cause._tag } : {})
    }
  })

/** Pulls until this much has come. */
const pullText = Effect.fnUntraced(function*(reader: Socket.Reader, length: number) {
  let text = ""
  while (text.length < length) text += Buffer.concat((yield* reader.pull).map((piece) => Buffer.from(piece))).toString()
  return text
})

/** What a socket gives until it ends, where an end is no failure. */
const readAll = (socket: Socket.Socket) =>
  Socket.toStream(socket).pipe(
    Stream.catchReason("SocketError", "SocketCloseError", () => Stream.empty),
    Stream.runCollect,
    Effect.map((pieces) => Buffer.concat(pieces))
  )

describeOnNetworks("Connection.toSocket", (test, network) => {
  const large = network === "on the test network, byte by byte" ? 10_000 : 1024 * 1024

  test("reads and writes", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const socket = yield* client.toSocket
      assert.isTrue(Socket.isSocket(socket))
      const reader = yield* socket.reader
      const writer = yield* socket.writer
      yield* writer.write("text, ")
      yield* writer.write(Buffer.from("bytes, "))
      yield* writer.writeAll(["and ", Buffer.from("several")])
      assert.strictEqual(String(yield* server.readExactly(24)), "text, bytes, and several")
      yield* server.write("answer")
      assert.strictEqual(yield* pullText(reader, 6), "answer")
    }))

  test("gives what was buffered before it became one", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      yield* server.write("header\nbody")
      assert.strictEqual(yield* client.readLine(), "header")
      const reader = yield* (yield* client.toSocket).reader
      assert.strictEqual(yield* pullText(reader, 4), "body")
    }))

  test("is a stream that fails with a close of code 1000 at the end, after every byte", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const sent = pattern(large)
      const sending = yield* Effect.forkChild(Effect.andThen(server.write(sent), server.closeWrite))
      const reader = yield* (yield* client.toSocket).reader
      const pieces: Array<Uint8Array> = []
      const end = yield* reasonOf(Effect.forever(
        Effect.map(reader.pull, (batch) => pieces.push(...batch.map((piece) => Buffer.from(piece))))
      ))
      assert.deepStrictEqual(end, { reason: "SocketCloseError", code: 1000 })
      assert.isTrue(Buffer.concat(pieces).equals(sent))
      yield* Fiber.join(sending)
    }))

  test("half-closes when its writer is released, and goes on reading", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const socket = yield* client.toSocket
      const reader = yield* socket.reader
      yield* Effect.scoped(Effect.flatMap(socket.writer, (writer) => writer.write("question")))
      assert.strictEqual(String(Buffer.concat(yield* Stream.runCollect(server.reads))), "question")
      yield* server.write("answer")
      assert.strictEqual(yield* pullText(reader, 6), "answer")
    }))

  test("closes on a CloseEvent, after what was written, and then fails to write", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const socket = yield* client.toSocket
      const reader = yield* socket.reader
      const writer = yield* socket.writer
      const pulling = yield* Effect.forkChild(reasonOf(reader.pull), { startImmediately: true })
      yield* writer.write("last words")
      yield* writer.write(new Socket.CloseEvent(1000))
      assert.deepStrictEqual(yield* Fiber.join(pulling), { reason: "SocketCloseError", code: 1006 })
      assert.strictEqual(String(Buffer.concat(yield* Stream.runCollect(server.reads))), "last words")
      const refused = { reason: "SocketWriteError", cause: "Closed" }
      assert.deepStrictEqual(yield* reasonOf(writer.write("more")), refused)
      assert.deepStrictEqual(yield* reasonOf(writer.writeAll(["more"])), refused)
    }))

  test("fails with what broke the connection", () =>
    Effect.gen(function*() {
      const { client, server, streams } = yield* connectedPair
      const socket = yield* client.toSocket
      const reader = yield* socket.reader
      const writer = yield* socket.writer
      yield* writer.write("x")
      yield* server.read()
      yield* resetByUs(streams.server)
      assert.deepStrictEqual(yield* reasonOf(reader.pull), { reason: "SocketReadError", cause: "Reset" })
      assert.deepStrictEqual(yield* reasonOf(writer.write("y")), { reason: "SocketWriteError", cause: "Reset" })
    }))

  test("fails with ConcurrentRead as the cause where somebody else reads", () =>
    Effect.gen(function*() {
      const { client } = yield* connectedPair
      yield* Effect.forkScoped(client.read(), { startImmediately: true })
      const reader = yield* (yield* client.toSocket).reader
      assert.deepStrictEqual(yield* reasonOf(reader.pull), { reason: "SocketReadError", cause: "ConcurrentRead" })
    }))

  test("loses nothing when a pull is interrupted", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const reader = yield* (yield* client.toSocket).reader
      const pulling = yield* Effect.forkChild(reader.pull, { startImmediately: true })
      yield* Fiber.interrupt(pulling)
      yield* server.write("still there")
      assert.strictEqual(yield* pullText(reader, 11), "still there")
    }))

  test("closes with the scope of its reader, which fails a pull that waits", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const socket = yield* client.toSocket
      const scope = yield* Scope.make()
      const reader = yield* Scope.provide(socket.reader, scope)
      const pulling = yield* Effect.forkChild(reasonOf(reader.pull), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(pulling), { reason: "SocketCloseError", code: 1006 })
      assert.deepStrictEqual(yield* client.closed, { _tag: "Local" })
      assert.strictEqual((yield* Stream.runCollect(server.reads)).length, 0)
    }))

  test("is a channel whose failing input ends it", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const socket = yield* client.toSocket
      const exchange = Stream.make(Buffer.from("x")).pipe(
        Stream.concat(Stream.fail("no more")),
        Stream.pipeThroughChannelOrFail(Socket.toChannelWith<string>()(socket)),
        Stream.runDrain
      )
      const failing = yield* Effect.forkChild(Effect.flip(exchange), { startImmediately: true })
      assert.strictEqual(yield* Fiber.join(failing), "no more")
      yield* Effect.exit(Stream.runDrain(server.reads))
    }))

  test("upgrades to TLS on both sides, and goes on with the same reader and writer", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const { cert, key } = yield* authority.issue({ names: ["db.test"] })
      const { client, server } = yield* connectedPair
      const sockets = { client: yield* client.toSocket, server: yield* server.toSocket }
      const readers = { client: yield* sockets.client.reader, server: yield* sockets.server.reader }
      const writers = { client: yield* sockets.client.writer, server: yield* sockets.server.writer }
      yield* writers.client.write("STARTTLS\n")
      assert.strictEqual(yield* pullText(readers.server, 9), "STARTTLS\n")
      yield* Effect.all([
        readers.server.upgrade({ cert: Buffer.from(cert), key: Redacted.make(Buffer.from(key)) }),
        readers.client.upgrade({ servername: "db.test", ca: [authority.certificate] })
      ], { concurrency: 2 })
      yield* writers.client.write("in TLS")
      assert.strictEqual(yield* pullText(readers.server, 6), "in TLS")
      yield* writers.server.write("as well")
      assert.strictEqual(yield* pullText(readers.client, 7), "as well")
    }))

  test("fails with the cause when an upgrade does, and is closed then", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const { cert, key } = yield* authority.issue({ names: ["db.test"] })
      const { client, server } = yield* connectedPair
      const readers = {
        client: yield* (yield* client.toSocket).reader,
        server: yield* (yield* server.toSocket).reader
      }
      const serving = yield* Effect.forkChild(Effect.exit(readers.server.upgrade({ cert, key: Redacted.make(key) })))
      const refused = yield* reasonOf(readers.client.upgrade({ servername: "other.test", ca: authority.certificate }))
      assert.deepStrictEqual(refused, { reason: "SocketUpgradeError", cause: "TlsHandshake" })
      assert.deepStrictEqual(yield* reasonOf(readers.client.pull), { reason: "SocketCloseError", code: 1006 })
      yield* Fiber.join(serving)
    }))

  test("fails with TlsConfigError as the cause when a server upgrades without a certificate", () =>
    Effect.gen(function*() {
      const { server } = yield* connectedPair
      const reader = yield* (yield* server.toSocket).reader
      assert.deepStrictEqual(yield* reasonOf(reader.upgrade()), {
        reason: "SocketUpgradeError",
        cause: "TlsConfigError"
      })
    }))
})

describeOnNetworks("TcpClient.makeSocket", (test) => {
  test("connects when its reader is acquired, and a write waits until then", () =>
    Effect.gen(function*() {
      const { accept, socket } = yield* listening
      const writer = yield* socket.writer
      const accepting = yield* Effect.forkChild(accept)
      const writing = yield* Effect.forkChild(writer.writeAll(["early", " bird"]), { startImmediately: true })
      yield* turns(20)
      assert.isUndefined(accepting.pollUnsafe())
      assert.isUndefined(writing.pollUnsafe())
      const reader = yield* socket.reader
      yield* Fiber.join(writing)
      const server = yield* Fiber.join(accepting)
      assert.strictEqual(String(yield* server.readExactly(10)), "early bird")
      yield* server.write("worm")
      assert.strictEqual(yield* pullText(reader, 4), "worm")
    }))

  test("connects anew each time, and closes with the scope of each", () =>
    Effect.gen(function*() {
      const { accept, socket } = yield* listening
      const writer = yield* socket.writer
      const scope = yield* Effect.scope
      for (const word of ["one", "two", "three"]) {
        const server = yield* Effect.scoped(Effect.gen(function*() {
          const reader = yield* socket.reader
          const server = yield* Scope.provide(accept, scope)
          yield* writer.write(word)
          assert.strictEqual(String(yield* server.readExactly(word.length)), word)
          yield* server.write(`${word}!`)
          assert.strictEqual(yield* pullText(reader, word.length + 1), `${word}!`)
          return server
        }))
        assert.deepStrictEqual(yield* server.closed, { _tag: "Peer" })
      }
    }))

  test("fails a pull that waits when its scope closes, and writes wait for the next connection", () =>
    Effect.gen(function*() {
      const { accept, socket } = yield* listening
      const writer = yield* socket.writer
      const scope = yield* Scope.make()
      const reader = yield* Scope.provide(socket.reader, scope)
      yield* accept
      const pulling = yield* Effect.forkChild(reasonOf(reader.pull), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(pulling), { reason: "SocketCloseError", code: 1006 })
      const writing = yield* Effect.forkChild(writer.write("later"), { startImmediately: true })
      yield* turns(5)
      assert.isUndefined(writing.pollUnsafe())
      yield* socket.reader
      yield* Fiber.join(writing)
      assert.strictEqual(String(yield* (yield* accept).readExactly(5)), "later")
    }))

  test("is a stream, which a retry connects again", () =>
    Effect.gen(function*() {
      const { accept, socket } = yield* listening
      yield* Effect.forkScoped(
        Effect.gen(function*() {
          for (const text of ["first ", "second"]) {
            yield* Effect.scoped(Effect.flatMap(accept, (server) => server.write(text)))
          }
        })
      )
      const all = yield* Effect.all([readAll(socket), readAll(socket)])
      assert.deepStrictEqual(all.map(String), ["first ", "second"])
    }))

  test("says why it could not connect", () =>
    Effect.gen(function*() {
      const socketTo = (target: string, options?: TcpClient.ConnectOptions) =>
        Effect.provide(TcpClient.makeSocket(target, options), TcpClient.layer)
      const refused = yield* socketTo(`127.0.0.1:${yield* closedPort}`)
      assert.deepStrictEqual(yield* reasonOf(refused.reader), {
        reason: "SocketOpenError",
        kind: "Unknown",
        cause: "Refused"
      })
      const unusable = yield* socketTo("127.0.0.1:1", { tls: { ca: "no such file.pem" } })
      assert.deepStrictEqual(yield* reasonOf(unusable.reader), {
        reason: "SocketOpenError",
        kind: "Unknown",
        cause: "TlsConfigError"
      })
    }))

  test("leaves nothing when it is interrupted while it connects", () =>
    Effect.gen(function*() {
      const { socket } = yield* listening
      for (const wait of [0, 1, 2]) {
        const opening = yield* Effect.forkChild(Effect.scoped(socket.reader), { startImmediately: true })
        yield* turns(wait)
        yield* Fiber.interrupt(opening)
      }
    }))
})

const Rpcs = RpcGroup.make(
  Rpc.make("Greet", { payload: { name: Schema.String }, success: Schema.String, error: Schema.String }),
  Rpc.make("Count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true })
)

const Handlers = Rpcs.toLayer({
  Greet: ({ name }) => name === "" ? Effect.fail("nobody") : Effect.succeed(`hello ${name}`),
  Count: ({ to }) => Stream.range(1, to)
})

/** Effect's own idea of a server of sockets, over ours. */
const layerSocketServer = Layer.effect(
  SocketServer.SocketServer,
  Effect.map(TcpServer.TcpServer, ({ address, serve }) =>
    SocketServer.SocketServer.of({
      address,
      run: (handler) => Effect.orDie(serve((connection) => Effect.asVoid(Effect.flatMap(connection.toSocket, handler))))
    }))
)

describeOnNetworks("a program for Effect's own sockets", (test) => {
  test("Effect's RPC runs over connections of both sides", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const tls = yield* authority.issue({ names: ["127.0.0.1"] })
      for (const secure of [false, true]) {
        yield* Effect.scoped(Effect.gen(function*() {
          const server = yield* Layer.build(
            RpcServer.layer(Rpcs).pipe(
              Layer.provide([Handlers, RpcServer.layerProtocolSocketServer]),
              Layer.provide([RpcSerialization.layerNdjson, layerSocketServer]),
              Layer.provideMerge(TcpServer.layer({ port: 0, drainTimeout: 0, ...(secure ? { tls } : {}) }))
            )
          )
          const { address } = yield* Effect.provide(TcpServer.TcpServer, server)
          const Protocol = RpcClient.layerProtocolSocket().pipe(
            Layer.provide(
              TcpClient.layerSocket(address, secure ? { tls: { ca: authority.certificate } } : {})
            ),
            Layer.provide([TcpClient.layer, RpcSerialization.layerNdjson])
          )
          const protocol = yield* Layer.build(Protocol)
          const client = yield* Effect.provide(RpcClient.make(Rpcs), protocol)
          const greetings = yield* Effect.forEach(["a", "b", "c"], (name) => client.Greet({ name }), { concurrency: 3 })
          assert.deepStrictEqual(greetings, ["hello a", "hello b", "hello c"])
          assert.strictEqual(yield* Effect.flip(client.Greet({ name: "" })), "nobody")
          assert.deepStrictEqual(yield* Stream.runCollect(client.Count({ to: 5 })), [1, 2, 3, 4, 5])
        }))
      }
    }), 30_000)
})

describe("TcpClient.makeSocket in time", () => {
  it.live("says that connecting took too long", () =>
    leavesNothing(
      Effect.gen(function*() {
        const port = yield* blackhole
        const socket = yield* TcpClient.makeSocket(`127.0.0.1:${port}`, { connectTimeout: "50 millis" })
        assert.deepStrictEqual(yield* reasonOf(socket.reader), {
          reason: "SocketOpenError",
          kind: "Timeout",
          cause: "ConnectTimeout"
        })
      }).pipe(Effect.scoped, Effect.provide(TcpClient.layer.pipe(Layer.provide(Dialer.layer))))
    ))
})

describe("TcpClient.layerSocket", () => {
  it.live("keeps two networks apart, though it is one value", () =>
    Effect.gen(function*() {
      const layer = TcpClient.layerSocket("db.test:1")
      const heard = yield* Effect.forEach(["left", "right"], (name) =>
        Effect.gen(function*() {
          const { accept } = yield* (yield* Listener.Listener).bind({ host: "db.test", port: 1 })
          yield* Effect.forkScoped(
            Effect.flatMap(accept, (duplex) =>
              Effect.flatMap(
                Connection.fromDuplex(duplex),
                (server) => Effect.andThen(server.write(name), server.closeWrite)
              ))
          )
          const socket = yield* Layer.build(layer)
          return String(yield* Effect.provide(Effect.flatMap(Socket.Socket, readAll), socket))
        }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(TcpClient.layer, TestNetwork.layer()))))
      assert.deepStrictEqual(heard, ["left", "right"])
    }))
})
