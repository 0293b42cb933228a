import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { TestClock } from "effect/testing"
import { TcpError } from "../../src/errors/TcpError.ts"
import { encode } from "../../src/internal/bytes/text.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks, type NetworkTest } from "../support/network.ts"
import { closedBy, closedPort, rawServer } from "../support/servers.ts"
import { turns } from "../support/streams.ts"

type Handler = (connection: Connection.Connection) => Effect.Effect<unknown, unknown>

/** Runs a handler for each client until the scope ends, and says where. */
const serving = Effect.fnUntraced(function*(handler: Handler, options: TcpServer.Options = {}) {
  const services = yield* Layer.build(TcpServer.layer({ port: 0, drainTimeout: 0, ...options }))
  return yield* Effect.gen(function*() {
    const { address, serve } = yield* TcpServer.TcpServer
    yield* Effect.forkScoped(serve((connection) => Effect.asVoid(handler(connection))), { startImmediately: true })
    return address
  }).pipe(Effect.provide(services))
})

/** Answers each first line, then waits: only the client ends the connection. */
const answering = (answer: (line: string) => string | Uint8Array): Handler => (connection) =>
  Effect.flatMap(
    connection.readLine(),
    (line) => Effect.andThen(connection.write(answer(line)), Effect.exit(connection.read()))
  )

const tcp = TcpClient.TcpClient

/** The reason of an error on the open connection. */
const reasonOf = (error: { readonly _tag: string; readonly message: string }) =>
  error instanceof TcpError ? error.reason : assert.fail(error.message)

const text = (encoding: string, content: string) =>
  Effect.mapError(Effect.fromResult(encode(content, encoding)), (reason) => reason.message)

describeOnNetworks("TcpClient", (define) => {
  const test = (
    title: string,
    body: () => Effect.Effect<
      unknown,
      unknown,
      Effect.Services<ReturnType<Parameters<NetworkTest>[1]>> | TcpClient.TcpClient
    >
  ) => define(title, () => Effect.provide(body(), TcpClient.layer))

  test("connects for as long as the scope lives", () =>
    Effect.gen(function*() {
      const address = yield* serving((connection) => Effect.andThen(connection.write("hello\n"), connection.closed))
      const client = yield* tcp
      const connection = yield* Effect.scoped(Effect.tap(client.connect(address), (connection) =>
        Effect.map(connection.readLine(), (line) =>
          assert.strictEqual(line, "hello"))))
      assert.strictEqual((yield* connection.closed)._tag, "Local")
      assert.strictEqual((yield* Effect.flip(connection.read())).reason._tag, "Closed")
    }))

  test("asks, and gives the answer with its marker", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const lines = yield* serving(answering((line) => `you said ${line}\nand more`))
      assert.strictEqual(String(yield* client.request(lines, "hello\n")), "you said hello\n")
      assert.strictEqual(yield* client.requestString(lines, "hello\n"), "you said hello\n")
      const marked = yield* serving(answering(() => "a\nb\r\n.\r\n"))
      assert.strictEqual(yield* client.requestString(marked, "list\n", { marker: "\r\n.\r\n" }), "a\nb\r\n.\r\n")
      const zero = Uint8Array.of(0)
      const bytes = yield* serving(answering(() => "c\n\0"))
      assert.strictEqual(String(yield* client.request(bytes, Buffer.from("x\n"), { marker: zero })), "c\n\0")
    }))

  test("takes the end of the stream for the end of the answer", () =>
    Effect.gen(function*() {
      const address = yield* serving((connection) =>
        Effect.andThen(connection.readLine(), connection.write("no marker"))
      )
      assert.strictEqual(yield* (yield* tcp).requestString(address, "x\n"), "no marker")
    }))

  test("fails with EndOfStream when there is no answer at all", () =>
    Effect.gen(function*() {
      const address = yield* serving((connection) => connection.readLine())
      const reason = reasonOf(yield* Effect.flip((yield* tcp).request(address, "x\n")))
      assert.deepStrictEqual([reason._tag, reason.message, reason.isRetryable], [
        "EndOfStream",
        "the peer has ended the stream",
        false
      ])
    }))

  test("fails with FrameTooLarge when the answer is longer than it may be", () =>
    Effect.gen(function*() {
      const address = yield* serving(answering(() => "0123456789\n"))
      const client = yield* tcp
      const reason = reasonOf(yield* Effect.flip(client.request(address, "x\n", { maxSize: 5 })))
      assert.strictEqual(reason.message, "a frame is longer than the limit of 5 bytes")
      assert.strictEqual(yield* client.requestString(address, "x\n", { maxSize: 10 }), "0123456789\n")
    }))

  test("speaks windows-1251 and UTF-16 in both directions", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      for (const encoding of ["windows-1251", "utf-16le"]) {
        const line = yield* text(encoding, "привет\n")
        const address = yield* serving((connection) =>
          Effect.flatMap(connection.readExactly(line.length), (got) =>
            Effect.andThen(
              connection.write(line.equals(got) ? line : "?"),
              Effect.andThen(connection.write(line), connection.closed)
            ))
        )
        assert.strictEqual(yield* client.requestString(address, "привет\n", { encoding }), "привет\n")
      }
    }))

  test("fails with Encoding before it connects, and on an answer that is no text", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const unsaid = yield* Effect.flip(client.requestString("nowhere.invalid:1", "→", { encoding: "windows-1251" }))
      assert.strictEqual(
        reasonOf(unsaid).message,
        "the character \"→\" does not exist in it (encoding windows-1251)"
      )
      const marker = yield* Effect.flip(
        client.requestString("nowhere.invalid:1", "x", { encoding: "windows-1251", marker: "→" })
      )
      assert.strictEqual(reasonOf(marker)._tag, "Encoding")
      const address = yield* serving(answering(() => Uint8Array.of(0xff, 0xfe, 0x0a)))
      assert.strictEqual(reasonOf(yield* Effect.flip(client.requestString(address, "x\n")))._tag, "Encoding")
    }))

  test("wraps single calls in TLS", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const address = yield* serving(answering((line) => `${line}\n`), { tls: yield* issue({ names: ["127.0.0.1"] }) })
      assert.strictEqual(yield* client.requestString(address, "hello\n", { tls: { ca } }), "hello\n")
      const distrusted = yield* Effect.flip(client.request(address, "hello\n", { tls: true }))
      assert.strictEqual(distrusted._tag === "DialError" && distrusted.reason._tag, "TlsHandshake")
      const unusable = yield* Effect.flip(client.request(address, "hello\n", { tls: { ca: "./missing.pem" } }))
      assert.strictEqual(unusable._tag, "TlsConfigError")
    }))

  test("takes up the TLS sessions of earlier connections that were made with the same options", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const address = yield* serving(answering((line) => `${line}\n`), { tls: yield* issue({ names: ["127.0.0.1"] }) })
      const resumedWith = (tls: TcpClient.ConnectOptions["tls"]) =>
        Effect.scoped(Effect.gen(function*() {
          const connection = yield* client.connect(address, { tls })
          yield* connection.write("hello\n")
          assert.strictEqual(yield* connection.readLine(), "hello")
          return Option.getOrThrow(connection.tls).resumed
        }))
      const same = { ca }
      assert.deepStrictEqual(yield* Effect.all([resumedWith(same), resumedWith(same), resumedWith({ ca })]), [
        false,
        true,
        false
      ])
    }))

  test("sends single calls through a proxy, with TLS to the target inside", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const target = yield* serving(answering((line) => `${line}\n`), { tls: yield* issue({ names: ["db.internal"] }) })
      const asked: Array<string> = []
      // a proxy that leads everybody to the one target
      const proxy = yield* serving((connection) =>
        Effect.scoped(Effect.gen(function*() {
          asked.push(String(yield* connection.readUntil("\r\n\r\n")).split("\r\n")[0] ?? "")
          const onward = yield* client.connect(target)
          yield* connection.write("HTTP/1.1 200 OK\r\n\r\n")
          const copy = (from: Connection.Connection, to: Connection.Connection) =>
            Effect.forever(Effect.flatMap(from.readBatch, (pieces) => to.writeAll(pieces)))
          yield* Effect.race(Effect.exit(copy(connection, onward)), Effect.exit(copy(onward, connection)))
        }))
      )
      const via = `http://127.0.0.1:${"port" in proxy ? proxy.port : 0}`
      const answer = yield* client.requestString("db.internal:443", "hello\n", { proxy: via, tls: { ca } })
      assert.strictEqual(answer, "hello\n")
      assert.deepStrictEqual(asked, ["CONNECT db.internal:443 HTTP/1.1"])
    }))

  test("says what refused it", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip((yield* tcp).request(`127.0.0.1:${yield* closedPort}`, "x\n"))
      assert.strictEqual(error._tag === "DialError" && error.reason._tag, "Refused")
    }))
})

