import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http2 from "node:http2"
import { greeterProto, grpcInjector, grpcServer } from "../../examples/peers/grpcServer.ts"
import type { DialError } from "../../src/errors/DialError.ts"
import { GrpcError } from "../../src/errors/GrpcError.ts"
import { Route } from "../../src/internal/grpc/transport.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks, type NetworkTest } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"
import { blackhole, closedBy, closedPort, rawServer } from "../support/servers.ts"

const schema = GrpcSchema.fromFile(greeterProto)

const connect = (url: string, options: Partial<Grpc.ConnectOptions> = {}) =>
  Grpc.Grpc.use((grpc) => grpc.connect({ url, schema, ...options })).pipe(Effect.provide(Grpc.layer))

const connectTo = (port: number, options: Partial<Grpc.ConnectOptions> = {}) =>
  connect(`http://127.0.0.1:${port}`, options)

/** The Greeter, on whatever network there is. */
const served = Effect.gen(function*() {
  const { inject, seen } = yield* grpcInjector()
  const listener = yield* Listener.Listener
  const { accept, address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(accept, (duplex) => Effect.sync(() => inject(duplex)))))
  assert(NetAddress.isInetAddress(address))
  return { seen, url: `http://127.0.0.1:${address.port}` }
})

const until = (holds: () => boolean) =>
  Effect.gen(function*() {
    while (!holds()) yield* turn
  })

/** Waits until a number has not changed for some hundred turns of the event loop. */
const settled = (read: () => number) =>
  Effect.gen(function*() {
    for (let same = 0, last = read(); same < 300; same++) {
      yield* turn
      if (read() !== last) {
        same = 0
        last = read()
      }
    }
    return read()
  })

const statuses = [
  "Cancelled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated"
]

