import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Dns from "effect/net/Dns"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../support/leaks.ts"
import { serve } from "../support/loopback.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { inTls } from "../support/secureProxy.ts"
import { turns } from "../support/streams.ts"

const resolve = () => "127.0.0.1"

const loopback = {
  IPv4: Result.getOrThrow(NetAddress.ipFromString("127.0.0.1")),
  IPv6: Result.getOrThrow(NetAddress.ipFromString("::1"))
}

/** 255 bytes, which is the most that RFC 1929 has room for. */
const longest = "ю".repeat(127) + "a"

const credentials = { username: "us:er ж", password: longest }
const httpCredentials = { username: "user ж", password: "p@ss:ю" }

/** A proxy of each kind, one after the other asked for credentials where the protocol has them. */
const proxies = Effect.gen(function*() {
  const socks = yield* socksProxy({ resolve })
  const socksWithCredentials = yield* socksProxy({ resolve, credentials })
  const http = yield* httpProxy({ resolve })
  const httpWithCredentials = yield* httpProxy({ resolve, credentials: httpCredentials })
  const authority = yield* TestCertificates.authority()
  const certificate = yield* authority.issue({ names: ["127.0.0.1"] })
  const clientCertificate = yield* authority.issue({ names: ["client"], client: true })
  const secure = yield* inTls(certificate, http.port)
  const mutual = yield* inTls(
    { ...certificate, ca: authority.certificate, requestCert: true, rejectUnauthorized: true },
    httpWithCredentials.port
  )
  const at = (protocol: Proxy.ProxySettings["protocol"], port: number, more: Partial<Proxy.ProxySettings> = {}) => ({
    protocol,
    host: "127.0.0.1",
    port,
    ...more
  })
  const withPassword = ({ password, username }: typeof credentials) => ({
    username,
    password: Redacted.make(password)
  })
  const kinds: Record<string, { readonly settings: Proxy.ProxySettings; readonly seen: Array<string> }> = {
    socks4: { settings: at("socks4", socks.port), seen: socks.seen },
    socks4a: { settings: at("socks4a", socks.port, { username: "id" }), seen: socks.seen },
    socks5: { settings: at("socks5", socks.port), seen: socks.seen },
    socks5h: {
      settings: at("socks5h", socksWithCredentials.port, withPassword(credentials)),
      seen: socksWithCredentials.seen
    },
    http: {
      settings: at("http", httpWithCredentials.port, withPassword(httpCredentials)),
      seen: httpWithCredentials.seen
    },
    https: { settings: at("https", secure, { tls: { ca: authority.certificate } }), seen: http.seen },
    "https with a client certificate": {
      settings: at("https", mutual, {
        ...withPassword(httpCredentials),
        tls: { ca: authority.certificate, cert: clientCertificate.cert, key: clientCertificate.key }
      }),
      seen: httpWithCredentials.seen
    }
  }
  return { authority, kinds, mutual }
})

/** Says hello at once and sends back what it gets. */
const echo = serve((socket) =>
  Effect.callback<void>((resume) => {
    socket.write("hello ")
    socket.once("close", () => resume(Effect.void)).pipe(socket)
  })
)

/** The proxy that is nearest to the target comes first. */
const over = (...settings: ReadonlyArray<Proxy.ProxyInput>): Layer.Layer<Dialer.Dialer> =>
  settings.reduceRight<Layer.Layer<Dialer.Dialer>>(
    (below, proxy) => Proxy.layer(proxy).pipe(Layer.provide(below)),
    Dialer.layer
  )

const dial = (target: Dialer.DialTarget) => Dialer.Dialer.use((dialer) => dialer.dial(target))

/** Greeted, asks and is answered, and hears the end. */
const talk = (target: string) =>
  Effect.scoped(Effect.gen(function*() {
    const connection = yield* Effect.flatMap(dial(target), Connection.fromDuplex)
    yield* connection.write("world\n")
    yield* connection.closeWrite
    const line = yield* connection.readLine()
    assert.strictEqual((yield* Effect.flip(connection.read())).reason._tag, "EndOfStream")
    return line
  }))

