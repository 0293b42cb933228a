import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { formatSocketAddress } from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import type { DialTarget } from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { pattern } from "../support/connections.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { read, resetByUs } from "../support/streams.ts"

const dial = (target: DialTarget) =>
  Effect.flatMap(Dialer.Dialer.use((dialer) => dialer.dial(target)), (stream) => Connection.fromDuplex(stream))

/** Waits until something is so, which other fibers and the network still have to bring about. */
const eventually = Effect.fnUntraced(function*<A>(effect: Effect.Effect<A>, holds: (value: A) => boolean) {
  while (!holds(yield* effect)) yield* Effect.sleep(1)
})

const password = Redacted.make("s3cret")
const credentials = { username: "ann", password }

/** A proxy of each kind, and the layer that goes through it. */
const proxies = {
  socks5: (options: TestPeers.ProxyPeerOptions = {}) => TestPeers.socks5(options),
  socks4a: (options: TestPeers.ProxyPeerOptions = {}) =>
    Effect.map(TestPeers.socks5(options), (proxy) => ({ ...proxy, url: proxy.url.replace("socks5", "socks4a") })),
  http: (options: TestPeers.ProxyPeerOptions = {}) => TestPeers.httpProxy(options)
}

const login = (url: string, secret = "s3cret") => url.replace("://", `://ann:${secret}@`)

/** Dials through a proxy. */
const through = (url: string, target: DialTarget) => Effect.provide(dial(target), Proxy.layer(url))

/** A server whose next connection the test plays. */
const played = Effect.gen(function*() {
  const bound = yield* (yield* Listener.Listener).bind("127.0.0.1:0")
  return { address: formatSocketAddress(bound.address), accept: bound.accept }
})

describeOnNetworks("TestPeers.echo", (test) => {
  test("sends back what it gets, and counts", () =>
    Effect.gen(function*() {
      const echo = yield* TestPeers.echo()
      const first = yield* dial(echo.address)
      const second = yield* dial(echo.address)
      yield* first.write("hello\n")
      yield* second.write("hi\n")
      assert.strictEqual(yield* first.readLine(), "hello")
      assert.strictEqual(yield* second.readLine(), "hi")
      yield* eventually(echo.bytes, (bytes) => bytes === 9)
      assert.strictEqual(yield* echo.connections, 2)
      yield* first.close
      yield* eventually(echo.connections, (open) => open === 1)
      assert.strictEqual(yield* echo.accepted, 2)
    }))

  test("sends back everything and then its end, to a client that has ended its side", () =>
    Effect.gen(function*() {
      const echo = yield* TestPeers.echo()
      const client = yield* dial(echo.address)
      const sent = pattern(10_000)
      yield* client.write(sent)
      yield* client.closeWrite
      assert.deepStrictEqual(Buffer.from(yield* client.readExactly(sent.length)), sent)
      assert.deepInclude(yield* reasonOf(client.read()), { _tag: "EndOfStream" })
      yield* eventually(echo.connections, (open) => open === 0)
    }))

  test("goes on after a connection that was reset", () =>
    Effect.gen(function*() {
      const echo = yield* TestPeers.echo()
      const stream = yield* Dialer.Dialer.use((dialer) => dialer.dial(echo.address))
      stream.write("x")
      yield* read(stream, 1)
      yield* resetByUs(stream)
      yield* eventually(echo.connections, (open) => open === 0)
      const client = yield* dial(echo.address)
      yield* client.write("still there\n")
      assert.strictEqual(yield* client.readLine(), "still there")
    }))

  test("stops listening and closes its connections with its scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const echo = yield* Scope.provide(TestPeers.echo(), scope)
      const client = yield* dial(echo.address)
      yield* client.write("x")
      yield* client.readExactly(1)
      yield* Scope.close(scope, Exit.void)
      assert.oneOf((yield* reasonOf(client.read()))["_tag"], ["EndOfStream", "Reset"])
      assert.deepInclude(yield* reasonOf(Effect.scoped(dial(echo.address))), { _tag: "Refused" })
      assert.strictEqual(yield* echo.connections, 0)
    }))

  test("speaks TLS where it has a certificate, and survives who does not", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const echo = yield* TestPeers.echo({ tls: yield* authority.issue({ names: ["127.0.0.1"] }) })
      const plain = yield* dial(echo.address)
      yield* plain.write("this is no TLS\n")
      yield* plain.closed
      const client = yield* Effect.provide(dial(echo.address), Tls.layer({ ca: authority.certificate }))
      yield* client.write("secret\n")
      assert.strictEqual(yield* client.readLine(), "secret")
    }), 30_000)
})

