import { assert, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as NodeTls from "node:tls"
import * as Dialer from "../../src/services/Dialer.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { call, connect, note, serving, session, statusOf, textOf } from "../support/grpcServer.ts"
import { leavesNothing } from "../support/leaks.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"

const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
) =>
  it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer))))

const who = {
  One: GrpcServer.unary((_, { peer, tls }) =>
    Effect.succeed({
      text: Option.match(tls, {
        onNone: () => peer._tag,
        onSome: ({ alpn, peer }) => `${alpn} ${peer?.subject ?? "nobody"}`
      })
    })
  )
}

const portOf = (address: SocketAddress) => "port" in address ? address.port : assert.fail("not an address with a port")

const bytes = (buffer: Buffer) => buffer

/** A call of grpc-js: what came, or the code of the status. */
const ask = (address: SocketAddress, credentials: Grpc.ChannelCredentials) =>
  Effect.acquireUseRelease(
    Effect.sync(() => new Grpc.Client(`localhost:${portOf(address)}`, credentials)),
    (client) =>
      Effect.callback<string | number>((resume) => {
        client.makeUnaryRequest(
          "/test.Notes/One",
          bytes,
          bytes,
          note("x"),
          (error, answer) => resume(Effect.succeed(error === null ? textOf(answer ?? Buffer.alloc(0)) : error.code))
        )
      }),
    (client) => Effect.sync(() => client.close())
  )

test("gRPC servers answer grpc-js in plain text and over TLS, and know clients by their certificates", () =>
  Effect.gen(function*() {
    const { certificate: ca, issue } = yield* TestCertificates.authority()
    const tls = yield* issue({ names: ["localhost"] })
    const client = yield* issue({ names: ["ann"], client: true })
    const root = Buffer.from(ca)
    const known = Grpc.credentials.createSsl(root, Buffer.from(client.key), Buffer.from(client.cert))
    const unknown = Grpc.credentials.createSsl(root)
    const plain = yield* serving(who)
    assert.strictEqual(yield* ask(plain.address, Grpc.credentials.createInsecure()), "Some")
    const secure = yield* serving(who, { tls })
    assert.strictEqual(yield* ask(secure.address, unknown), "h2 nobody")
    const mutual = yield* serving(who, { tls: { ...tls, ca, requestClientCertificate: true } })
    assert.strictEqual(yield* ask(mutual.address, known), "h2 CN=ann")
    assert.strictEqual(yield* ask(mutual.address, unknown), 14)
    assert.strictEqual(yield* ask(mutual.address, known), "h2 CN=ann")
  }))

test("gRPC servers refuse clients over TLS that want to speak something else", () =>
  Effect.gen(function*() {
    const { certificate: ca, issue } = yield* TestCertificates.authority()
    const { address } = yield* serving(who, { tls: yield* issue({ names: ["localhost"] }) })
    const refused = yield* Effect.callback<string>((resume) => {
      NodeTls.connect({
        port: portOf(address),
        host: "127.0.0.1",
        servername: "localhost",
        ca,
        ALPNProtocols: ["http/1.1"]
      })
        .once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? error.message)))
    })
    assert.strictEqual(refused, "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL")
  }))

test("gRPC servers listen on unix sockets", () =>
  Effect.gen(function*() {
    const path = `${yield* temporaryFolder}/grpc.sock`
    const { address } = yield* serving(who, { path, mode: 0o600 })
    assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o600)
    const client = yield* connect(address)
    assert.deepStrictEqual((yield* call(client, "One", [note("x")])).messages.map(textOf), ["None"])
  }))

test("gRPC servers fail to listen where somebody does", () =>
  Effect.gen(function*() {
    const { address } = yield* serving(who)
    const again = Effect.catchTag(serving(who, { port: portOf(address) }), "TlsConfigError", Effect.die)
    assert.include(yield* reasonOf(again), { _tag: "AddressInUse" })
  }))

test("gRPC servers refuse limits that HTTP/2 does not have", () =>
  Effect.gen(function*() {
    for (const limits of [{ flowControlWindow: 0 }, { flowControlWindow: 2 ** 31 }, { maxConcurrentStreams: 1.5 }]) {
      const refused = Effect.catchTag(serving(who, limits), "TlsConfigError", Effect.die)
      assert.include(yield* reasonOf(refused), { _tag: "Unknown" })
    }
  }))

test("gRPC servers let connections beyond the limit wait", () =>
  Effect.gen(function*() {
    const { address } = yield* serving(who, { maxConnections: 1 })
    const dialer = yield* Dialer.Dialer
    const first = yield* dialer.dial(address)
    const one = yield* session(first)
    yield* call(one, "One", [note("x")])
    const two = yield* connect(address)
    const waiting = yield* Effect.forkScoped(call(two, "One", [note("x")]), { startImmediately: true })
    yield* call(one, "One", [note("x")])
    assert.isUndefined(waiting.pollUnsafe())
    one.destroy()
    first.destroy()
    assert.deepStrictEqual(statusOf(yield* Fiber.join(waiting)), ["0", ""])
  }))

test("gRPC servers leave nothing behind after many calls, finished and not", () =>
  Effect.gen(function*() {
    const { address } = yield* serving({
      One: GrpcServer.unary(({ text }) => Effect.succeed({ text })),
      Down: GrpcServer.serverStream(() => Stream.never)
    })
    const client = yield* connect(address)
    yield* Effect.forEach(Array.from({ length: 300 }), () => call(client, "One", [note("x")]), { concurrency: 20 })
    for (let i = 0; i < 50; i++) {
      const under = client.request({
        ":method": "POST",
        ":path": "/test.Notes/Down",
        "content-type": "application/grpc"
      })
      under.on("error", () => {}).end(Buffer.from([0, 0, 0, 0, 0]))
    }
    assert.deepStrictEqual(statusOf(yield* call(client, "One", [note("x")])), ["0", ""])
  }))