describe("Proxy chains", () => {
  it.live("reach the target through every pair of protocols", () =>
    leavesNothing(Effect.gen(function*() {
      const { kinds } = yield* proxies
      const port = yield* echo
      for (const [innerName, inner] of Object.entries(kinds)) {
        for (const [outerName, outer] of Object.entries(kinds)) {
          const before = inner.seen.length
          const target = `echo.internal:${port}`
          const line = yield* Effect.provide(talk(target), over(inner.settings, outer.settings))
          assert.strictEqual(line, "hello world", `${innerName} over ${outerName}`)
          // where both are the same proxy it was asked for itself first
          assert.strictEqual(inner.seen.at(-1), target)
          assert.isAbove(inner.seen.length, before)
          const asked = outer.seen.at(inner.seen === outer.seen ? -2 : -1)
          assert.strictEqual(asked, `127.0.0.1:${inner.settings.port}`, `${innerName} over ${outerName}`)
        }
      }
    })), 60_000)

  it.live("may be long", () =>
    leavesNothing(Effect.gen(function*() {
      const { kinds } = yield* proxies
      const port = yield* echo
      const all = Object.values(kinds).map(({ settings }) => settings)
      assert.strictEqual(yield* Effect.provide(talk(`echo.internal:${port}`), over(...all, ...all)), "hello world")
    })), 60_000)
})

describe("Proxy over TLS", () => {
  it.live("shows the proxy a client certificate, and says that it wants one", () =>
    leavesNothing(Effect.gen(function*() {
      const { authority, kinds, mutual } = yield* proxies
      const port = yield* echo
      const target = `echo.internal:${port}`
      const withCertificate = kinds["https with a client certificate"]!
      assert.strictEqual(yield* Effect.provide(talk(target), over(withCertificate.settings)), "hello world")
      const without = {
        protocol: "https",
        host: "127.0.0.1",
        port: mutual,
        tls: { ca: authority.certificate }
      } as const
      const error = yield* Effect.flip(Effect.scoped(Effect.provide(dial(target), over(without))))
      assert.strictEqual(error.hop, `https://127.0.0.1:${mutual}`)
      assert.strictEqual(error.reason._tag === "TlsHandshake" && error.reason.check, "clientCertificate")
    })))

  it.live("takes up its session with the proxy again", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* echo
      const http = yield* httpProxy()
      const authority = yield* TestCertificates.authority()
      const certificate = yield* authority.issue({ names: ["127.0.0.1"] })
      const reused: Array<boolean> = []
      const secure = yield* inTls(certificate, http.port, (socket) => reused.push(socket.isSessionReused()))
      const settings = {
        protocol: "https",
        host: "127.0.0.1",
        port: secure,
        tls: { ca: authority.certificate }
      } as const
      yield* Effect.gen(function*() {
        for (let time = 0; time < 3; time++) assert.strictEqual(yield* talk(`127.0.0.1:${port}`), "hello world")
      }).pipe(Effect.provide(over(settings)))
      assert.deepStrictEqual(reused, [false, true, true])
    })))
})

describe("Proxy", () => {
  const mode = (duplex: Duplex) => ({
    flowing: duplex.readableFlowing,
    paused: duplex.isPaused(),
    listeners: duplex.eventNames().map((name) => [name, duplex.listenerCount(name)])
  })

  it.live("hands out the very socket that was dialled, as if no proxy had been there", () =>
    leavesNothing(Effect.gen(function*() {
      const { kinds } = yield* proxies
      const port = yield* echo
      const direct = yield* Effect.provide(dial(`127.0.0.1:${port}`), Dialer.layer)
      yield* turns(2)
      for (const name of ["socks4", "socks4a", "socks5", "socks5h", "http"]) {
        const dialled: Array<Duplex> = []
        const below = Layer.effect(
          Dialer.Dialer,
          Dialer.Dialer.use((dialer) =>
            Effect.succeed(Dialer.Dialer.of({
              ...dialer,
              dial: (...args) => Effect.tap(dialer.dial(...args), (duplex) => Effect.sync(() => dialled.push(duplex)))
            }))
          )
        ).pipe(Layer.provide(Dialer.layer))
        const socket = yield* Effect.provide(
          dial(`echo.internal:${port}`),
          Proxy.layer(kinds[name]!.settings).pipe(Layer.provide(below))
        )
        yield* turns(2)
        assert.strictEqual(socket, dialled[0], name)
        assert.instanceOf(socket, Net.Socket)
        assert.deepStrictEqual(mode(socket), mode(direct), name)
      }
    })))

  it.live("takes names as long as they can be", () =>
    leavesNothing(Effect.gen(function*() {
      const { kinds } = yield* proxies
      const port = yield* echo
      const name = `${`${"a".repeat(63)}.`.repeat(3)}${"b".repeat(61)}`
      assert.strictEqual(name.length, 253)
      for (const [kind, { seen, settings }] of Object.entries(kinds)) {
        for (const host of [name, `${name}.`, "bücher.example"]) {
          assert.strictEqual(yield* Effect.provide(talk(`${host}:${port}`), over(settings)), "hello world", kind)
          assert.strictEqual(seen.at(-1), `${host.replace("bücher", "xn--bcher-kva")}:${port}`)
        }
      }
    })))

  it.live("resolves names here when it is told to, and only then", () =>
    leavesNothing(Effect.gen(function*() {
      const { kinds } = yield* proxies
      const port = yield* echo
      for (const [kind, { seen, settings }] of Object.entries(kinds)) {
        const local = { ...settings, resolve: "local" } as const
        assert.strictEqual(yield* Effect.provide(talk(`localhost:${port}`), over(settings)), "hello world")
        assert.strictEqual(seen.at(-1), `localhost:${port}`, kind)
        // the proxies of this test lead anywhere to 127.0.0.1
        assert.strictEqual(yield* Effect.provide(talk(`localhost:${port}`), over(local)), "hello world")
        assert.match(
          seen.at(-1) ?? "",
          kind.startsWith("socks4") ? /^127\.0\.0\.1:/ : /^(127\.0\.0\.1|\[::1\]|(0:){7}1):/
        )
        assert.strictEqual(yield* Effect.provide(talk(`127.0.0.1:${port}`), over(local)), "hello world")
        const before = seen.length
        const error = yield* Effect.flip(Effect.scoped(Effect.provide(dial(`nobody.invalid:${port}`), over(local))))
        assert.strictEqual(error.reason._tag, "NameNotFound", kind)
        assert.include(error.hop, settings.protocol)
        assert.strictEqual(seen.length, before)
      }
    })))
})

