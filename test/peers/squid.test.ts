import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { freePorts } from "./support/peer.ts"
import { Redis } from "./support/redis.ts"
import { ask } from "./support/resp.ts"
import { Squid } from "./support/squid.ts"

type Settings = Omit<Proxy.ProxySettings, "protocol" | "host">

/** A way out through squid. */
const through = (settings: Settings, protocol: "http" | "https" = "http") =>
  Proxy.layer({ protocol, host: "127.0.0.1", ...settings }).pipe(Layer.provide(Dialer.layer))

const connect = (port: number, network: Layer.Layer<Dialer.Dialer>) =>
  Effect.flatMap(TcpClient.TcpClient, (tcp) => tcp.connect({ host: "127.0.0.1", port })).pipe(
    Effect.provide(TcpClient.layer.pipe(Layer.provide(network)))
  )

const reasonOf = (port: number, settings: Settings) =>
  Effect.map(Effect.flip(connect(port, through(settings))), (error) => {
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
      const [closed] = yield* freePorts(1)
      const { reason } = yield* reasonOf(closed!, { port: (yield* Squid).openPort })
      assert.deepInclude(reason, { _tag: "ProxyRefused", code: 503 })
    }))

  it.effect("is itself not there when nothing listens at its own address", () =>
    Effect.gen(function*() {
      const [closed] = yield* freePorts(1)
      const { hop, reason } = yield* reasonOf((yield* Redis).port, { port: closed! })
      assert.strictEqual(reason._tag, "Refused")
      assert.strictEqual(hop, `http://127.0.0.1:${closed}`)
    }))
})
