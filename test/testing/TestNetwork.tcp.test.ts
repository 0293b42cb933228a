/** What TCP does in the corners: resets, crashes and what is under way meanwhile. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as NetworkRule from "../../src/testing/NetworkRule.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connected, read, readAll, resetByUs, stuffed, turns, write } from "../support/streams.ts"

const kibi = 1024

const db = { host: "db", port: 5432 }

/** A test on a network of its own, in simulated time. */
const on = (defaults: TestNetwork.LinkOptions = {}) => TestNetwork.simulated({ defaults })

const now = Clock.currentTimeMillis
const bind = Listener.Listener.use(({ bind }) => bind(db))
const dial = Dialer.Dialer.use((dialer) => dialer.dial("db:5432", { connectTimeout: "1 minute" }))
const after = (seconds: number, effect: Effect.Effect<unknown>) =>
  Effect.forkChild(Effect.delay(effect, seconds * 1000), { startImmediately: true })
const ended = (duplex: Duplex) => Effect.callback<void>((resume) => void duplex.end(() => resume(Effect.void)))

/** Nothing comes for as long as a sender goes on trying, and longer. */
const hearsNothing = (duplex: Duplex) =>
  Effect.gen(function*() {
    const heard = yield* Effect.exit(Effect.timeout(readAll(duplex), "1 hour"))
    assert.isTrue(Exit.isFailure(heard))
    assert.isFalse(duplex.destroyed)
  })

/** The packets that are judged from now on. */
const packets = Effect.gen(function*() {
  const network = yield* TestNetwork.TestNetwork
  const seen: Array<string> = []
  yield* network.rule(({ from, kind }) => {
    seen.push(`${kind} from ${from}`)
    return undefined
  })
  return seen
})

describe("a reset", () => {
  it.effect("is not answered", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const seen = yield* packets
      yield* resetByUs(server)
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
      assert.isTrue(client.destroyed)
      yield* Effect.sleep("1 second")
      assert.deepStrictEqual(seen, ["reset from db"])
    }).pipe(on({ latency: "10 millis" })))

  it.effect("behind the end of the stream shows in writing only, in a write that waits too", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      yield* write(server, "last words")
      yield* ended(server)
      const waiting = yield* Effect.forkChild(write(client, Buffer.alloc(20 * kibi)), { startImmediately: true })
      yield* turns(20)
      yield* resetByUs(server)
      assert.strictEqual(yield* Fiber.join(waiting), "EPIPE")
      assert.strictEqual(String(client.read()), "last words")
    }).pipe(on({ bufferSize: kibi })))

  it.effect("that overtakes the reader leaves it the end that came before", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      yield* write(server, "last words")
      yield* ended(server)
      yield* resetByUs(server)
      const { bytes, ending } = yield* readAll(client)
      assert.deepStrictEqual([String(bytes), ending], ["last words", "end"])
      assert.strictEqual(yield* write(client, "?"), "EPIPE")
    }).pipe(on({ fragment: 1 })))

  it.effect("takes what is under way, held or gathered with it", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      const seen = yield* packets
      yield* network.hold("db")
      yield* write(client, "held")
      yield* Effect.sleep("1 second")
      yield* write(server, "gathered")
      yield* network.reset("db")
      yield* network.release("db")
      yield* Effect.sleep("1 minute")
      assert.isTrue(client.destroyed && server.destroyed)
      assert.deepStrictEqual(seen, ["data from client"])
    }).pipe(on({ coalesce: "50 millis" })))
})

describe("a connection that has timed out", () => {
  it.effect("says nothing more, and answers by a reset", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* network.partition("db")
        yield* write(client, "lost")
        assert.strictEqual((yield* readAll(client)).ending, "ETIMEDOUT")
      }))
      yield* hearsNothing(server)
      yield* write(server, "still there?")
      assert.strictEqual((yield* readAll(server)).ending, "ECONNRESET")
    }).pipe(on()))
})

