import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as NetworkRule from "../../src/testing/NetworkRule.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connected, echo, read, readAll, write } from "../support/streams.ts"

const db = { host: "db", port: 5432 }

/** A test on a network of its own, in simulated time. */
const on = TestNetwork.simulated

const now = Clock.currentTimeMillis
const dial = (target: string) => Dialer.Dialer.use((dialer) => dialer.dial(target))
const after = (seconds: number, effect: Effect.Effect<unknown>) =>
  Effect.forkChild(Effect.delay(effect, seconds * 1000), { startImmediately: true })

for (const [name, begin, finish] of [["partition", "partition", "repair"], ["hold", "hold", "release"]] as const) {
  describe(`TestNetwork.${name}`, () => {
    it.effect(`keeps everything between two hosts back until ${finish}, also what is under way`, () =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        const { client, server } = yield* connected(db)
        yield* write(client, "on its way ")
        yield* network[begin]("client", "db")
        yield* write(client, "written later")
        yield* write(server, "and back")
        client.end()
        yield* after(3, network[finish]("client", "db"))
        assert.strictEqual(String((yield* readAll(server)).bytes), "on its way written later")
        assert.strictEqual(yield* now, 3000 + 100)
        assert.strictEqual(String(yield* read(client, 8)), "and back")
      }).pipe(on({ defaults: { latency: "50 millis" } })))

    it.effect("lets others be", () =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        yield* network[begin]("a", ["b", "c"])
        const hosts = yield* Effect.forEach(["a", "b", "c", "d"], (host) => network.host(host))
        const reached: Array<string> = []
        let port = 8000
        for (const from of hosts) {
          for (const to of hosts) {
            if (from === to) continue
            yield* to.listener.bind({ host: to.name, port: ++port })
            const dialled = yield* Effect.exit(from.dialer.dial({ host: to.name, port }))
            if (Exit.isSuccess(dialled)) reached.push(from.name + to.name)
          }
        }
        assert.deepStrictEqual(reached, ["ad", "bc", "bd", "cb", "cd", "da", "db", "dc"])
      }).pipe(on()))

    it.effect("without a second host is about all others, and ends for some of them before others", () =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        const a = yield* network.host("a")
        yield* Effect.forEach(["b", "c", "d"], (host) => Listener.Listener.use(({ bind }) => bind({ host, port: 80 })))
        const reached = Effect.filter(
          ["b", "c", "d"],
          (host) => Effect.map(Effect.exit(Effect.scoped(a.dialer.dial({ host, port: 80 }))), Exit.isSuccess)
        )
        yield* network[begin]("a")
        assert.deepStrictEqual(yield* reached, [])
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(dial("b:80"))))
        yield* network[finish]("a", "c")
        assert.deepStrictEqual(yield* reached, ["c"])
        yield* network[finish]("a")
        assert.deepStrictEqual(yield* reached, ["b", "c", "d"])
      }).pipe(on()))

    it.effect("ends with its scope, but not before others that do the same", () =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        yield* Listener.Listener.use(({ bind }) => bind(db))
        yield* Effect.scoped(Effect.gen(function*() {
          yield* network[begin]("client", "db")
          yield* Effect.scoped(network[begin]("db"))
          assert.strictEqual((yield* Effect.flip(dial("db:5432"))).reason._tag, "ConnectTimeout")
        }))
        yield* dial("db:5432")
      }).pipe(on()))
  })
}

describe("TestNetwork.resetAll", () => {
  it.effect("breaks every connection, and says how many", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const [one, two] = [yield* connected(db), yield* connected({ path: "/run/db.sock" })]
      assert.strictEqual(yield* network.resetAll, 2)
      for (const end of [one.client, one.server, two.client, two.server]) {
        assert.isTrue(end.destroyed)
      }
      assert.strictEqual(yield* network.resetAll, 0)
    }).pipe(on()))
})

describe("TestNetwork.crash", () => {
  it.effect("takes a host away without a word: its peers hear nothing", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* network.crash("db")
      assert.isTrue(server.destroyed)
      assert.deepStrictEqual((yield* network.connections).map(({ open }) => open), [["client"]])
      const heard = yield* Effect.exit(Effect.timeout(readAll(client), "1 minute"))
      assert.isTrue(Exit.isFailure(heard))
      assert.strictEqual(yield* write(client, "anybody there?"), "ok")
      assert.isFalse(client.destroyed)
      assert.strictEqual((yield* Effect.flip(dial("db:5432"))).reason._tag, "ConnectTimeout")
    }).pipe(on()))

  it.effect("has what its peers send time out in the end", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client } = yield* connected(db)
      yield* network.crash("db")
      yield* write(client, "anybody there?")
      assert.strictEqual((yield* readAll(client)).ending, "ETIMEDOUT")
    }).pipe(on()))

  it.effect("ends its own dials and listeners", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const host = yield* network.host("db")
      const bound = yield* host.listener.bind("db:80")
      const accepting = yield* Effect.forkChild(Effect.flip(bound.accept), { startImmediately: true })
      yield* network.crash("db")
      assert.strictEqual((yield* Fiber.join(accepting)).reason._tag, "Closed")
      const error = yield* Effect.flip(host.dialer.dial("db:80"))
      assert.deepInclude(error.reason, { _tag: "Unreachable", code: "ENETDOWN" })
      assert.include((yield* Effect.flip(host.listener.bind("db:80"))).message, "ENETDOWN")
    }).pipe(on()))

  it.effect("loses what was not through yet, and lets through what was under way", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* write(server, "under way")
      yield* network.crash("db")
      assert.strictEqual(String(yield* read(client, 9)), "under way")
      yield* network.bounce("db")
      const again = yield* connected({ host: "db", port: 80 })
      yield* network.partition("db")
      yield* write(again.server, "kept back")
      yield* Effect.sleep("1 second")
      yield* network.crash("db")
      yield* network.repair("db")
      const exit = yield* Effect.exit(Effect.timeout(read(again.client, 1), "1 hour"))
      assert.isTrue(Exit.isFailure(exit))
    }).pipe(on({ defaults: { latency: "10 millis" } })))

  it.effect("lasts until its scope ends; then old connections are answered by a reset", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client } = yield* connected(db)
      yield* Effect.scoped(network.crash("db"))
      assert.strictEqual((yield* Effect.flip(dial("db:5432"))).reason._tag, "Refused")
      assert.isFalse(client.destroyed)
      yield* write(client, "still there?")
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
    }).pipe(on()))
})