describe("TestPeers.echo", () => {
  it.live("is held back by a client that does not read, and loses nothing", () =>
    leavesNothing(
      Effect.gen(function*() {
        const echo = yield* TestPeers.echo()
        const client = yield* dial(echo.address)
        const sent = pattern(32 * 1024 * 1024)
        const writing = yield* Effect.forkChild(client.write(sent))
        // neither the client nor the peer stores what does not fit into the system's buffers
        yield* Effect.sleep("50 millis")
        assert.isUndefined(writing.pollUnsafe())
        assert.isTrue(sent.equals(yield* client.readExactly(sent.length)))
        yield* Fiber.join(writing)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(Dialer.layer, Listener.layer)))
    ), 30_000)

  it.live("fails as its listener does", () =>
    Effect.gen(function*() {
      const { address } = yield* TestPeers.echo()
      const inUse = yield* Effect.flip(TestPeers.echo({ address }))
      assert.strictEqual(inUse._tag === "TcpError" ? inUse.reason._tag : inUse._tag, "AddressInUse")
      const error = yield* Effect.flip(TestPeers.echo({ tls: { cert: "no certificate", key: "no key" } }))
      assert.strictEqual(error._tag, "TlsConfigError")
    }).pipe(Effect.scoped, Effect.provide(Listener.layer)))
})

