/** What has to run over the test network unchanged: TLS, HTTP/2, gRPC and SSH, with their own libraries at both ends. */
import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Http2 from "node:http2"
import type { Duplex } from "node:stream"
import * as Ssh2 from "ssh2"
import * as TlsHandshake from "../../src/internal/tls/handshake.ts"
import { resolve } from "../../src/internal/tls/options.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { leavesNothing } from "../support/leaks.ts"
import { connected, echo, readAll } from "../support/streams.ts"

const on = (options: TestNetwork.NetworkOptions = {}) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  leavesNothing(Effect.provide(Effect.scoped(effect), TestNetwork.layer(options)))

const bytes = Buffer.alloc(1024 * 1024, Buffer.from(Array.from({ length: 251 }, (_, i) => i)))

/** A TLS client and a TLS server of one authority, over the network of the test. */
const encrypted = Effect.fnUntraced(function*(dialed: string, issuedFor: string, alpn?: ReadonlyArray<string>) {
  const authority = yield* TestCertificates.authority()
  const own = yield* resolve({ ...yield* authority.issue({ names: [issuedFor] }), alpn })
  const bound = yield* (yield* Listener.Listener).bind({ host: dialed, port: 443 })
  const accepting = yield* Effect.forkChild(
    Effect.flatMap(bound.accept, (duplex) => TlsHandshake.server(duplex, own)),
    { startImmediately: true }
  )
  const context = yield* Layer.build(Tls.layer({ ca: authority.certificate, alpn }))
  const client = yield* Effect.provide(Dialer.Dialer.use((dialer) => dialer.dial(`${dialed}:443`)), context)
  return { client, server: yield* Fiber.join(accepting) }
})

/** Has an HTTP/2 server at one end send back what a client at the other end posts. */
const postAndEcho = (client: Duplex, server: Duplex, settings: Http2.Settings, body: Buffer) =>
  Effect.callback<Buffer>((resume) => {
    const echoing = Http2.createServer({ settings })
    echoing.on("stream", (stream) => {
      stream.respond({ ":status": 200 })
      stream.pipe(stream)
    })
    echoing.emit("connection", server)
    const session = Http2.connect("http://server", { createConnection: () => client, settings })
    session.once("remoteSettings", () => {
      session.setLocalWindowSize(settings.initialWindowSize ?? 65_535)
      const request = session.request({ ":method": "POST" })
      const pieces: Array<Buffer> = []
      request.on("data", (piece: Buffer) => pieces.push(piece))
      request.once("end", () => session.close(() => resume(Effect.succeed(Buffer.concat(pieces)))))
      request.end(body)
    })
    return Effect.sync(() => session.destroy())
  })

/** Logs in with a password, runs a command and gives what it printed. */
const sshExec = (client: Duplex, server: Duplex, hostKey: string) =>
  Effect.callback<string, Error>((resume) => {
    const sshd = new Ssh2.Server({ hostKeys: [hostKey] }, (connection) => {
      connection
        .on("error", () => {})
        .on("authentication", (attempt) =>
          attempt.method === "password" && attempt.password === "secret"
            ? attempt.accept()
            : attempt.reject(["password"]))
        .on("session", (accept) =>
          accept().on("exec", (accept, _reject, { command }) => {
            const channel = accept()
            channel.write(`${command}: ${"x".repeat(20_000)}`)
            channel.exit(0)
            channel.end()
          }))
    })
    // the types say net.Socket; any Duplex will do
    Reflect.apply(Reflect.get(sshd, "injectSocket"), sshd, [server])
    const ssh = new Ssh2.Client()
    ssh
      .on("error", (error) => resume(Effect.fail(error)))
      .on("ready", () =>
        ssh.exec("greet", (error, channel) => {
          if (error !== undefined) {
            return resume(Effect.fail(error))
          }
          let printed = ""
          channel
            .on("data", (piece: Buffer) => printed += piece)
            .on("close", () => {
              ssh.end()
              resume(Effect.succeed(printed))
            })
        }))
      .connect({ sock: client, username: "ops", password: "secret" })
    return Effect.sync(() => void ssh.destroy())
  })

