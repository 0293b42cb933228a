import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Dns from "effect/net/Dns"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import * as Net from "node:net"
import { vi } from "vitest"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { turn } from "../support/scripted.ts"
import { blackhole, closedPort, rawServer } from "../support/servers.ts"
import { read, write } from "../support/streams.ts"

const dial = (target: DialTarget, options?: Dialer.DialOptions) =>
  Dialer.Dialer.use((dialer) => dialer.dial(target, options))

const failure = (target: DialTarget) => Effect.flip(Effect.scoped(dial(target)))

const addressOf = (text: string) => Result.getOrThrow(NetAddress.ipFromString(text))

/** A Dns that answers each question for the addresses of a family as it is told. */
const dnsOf = (
  answer: (family: NetAddress.IpFamily | undefined) => Effect.Effect<ReadonlyArray<string>, Dns.DnsError>
) =>
  Layer.succeed(
    Dns.Dns,
    Dns.make({ lookup: (_host, family) => Effect.map(answer(family), (found) => found.map(addressOf)) })
  )

const dnsError = (reason: Dns.DnsErrorReason) => new Dns.DnsError({ reason, method: "lookup", hostname: "db.test" })

const resolvingWith = (dns: Layer.Layer<Dns.Dns, NetAddress.NetAddressError>, options?: Dialer.DirectOptions) =>
  Dialer.layerDns(options).pipe(Layer.provide(dns), Layer.orDie)

const zone = (hosts: Record<string, ReadonlyArray<string>>) => resolvingWith(Dns.layerStatic({ hosts }))

describe("Dialer.layerDns", () => {
  it.live("finds names in the Dns that it is given", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const client = yield* dial(`db.test:${server.port}`).pipe(Effect.provide(zone({ "db.test": ["127.0.0.1"] })))
      yield* write(client, "here")
      assert.strictEqual(String(yield* read(yield* server.next, 4)), "here")
    })))

  it.live("dials the IPv6 address first, and the IPv4 one when that is refused", () =>
    leavesNothing(
      Effect.gen(function*() {
        const both = zone({ "db.test": ["127.0.0.1", "::1"] })
        const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "::1", port: 0 })
        const port = NetAddress.isInetAddress(address) ? address.port : 0
        const six = yield* dial(`db.test:${port}`).pipe(Effect.provide(both))
        assert.strictEqual(Reflect.get(six, "remoteAddress"), "::1")
        yield* accept
        const server = yield* rawServer()
        const four = yield* dial(`db.test:${server.port}`).pipe(Effect.provide(both))
        assert.strictEqual(Reflect.get(four, "remoteAddress"), "127.0.0.1")
      }).pipe(Effect.provide(Listener.layer))
    ))

  it.effect("goes on after the attempt delay that it is told when an address does not answer", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* blackhole
      // nobody listens on the other loopback address, and nothing answers on the first
      const layer = resolvingWith(Dns.layerStatic({ hosts: { "db.test": ["127.0.0.1", "127.0.0.2"] } }), {
        attemptDelay: "70 millis",
        connectTimeout: "1 second"
      })
      const fiber = yield* Effect.forkChild(Effect.provide(failure(`db.test:${port}`), layer), {
        startImmediately: true
      })
      yield* TestClock.adjust("70 millis")
      yield* turn
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("930 millis")
      const { reason } = yield* Fiber.join(fiber)
      assert.strictEqual(reason._tag, "ConnectTimeout")
    })))

  it.effect("does not wait for IPv6 answers longer than it is told", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const dns = dnsOf((family) => family === "IPv6" ? Effect.never : Effect.succeed(["127.0.0.1"]))
      const layer = resolvingWith(dns, { resolutionDelay: "20 millis" })
      const fiber = yield* Effect.forkChild(
        Effect.scoped(Effect.provide(dial(`db.test:${server.port}`), layer)),
        { startImmediately: true }
      )
      yield* TestClock.adjust("19 millis")
      yield* turn
      assert.strictEqual(server.sockets.size, 0)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      yield* server.next
    })))

  it.effect("gives up on a Dns that does not answer when the dial's time is over", () =>
    leavesNothing(Effect.gen(function*() {
      const fiber = yield* failure("db.test:1").pipe(
        Effect.provide(resolvingWith(dnsOf(() => Effect.never))),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "ConnectTimeout")
    })))

  for (
    const [reason, isRetryable] of [
      ["NotFound", false],
      ["Timeout", true],
      ["Temporary", true],
      ["ServerFailure", true],
      ["Refused", false]
    ] as const
  ) {
    it.live(`says ${reason} where the Dns does, which ${isRetryable ? "may" : "will not"} pass`, () =>
      Effect.gen(function*() {
        const error = yield* failure("db.test:1").pipe(
          Effect.provide(resolvingWith(dnsOf(() => Effect.fail(dnsError(reason)))))
        )
        assert.deepStrictEqual([error.hop, error.target, error.isRetryable], ["direct", "db.test:1", isRetryable])
        assert.deepStrictEqual(
          error.reason._tag === "NameNotFound" && [error.reason.name, error.reason.code],
          ["db.test", reason]
        )
      }))
  }

  it.live("keeps two Dns apart in one program", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const layer = Dialer.layerDns()
      const over = (hosts: Record<string, ReadonlyArray<string>>) =>
        Effect.provide(layer.pipe(Layer.provide(Dns.layerStatic({ hosts }))))
      const to = `db.test:${server.port}`
      const inner = Effect.scoped(dial(to)).pipe(over({ "db.test": ["127.0.0.1"] }))
      yield* Effect.andThen(
        inner,
        Effect.flatMap(failure(to), (error) => Effect.sync(() => assert.strictEqual(error.reason._tag, "NameNotFound")))
      ).pipe(over({ "other.test": ["127.0.0.1"] }))
    })))
})