for (const [kind, start] of Object.entries(proxies)) {
  describeOnNetworks(`TestPeers' ${kind} proxy`, (test) => {
    test("leads to the target and tells what was asked for", () =>
      Effect.gen(function*() {
        const echo = yield* TestPeers.echo()
        const proxy = yield* start()
        const target = formatSocketAddress(echo.address)
        const client = yield* through(proxy.url, target)
        yield* client.write("hello\n")
        assert.strictEqual(yield* client.readLine(), "hello")
        const code = kind === "http" ? 200 : kind === "socks5" ? 0 : 90
        assert.deepStrictEqual(yield* proxy.requests, [{ target, outcome: "granted", code }])
        assert.strictEqual(yield* proxy.connections, 1)
      }))

    test("looks for a name where it is told to", () =>
      Effect.gen(function*() {
        const echo = yield* TestPeers.echo()
        const proxy = yield* start({ resolve: (host) => host === "db.internal" ? "127.0.0.1" : host })
        const target = `db.internal:${formatSocketAddress(echo.address).replace(/.*:/, "")}`
        const client = yield* through(proxy.url, target)
        yield* client.write("hello\n")
        assert.strictEqual(yield* client.readLine(), "hello")
        assert.deepStrictEqual((yield* proxy.requests).map((request) => request.target), [target])
      }))

    test("refuses with the code that it is told, and says so", () =>
      Effect.gen(function*() {
        const code = kind === "http" ? 503 : kind === "socks5" ? 2 : 91
        const proxy = yield* start({ refuse: (target) => target === "db.test:5432" ? code : undefined })
        const why = yield* reasonOf(Effect.scoped(through(proxy.url, "db.test:5432")))
        assert.deepInclude(why, { _tag: "ProxyRefused", code })
        assert.deepStrictEqual(yield* proxy.requests, [{ target: "db.test:5432", outcome: "refused", code }])
      }))

    test("says why a target was not reached", () =>
      Effect.gen(function*() {
        const gone = yield* Effect.scoped(Effect.map(played, ({ address }) => address))
        const proxy = yield* start()
        const code = kind === "http" ? 502 : kind === "socks5" ? 5 : 91
        const why = yield* reasonOf(Effect.scoped(through(proxy.url, gone)))
        assert.deepInclude(why, { _tag: "ProxyRefused", code })
        assert.deepStrictEqual(yield* proxy.requests, [{ target: gone, outcome: "refused", code }])
      }))

    test("passes each side's end on by itself", () =>
      Effect.gen(function*() {
        const { accept, address } = yield* played
        const proxy = yield* start()
        const client = yield* through(proxy.url, address)
        const server = yield* Connection.fromDuplex(yield* accept)
        yield* client.write("question")
        yield* client.closeWrite
        assert.strictEqual(yield* server.readString({ maxSize: 100 }), "question")
        assert.deepInclude(yield* reasonOf(server.read()), { _tag: "EndOfStream" })
        yield* server.write("answer")
        yield* server.closeWrite
        assert.strictEqual(yield* client.readString({ maxSize: 100 }), "answer")
        assert.deepInclude(yield* reasonOf(client.read()), { _tag: "EndOfStream" })
        yield* eventually(proxy.connections, (open) => open === 0)
      }))

    test("passes a reset on, and goes on itself", () =>
      Effect.gen(function*() {
        const { accept, address } = yield* played
        const proxy = yield* start()
        const client = yield* through(proxy.url, address)
        const server = yield* accept
        yield* resetByUs(server)
        assert.deepInclude(yield* reasonOf(client.read()), { _tag: "Reset" })
        const next = yield* through(proxy.url, address)
        yield* next.write("x")
        yield* read(yield* accept, 1)
        assert.lengthOf(yield* proxy.requests, 2)
      }))

    test("turns away who says nothing that it understands, and goes on", () =>
      Effect.gen(function*() {
        const echo = yield* TestPeers.echo()
        const proxy = yield* start()
        for (
          const nonsense of ["GET / HTTP/1.1\r\n\r\n", "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", "\x04"]
        ) {
          const client = yield* dial(proxy.address)
          yield* client.write(nonsense)
          yield* client.closeWrite
          yield* Effect.flip(Effect.forever(client.read()))
        }
        const client = yield* through(proxy.url, echo.address)
        yield* client.write("hello\n")
        assert.strictEqual(yield* client.readLine(), "hello")
        assert.lengthOf(yield* proxy.requests, 1)
      }))

    test("closes both sides with its scope", () =>
      Effect.gen(function*() {
        const { accept, address } = yield* played
        const scope = yield* Scope.make()
        const proxy = yield* Scope.provide(start(), scope)
        const client = yield* through(proxy.url, address)
        const server = yield* Connection.fromDuplex(yield* accept)
        // somebody who has not asked yet
        const silent = yield* dial(proxy.address)
        yield* eventually(proxy.connections, (open) => open === 2)
        yield* Scope.close(scope, Exit.void)
        assert.deepInclude(yield* reasonOf(client.read()), { _tag: "Reset" })
        assert.deepInclude(yield* reasonOf(server.read()), { _tag: "Reset" })
        assert.oneOf((yield* reasonOf(silent.read()))["_tag"], ["EndOfStream", "Reset"])
        assert.strictEqual(yield* proxy.connections, 0)
      }))

    test("stops a dial half-way with its scope", () =>
      Effect.gen(function*() {
        let stopped = false
        const scope = yield* Scope.make()
        const endless = Dialer.Dialer.of({
          ...(yield* Dialer.Dialer),
          dial: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (stopped = true)))
        })
        const proxy = yield* Scope.provide(Effect.provideService(start(), Dialer.Dialer, endless), scope)
        const dialing = yield* Effect.forkChild(Effect.flip(Effect.scoped(through(proxy.url, "db.test:5432"))))
        yield* eventually(proxy.requests, (requests) => requests.length === 1)
        assert.deepStrictEqual(yield* proxy.requests, [{ target: "db.test:5432", outcome: "dialing" }])
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Fiber.join(dialing)).reason._tag, "ProxyProtocol")
        assert.isTrue(stopped)
      }))
  })
}