const suite = (test: NetworkTest) => {
  test("calls a unary method", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const reply = yield* channel.unary("greeter.v1.Greeter/SayHello", { name: "Ada", language: "FRENCH" })
      assert.deepStrictEqual(reply, { greeting: "Bonjour Ada", number: 0n, padding: new Uint8Array(0) })
    }))

  test("gives back a message with a field of every kind", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const person = { name: "Grace", language: "ENGLISH" }
      const values = {
        small: -2147483648,
        smallUnsigned: 4294967295,
        big: -9223372036854775808n,
        bigUnsigned: 18446744073709551615n,
        zigzag: -1n,
        fixed: 9007199254740993n,
        single: 0.5,
        real: Math.PI,
        flag: true,
        text: "naïve 🙂",
        data: new Uint8Array([0, 255]),
        language: "FRENCH",
        nestedMessage: person,
        numbers: [1, -1, 0],
        people: [person, { name: "", language: "ENGLISH" }],
        counts: { a: 1, "": 2 },
        namesById: { "-9223372036854775808": "least", "9007199254740993": "not a double" },
        byFlag: { true: person },
        maybe: 0,
        chosenNumber: 7n
      }
      assert.deepStrictEqual(yield* channel.unary("greeter.v1.Greeter/Echo", values), values)
    }))

  test("makes many calls at once over one connection", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const replies = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, i) => `n${i}`),
        (name) => channel.unary("greeter.v1.Greeter/SayHello", { name }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(replies.map((reply) => reply["greeting"]), replies.map((_, i) => `Hello n${i}`))
    }))

  test("streams every message of a server, in order", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const numbers = yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { name: "Ada", count: 500 }).pipe(
        Stream.map((reply) => reply["number"]),
        Stream.runCollect
      )
      assert.deepStrictEqual(numbers, Array.from({ length: 500 }, (_, i) => BigInt(i + 1)))
    }))

  test("carries messages that are larger than any window", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const data = new Uint8Array(70_000).map((_, i) => i)
      const reply = yield* channel.unary("greeter.v1.Greeter/Echo", { data })
      assert.deepStrictEqual(reply["data"], data)
    }))

  test("turns statuses into reasons, with their trailers", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      for (const [index, tag] of statuses.entries()) {
        const error = yield* Effect.flip(
          channel.unary("greeter.v1.Greeter/Fail", { code: index + 1, message: `as asked, 50% ü` })
        )
        assert(error instanceof GrpcError)
        assert.strictEqual(error.method, "greeter.v1.Greeter/Fail")
        assert.strictEqual(error.reason._tag, tag)
        assert.strictEqual(error.reason.code, index + 1)
        assert.strictEqual(error.reason.message, "as asked, 50% ü")
        assert.deepStrictEqual(error.reason.trailers.text["x-request-id"], ["42"])
        assert.deepStrictEqual(error.reason.trailers.binary["x-trace-bin"], [new Uint8Array([0, 1, 254, 255])])
        assert.strictEqual(error.isRetryable, tag === "Unavailable")
      }
    }))

  test("fails with Unimplemented where the server has no such method", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const reason = yield* reasonOf(channel.unary("greeter.v1.Greeter/NotThere", {}))
      assert.strictEqual(reason["_tag"], "Unimplemented")
    }))

  test("gives the messages that came before a stream's error", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const seen: Array<unknown> = []
      const error = yield* Effect.flip(
        channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1000, failAfter: 3 }).pipe(
          Stream.runForEach((reply) => Effect.sync(() => seen.push(reply["number"])))
        )
      )
      assert(error._tag === "GrpcError")
      assert.strictEqual(error.reason._tag, "Aborted")
      assert.strictEqual(error.reason.message, "after 3")
      assert.deepStrictEqual(seen, [1n, 2n, 3n])
    }))

  test("sends metadata of the channel and of the call, and gives back headers and trailers", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url, {
        metadata: { authorization: Redacted.make("Bearer secret"), "x-many": ["a", "b"] }
      })
      const { headers, trailers, value } = yield* channel.exchange("greeter.v1.Greeter/SayHello", { name: "Ada" }, {
        metadata: { "x-many": "c", "x-raw-bin": new Uint8Array([255, 0]) }
      })
      assert.strictEqual(value["greeting"], "Hello Ada")
      assert.deepStrictEqual(headers.text["x-served-by"], ["greeter"])
      assert.deepStrictEqual(trailers.text["x-request-id"], ["42"])
      assert.deepStrictEqual(trailers.binary["x-trace-bin"], [new Uint8Array([0, 1, 254, 255])])
      assert.deepStrictEqual(seen.metadata?.get("authorization"), ["Bearer secret"])
      assert.deepStrictEqual(seen.metadata?.get("x-many").join(), "a, b, c")
      assert.deepStrictEqual(seen.metadata?.get("x-raw-bin"), [Buffer.from([255, 0])])
    }))

  test("tells the server the deadline", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const reply = yield* channel.unary("greeter.v1.Greeter/Wait", { delay: {} }, { timeout: "30 seconds" })
      const remaining = Number(reply["remainingMillis"])
      assert.isTrue(remaining > 1_000 && remaining <= 30_000, `${remaining}`)
    }))

  test("fails with DeadlineExceeded when the timeout passes, and the server sees it", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const unary = yield* reasonOf(channel.unary("greeter.v1.Greeter/Wait", {}, { timeout: "100 millis" }))
      assert.strictEqual(unary["_tag"], "DeadlineExceeded")
      const stream = yield* reasonOf(
        channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e9 }, { timeout: "100 millis" }).pipe(
          Stream.runDrain
        )
      )
      assert.strictEqual(stream["_tag"], "DeadlineExceeded")
      yield* until(() => seen.cancelled === 2)
    }))

  test("cancels a unary call on the wire when it is interrupted", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const fiber = yield* Effect.forkChild(channel.unary("greeter.v1.Greeter/Wait", {}))
      yield* until(() => seen.metadata !== undefined)
      yield* Fiber.interrupt(fiber)
      yield* until(() => seen.cancelled === 1)
    }))

  test("cancels a stream on the wire when its reader has enough", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const some = yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e9 }).pipe(
        Stream.take(3),
        Stream.runCollect
      )
      assert.strictEqual(some.length, 3)
      yield* until(() => seen.cancelled === 1)
    }))

  test("holds the server back while nobody reads", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url, { flowControlWindow: 65_535 })
      const begun = yield* Deferred.make<void>()
      const reader = yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e6, paddingSize: 1024 })
        .pipe(
          Stream.runForEach(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)),
          Effect.forkChild
        )
      yield* Deferred.await(begun)
      // a window of 64 KiB, the 16 messages that are read ahead and what both sides' streams hold
      const sent = yield* settled(() => seen.sent)
      assert.isBelow(sent, 512)
      yield* Fiber.interrupt(reader)
      yield* until(() => seen.cancelled === 1)
    }))

  test("loses nothing to a slow reader", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url, { flowControlWindow: 65_535 })
      let count = 0n
      yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 100, paddingSize: 1024 }).pipe(
        Stream.runForEach((reply) =>
          Effect.gen(function*() {
            yield* turn
            assert.strictEqual(reply["number"], ++count)
          })
        )
      )
      assert.strictEqual(count, 100n)
    }))

  test("fails calls with Cancelled when the channel's scope closes", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(connect(url), scope)
      const call = yield* Effect.forkChild(reasonOf(channel.unary("greeter.v1.Greeter/Wait", {})))
      const stream = yield* Effect.forkChild(
        reasonOf(Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e9 })))
      )
      yield* until(() => seen.metadata !== undefined && seen.sent > 0)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(call))["_tag"], "Cancelled")
      assert.strictEqual((yield* Fiber.join(stream))["_tag"], "Cancelled")
      const late = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}))
      assert.strictEqual(late["_tag"], "Cancelled")
      const lateStream = yield* reasonOf(Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", {})))
      assert.strictEqual(lateStream["_tag"], "Cancelled")
      yield* until(() => seen.cancelled === 2)
    }))

  test("refuses messages that are larger than it may receive", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url, { maxReceiveSize: 1000 })
      const reason = yield* reasonOf(channel.unary("greeter.v1.Greeter/Echo", { data: new Uint8Array(2000) }))
      assert.strictEqual(reason["_tag"], "ResourceExhausted")
    }))

  test("checks requests before it sends anything", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const unknown = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHelo", {}))
      assert.strictEqual(unknown["_tag"], "UnknownMethod")
      const kind = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHellos", {}))
      assert.strictEqual(kind["_tag"], "WrongKind")
      const field = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", { nome: "Ada" }))
      assert.strictEqual(field["path"], "nome")
      const stream = yield* reasonOf(
        Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", { count: "many" }))
      )
      assert.strictEqual(stream["path"], "count")
      const metadata = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}, { metadata: { "x-a": "ü" } }))
      assert.strictEqual(metadata["path"], "metadata.x-a")
      assert.isUndefined(seen.metadata)
    }))
}