describe("TcpClient.request", () => {
  it.effect("gives up on an answer that does not come, and counts what came of it", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      for (const [part, timeout] of [["", undefined], ["part", Duration.seconds(5)]] as const) {
        const address = yield* serving(answering(() => part))
        const fiber = yield* Effect.forkScoped(Effect.flip(client.request(address, "x\n", { timeout })), {
          startImmediately: true
        })
        yield* turns(50)
        const after = timeout ?? Duration.seconds(30)
        yield* TestClock.adjust(Duration.subtract(after, Duration.millis(1)))
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const reason = reasonOf(yield* Fiber.join(fiber))
        assert.strictEqual(reason._tag === "ReadTimeout" && reason.received, part.length)
        assert.isTrue(reason.isRetryable)
      }
    }).pipe(Effect.provide(TcpClient.layer.pipe(Layer.provideMerge(TestNetwork.layer())))))

  it.effect("gives up on a peer that does not take the request", () =>
    Effect.gen(function*() {
      const client = yield* tcp
      const address = yield* serving(() => Effect.never)
      const fiber = yield* Effect.forkScoped(Effect.flip(client.request(address, Buffer.alloc(1_000_000))), {
        startImmediately: true
      })
      yield* turns(50)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(reasonOf(yield* Fiber.join(fiber))._tag, "WriteTimeout")
    }).pipe(
      Effect.provide(TcpClient.layer.pipe(Layer.provideMerge(TestNetwork.layer({ defaults: { bufferSize: 65_536 } }))))
    ))

  it.live("closes its connection when it is interrupted", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkScoped((yield* tcp).request(server.address, "x\n"), { startImmediately: true })
        const socket = yield* server.next
        yield* turns(5)
        yield* Fiber.interrupt(fiber)
        yield* closedBy(socket)
      }).pipe(Effect.scoped, Effect.provide(TcpClient.layer.pipe(Layer.provide(Dialer.layer))))
    ))

  it.live("leaves nothing after two hundred requests", () =>
    leavesNothing(
      Effect.gen(function*() {
        const client = yield* tcp
        const address = yield* serving(answering((line) => `${line}\n`))
        yield* Effect.forEach(
          Array.from({ length: 200 }),
          (_, i) =>
            Effect.map(client.requestString(address, `${i}\n`), (answer) => assert.strictEqual(answer, `${i}\n`)),
          { concurrency: 16, discard: true }
        )
      }).pipe(Effect.provide(TcpClient.layer.pipe(Layer.provideMerge(Layer.merge(Dialer.layer, Listener.layer)))))
    ))
})