describeOnNetworks("TestPeers' proxies with credentials", (test) => {
  for (const [kind, start] of Object.entries({ socks5: proxies.socks5, http: proxies.http })) {
    test(`serve those who know them: ${kind}`, () =>
      Effect.gen(function*() {
        const echo = yield* TestPeers.echo()
        const proxy = yield* start(credentials)
        const client = yield* through(login(proxy.url), echo.address)
        yield* client.write("hello\n")
        assert.strictEqual(yield* client.readLine(), "hello")
        for (const url of [proxy.url, login(proxy.url, "wrong")]) {
          const why = yield* reasonOf(Effect.scoped(through(url, echo.address)))
          assert.strictEqual(why["_tag"], "ProxyAuthentication")
        }
        assert.lengthOf(yield* proxy.requests, 1)
      }))
  }

  test("do not serve SOCKS4, which has none", () =>
    Effect.gen(function*() {
      const proxy = yield* proxies.socks4a(credentials)
      assert.deepInclude(yield* reasonOf(Effect.scoped(through(proxy.url, "db.test:1"))), { _tag: "ProxyRefused" })
      assert.deepStrictEqual(yield* proxy.requests, [])
    }))
})

describeOnNetworks("TestPeers.socks5", (test) => {
  test("can be told not to speak SOCKS4", () =>
    Effect.gen(function*() {
      const proxy = yield* TestPeers.socks5({ socks4: false })
      const url = proxy.url.replace("socks5", "socks4")
      assert.deepInclude(yield* reasonOf(Effect.scoped(through(url, "127.0.0.1:1"))), {
        _tag: "ProxyRefused",
        code: 91
      })
    }))
})

describeOnNetworks("TestPeers.httpProxy", (test) => {
  test("is an https proxy where it has a certificate", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const echo = yield* TestPeers.echo()
      const proxy = yield* TestPeers.httpProxy({ tls: yield* authority.issue({ names: ["127.0.0.1"] }) })
      assert.match(proxy.url, /^https:/)
      const [, host = "", port = ""] = /^https:\/\/(.*):(\d+)$/.exec(proxy.url) ?? []
      const layer = Proxy.layer({ protocol: "https", host, port: Number(port), tls: { ca: authority.certificate } })
      const client = yield* Effect.provide(dial(echo.address), layer)
      yield* client.write("hello\n")
      assert.strictEqual(yield* client.readLine(), "hello")
    }), 30_000)

  test("hands on what comes right behind the request", () =>
    Effect.gen(function*() {
      const echo = yield* TestPeers.echo()
      const proxy = yield* TestPeers.httpProxy()
      const client = yield* dial(proxy.address)
      yield* client.write(`CONNECT ${formatSocketAddress(echo.address)} HTTP/1.1\r\n\r\nearly`)
      yield* client.closeWrite
      assert.strictEqual(
        yield* client.readString({ maxSize: 1000 }),
        "HTTP/1.1 200 OK\r\n\r\nearly"
      )
    }))

  test("leads through other proxies where its Dialer does", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* played
      const far = yield* TestPeers.socks5()
      const near = yield* Effect.provide(TestPeers.httpProxy(), Proxy.layer(far.url))
      const client = yield* through(near.url, address)
      yield* client.write("hello")
      assert.strictEqual(String(yield* read(yield* accept, 5)), "hello")
      assert.strictEqual((yield* far.requests)[0]?.target, address)
      assert.strictEqual((yield* near.requests)[0]?.target, address)
    }))
})