describe("a crash", () => {
  it.effect("is not heard of by those who wait to be accepted", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* bind
      const client = yield* dial
      yield* network.crash("db")
      yield* hearsNothing(client)
    }).pipe(on()))

  it.effect("is found out by ending the stream, once the host is up again", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client } = yield* connected(db)
      yield* network.bounce("db")
      client.end()
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
    }).pipe(on({ latency: "10 millis" })))

  it.effect("is found out even when the first answers are lost", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client } = yield* connected(db)
      yield* network.bounce("db")
      let lost = 0
      yield* network.rule(NetworkRule.when({ kind: "reset" }, () => ++lost <= 2 ? NetworkRule.drop : undefined))
      yield* write(client, "anybody there?")
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
      assert.strictEqual(yield* now, 200 + 400)
    }).pipe(on()))

  it.effect("loses what was gathered", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* write(server, "not sent yet")
      yield* network.crash("db")
      yield* hearsNothing(client)
      assert.strictEqual(Reflect.get(client, "bytesRead"), 0)
    }).pipe(on({ coalesce: "50 millis" })))

  it.effect("has a packet that is delayed arrive nowhere", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* bind
      yield* network.rule(() => NetworkRule.delay("3 seconds"))
      yield* Effect.forkChild(Effect.delay(network.crash("db"), "1 second"), { startImmediately: true })
      assert.strictEqual((yield* Effect.flip(dial)).reason._tag, "ConnectTimeout")
    }).pipe(on()))

  it.effect("while the answer to a dial is under way leaves a connection with nobody at the other end", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* bind
      yield* after(1.5, network.bounce("db"))
      const client = yield* dial
      assert.deepStrictEqual((yield* network.connections).map(({ open }) => open), [["client"]])
      assert.strictEqual(yield* now, 2000)
      yield* write(client, "anybody there?")
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
    }).pipe(on({ latency: "1 second" })))

  it.effect("of the host that dials fails the dial", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* bind
      for (const moment of [0.5, 1.5]) {
        yield* after(moment, network.bounce("client"))
        assert.deepInclude((yield* Effect.flip(dial)).reason, { _tag: "Unreachable", code: "ENETDOWN" })
      }
      assert.deepStrictEqual(yield* network.connections, [])
    }).pipe(on({ latency: "1 second" })))

  it.effect("takes both ends of a host's connections to itself", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected()
      yield* network.crash("client")
      assert.isTrue(client.destroyed && server.destroyed)
      assert.deepStrictEqual(yield* network.connections, [])
    }).pipe(on()))

  it.effect("of both hosts, one after the other, leaves nothing", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* write(client, "lost")
      yield* write(server, "lost, too")
      yield* network.partition("db")
      yield* network.crash("db")
      yield* network.bounce("client")
      yield* network.bounce("db")
      yield* network.repair("db")
      yield* Effect.sleep("1 hour")
      assert.isTrue(client.destroyed && server.destroyed)
      assert.deepStrictEqual(yield* network.connections, [])
    }).pipe(on({ latency: "10 millis" })))

  it.effect("lasts until the scope of the one that took the host down ends", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { dialer } = yield* network.host("db")
      const lasting = yield* Effect.scope
      const why = Effect.map(Effect.flip(dialer.dial("client:1")), ({ reason }) => reason._tag)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* network.crash("db")
        yield* Effect.scoped(network.crash("db"))
        assert.strictEqual(yield* why, "Unreachable")
      }))
      assert.strictEqual(yield* why, "Refused")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* network.crash("db")
        yield* network.bounce("db")
        assert.strictEqual(yield* why, "Refused")
        yield* Scope.provide(network.crash("db"), lasting)
      }))
      assert.strictEqual(yield* why, "Unreachable")
    }).pipe(on()))

  it.effect("is found out by a writer whom a full buffer stops", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      const writing = yield* Effect.forkChild(write(client, Buffer.alloc(kibi)), { startImmediately: true })
      yield* stuffed(server)
      yield* network.bounce("db")
      assert.strictEqual((yield* readAll(client)).ending, "ECONNRESET")
      assert.strictEqual(yield* Fiber.join(writing), "ECANCELED")
    }).pipe(on({ bufferSize: 3 })))
})

describe("an interrupted dial", () => {
  for (const [name, defaults] of [["", {}], [" with latency", { latency: "10 millis" }]] as const) {
    it.effect(`leaves nothing at any moment${name}`, () =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        const bound = yield* bind
        let made = 0
        for (let moment = 0; moment < 60; moment++) {
          const dialing = yield* Effect.forkChild(Effect.scoped(Effect.andThen(dial, Effect.never)), {
            startImmediately: true
          })
          if (moment % 4 === 3) yield* Effect.sleep(moment / 2)
          yield* turns(moment % 15)
          yield* Fiber.interrupt(dialing)
          for (const { open } of yield* network.connections) {
            made++
            assert.deepStrictEqual(open, ["server"])
            const server = yield* bound.accept
            assert.strictEqual((yield* readAll(server)).ending, "end")
            server.destroy()
          }
        }
        assert.isAbove(made, 0)
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(yield* network.connections, [])
      }).pipe(on(defaults)))
  }

  it.effect("leaves nothing that is kept back", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* bind
      const seen = yield* packets
      for (const kind of ["connect", "accept"] as const) {
        for (const verdict of [NetworkRule.hold, NetworkRule.drop, NetworkRule.delay("1 minute")]) {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* network.rule(NetworkRule.when({ kind }, verdict))
            yield* Effect.ignore(Effect.timeout(dial, "1 second"))
          }))
        }
      }
      seen.length = 0
      yield* Effect.sleep("1 hour")
      assert.deepStrictEqual(seen, [])
      assert.deepStrictEqual(yield* network.connections, [])
    }).pipe(on({ latency: "10 millis" })))
})