describe("the local address", () => {
  it.live("is the one that was asked for, with its port", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const localPort = yield* closedPort
      const layer = Dialer.layerWith({ localAddress: "127.0.0.2", localPort })
      yield* dial(server.address).pipe(Effect.provide(layer))
      const socket = yield* server.next
      assert.deepStrictEqual([socket.remoteAddress, socket.remotePort], ["127.0.0.2", localPort])
      const codeOf = (layer: Layer.Layer<Dialer.Dialer>) =>
        Effect.map(
          Effect.provide(failure(server.address), layer),
          ({ reason }) => reason._tag === "Unreachable" && reason.code
        )
      // there is a connection between the two already, and on the other port there is the server
      assert.strictEqual(yield* codeOf(layer), "EADDRNOTAVAIL")
      const taken = Dialer.layerWith({ localAddress: "127.0.0.1", localPort: server.port })
      assert.strictEqual(yield* codeOf(taken), "EADDRINUSE")
    })))

  it.live("picks the addresses of a name that can be reached from it", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const dns = Dns.layerStatic({ hosts: { "db.test": ["::1", "127.0.0.1"] } })
      yield* dial(`db.test:${server.port}`).pipe(
        Effect.provide(resolvingWith(dns, { localAddress: "127.0.0.1", attemptDelay: Duration.infinity }))
      )
      yield* dial(`localhost:${server.port}`).pipe(Effect.provide(Dialer.layerWith({ localAddress: "127.0.0.1" })))
    })))

  it.live("says so when it is none, not of this machine, or of the other family", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const reasonFrom = (localAddress: string, target = server.address) =>
        Effect.map(
          Effect.provide(failure(target), Dialer.layerWith({ localAddress })),
          ({ reason }) => reason._tag === "Unreachable" ? reason.code : reason._tag
        )
      assert.strictEqual(yield* reasonFrom("here"), "InvalidTarget")
      assert.strictEqual(yield* reasonFrom("here", "localhost:1"), "InvalidTarget")
      assert.strictEqual(yield* reasonFrom("192.0.2.1"), "EADDRNOTAVAIL")
      assert.strictEqual(yield* reasonFrom("::1"), "EAFNOSUPPORT")
    })))
})

describe.runIf(process.platform === "linux")("an abstract socket", () => {
  const name = `\0hawser-test-${process.pid}`

  it.live("is dialled by its name behind a NUL", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer(name)
        const client = yield* dial({ path: name })
        yield* write(client, "abstract")
        assert.strictEqual(String(yield* read(yield* server.next, 8)), "abstract")
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("is written with an @", () =>
    Effect.gen(function*() {
      const error = yield* failure({ path: "\0hawser-nobody" })
      assert.strictEqual(
        error.message,
        "@hawser-nobody: connection to @hawser-nobody refused; is something listening there?"
      )
    }).pipe(Effect.provide(Dialer.layer)))
})

describe("the options of a socket", () => {
  it.live("are set as asked: no delay and keep-alive unless told otherwise", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const spy = yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(Net.Socket.prototype, "connect")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      for (const options of [{}, { noDelay: false, keepAlive: false }, { keepAlive: "5 seconds" }] as const) {
        yield* Effect.scoped(dial(server.address)).pipe(Effect.provide(Dialer.layerWith(options)))
      }
      // Node hands its options on as the first of an array
      const seen = spy.mock.calls.map(([args]) => {
        const options: unknown = Reflect.get(Object(args), 0)
        return ["noDelay", "keepAlive", "keepAliveInitialDelay"].map((name): unknown =>
          Reflect.get(Object(options), name)
        )
      })
      assert.deepStrictEqual(seen, [[true, true, 60_000], [false, false, 0], [true, true, 5000]])
    })))
})

describe("the metrics of dials", () => {
  it.live("count each hop of a path by how it came out, and time what succeeded", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const nobody = yield* closedPort
        const path = Dialer.layerThrough(
          Effect.succeed({ name: "counted", via: Effect.succeed, handshake: Effect.succeed })
        ).pipe(Layer.provide(Dialer.layer))
        yield* Effect.scoped(dial(server.address)).pipe(Effect.provide(path))
        yield* failure(`127.0.0.1:${nobody}`).pipe(Effect.provide(path))
        // what is no target is not dialled
        yield* failure("nowhere").pipe(Effect.provide(path))
        const metrics = (yield* Metric.snapshot).filter(({ id }) => id.startsWith("hawser_dial"))
        const counts = metrics.flatMap((metric) =>
          metric.type === "Counter"
            ? [`${metric.attributes?.["hop"]} ${metric.attributes?.["outcome"]} ${metric.state.count}`]
            : metric.type === "Histogram"
            ? [`${metric.attributes?.["hop"]} timed ${metric.state.count}`]
            : []
        )
        assert.sameMembers(counts, [
          "counted ok 1",
          "direct ok 1",
          "counted Refused 1",
          "direct Refused 1",
          "counted timed 1",
          "direct timed 1"
        ])
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
    ))
})
