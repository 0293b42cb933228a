import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { DialError } from "../../src/errors/DialError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import type * as Grpc from "../../src/services/Grpc.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { grpcServer } from "../support/greeter.ts"
import { connect, connectTo, http2Server, onLoopback } from "../support/grpc.ts"
import { leavesNothing } from "../support/leaks.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"
import { blackhole, closedBy, closedPort, rawServer } from "../support/servers.ts"

describe("Grpc.connect", () => {
  onLoopback("fails with the DialError of a server that is not there", () =>
    Effect.gen(function*() {
      const error: DialError = yield* Effect.flip(connectTo(yield* closedPort)).pipe(
        Effect.filterOrFail((error) => error._tag === "DialError")
      )
      assert.strictEqual(error.hop, "direct")
      assert.strictEqual(error.reason._tag, "Refused")
    }))

  onLoopback("does not wait for ever for a server that accepts and says nothing", () =>
    Effect.gen(function*() {
      const server = yield* rawServer()
      const error = yield* Effect.flip(connectTo(server.port, { connectTimeout: "200 millis" }))
      assert(error._tag === "DialError")
      assert.strictEqual(error.hop, "http/2")
      assert.strictEqual(error.reason._tag, "ConnectTimeout")
    }))

  onLoopback("says so when a server closes the connection at once", () =>
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
    onLoopback(
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

  onLoopback("leaves nothing behind when it is interrupted while it dials", () =>
    Effect.gen(function*() {
      const port = yield* blackhole
      const fiber = yield* Effect.forkChild(Effect.scoped(connectTo(port)))
      yield* turn
      yield* Fiber.interrupt(fiber)
    }))

  onLoopback("connects again by itself, and fails with the DialError while it cannot", () =>
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

  onLoopback(
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

  onLoopback("speaks TLS to a server whose certificate checks out, and says https", () =>
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

  onLoopback("refuses a certificate of another authority or for another name", () =>
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

  onLoopback("takes no notice of proxies in the environment", () =>
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