describeOnNetworks("Grpc", suite)

describeOnNetworks(
  "Grpc with a relay",
  (test) => suite((title, body, timeout) => test(title, () => Effect.provideService(body(), Route, "relay"), timeout))
)

/** Both ways of giving grpc-js our connections, on loopback. */
const onBothRoutes = (title: string, body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Scope.Scope>) => {
  for (const route of ["connector", "relay"] as const) {
    it.live(`${title} (${route})`, () =>
      leavesNothing(body().pipe(Effect.provideService(Route, route), Effect.provide(Dialer.layer))))
  }
}

/** A server of Node's own HTTP/2, for what grpc-js's would not do; by default it says Unimplemented. */
const http2Server = Effect.fnUntraced(function*(options: {
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly answer?: (stream: Http2.ServerHttp2Stream) => void
}) {
  const headers: Array<Http2.IncomingHttpHeaders> = []
  const server = yield* Effect.acquireRelease(
    Effect.callback<Http2.Http2Server>((resume) => {
      const server = options.tls === undefined ? Http2.createServer() : Http2.createSecureServer(options.tls)
      server.on("stream", (stream: Http2.ServerHttp2Stream, received: Http2.IncomingHttpHeaders) => {
        headers.push(received)
        if (options.answer !== undefined) return options.answer(stream)
        stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "12" }, { endStream: true })
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )
  const address = server.address()
  assert(typeof address === "object" && address !== null)
  return { port: address.port, headers }
})

/** Answers with these messages, as they stand on the wire, and then with OK. */
const answering = (...messages: ReadonlyArray<ReadonlyArray<number>>) => (stream: Http2.ServerHttp2Stream) => {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true })
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
  stream.end(Buffer.concat(messages.map((bytes) => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]))))
}

