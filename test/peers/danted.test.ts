import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { DialErrorReason } from "../../src/errors/DialError.ts"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { closedPort } from "../support/servers.ts"
import { Danted } from "./support/danted.ts"
import { echo, ourServer } from "./support/ourServer.ts"
import { Redis } from "./support/redis.ts"
import { ask } from "./support/resp.ts"

const connect = (target: Dialer.DialTarget, proxy: Proxy.ProxyInput, path: Layer.Layer<Dialer.Dialer> = Dialer.layer) =>
  Effect.flatMap(TcpClient.TcpClient, (tcp) => tcp.connect(target)).pipe(
    Effect.provide(TcpClient.layer.pipe(Layer.provide(Proxy.layer(proxy)), Layer.provide(path)))
  )

const reasonOf = (target: Dialer.DialTarget, proxy: Proxy.ProxyInput) =>
  Effect.map(
    Effect.flip(connect(target, proxy)),
    (error): DialErrorReason => error._tag === "DialError" ? error.reason : assert.fail(error.message)
  )

/** Asks redis, which is the target behind the proxies. */
const greets = Effect.fnUntraced(function*(host: string, proxy: Proxy.ProxyInput) {
  const { password, port } = yield* Redis
  const connection = yield* connect({ host, port }, proxy)
  assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
})

layer(Layer.merge(Redis.layer, Danted.layer), { excludeTestServices: true, timeout: "60 seconds" })("danted", (it) => {
  it.effect("connects over SOCKS5, to an address and to a name that it resolves itself", () =>
    Effect.gen(function*() {
      const { port } = yield* Danted
      yield* greets("127.0.0.1", `socks5://127.0.0.1:${port}`)
      yield* greets("localhost", `socks5h://127.0.0.1:${port}`)
    }))

  it.effect("connects over SOCKS5 with a username and a password that is not ASCII", () =>
    Effect.gen(function*() {
      const { authPort, host, password, username } = yield* Danted
      const settings = { protocol: "socks5", host, port: authPort, username } as const
      yield* greets("127.0.0.1", { ...settings, password: Redacted.make(password) })
      yield* greets(
        "127.0.0.1",
        Redacted.make(`socks5://${username}:${encodeURIComponent(password)}@127.0.0.1:${authPort}`)
      )
    }))

  it.effect("connects to IPv6 addresses and is reached at one", () =>
    Effect.gen(function*() {
      const { port6 } = yield* Danted
      const address = yield* ourServer(echo, { host: "::1" })
      const port = Number(address.split("]:")[1])
      for (const proxy of [`socks5://[::1]:${port6}`, `socks5://127.0.0.1:${port6}`]) {
        const connection = yield* connect({ host: "::1", port }, proxy)
        yield* connection.write("hello\n")
        assert.strictEqual(yield* connection.readLine(), "hello")
      }
      yield* greets("127.0.0.1", `socks5://[::1]:${port6}`)
    }))

  it.effect("is not asked to carry an IPv6 address in SOCKS4, which cannot", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf({ host: "::1", port: 1 }, `socks4://127.0.0.1:${(yield* Danted).port6}`)
      assert.strictEqual(reason._tag, "InvalidTarget")
    }))

  it.effect("does not know SOCKS4a, and says so", () =>
    Effect.gen(function*() {
      const { port } = yield* Danted
      const target = { host: "localhost", port: (yield* Redis).port }
      assert.deepInclude(yield* reasonOf(target, `socks4a://127.0.0.1:${port}`), { _tag: "ProxyRefused", code: 91 })
    }))

  it.effect("says that it does not know the name", () =>
    Effect.gen(function*() {
      const target = { host: "no-such-name.invalid", port: 80 }
      const reason = yield* reasonOf(target, `socks5h://127.0.0.1:${(yield* Danted).port}`)
      assert.deepInclude(reason, { _tag: "ProxyRefused", code: 4 })
    }))

  it.effect("connects over SOCKS4", () =>
    Effect.gen(function*() {
      yield* greets("127.0.0.1", `socks4://127.0.0.1:${(yield* Danted).port}`)
    }))

  it.effect("carries eight megabytes in each direction unharmed", () =>
    Effect.gen(function*() {
      const { password, port } = yield* Redis
      const connection = yield* connect({ host: "127.0.0.1", port }, `socks5://127.0.0.1:${(yield* Danted).port}`)
      const value = "0123456789abcdef".repeat(524_288)
      assert.strictEqual(yield* ask(connection, "AUTH", password), "OK")
      assert.strictEqual(yield* ask(connection, "SET", "large", value), "OK")
      assert.isTrue((yield* ask(connection, "GET", "large")) === value)
    }))

  it.effect("carries TLS to the target, through two proxies", () =>
    Effect.gen(function*() {
      const redis = yield* Redis
      const { authPort, password, port, username } = yield* Danted
      const tls = Tls.layer({ ca: redis.certificates.ca }).pipe(
        Layer.provide(Proxy.layer({
          protocol: "socks5",
          host: "127.0.0.1",
          port: authPort,
          username,
          password: Redacted.make(password)
        })),
        Layer.provide(Proxy.layer(`socks4://127.0.0.1:${port}`)),
        Layer.provide(Dialer.layer)
      )
      const connection = yield* Effect.flatMap(
        TcpClient.TcpClient,
        (tcp) => tcp.connect({ host: "127.0.0.1", port: redis.tlsPort })
      ).pipe(Effect.provide(TcpClient.layer.pipe(Layer.provide(tls))))
      assert.strictEqual(yield* ask(connection, "PING"), "PONG")
    }))

  it.effect("does not accept a wrong password, and the error does not show it", () =>
    Effect.gen(function*() {
      const { authPort, host, username } = yield* Danted
      const target = { host: "127.0.0.1", port: (yield* Redis).port }
      const password = Redacted.make("not-the-password")
      const reason = yield* reasonOf(target, { protocol: "socks5", host, port: authPort, username, password })
      assert.strictEqual(reason._tag, "ProxyAuthentication")
      assert.notInclude(`${reason.message} ${JSON.stringify(reason)}`, "not-the-password")
    }))

  it.effect("wants credentials where there are none", () =>
    Effect.gen(function*() {
      const { authPort } = yield* Danted
      const target = { host: "127.0.0.1", port: (yield* Redis).port }
      assert.strictEqual((yield* reasonOf(target, `socks5://127.0.0.1:${authPort}`))._tag, "ProxyAuthentication")
    }))

  it.effect("says that a rule forbids the target, in SOCKS5 and in SOCKS4", () =>
    Effect.gen(function*() {
      const { forbiddenPort, port } = yield* Danted
      const target = { host: "127.0.0.1", port: forbiddenPort }
      assert.deepInclude(yield* reasonOf(target, `socks5://127.0.0.1:${port}`), { _tag: "ProxyRefused", code: 2 })
      assert.deepInclude(yield* reasonOf(target, `socks4://127.0.0.1:${port}`), { _tag: "ProxyRefused", code: 91 })
    }))

  it.effect("says that nothing listens at the target", () =>
    Effect.gen(function*() {
      const closed = yield* closedPort
      const target = { host: "127.0.0.1", port: closed }
      const reason = yield* reasonOf(target, `socks5://127.0.0.1:${(yield* Danted).port}`)
      assert.deepInclude(reason, { _tag: "ProxyRefused", code: 5 })
    }))
})