describe("TestNetwork.bounce", () => {
  it.effect("is a crash and a start, for a host that is up and for one that is down", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* network.bounce("db")
      assert.isTrue(server.destroyed)
      yield* write(client, "still there?")
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
      yield* network.crash("db")
      yield* network.bounce("db")
      yield* Listener.Listener.use(({ bind }) => bind(db))
      yield* dial("db:5432")
      const told = (yield* network.events).filter(({ from }) => from === "db").map(({ what }) => what)
      assert.deepStrictEqual(told.filter((what) => what === "crash" || what === "start"), [
        "crash",
        "start",
        "crash",
        "start"
      ])
    }).pipe(on()))
})

/** A conversation with everything random in it: the network's latencies, pieces and faults, and the program's own choices. */
const conversation = (seed: number) =>
  Effect.gen(function*() {
    const network = yield* TestNetwork.TestNetwork
    yield* network.rule(NetworkRule.chance(0.02, NetworkRule.drop))
    yield* network.rule(NetworkRule.when({ kind: "data" }, NetworkRule.chance(0.05, NetworkRule.reset)))
    const { accept } = yield* Listener.Listener.use(({ bind }) => bind(db))
    yield* Effect.forkChild(Effect.forever(Effect.flatMap(accept, echo)))
    const tcp = yield* TcpClient.TcpClient
    const answers: Array<string> = []
    const talk = Effect.scoped(Effect.gen(function*() {
      const connection = yield* tcp.connect("db:5432", { connectTimeout: "1 minute" })
      for (let i = 0; i < 5; i++) {
        yield* Effect.sleep(yield* Random.nextIntBetween(1, 100))
        yield* connection.write(`${yield* Random.nextInt}\n`)
        answers.push(yield* Effect.timeout(connection.readLine(), "1 minute"))
      }
    }))
    yield* Effect.forEach(Array.from({ length: 10 }), () => Effect.ignore(talk), { concurrency: 4 })
    return { answers, events: yield* network.events }
  }).pipe(
    Effect.scoped,
    (all) => TestNetwork.TestNetwork.use((network) => network.run(all)),
    Effect.provide(TcpClient.layer.pipe(Layer.provideMerge(TestNetwork.layer({
      seed,
      defaults: { latency: { min: "1 millis", max: "80 millis" }, fragment: { min: 1, max: 9 } }
    }))))
  )

describe("TestNetwork.events", () => {
  it.effect("are the same in the same order for the same seed, and others for another", () =>
    Effect.gen(function*() {
      const [one, again, other] = yield* Effect.forEach(
        [1, 1, 2],
        (seed) => Effect.provide(conversation(seed), TestClock.layer())
      )
      assert.deepStrictEqual(again, one)
      assert.notDeepEqual(other?.events, one?.events)
      assert.isAbove(one?.answers.length ?? 0, 10)
      const kinds = new Set(one?.events.map(({ what }) => what))
      for (const kind of ["connect", "connected", "send", "receive", "drop", "reset", "close"] as const) {
        assert.isTrue(kinds.has(kind), kind)
      }
    }))

  it.effect("are the last ones, as many as are wanted", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      for (let i = 0; i < 9; i++) yield* Effect.scoped(connected(db))
      const events = yield* network.events
      assert.strictEqual(events.length, 5)
      assert.strictEqual(events.at(-1)?.what, "unlisten")
    }).pipe(on({ events: 5 })))
})

describe("TestNetwork leaks", () => {
  /** A connection whose server's end was taken by nobody's scope, and whose listener is closed. */
  const leaking = Effect.scoped(Effect.gen(function*() {
    const bound = yield* Listener.Listener.use(({ bind }) => bind(db))
    yield* Effect.scoped(dial("db:5432"))
    yield* Effect.callback<void>((resume) => {
      bound.receive({ ready: () => true, take: () => resume(Effect.void), closed: () => {} })
    })
  }))

  it.effect("are a defect that names what was left open", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.provide(leaking, TestNetwork.layer()))
      assert.include(
        String(Exit.isFailure(exit) ? Cause.squash(exit.cause) : exit),
        "connections were left open: db:5432 from client (server)"
      )
    }))

  it.effect("are nothing where they are ignored, or where the test has failed", () =>
    Effect.gen(function*() {
      yield* Effect.provide(leaking, TestNetwork.layer({ leaks: "ignore" }))
      const failing = Effect.andThen(leaking, Effect.fail("broken"))
      assert.strictEqual(yield* Effect.flip(Effect.provide(failing, TestNetwork.layer())), "broken")
    }))

  it.effect("are not what belongs to a scope that lives longer than the network", () =>
    Effect.gen(function*() {
      const { client, server } = yield* Effect.provide(connected(db), TestNetwork.layer())
      assert.isTrue(client.destroyed && server.destroyed)
    }))
})