/** A unary call by hand, as a gRPC client puts it: five bytes of prefix, the message, and the status in the trailers. */
const grpcUnary = (client: Duplex, server: Duplex, message: Buffer) =>
  Effect.callback<{ readonly body: Buffer; readonly status: unknown }>((resume) => {
    const service = new Grpc.Server()
    service.addService({
      Echo: {
        path: "/test.Echo/Echo",
        requestStream: false,
        responseStream: false,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes
      }
    }, {
      Echo: (call: Grpc.ServerUnaryCall<Buffer, Buffer>, reply: Grpc.sendUnaryData<Buffer>) => reply(null, call.request)
    })
    service.createConnectionInjector(Grpc.ServerCredentials.createInsecure()).injectConnection(server)
    const session = Http2.connect("http://server", { createConnection: () => client })
    const call = session.request({
      ":method": "POST",
      ":path": "/test.Echo/Echo",
      "content-type": "application/grpc",
      te: "trailers"
    }, { endStream: false })
    const pieces: Array<Buffer> = []
    let status: unknown
    call.on("data", (piece: Buffer) => pieces.push(piece))
    call.on("trailers", (trailers) => status = trailers["grpc-status"])
    call.once("end", () => session.close(() => resume(Effect.succeed({ body: Buffer.concat(pieces), status }))))
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(message.length, 1)
    call.end(Buffer.concat([prefix, message]))
    return Effect.sync(() => {
      session.destroy()
      service.forceShutdown()
    })
  })

describe("the test network carries", () => {
  it.live("TLS, a mebibyte there and back", () =>
    Effect.gen(function*() {
      const { client, server } = yield* encrypted("db.test", "db.test")
      yield* echo(server)
      const received = yield* Effect.forkChild(readAll(client), { startImmediately: true })
      client.end(bytes)
      assert.isTrue((yield* Fiber.join(received)).bytes.equals(bytes))
    }).pipe(on()))

  it.live("TLS, byte by byte", () =>
    Effect.gen(function*() {
      const { client, server } = yield* encrypted("db.test", "db.test")
      yield* echo(server)
      const received = yield* Effect.forkChild(readAll(client), { startImmediately: true })
      client.end("hello")
      assert.strictEqual(String((yield* Fiber.join(received)).bytes), "hello")
    }).pipe(on({ defaults: { fragment: 1 } })))

  it.live("TLS, which refuses a certificate for another name", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const error = yield* Effect.flip(Effect.scoped(encrypted("db.test", "other.test")))
      assert.strictEqual(error._tag, "DialError")
      assert.include(error.message, "name check")
      assert.deepStrictEqual(yield* network.connections, [])
    }).pipe(on()))

  for (const initialWindowSize of [65_535, 1024 * 1024, 4 * 1024 * 1024 - 1024]) {
    it.live(`HTTP/2, a mebibyte there and back with windows of ${initialWindowSize} bytes`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* connected({ host: "web", port: 80 })
        assert.isTrue((yield* postAndEcho(client, server, { initialWindowSize }, bytes)).equals(bytes))
      }).pipe(on()))
  }

  it.live("HTTP/2, byte by byte", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({ host: "web", port: 80 })
      const some = bytes.subarray(0, 5000)
      assert.isTrue((yield* postAndEcho(client, server, {}, some)).equals(some))
    }).pipe(on({ defaults: { fragment: 1 } })))

  it.live("HTTP/2 over TLS", () =>
    Effect.gen(function*() {
      const { client, server } = yield* encrypted("web", "web", ["h2"])
      assert.isTrue((yield* postAndEcho(client, server, {}, bytes)).equals(bytes))
    }).pipe(on()))

  it.live("gRPC, to grpc-js's own server", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({ host: "rpc", port: 50051 })
      const message = bytes.subarray(0, 300_000)
      const { body, status } = yield* grpcUnary(client, server, message)
      assert.isTrue(body.subarray(5).equals(message))
      assert.strictEqual(status, "0")
    }).pipe(on()))

  for (const algorithm of ["ed25519", "ecdsa", "rsa"] as const) {
    it.live(`SSH: handshake, password and command, with an ${algorithm} host key`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* connected({ host: "bastion", port: 22 })
        const key = algorithm === "ed25519"
          ? Ssh2.utils.generateKeyPairSync("ed25519")
          : Ssh2.utils.generateKeyPairSync(algorithm, { bits: algorithm === "rsa" ? 2048 : 256 })
        const printed = yield* sshExec(client, server, key.private)
        assert.strictEqual(printed.slice(0, 8), "greet: x")
        assert.strictEqual(printed.length, 20_007)
      }).pipe(on()))
  }
})