describe("Grpc.connect", () => {
  onBothRoutes("fails with the DialError of a server that is not there", () =>
    Effect.gen(function*() {
      const error: DialError = yield* Effect.flip(connectTo(yield* closedPort)).pipe(
        Effect.filterOrFail((error) => error._tag === "DialError")
      )
      assert.strictEqual(error.hop, "direct")
      assert.strictEqual(error.reason._tag, "Refused")
    }))

  onBothRoutes("does not wait for ever for a server that accepts and says nothing", () =>
    Effect.gen(function*() {
      const server = yield* rawServer()
      const error = yield* Effect.flip(connectTo(server.port, { connectTimeout: "200 millis" }))
      assert(error._tag === "DialError")
      assert.strictEqual(error.hop, "http/2")
      assert.strictEqual(error.reason._tag, "ConnectTimeout")
    }))

  onBothRoutes("says so when a server closes the connection at once", () =>
    Effect.gen(function*() {
      const server = yield* rawServer()
      yield* Effect.forkScoped(Effect.andThen(server.next, (socket) => Effect.sync(() => socket.destroy())))
      const error = yield* Effect.flip(connectTo(server.port))
      assert(error._tag === "DialError")
      assert.strictEqual(error.hop, "http/2")
    }))

  it.live("says so when the server does not speak HTTP/2", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        yield* Effect.forkScoped(
          Effect.andThen(server.next, (socket) => Effect.sync(() => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")))
        )
        const error = yield* Effect.flip(connectTo(server.port))
        assert(error._tag === "DialError")
        assert.strictEqual(error.hop, "http/2")
        assert.strictEqual(error.reason._tag, "Unknown")
      }).pipe(Effect.provide(Dialer.layer))
    ))

  for (const scheme of ["http", "https"]) {
    onBothRoutes(
      `leaves nothing behind when it is interrupted while a ${scheme} server is silent`,
      () =>
        Effect.gen(function*() {
          const server = yield* rawServer()
          const fiber = yield* Effect.forkChild(Effect.scoped(connect(`${scheme}://${server.address}`)))
          const socket = yield* server.next
          // the first bytes of the handshake have come: it is waited for
          yield* Effect.callback<void>((resume) => void socket.once("data", () => resume(Effect.void)).resume())
          const closed = yield* Effect.forkChild(closedBy(socket), { startImmediately: true })
          yield* Fiber.interrupt(fiber)
          yield* Fiber.join(closed)
        })
    )
  }

  onBothRoutes("leaves nothing behind when it is interrupted while it dials", () =>
    Effect.gen(function*() {
      const port = yield* blackhole
      const fiber = yield* Effect.forkChild(Effect.scoped(connectTo(port)))
      yield* turn
      yield* Fiber.interrupt(fiber)
    }))

  onBothRoutes("connects again by itself, and fails with the DialError while it cannot", () =>
    Effect.gen(function*() {
      const first = yield* Scope.make()
      const { port } = yield* Scope.provide(grpcServer(), first)
      const channel = yield* connectTo(port)
      const hello = (waitForReady: boolean) =>
        channel.unary("greeter.v1.Greeter/SayHello", { name: "Ada" }, { waitForReady, timeout: "30 seconds" })
      yield* hello(false)
      yield* Scope.close(first, Exit.void)
      const error = yield* Effect.flip(hello(false)).pipe(
        // as long as the end of the old connection has not come to us
        Effect.repeat({ until: (error) => !(error._tag === "GrpcError" && error.isRetryable) })
      )
      assert(error._tag === "DialError", String(error))
      assert.strictEqual(error.reason._tag, "Refused")
      yield* grpcServer({ port })
      assert.strictEqual((yield* hello(true))["greeting"], "Hello Ada")
    }))

  onBothRoutes(
    "says http and the URL's host to the server, and nothing of the deadline when there is none",
    () =>
      Effect.gen(function*() {
        const { headers, port } = yield* http2Server({})
        const channel = yield* connectTo(port)
        yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}))
        yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}, { timeout: "20 seconds" }))
        assert.strictEqual(headers[0]?.[":scheme"], "http")
        assert.strictEqual(headers[0]?.[":authority"], `127.0.0.1:${port}`)
        assert.strictEqual(headers[0]?.[":path"], "/greeter.v1.Greeter/SayHello")
        assert.isUndefined(headers[0]?.["grpc-timeout"])
        assert.match(String(headers[1]?.["grpc-timeout"]), /^\d+[mS]$/)
      })
  )

  onBothRoutes("speaks TLS to a server whose certificate checks out, and says https", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const { headers, port } = yield* http2Server({ tls: yield* authority.issue({ names: ["localhost"] }) })
      const channel = yield* connect(`https://localhost:${port}`, { tls: { ca: authority.certificate } })
      yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}))
      assert.strictEqual(headers[0]?.[":scheme"], "https")
      assert.strictEqual(headers[0]?.[":authority"], `localhost:${port}`)
    }))

  it.live("shows a client certificate to a server that wants one", () =>
    leavesNothing(
      Effect.gen(function*() {
        const authority = yield* TestCertificates.authority()
        const own = yield* authority.issue({ names: ["127.0.0.1"] })
        const { port } = yield* grpcServer({ tls: { ...own, ca: authority.certificate } })
        const client = yield* authority.issue({ names: ["client"], client: true })
        const channel = yield* connect(`https://127.0.0.1:${port}`, { tls: { ca: authority.certificate, ...client } })
        const reply = yield* channel.unary("greeter.v1.Greeter/SayHello", { name: "Ada" })
        assert.strictEqual(reply["greeting"], "Hello Ada")
      }).pipe(Effect.provide(Dialer.layer))
    ))

  onBothRoutes("refuses a certificate of another authority or for another name", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const other = yield* TestCertificates.authority()
      const { port } = yield* grpcServer({ tls: yield* authority.issue({ names: ["greeter.test"] }) })
      const refusal = Effect.fnUntraced(function*(ca: string) {
        const error = yield* Effect.flip(connect(`https://127.0.0.1:${port}`, { tls: { ca } }))
        assert(error._tag === "DialError" && error.reason._tag === "TlsHandshake", String(error))
        assert.strictEqual(error.hop, "tls")
        return error.reason.check
      })
      assert.strictEqual(yield* refusal(other.certificate), "issuer")
      assert.strictEqual(yield* refusal(authority.certificate), "name")
      const config = yield* Effect.flip(connect(`https://127.0.0.1:${port}`, { tls: { ca: "/nowhere.pem" } }))
      assert.strictEqual(config._tag, "TlsConfigError")
    }))

  onBothRoutes("takes no notice of proxies in the environment", () =>
    Effect.gen(function*() {
      const names = ["http_proxy", "https_proxy", "grpc_proxy"]
      const before = names.map((name) => process.env[name])
      const proxy = yield* rawServer()
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          for (const name of names) process.env[name] = `http://${proxy.address}`
        }),
        () =>
          Effect.sync(() => {
            for (const [i, name] of names.entries()) {
              if (before[i] === undefined) delete process.env[name]
              else process.env[name] = before[i]
            }
          })
      )
      const { port } = yield* grpcServer()
      const channel = yield* connectTo(port)
      yield* channel.unary("greeter.v1.Greeter/SayHello", {})
      assert.strictEqual(proxy.sockets.size, 0)
    }))

  it.effect("understands URLs, or says why it cannot", () =>
    Effect.gen(function*() {
      const why = (url: string, options: Partial<Grpc.ConnectOptions> = {}) =>
        Effect.map(Effect.flip(connect(url, options)), (error) => error.message)
      assert.include(yield* why("localhost"), "http://host:port")
      assert.include(yield* why("ftp://a:1"), "http://host:port")
      assert.include(yield* why("http://a:1/path"), "no path")
      assert.include(yield* why("http://a:1", { tls: {} }), "https")
      assert.include(yield* why("http://a:0"), "port 0")
      const withSecret = yield* why("http://me:hunter2@a:1")
      assert.include(withSecret, "metadata")
      assert.notInclude(withSecret, "hunter2")
    }).pipe(Effect.scoped, Effect.provide(Layer.fresh(Dialer.layer))))
})

