import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import type { DialError } from "../../src/errors/DialError.ts"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { leavesNothing } from "../support/leaks.ts"
import { serve } from "../support/loopback.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { closedPort, rawServer, temporaryFolder } from "../support/servers.ts"
import { readAll } from "../support/streams.ts"

const resolve = () => "127.0.0.1"

const greeter = serve((socket) => Effect.sync(() => void socket.end("hello")))

const fetch = (target: Dialer.DialTarget, options?: Dialer.DialOptions) =>
  Dialer.Dialer.use((dialer) => dialer.dial(target, options)).pipe(
    Effect.flatMap(readAll),
    Effect.map(({ bytes }) => String(bytes)),
    Effect.scoped
  )

const failure = <A, R>(effect: Effect.Effect<A, DialError, R>) => Effect.flip(effect)

const over = <E>(layer: Layer.Layer<Dialer.Dialer, E, Dialer.Dialer>) => layer.pipe(Layer.provide(Dialer.layer))

const withEnv = (env: Record<string, string>, options?: Proxy.EnvOptions) =>
  over(Proxy.layerEnv(options)).pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
    Layer.orDie
  )

describe("Proxy.layerRules", () => {
  it.live("asks for the way to each target, and goes it", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* greeter
      const socks = yield* socksProxy({ resolve })
      const http = yield* httpProxy({ resolve })
      const asked: Array<Proxy.RuleTarget> = []
      const Network = over(Proxy.layerRules((target) => {
        asked.push(target)
        return target.host === "127.0.0.1"
          ? "direct"
          : target.host === "a.test"
          ? `socks5://127.0.0.1:${socks.port}`
          : { protocol: "http", host: "127.0.0.1", port: http.port }
      }))
      const targets = [`127.0.0.1:${port}`, `A.test:${port}`, `b.test:${port}`]
      for (const target of targets) assert.strictEqual(yield* Effect.provide(fetch(target), Network), "hello")
      assert.deepStrictEqual(socks.seen, [`a.test:${port}`])
      assert.deepStrictEqual(http.seen, [`b.test:${port}`])
      assert.deepStrictEqual(asked, ["127.0.0.1", "a.test", "b.test"].map((host) => ({ host, port })))
    })))

  it.live("may ask a service", () =>
    leavesNothing(Effect.gen(function*() {
      class Office extends Context.Service<Office, { readonly proxy: string }>()("test/Office") {}
      const port = yield* greeter
      const http = yield* httpProxy({ resolve })
      const rules = Proxy.layerRules(() => Office.use(({ proxy }) => Effect.succeed(proxy)))
      const Network = rules.pipe(
        Layer.provide(Layer.succeed(Office, { proxy: `http://127.0.0.1:${http.port}` })),
        Layer.provide(Dialer.layer)
      )
      assert.strictEqual(yield* Effect.provide(fetch(`a.test:${port}`), Network), "hello")
      assert.deepStrictEqual(http.seen, [`a.test:${port}`])
    })))

  it.live("takes the next way where a proxy cannot be reached", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* greeter
      const closed = yield* closedPort
      const http = yield* httpProxy({ resolve })
      const dead = `socks5://127.0.0.1:${closed}`
      const alive = `http://127.0.0.1:${http.port}`
      const target = `127.0.0.1:${port}`
      for (const [routes, through] of [[[dead, alive], 1], [[dead, dead, "direct"], 0], [[alive, dead], 1]] as const) {
        const before = http.seen.length
        const Network = over(Proxy.layerRules(() => routes))
        assert.strictEqual(yield* Effect.provide(fetch(target), Network), "hello")
        assert.strictEqual(http.seen.length - before, through)
      }
      // the target itself is down, and the proxy says so
      const direct = over(Proxy.layerRules(() => ["direct", alive]))
      const error = yield* failure(Effect.provide(fetch(`127.0.0.1:${closed}`), direct))
      assert.strictEqual(error.hop, alive)
      assert.strictEqual(error.reason._tag, "ProxyRefused")
    })))

  it.live("does not go another way around a proxy that says no, or settings that are wrong", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* greeter
      const http = yield* httpProxy({ credentials: { username: "user", password: "secret" } })
      for (
        const [route, tag] of [
          [`http://127.0.0.1:${http.port}`, "ProxyAuthentication"],
          ["gopher://127.0.0.1", "InvalidTarget"]
        ] as const
      ) {
        const Network = over(Proxy.layerRules(() => [route, "direct"]))
        const error = yield* failure(Effect.provide(fetch(`127.0.0.1:${port}`), Network))
        assert.strictEqual(error.reason._tag, tag)
      }
    })))

  it.live("gives a way that was tried in vain as the error, the last of several", () =>
    leavesNothing(Effect.gen(function*() {
      const closed = yield* closedPort
      const routes = [`socks5://127.0.0.1:${closed}`, `http://127.0.0.1:${closed}`]
      const error = yield* failure(Effect.provide(fetch("a.test:1"), over(Proxy.layerRules(() => routes))))
      assert.strictEqual(error.hop, routes[1])
      assert.strictEqual(error.reason._tag, "Refused")
    })))

  it.live("shares the time between the ways, so that a silent proxy leaves some for the next", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* greeter
      const silent = yield* rawServer()
      const Network = over(Proxy.layerRules(() => [`socks5://${silent.address}`, "direct"]))
      const fetched = fetch(`127.0.0.1:${port}`, { connectTimeout: "1 second" })
      assert.strictEqual(yield* Effect.provide(fetched, Network), "hello")
    })))

  it.live("refuses a target to which there is no way", () =>
    leavesNothing(Effect.gen(function*() {
      const error = yield* failure(Effect.provide(fetch("a.test:1"), over(Proxy.layerRules(() => []))))
      assert.strictEqual(
        error.message,
        "a.test:1 via proxy rules: \"a.test:1\" is not usable: the proxy rules have no way to it"
      )
    })))

  it.effect("does not wait for ever for the rules", () =>
    leavesNothing(Effect.gen(function*() {
      const dialling = yield* fetch("a.test:1", { connectTimeout: "3 seconds" }).pipe(
        Effect.provide(over(Proxy.layerRules(() => Effect.never))),
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(
        (yield* Fiber.join(dialling)).message,
        "a.test:1 via proxy rules: timed out after 3s while waiting for the proxy rules"
      )
    })))

  it.live("reaches unix sockets directly, without asking", () =>
    leavesNothing(Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/socket`
      const server = yield* rawServer(path)
      const fetching = yield* fetch({ path }).pipe(
        Effect.provide(over(Proxy.layerRules(() => assert.fail("it was asked")))),
        Effect.forkChild
      )
      const socket = yield* server.next
      socket.end("hello")
      assert.strictEqual(yield* Fiber.join(fetching), "hello")
    })))

  it.live("says which target it does not understand", () =>
    Effect.gen(function*() {
      const error = yield* failure(Effect.provide(fetch("no port"), over(Proxy.layerRules(() => "direct"))))
      assert.strictEqual(error.hop, "proxy rules")
      assert.strictEqual(error.reason._tag, "InvalidTarget")
    }))

  it.live("can be interrupted while a proxy is silent", () =>
    leavesNothing(Effect.gen(function*() {
      const silent = yield* rawServer()
      const routes = [`socks5://${silent.address}`, "direct"]
      const fetching = yield* Effect.forkChild(
        Effect.provide(fetch("a.test:1"), over(Proxy.layerRules(() => routes)))
      )
      yield* silent.next
      yield* Fiber.interrupt(fetching)
    })))
})