describe("a link that changes", () => {
  it.effect("sends what was gathered with what comes next", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      yield* write(client, "gathered ")
      yield* network.link("client", "db", { coalesce: 0 })
      yield* write(client, "and not")
      assert.strictEqual(String(yield* read(server, 16)), "gathered and not")
      assert.strictEqual(yield* now, 0)
    }).pipe(on({ coalesce: "1 minute" })))

  it.effect("keeps apart what is written from then on, and only that", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { client, server } = yield* connected(db)
      const pieces: Array<string> = []
      server.on("data", (piece: Buffer) => pieces.push(String(piece)))
      for (const text of ["some", "joined "]) client.write(text)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* network.link("client", "db", { coalesce: false })
        for (const text of ["apart", "too"]) client.write(text)
      }))
      for (const text of [" and", " joined"]) client.write(text)
      yield* turns(20)
      assert.deepStrictEqual(pieces, ["somejoined ", "apart", "too", " and joined"])
    }).pipe(on()))

  it.effect("inherits the options that are not given, also as undefined", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* network.link("client", "db", { latency: undefined, fragment: 1 })
      yield* connected(db)
      assert.strictEqual(yield* now, 100)
    }).pipe(on({ latency: "50 millis" })))

  it.effect("is meant by address, too", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const { addresses } = yield* network.host("db")
      yield* network.link(addresses, ["10.0.0.1"], { latency: "1 second" })
      const { client } = yield* connected(db)
      assert.strictEqual(yield* now, 2000)
      yield* network.partition(addresses)
      yield* write(client, "lost")
      assert.strictEqual((yield* readAll(client)).ending, "ETIMEDOUT")
    }).pipe(on()))
})

describe("a slow link, and a slow reader", () => {
  for (
    const [name, defaults] of [["bandwidth", { bandwidth: 10 * kibi }], ["readRate", { readRate: 10 * kibi }]] as const
  ) {
    it.effect(`${name} is what comes in every second`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* connected(db)
        client.end(Buffer.alloc(50 * kibi))
        let received = 0
        server.on("data", (piece: Buffer) => received += piece.length)
        for (let second = 1; second <= 5; second++) {
          yield* Effect.sleep("1 second")
          assert.isAtMost(Math.abs(received - second * 10 * kibi), 2 * kibi)
        }
      }).pipe(on(defaults)))
  }
})

describe("silentAt", () => {
  it.effect("silences the end of the stream, too", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* network.rule(NetworkRule.when({ toServer: true }, NetworkRule.silentAt(2)))
      const { client, server } = yield* connected(db)
      yield* write(client, "12")
      yield* read(server, 2)
      client.end()
      yield* hearsNothing(server)
    }).pipe(on()))
})

describe("a program on a host", () => {
  it.effect("that starts another one has each run once after a bounce", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const host = yield* network.host("db")
      const ran: Array<string> = []
      const inner = Effect.sync(() => void ran.push("inner"))
      yield* host.start(Effect.suspend(() => {
        ran.push("outer")
        return ran.length > 2 ? host.start(inner) : Effect.void
      }))
      yield* network.bounce("db")
      yield* network.bounce("db")
      yield* network.settle
      assert.deepStrictEqual(ran, ["outer", "outer", "outer", "inner"])
    }).pipe(on()))

  it.effect("may bind again at once after a bounce, and take its time to end with the network", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      yield* Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        const host = yield* network.host("db")
        yield* host.start(Effect.gen(function*() {
          yield* host.listener.bind("db:80")
          told.push("bound")
          return yield* Effect.onExit(
            Effect.never,
            () => Effect.delay(Effect.sync(() => void told.push("ended")), "1 second")
          )
        }))
        yield* network.bounce("db")
        told.push("bounced")
        yield* Dialer.Dialer.use((dialer) => dialer.dial("db:80"))
      }).pipe(on())
      assert.deepStrictEqual(told.slice(0, 3), ["bound", "bound", "bounced"])
      assert.strictEqual(told.at(-1), "ended")
    }))
})