describe("GrpcChannel", () => {
  for (
    const [what, messages] of [
      ["no message", []],
      ["two messages", [[], []]],
      ["bytes that are not the message", [[10, 200, 1]]]
    ] as const
  ) {
    onBothRoutes(`fails with Internal when a server answers a unary call with ${what}`, () =>
      Effect.gen(function*() {
        const { port } = yield* http2Server({ answer: answering(...messages) })
        const channel = yield* connectTo(port)
        const reason = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}))
        assert.strictEqual(reason["_tag"], "Internal")
      }))
  }

  onBothRoutes("fails with Internal when a stream has bytes that are not the message", () =>
    Effect.gen(function*() {
      const { port } = yield* http2Server({ answer: answering([], [10, 200, 1]) })
      const channel = yield* connectTo(port)
      const reason = yield* reasonOf(Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", {})))
      assert.strictEqual(reason["_tag"], "Internal")
    }))

  onBothRoutes("says what the schema offers", () =>
    Effect.gen(function*() {
      const { port } = yield* grpcServer()
      const channel = yield* connectTo(port)
      assert.deepStrictEqual(channel.services.map(({ name }) => name), ["greeter.v1.Greeter"])
      assert.include(channel.methods("greeter.v1.Greeter").map(({ name }) => name), "SayHellos")
      assert.deepStrictEqual(channel.methods("other.Service"), [])
      const method = yield* channel.describe("greeter.v1.Greeter/SayHellos")
      assert.strictEqual(method.kind, "serverStream")
      assert.strictEqual((yield* reasonOf(channel.describe("greeter.v1.Greeter/No")))["_tag"], "UnknownMethod")
    }))
})
