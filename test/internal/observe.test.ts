import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Observe from "../../src/internal/observe.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import { describeOnNetworks } from "../support/network.ts"
import { closedPort } from "../support/servers.ts"
import { resetByUs } from "../support/streams.ts"

/** A tracer that keeps its spans. */
const collecting = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, traced: Effect.provideService(Tracer.Tracer, tracer) }
}

const spanName = Effect.map(Effect.option(Effect.currentSpan), Option.map(({ name }) => name))

describe("traced", () => {
  it.effect("makes no span, and asks for no attributes, where nobody provided a tracer", () =>
    Effect.gen(function*() {
      let asked = 0
      const attributes = () => ({ asked: ++asked })
      assert.deepStrictEqual(yield* Observe.traced("inner", attributes)(spanName), Option.none())
      assert.deepStrictEqual(
        yield* Effect.withSpan(Observe.traced("inner", attributes)(spanName), "outer"),
        Option.some("outer")
      )
      assert.strictEqual(asked, 0)
    }))

  it.effect("makes a span with its kind and attributes, below the one around it, where a tracer collects them", () =>
    Effect.gen(function*() {
      const { spans, traced } = collecting()
      const program = spanName.pipe(
        Observe.traced("inner", () => ({ "net.peer": "db.test:5432" }), "server"),
        Effect.withSpan("outer"),
        traced
      )
      assert.deepStrictEqual(yield* program, Option.some("inner"))
      const [outer, inner] = spans
      assert.deepStrictEqual([outer?.name, inner?.name, inner?.kind], ["outer", "inner", "server"])
      assert.deepStrictEqual([...(inner?.attributes ?? [])], [["net.peer", "db.test:5432"]])
      assert.strictEqual(Option.getOrUndefined(inner?.parent ?? Option.none())?.spanId, outer?.spanId)
      assert.strictEqual(inner?.status._tag, "Ended")
    }))

  it.effect("makes a client's span unless it is told otherwise, and ends it as the effect ends", () =>
    Effect.gen(function*() {
      const { spans, traced } = collecting()
      assert.strictEqual(yield* Effect.flip(traced(Observe.traced("failing")(Effect.fail("no")))), "no")
      const span = spans[0]
      assert.deepStrictEqual([span?.kind, span?.attributes.size], ["client", 0])
      assert.isTrue(span?.status._tag === "Ended" && Exit.isFailure(span.status.exit))
    }))
})

/** What is counted in a registry of its own. */
const counted = () => {
  const registry = new Map()
  const isolated = Effect.provideService(Metric.MetricRegistry, registry)
  /** A metric with such attributes, zero when it is not there. */
  const read = (id: string, attributes: Record<string, string>) =>
    isolated(Effect.map(Metric.snapshot, (all) => {
      const found = all.find((metric) =>
        metric.id === id && Object.entries(attributes).every(([name, value]) => metric.attributes?.[name] === value)
      )
      if (found === undefined) return 0
      return Number("count" in found.state ? found.state.count : "value" in found.state ? found.state.value : NaN)
    }))
  const connections = Effect.fnUntraced(function*(role: Observe.Role) {
    return {
      opened: yield* read("hawser_connections_total", { role }),
      active: yield* read("hawser_connections_active", { role })
    }
  })
  const bytes = Effect.all({
    read: read("hawser_bytes_total", { direction: "read" }),
    written: read("hawser_bytes_total", { direction: "written" })
  })
  return { isolated, read, connections, bytes }
}

