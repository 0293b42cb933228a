/** What a server does about clients that are silent, slow, too many or not who they seem to be. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Tracer from "effect/Tracer"
import * as Tls from "../../src/layers/Tls.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { describeOnNetworks } from "../support/network.ts"
import { turns } from "../support/streams.ts"
import { ask, connect, eventually, server, serving } from "../support/tcpServers.ts"

const echo = (connection: Connection.Connection) => Stream.run(connection.reads, connection.writes)

const reasonOfRead = (connection: Connection.Connection) =>
  Effect.map(Effect.flip(connection.read()), ({ reason }) => reason._tag)

const tlsServer = Effect.fnUntraced(function*() {
  const { certificate: ca, issue } = yield* TestCertificates.authority()
  return { ca, tls: yield* issue({ names: ["127.0.0.1"] }) }
})

describe("TcpServer with an idle timeout", () => {
  const onTestNetwork = <A, E>(
    effect: Effect.Effect<A, E, Layer.Success<ReturnType<typeof TestNetwork.layer>> | Scope.Scope>
  ) => Effect.provide(effect, TestNetwork.layer())

  it.effect("closes a connection on which nothing comes or goes, and interrupts its handler", () =>
    onTestNetwork(Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const { address } = yield* serving(
        () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
        { idleTimeout: "10 seconds" }
      )
      const client = yield* connect(address)
      yield* turns(10)
      yield* TestClock.adjust("10 seconds")
      assert.isFalse(yield* Deferred.isDone(interrupted))
      yield* TestClock.adjust("1 second")
      yield* Deferred.await(interrupted)
      assert.strictEqual(yield* reasonOfRead(client), "EndOfStream")
    })))

  for (const who of ["client", "server"] as const) {
    it.effect(`leaves one alone on which the ${who} sends something now and then`, () =>
      onTestNetwork(Effect.gen(function*() {
        const go = yield* Deferred.make<Connection.Connection>()
        const { address } = yield* serving(
          (connection) => Effect.andThen(Deferred.succeed(go, connection), Effect.never),
          { idleTimeout: "10 seconds" }
        )
        const client = yield* connect(address)
        const served = yield* Deferred.await(go)
        const [from, to] = who === "client" ? [client, served] : [served, client]
        for (let i = 0; i < 5; i++) {
          yield* TestClock.adjust("9 seconds")
          yield* from.write("x")
          assert.strictEqual((yield* to.read()).length, 1)
        }
        yield* TestClock.adjust("11 seconds")
        yield* turns(10)
        assert.strictEqual(yield* reasonOfRead(client), "EndOfStream")
      })))
  }

  it.effect("gives the place of an idle connection to one that waits", () =>
    onTestNetwork(Effect.gen(function*() {
      const { address } = yield* serving(echo, { idleTimeout: "10 seconds", maxConnections: 2 })
      yield* connect(address)
      yield* connect(address)
      const third = yield* connect(address)
      const answer = yield* Effect.forkChild(ask(third, "hello"), { startImmediately: true })
      yield* turns(10)
      assert.isUndefined(answer.pollUnsafe())
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(yield* Fiber.join(answer), "hello")
    })))
})

describeOnNetworks("TcpServer and silent clients", (test) => {
  test("are gone from every place after the handshake timeout", () =>
    Effect.gen(function*() {
      const { ca, tls } = yield* tlsServer()
      const { address } = yield* serving(echo, { tls, maxConnections: 3, handshakeTimeout: "300 millis" })
      const silent = yield* Effect.forEach([1, 2, 3], () => connect(address))
      // slower than any limit on a single read would notice
      const trickle = yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(silent[0]!.write("\x16"), Effect.sleep("20 millis")))
      )
      const client = yield* connect(address).pipe(Effect.provide(Tls.layer({ ca })))
      assert.strictEqual(yield* ask(client, "hello"), "hello")
      yield* Effect.exit(Fiber.join(trickle))
    }), 20_000)

  test("do not disturb those who are served", () =>
    Effect.gen(function*() {
      const { ca, tls } = yield* tlsServer()
      const { address } = yield* serving(echo, { tls, maxConnections: 2, overflow: "reject" })
      const client = yield* connect(address).pipe(Effect.provide(Tls.layer({ ca })))
      yield* ask(client, "hello")
      yield* connect(address)
      const rejected = yield* connect(address)
      assert.strictEqual(yield* reasonOfRead(rejected), "EndOfStream")
      assert.strictEqual(yield* ask(client, "still here"), "still here")
    }))
})

describeOnNetworks("TcpServer with the PROXY protocol", (test) => {
  const header = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"

  const addressed = (connection: Connection.Connection) =>
    connection.write(
      [connection.remoteAddress, connection.localAddress].map((address) =>
        Option.match(address, { onNone: () => "?", onSome: NetAddress.formatSocketAddress })
      ).join(" ") + "\n"
    )

  test("believes a trusted proxy who the client is, and hands on what follows the header", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(
        (connection) => Effect.andThen(addressed(connection), echo(connection)),
        { proxyProtocol: { trusted: ["127.0.0.0/8", "10.0.0.0/8"] } }
      )
      const proxy = yield* connect(address)
      yield* proxy.write(`${header}early\n`)
      assert.strictEqual(yield* proxy.readLine(), "192.0.2.1:56324 198.51.100.7:443")
      assert.strictEqual(yield* proxy.readLine(), "early")
    }))

  test("reads the header before TLS", () =>
    Effect.gen(function*() {
      const { ca, tls } = yield* tlsServer()
      const { address } = yield* serving(addressed, {
        tls,
        proxyProtocol: { trusted: ["127.0.0.0/8", "10.0.0.0/8"] }
      })
      const relay = yield* server()
      yield* Effect.forkScoped(
        relay.serve((inner) =>
          Effect.scoped(Effect.gen(function*() {
            const outer = yield* connect(address)
            yield* outer.write(header)
            yield* Effect.all([Stream.run(inner.reads, outer.writes), Stream.run(outer.reads, inner.writes)], {
              concurrency: 2
            })
          }))
        ),
        { startImmediately: true }
      )
      const client = yield* connect(relay.address).pipe(Effect.provide(Tls.layer({ ca })))
      assert.strictEqual(yield* client.readLine(), "192.0.2.1:56324 198.51.100.7:443")
    }))

  test("closes a proxy that sends none, says why, and takes an untrusted client as it is", () =>
    Effect.gen(function*() {
      const trusting = yield* serving(addressed, { proxyProtocol: { trusted: ["127.0.0.1", "10.0.0.1"] } })
      const proxy = yield* connect(trusting.address)
      yield* proxy.write("GET / HTTP/1.1\r\n\r\n")
      assert.include(["EndOfStream", "Reset"], yield* reasonOfRead(proxy))
      const log = yield* ConnectionLog.ConnectionLog
      const failed = (yield* log.events).find(({ event }) => event === "handshake failed")
      assert.match(failed?.detail ?? "", /:\d+: no usable PROXY header: /)

      const untrusting = yield* serving(addressed, { proxyProtocol: { trusted: ["192.0.2.77"] } })
      const client = yield* connect(untrusting.address)
      assert.match(yield* client.readLine(), /^(127\.0\.0\.1|10\.0\.0\.1):\d+ /)
      const strict = yield* serving(addressed, { proxyProtocol: { trusted: ["192.0.2.77"], required: true } })
      const refused = yield* connect(strict.address)
      assert.include(["EndOfStream", "Reset"], yield* reasonOfRead(refused))
    }).pipe(Effect.provide(ConnectionLog.layer())))

  test("cannot be told to trust what is no address", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(server({ proxyProtocol: { trusted: ["everybody"] } }))
      assert.strictEqual(error._tag === "TcpError" && error.reason._tag, "Unknown")
      assert.include(error.message, "everybody")
    }))
})

describeOnNetworks("TcpServer, observed", (test) => {
  const count = (name: string) =>
    Effect.map(Metric.snapshot, (metrics) => {
      const state = metrics.find(({ id }) => id === name)?.state
      return state !== undefined && "count" in state ? Number(state.count) : 0
    })

  test("counts and logs connections that it rejects and handshakes that fail", () =>
    Effect.gen(function*() {
      const rejectedBefore = yield* count("hawser_server_rejected_total")
      const failedBefore = yield* count("hawser_server_handshakes_failed_total")
      const { tls } = yield* tlsServer()
      const { address } = yield* serving(echo, { tls, maxConnections: 1, overflow: "reject" })
      const garbage = yield* connect(address)
      const rejected = yield* connect(address)
      assert.strictEqual(yield* reasonOfRead(rejected), "EndOfStream")
      yield* garbage.write("GET / HTTP/1.1\r\n\r\n")
      const log = yield* ConnectionLog.ConnectionLog
      const events = Effect.map(log.events, (all) => all.map(({ event }) => event))
      yield* eventually(Effect.map(events, (all) => all.includes("handshake failed")))
      assert.include(yield* events, "rejected")
      assert.strictEqual(yield* count("hawser_server_rejected_total"), rejectedBefore + 1)
      assert.strictEqual(yield* count("hawser_server_handshakes_failed_total"), failedBefore + 1)
    }).pipe(Effect.provide(ConnectionLog.layer())))

  test("makes a root span for each connection where a tracer collects spans", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* Effect.gen(function*() {
        const { address } = yield* serving((connection) =>
          Effect.andThen(connection.write("hello\n"), Effect.withSpan(Effect.void, "inside"))
        )
        const client = yield* connect(address)
        yield* client.readLine()
        assert.strictEqual(yield* reasonOfRead(client), "EndOfStream")
        const span = spans.find(({ name }) => name === "TcpServer.connection")
        assert.strictEqual(span?.kind, "server")
        assert.isTrue(Option.isNone(span!.parent))
        assert.strictEqual(span?.attributes.get("server.address"), NetAddress.formatSocketAddress(address))
        assert.match(String(span?.attributes.get("client.address")), /:\d+$/)
        const inside = spans.find(({ name }) => name === "inside")
        assert.strictEqual(Option.getOrUndefined(inside!.parent)?.spanId, span?.spanId)
      }).pipe(Effect.provideService(Tracer.Tracer, tracer))
    }))
})
