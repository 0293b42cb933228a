import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { closedPort } from "../support/servers.ts"
import { echo, ourServer } from "./support/ourServer.ts"
import { Redis } from "./support/redis.ts"
import { ask } from "./support/resp.ts"
import { Squid } from "./support/squid.ts"

type Settings = Omit<Proxy.ProxySettings, "protocol" | "host">

/** A way out through squid. */
const through = (settings: Settings, protocol: "http" | "https" = "http") =>
  Proxy.layer({ protocol, host: "127.0.0.1", ...settings }).pipe(Layer.provide(Dialer.layer))

const connect = (port: number, network: Layer.Layer<Dialer.Dialer>, host = "127.0.0.1") =>
  Effect.flatMap(TcpClient.TcpClient, (tcp) => tcp.connect({ host, port })).pipe(
    Effect.provide(TcpClient.layer.pipe(Layer.provide(network)))
  )

const reasonOf = (port: number, settings: Settings, protocol?: "http" | "https", host?: string) =>
  Effect.map(Effect.flip(connect(port, through(settings, protocol), host)), (error) => {
    assert.strictEqual(error._tag, "DialError")
    return error._tag === "DialError" ? error : assert.fail(error.message)
  })

layer(Layer.merge(Redis.layer, Squid.layer), { excludeTestServices: true, timeout: "60 seconds" })("squid", (it) => {
  it.effect("connects without credentials where it asks for none", () =>
    Effect.gen(function*() {
      const { password, port } = yield* Redis
      const connection = yield* connect(port, through({ port: (yield* Squid).openPort }))
      assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
    }))

  it.effect("connects with a password that holds a colon and a letter that is not ASCII", () =>
    Effect.gen(function*() {
      const redis = yield* Redis
      const { password, port, username } = yield* Squid
      const connection = yield* connect(redis.port, through({ port, username, password: Redacted.make(password) }))
      assert.strictEqual(yield* ask(connection, "AUTH", redis.password), "OK")
    }))

  it.effect("carries TLS to the target", () =>
    Effect.gen(function*() {
      const redis = yield* Redis
      const network = Tls.layer({ ca: redis.certificates.ca }).pipe(
        Layer.provide(through({ port: (yield* Squid).openPort })),
        Layer.orDie
      )
      const connection = yield* connect(redis.tlsPort, network)
      assert.strictEqual(yield* ask(connection, "PING"), "PONG")
    }))

  it.effect("is reached over TLS itself, also for TLS to the target inside it", () =>
    Effect.gen(function*() {
      const redis = yield* Redis
      const { certificates, password, tlsPort, username } = yield* Squid
      const proxy = through(
        { port: tlsPort, username, password: Redacted.make(password), tls: { ca: certificates.ca } },
        "https"
      )
      const plain = yield* connect(redis.port, proxy)
      assert.strictEqual(yield* ask(plain, "AUTH", redis.password), "OK")
      const network = Tls.layer({ ca: redis.certificates.ca }).pipe(Layer.provide(proxy), Layer.orDie)
      const secret = yield* connect(redis.tlsPort, network)
      assert.strictEqual(yield* ask(secret, "PING"), "PONG")
    }))

  it.effect("wants a client certificate for TLS to itself", () =>
    Effect.gen(function*() {
      const redis = yield* Redis
      const { certificates: { ca, client }, mtlsPort } = yield* Squid
      const proxy = through({ port: mtlsPort, tls: { ca, ...client } }, "https")
      assert.strictEqual(yield* ask(yield* connect(redis.port, proxy), "AUTH", redis.password), "OK")
      const inside = Tls.layer({ ca: redis.certificates.ca }).pipe(Layer.provide(proxy), Layer.orDie)
      assert.strictEqual(yield* ask(yield* connect(redis.tlsPort, inside), "PING"), "PONG")
      const { hop, reason } = yield* reasonOf(redis.port, { port: mtlsPort, tls: { ca } }, "https")
      assert.strictEqual(hop, `https://127.0.0.1:${mtlsPort}`)
      assert.deepInclude(reason, { _tag: "TlsHandshake", check: "clientCertificate" })
    }))

  it.effect("is not asked anything when its certificate is not trusted", () =>
    Effect.gen(function*() {
      const { certificates, password, tlsPort, username } = yield* Squid
      const settings = { port: tlsPort, username, password: Redacted.make(password), tls: { ca: certificates.otherCa } }
      const { reason } = yield* reasonOf((yield* Redis).port, settings, "https")
      assert.deepInclude(reason, { _tag: "TlsHandshake", check: "issuer" })
    }))

  it.effect("resolves names, also one that only has an IPv6 address, and connects to IPv6 addresses", () =>
    Effect.gen(function*() {
      const address = yield* ourServer(echo, { host: "::1" })
      const port = Number(address.split("]:")[1])
      const proxy = through({ port: (yield* Squid).openPort })
      for (const host of ["::1", "six.test"]) {
        const connection = yield* connect(port, proxy, host)
        yield* connection.write("hello\n")
        assert.strictEqual(yield* connection.readLine(), "hello")
      }
    }))

  it.effect("says that it does not know the name", () =>
    Effect.gen(function*() {
      const { openPort } = yield* Squid
      const { reason, target } = yield* reasonOf(80, { port: openPort }, "http", "no-such-name.test")
      assert.strictEqual(target, "no-such-name.test:80")
      assert.strictEqual(reason._tag, "ProxyRefused")
      if (reason._tag === "ProxyRefused") assert.include([500, 503], reason.code)
    }))

  it.effect("carries eight megabytes in each direction unharmed", () =>
    Effect.gen(function*() {
      const { password, port } = yield* Redis
      const connection = yield* connect(port, through({ port: (yield* Squid).openPort }))
      const value = "0123456789abcdef".repeat(524_288)
      assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
      assert.strictEqual(yield* ask(connection, "SET", "large", value), "OK")
      assert.isTrue((yield* ask(connection, "GET", "large")) === value)
    }))

  it.effect("does not accept a wrong password, and the error does not show it", () =>
    Effect.gen(function*() {
      const { port, username } = yield* Squid
      const settings = { port, username, password: Redacted.make("not-the-password") }
      const error = yield* reasonOf((yield* Redis).port, settings)
      assert.strictEqual(error.reason._tag, "ProxyAuthentication")
      assert.strictEqual(error.hop, `http://127.0.0.1:${port}`)
      assert.notInclude(`${error.message} ${JSON.stringify(error)}`, "not-the-password")
    }))

  it.effect("wants credentials where there are none", () =>
    Effect.gen(function*() {
      const error = yield* reasonOf((yield* Redis).port, { port: (yield* Squid).port })
      assert.strictEqual(error.reason._tag, "ProxyAuthentication")
      assert.include(error.message, "Basic")
    }))

  it.effect("says that a rule forbids the target", () =>
    Effect.gen(function*() {
      const { forbiddenPort, openPort } = yield* Squid
      const { reason } = yield* reasonOf(forbiddenPort, { port: openPort })
      assert.deepInclude(reason, { _tag: "ProxyRefused", code: 403 })
    }))

  it.effect("says that nothing listens at the target", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      const { reason } = yield* reasonOf(closed, { port: (yield* Squid).openPort })
      assert.deepInclude(reason, { _tag: "ProxyRefused", code: 503 })
    }))

  it.effect("is itself not there when nothing listens at its own address", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      const { hop, reason } = yield* reasonOf((yield* Redis).port, { port: closed })
      assert.strictEqual(reason._tag, "Refused")
      assert.strictEqual(hop, `http://127.0.0.1:${closed}`)
    }))
})