describeOnNetworks("metrics", (test) => {
  test("count connections by who opened them, those that are open, and the bytes of those that were closed", () => {
    const { bytes, connections, isolated } = counted()
    return isolated(Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const { accept, address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
      const tcp = yield* TcpClient.TcpClient
      const none = { opened: 0, active: 0 }
      assert.deepStrictEqual([yield* connections("dialed"), yield* connections("accepted")], [none, none])
      const scopes = { client: yield* Scope.make(), server: yield* Scope.make() }
      const client = yield* Scope.provide(tcp.connect(address), scopes.client)
      const server = yield* Scope.provide(
        Effect.flatMap(accept, (duplex) => Connection.fromDuplex(duplex, { role: "accepted" })),
        scopes.server
      )
      const one = { opened: 1, active: 1 }
      assert.deepStrictEqual([yield* connections("dialed"), yield* connections("accepted")], [one, one])
      yield* client.write("question")
      yield* server.readExactly(8)
      yield* server.write("answer")
      yield* client.readExactly(6)
      assert.deepStrictEqual(yield* bytes, { read: 0, written: 0 })
      const gone = { opened: 1, active: 0 }
      yield* Scope.close(scopes.client, Exit.void)
      assert.deepStrictEqual([yield* connections("dialed"), yield* connections("accepted")], [gone, one])
      assert.deepStrictEqual(yield* bytes, { read: 6, written: 8 })
      yield* Scope.close(scopes.server, Exit.void)
      assert.deepStrictEqual([yield* connections("dialed"), yield* connections("accepted")], [gone, gone])
      assert.deepStrictEqual(yield* bytes, { read: 14, written: 14 })
    })).pipe(Effect.provide(TcpClient.layer))
  })

  test("count a connection that is closed before its scope ends as closed from then on", () => {
    const { connections, isolated } = counted()
    return isolated(Effect.scoped(Effect.gen(function*() {
      const { address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
      const tcp = yield* TcpClient.TcpClient
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* tcp.connect(address)
        yield* client.close
        assert.deepStrictEqual(yield* connections("dialed"), { opened: 1, active: 0 })
      }))
      assert.deepStrictEqual(yield* connections("dialed"), { opened: 1, active: 0 })
    }))).pipe(Effect.provide(TcpClient.layer))
  })

  test("count connections that break, or whose scope is interrupted, as closed", () => {
    const { connections, isolated } = counted()
    return isolated(Effect.gen(function*() {
      const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
      const tcp = yield* TcpClient.TcpClient
      for (const exit of [Exit.void, Exit.interrupt()]) {
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(tcp.connect(address), scope)
        yield* resetByUs(yield* accept)
        assert.strictEqual((yield* client.closed)._tag, "Broken")
        yield* Scope.close(scope, exit)
      }
      assert.deepStrictEqual(yield* connections("dialed"), { opened: 2, active: 0 })
    })).pipe(Effect.provide(TcpClient.layer))
  })

  test("count dials by what came of them", () => {
    const { isolated, read } = counted()
    return isolated(Effect.gen(function*() {
      const { address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
      const dialer = yield* Dialer.Dialer
      yield* Effect.scoped(dialer.dial(address))
      yield* Effect.scoped(dialer.dial(address))
      yield* Effect.flip(Effect.scoped(dialer.dial(`127.0.0.1:${yield* closedPort}`)))
      assert.strictEqual(yield* read("hawser_dials_total", { hop: "direct", outcome: "ok" }), 2)
      assert.strictEqual(yield* read("hawser_dials_total", { hop: "direct", outcome: "Refused" }), 1)
      assert.strictEqual(yield* read("hawser_dial_duration", { hop: "direct" }), 2)
    }))
  })

  test("spans: connecting is one, below that of whoever connects", () => {
    const { spans, traced } = collecting()
    return Effect.gen(function*() {
      const { address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
      yield* TcpClient.TcpClient.use((tcp) => tcp.connect(address)).pipe(Effect.withSpan("mine"))
      const mine = spans.find(({ name }) => name === "mine")
      const connect = spans.find(({ name }) => name === "TcpClient.connect")
      assert.strictEqual(Option.getOrUndefined(connect?.parent ?? Option.none())?.spanId, mine?.spanId)
      assert.strictEqual(connect?.kind, "client")
      assert.strictEqual(connect?.status._tag, "Ended")
    }).pipe(Effect.provide(TcpClient.layer), traced)
  })
})