describe("Proxy.layerDns", () => {
  const hosts = { "db.internal": ["127.0.0.1", "::1"], "six.internal": ["::1"] }

  it.live("resolves names with the Dns that it is given, and asks the proxy for addresses only", () =>
    leavesNothing(Effect.gen(function*() {
      const { kinds } = yield* proxies
      const port = yield* echo
      for (const [kind, { seen, settings }] of Object.entries(kinds)) {
        const network = Proxy.layerDns({ ...settings, resolve: "proxy" }).pipe(
          Layer.provide([Dialer.layer, Dns.layerStatic({ hosts })]),
          Layer.orDie
        )
        const failed = (target: string) =>
          Effect.flip(Effect.scoped(dial(target))).pipe(
            Effect.provide(network),
            Effect.map(({ reason }) => reason._tag)
          )
        assert.strictEqual(yield* Effect.provide(talk(`db.internal:${port}`), network), "hello world")
        assert.match(seen.at(-1) ?? "", kind.startsWith("socks4") ? /^127\.0\.0\.1:/ : /^(\[::1\]|(0:){7}1):/, kind)
        assert.strictEqual(yield* Effect.provide(talk(`127.0.0.1:${port}`), network), "hello world")
        const before = seen.length
        assert.strictEqual(yield* failed(`localhost:${port}`), "NameNotFound", kind)
        if (kind.startsWith("socks4")) assert.strictEqual(yield* failed(`six.internal:${port}`), "NameNotFound", kind)
        assert.strictEqual(seen.length, before)
      }
    })))

  it.live("is content with the addresses of one family", () =>
    leavesNothing(Effect.gen(function*() {
      const { kinds } = yield* proxies
      const port = yield* echo
      const broken = new Dns.DnsError({ reason: "Timeout", method: "lookup", hostname: "db.internal" })
      const { settings } = kinds["socks5"]!
      for (const working of ["IPv4", "IPv6"] as const) {
        const dns = Dns.make({
          lookup: (_host, family) => family === working ? Effect.succeed([loopback[working]]) : Effect.fail(broken)
        })
        const network = Proxy.layerDns(settings).pipe(Layer.provide([Dialer.layer, Layer.succeed(Dns.Dns, dns)]))
        assert.strictEqual(yield* Effect.provide(talk(`db.internal:${port}`), network), "hello world")
      }
      const silent = Layer.succeed(Dns.Dns, Dns.make({ lookup: () => Effect.fail(broken) }))
      const network = Proxy.layerDns(settings).pipe(Layer.provide([Dialer.layer, silent]))
      const { reason } = yield* Effect.flip(Effect.scoped(dial(`db.internal:${port}`))).pipe(Effect.provide(network))
      assert.deepInclude(reason, { _tag: "NameNotFound", code: "Timeout" })
    })))
})

keepsPathsApart("Proxy.layerDns", () => {
  const layer = Proxy.layerDns("socks5://127.0.0.1:1080")
  const dns = Dns.make({ lookup: () => Effect.succeed([]) })
  // unlike `Layer.provide`, this is not itself shared
  return Layer.fromBuild((memoMap, scope) =>
    Effect.provideService(Layer.buildWithMemoMap(layer, memoMap, scope), Dns.Dns, dns)
  )
})
