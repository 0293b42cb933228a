import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { Redis } from "./support/redis.ts"
import { ask, command, reply } from "./support/resp.ts"

const client = TcpClient.layer.pipe(Layer.provide(Dialer.layer))

const connect = Effect.gen(function*() {
  const { host, password, port } = yield* Redis
  const tcp = yield* TcpClient.TcpClient
  const connection = yield* tcp.connect({ host, port })
  assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
  return connection
})

layer(Layer.merge(Redis.layer, client), { excludeTestServices: true, timeout: "60 seconds" })("redis", (it) => {
  it.effect("refuses before it knows the password, and goes on after it", () =>
    Effect.gen(function*() {
      const { host, password, port } = yield* Redis
      const tcp = yield* TcpClient.TcpClient
      const connection = yield* tcp.connect({ host, port })
      assert.match(String(yield* ask(connection, "GET", "key")), /^-NOAUTH/)
      assert.match(String(yield* ask(connection, "AUTH", "wrong")), /^-WRONGPASS/)
      assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
      assert.strictEqual(yield* ask(connection, "GET", "no such key"), null)
    }))

  it.effect("keeps values whatever they hold, also its own line endings", () =>
    Effect.gen(function*() {
      const redis = yield* connect
      const value = "first\r\nsecond\n$5\r\n\0 wörld ✓"
      assert.strictEqual(yield* ask(redis, "SET", "odd", value), "OK")
      assert.strictEqual(yield* ask(redis, "GET", "odd"), value)
    }))

  it.effect("answers 10,000 pipelined commands in order, over TCP, mutual TLS and a unix socket", () =>
    Effect.gen(function*() {
      const { certificates: { ca, client }, host, mtlsPort, password, socket } = yield* Redis
      const tcp = yield* TcpClient.TcpClient
      const local = yield* tcp.connect({ path: socket })
      assert.strictEqual(yield* ask(local, "AUTH", password), "OK")
      const mutual = yield* tcp.connect({ host, port: mtlsPort }, { tls: { ca, ...client } })
      const numbers = Array.from({ length: 10_000 }, (_, i) => `${i}`)
      for (const redis of [yield* connect, mutual, local]) {
        // both at once: a server that waits for us to read stops reading
        const [, answers] = yield* Effect.all([
          redis.writeAll(numbers.map((number) => command("ECHO", number))),
          Effect.replicateEffect(reply(redis), numbers.length)
        ], { concurrency: 2 })
        assert.deepStrictEqual(answers, numbers)
      }
    }))

  it.effect("takes and gives back eight megabytes", () =>
    Effect.gen(function*() {
      const redis = yield* connect
      const value = "0123456789abcdef".repeat(524_288)
      assert.strictEqual(yield* ask(redis, "SET", "large", value), "OK")
      assert.isTrue((yield* ask(redis, "GET", "large")) === value)
    }))

  it.effect("sends published messages to a stream of lines", () =>
    Effect.gen(function*() {
      const subscriber = yield* connect
      const publisher = yield* connect
      assert.deepStrictEqual(yield* ask(subscriber, "SUBSCRIBE", "news"), ["subscribe", "news", 1])
      for (const text of ["one", "two"]) assert.strictEqual(yield* ask(publisher, "PUBLISH", "news", text), 1)
      const messages = yield* Stream.fromEffectRepeat(reply(subscriber)).pipe(Stream.take(2), Stream.runCollect)
      assert.deepStrictEqual(messages, [["message", "news", "one"], ["message", "news", "two"]])
    }))

  it.effect("loses nothing of an answer that is late for a read", () =>
    Effect.gen(function*() {
      const waiting = yield* connect
      const other = yield* connect
      yield* waiting.write(command("BLPOP", "queue", "0"))
      const late = yield* Effect.flip(waiting.read({ marker: "\r\n", timeout: "50 millis" }))
      assert.strictEqual(late.reason._tag, "ReadTimeout")
      assert.strictEqual(yield* ask(other, "RPUSH", "queue", "job"), 1)
      assert.deepStrictEqual(yield* reply(waiting), ["queue", "job"])
    }))

  it.effect("answers a single request", () =>
    Effect.gen(function*() {
      const { host, password, port } = yield* Redis
      const tcp = yield* TcpClient.TcpClient
      assert.strictEqual(yield* tcp.requestString({ host, port }, `AUTH ${password}\r\n`), "+OK\r\n")
    }))

  it.effect("ends the stream when it is told to quit", () =>
    Effect.gen(function*() {
      const redis = yield* connect
      assert.strictEqual(yield* ask(redis, "QUIT"), "OK")
      const error = yield* Effect.flip(redis.read())
      assert.strictEqual(error.reason._tag, "EndOfStream")
    }))

  it.effect("speaks TLS with a certificate of our authority", () =>
    Effect.gen(function*() {
      const { certificates, host, tlsPort } = yield* Redis
      const tcp = yield* TcpClient.TcpClient
      const connection = yield* tcp.connect({ host, port: tlsPort }, { tls: { ca: certificates.ca } })
      assert.strictEqual(yield* ask(connection, "PING"), "PONG")
      assert.strictEqual(Option.getOrThrow(connection.tls).protocol, "TLSv1.3")
    }))

  it.effect("is not trusted by another authority, nor under another name", () =>
    Effect.gen(function*() {
      const { certificates, host, tlsPort } = yield* Redis
      const tcp = yield* TcpClient.TcpClient
      const failedCheck = (tls: TcpClient.ConnectOptions["tls"]) =>
        tcp.connect({ host, port: tlsPort }, { tls }).pipe(
          Effect.asVoid,
          Effect.catchReason("DialError", "TlsHandshake", (reason) => Effect.succeed(reason.check))
        )
      assert.strictEqual(yield* failedCheck({ ca: certificates.otherCa }), "issuer")
      assert.strictEqual(yield* failedCheck(true), "issuer")
      assert.strictEqual(yield* failedCheck({ ca: certificates.ca, servername: "other.test" }), "name")
    }))

  it.effect("takes our client certificate, and tells those who have none", () =>
    Effect.gen(function*() {
      const { certificates, host, mtlsPort } = yield* Redis
      const tcp = yield* TcpClient.TcpClient
      const { ca, client } = certificates
      const known = yield* tcp.connect({ host, port: mtlsPort }, { tls: { ca, ...client } })
      assert.strictEqual(yield* ask(known, "PING"), "PONG")
      // TLS 1.3: the refusal comes after the handshake, with the first read
      const unknown = yield* tcp.connect({ host, port: mtlsPort }, { tls: { ca } })
      const error = yield* Effect.flip(ask(unknown, "PING"))
      assert.strictEqual(error._tag, "TcpError")
      assert.include(error.message, "CERTIFICATE_REQUIRED")
    }))
})