describe("Proxy.layerEnv", () => {
  it.live("goes through the proxies of the environment, and directly where they are not for a target", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* greeter
      const socks = yield* socksProxy({ resolve })
      const http = yield* httpProxy({ resolve })
      const env = {
        all_proxy: `socks5h://127.0.0.1:${socks.port}`,
        HTTPS_PROXY: `127.0.0.1:${http.port}`,
        no_proxy: "127.0.0.0/8"
      }
      assert.strictEqual(yield* Effect.provide(fetch(`a.test:${port}`), withEnv(env)), "hello")
      assert.deepStrictEqual([socks.seen, http.seen], [[`a.test:${port}`], []])
      assert.strictEqual(yield* Effect.provide(fetch(`b.test:${port}`), withEnv(env, { scheme: "https" })), "hello")
      assert.deepStrictEqual([socks.seen, http.seen], [[`a.test:${port}`], [`b.test:${port}`]])
      assert.strictEqual(yield* Effect.provide(fetch(`127.0.0.1:${port}`), withEnv(env)), "hello")
      assert.deepStrictEqual([socks.seen.length, http.seen.length], [1, 1])
    })))

  it.live("builds with a proxy that cannot be used, and refuses the dials that need it", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* greeter
      const Network = withEnv({ ALL_PROXY: "socks5://user:hunter2@pro xy", NO_PROXY: "127.0.0.1" })
      const error = yield* failure(Effect.provide(fetch("a.test:1"), Network))
      assert.strictEqual(error.reason._tag, "InvalidTarget")
      assert.notInclude(error.message + JSON.stringify(error), "hunter2")
      assert.strictEqual(yield* Effect.provide(fetch(`127.0.0.1:${port}`), Network), "hello")
    })))

  it.effect("runs over any network", () =>
    Effect.gen(function*() {
      const Network = Proxy.layerEnv().pipe(
        Layer.provideMerge(TestNetwork.layer()),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { ALL_PROXY: "http://proxy.test" } }))),
        Layer.orDie
      )
      const error = yield* failure(Effect.provide(fetch("a.test:1"), Network))
      assert.strictEqual(error.hop, "http://proxy.test:1080")
    }))
})

keepsPathsApart("Proxy.layerRules", () => Proxy.layerRules(() => "socks5://proxy.test"))
keepsPathsApart("Proxy.layerEnv", () => Proxy.layerEnv())
