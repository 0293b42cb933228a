import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { DialError } from "../../src/errors/DialError.ts"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type { TlsConfigError } from "../../src/errors/TlsConfigError.ts"
import type * as Dialer from "../../src/services/Dialer.ts"
import type * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"

type Services = Dialer.Dialer | Listener.Listener | TestNetwork.TestNetwork | TcpClient.TcpClient | Scope.Scope

const latency = "20 millis"

/** A test in simulated time, of which some passes between hosts. */
const test = (title: string, body: () => Effect.Effect<unknown, unknown, Services>) =>
  it.effect(title, () =>
    TestNetwork.TestNetwork.use((network) => network.run(Effect.scoped(body()))).pipe(
      Effect.provide(TcpClient.layer.pipe(Layer.provideMerge(TestNetwork.layer({ seed: 7, defaults: { latency } }))))
    ))

/** Runs something as a host does. */
const on = (name: string) => <A, E>(effect: Effect.Effect<A, E, Dialer.Dialer | Listener.Listener | Scope.Scope>) =>
  Effect.flatMap(
    TestNetwork.TestNetwork.use((network) => network.host(name)),
    (host) => Effect.provide(effect, host.layer)
  )

const ask = (target: string, proxy?: string) =>
  TcpClient.TcpClient.use((tcp) =>
    tcp.requestString(target, "ping\n", proxy === undefined ? {} : { proxy, connectTimeout: "1 minute" })
  )

/** The tag of the reason that something fails with. */
const why = <A, R>(effect: Effect.Effect<A, DialError | TcpError | TlsConfigError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag === "TlsConfigError" ? error._tag : error.reason._tag)

const proxies = {
  socks5: { start: TestPeers.socks5({ address: "proxy:1080" }), url: "socks5://proxy:1080", late: 6 },
  http: { start: TestPeers.httpProxy({ address: "proxy:1080" }), url: "http://proxy:1080", late: 504 }
}

describe("peers on the hosts of a test network", () => {
  for (const [kind, { late, start, url }] of Object.entries(proxies)) {
    test(`dial from their own: ${kind}`, () =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        const proxy = yield* on("proxy")(start)
        yield* on("db")(TestPeers.echo({ address: "db:5432" }))
        // only the proxy can get there
        yield* network.partition("client", "db")
        assert.strictEqual(yield* ask("db:5432", url), "ping\n")
        assert.deepInclude((yield* proxy.requests)[0], { target: "db:5432", outcome: "granted" })
      }))

    test(`say that a target did not answer: ${kind}`, () =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        const proxy = yield* on("proxy")(start)
        yield* on("db")(TestPeers.echo({ address: "db:5432" }))
        yield* network.partition("proxy", "db")
        assert.strictEqual(yield* why(ask("db:5432", url)), "ProxyRefused")
        assert.deepStrictEqual(yield* proxy.requests, [{ target: "db:5432", outcome: "refused", code: late }])
      }))
  }

  test("are gone with a host that crashes, and there again with it", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const db = yield* network.host("db")
      yield* db.start(TestPeers.echo({ address: "db:5432" }))
      yield* network.settle
      assert.strictEqual(yield* ask("db:5432"), "ping\n")
      yield* network.bounce("db")
      yield* network.settle
      assert.strictEqual(yield* ask("db:5432"), "ping\n")
      yield* network.crash("db")
      assert.strictEqual(yield* why(ask("db:5432")), "ConnectTimeout")
    }))

  test("play a server that a client has to try again, however the network cuts what they say", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* network.link("client", "db", { fragment: 1 })
      const { expect, expectEnd, reply, reset, scripted } = TestPeers
      const ping = expect("ping\n")
      const server = yield* on("db")(scripted({
        address: "db:5432",
        script: [[ping, reset], [reset], [ping, reply("po"), reset], [ping, reply("pong\n"), expectEnd]],
        timeout: "10 seconds"
      }))
      const answer = yield* Effect.retry(ask("db:5432"), Schedule.spaced("1 second"))
      assert.strictEqual(answer, "pong\n")
      yield* server.done
      assert.strictEqual(yield* server.accepted, 4)
    }))
})
