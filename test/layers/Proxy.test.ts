import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as NodeTls from "node:tls"
import { inspect } from "node:util"
import type { DialError } from "../../src/errors/DialError.ts"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import { leavesNothing } from "../support/leaks.ts"
import { connect, relay, serve, take, takeUntil } from "../support/loopback.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { describeOnNetworks } from "../support/network.ts"
import { turn } from "../support/scripted.ts"

const resolve = () => "127.0.0.1"
const credentials = { username: "us:er", password: "p@ss ю" }
const httpCredentials = { username: "user", password: "p@ss:ю" }
const userinfo = ({ password, username }: typeof credentials) =>
  `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`

/** Says hello and sends back what it gets. */
const echo = serve((socket) =>
  Effect.callback<void>((resume) => {
    socket.write("hello ")
    socket.once("close", () => resume(Effect.void)).pipe(socket)
  })
)

const everything = (duplex: Duplex) =>
  Effect.promise(async () => {
    const chunks: Array<Buffer> = []
    for await (const chunk of duplex) chunks.push(chunk)
    return Buffer.concat(chunks)
  })

/** The proxy that is nearest to the target comes first, the one that is dialled from here last. */
const over = (...proxies: ReadonlyArray<Proxy.ProxyInput>): Layer.Layer<Dialer.Dialer> =>
  proxies.reduceRight<Layer.Layer<Dialer.Dialer>>(
    (below, proxy) => Proxy.layer(proxy).pipe(Layer.provide(below)),
    Dialer.layer
  )

const dial = (target: Dialer.DialTarget, options?: Dialer.DialOptions) =>
  Effect.flatMap(Effect.service(Dialer.Dialer), (dialer) => dialer.dial(target, options))

/** Dials, sends, ends, and reads to the end. */
const talk = (target: Dialer.DialTarget, text = "world") =>
  Effect.scoped(Effect.gen(function*() {
    const duplex = yield* dial(target)
    // whoever reads comes later than the proxy's answer
    yield* turn
    yield* turn
    duplex.end(text)
    return String(yield* everything(duplex))
  }))

const failure = <A, R>(effect: Effect.Effect<A, DialError, R>) => Effect.flip(Effect.scoped(effect))

/** A proxy that takes connections, says nothing, and knows when they are closed. */
const silent = Effect.gen(function*() {
  const connected = yield* Deferred.make<void>()
  const closed = yield* Deferred.make<void>()
  const port = yield* serve((socket) =>
    Effect.callback<void>((resume) => {
      Deferred.doneUnsafe(connected, Effect.void)
      const onClose = () => {
        Deferred.doneUnsafe(closed, Effect.void)
        resume(Effect.void)
      }
      socket.resume().once("end", onClose).once("close", onClose)
    })
  )
  return { port, connected: Deferred.await(connected), closed: Deferred.await(closed) }
})

/** A port that nobody listens on. */
const closedPort = Effect.scoped(serve(() => Effect.void))

/** What each kind of proxy is asked for "db.test:80", as a size or an end, and what it says. */
const replies = {
  socks5: [[3, Buffer.of(5, 0)], [14, Buffer.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 80)]],
  socks4a: [[17, Buffer.of(0, 90, 0, 0, 0, 0, 0, 0)]],
  http: [["\r\n\r\n", Buffer.from("HTTP/1.1 200 OK\r\n\r\n")]]
} as const

describe("Proxy", () => {
  it.live("reaches the target through each kind of proxy, which resolves the name", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* echo
      const target = `echo.internal:${port}`
      const socks = yield* socksProxy({ resolve })
      const socksWithCredentials = yield* socksProxy({ resolve, credentials })
      const http = yield* httpProxy({ resolve })
      const httpWithCredentials = yield* httpProxy({ resolve, credentials: httpCredentials })
      const proxies = [
        [`socks5://127.0.0.1:${socks.port}`, socks],
        [`socks5h://127.0.0.1:${socks.port}`, socks],
        [`socks5://${userinfo(credentials)}127.0.0.1:${socks.port}`, socks],
        [`socks4://127.0.0.1:${socks.port}`, socks],
        [`socks4a://somebody@127.0.0.1:${socks.port}`, socks],
        [
          Redacted.make(`socks5://${userinfo(credentials)}127.0.0.1:${socksWithCredentials.port}`),
          socksWithCredentials
        ],
        [{
          protocol: "socks5",
          host: "127.0.0.1",
          port: socksWithCredentials.port,
          username: credentials.username,
          password: Redacted.make(credentials.password)
        }, socksWithCredentials],
        [`http://127.0.0.1:${http.port}`, http],
        [`http://${userinfo(httpCredentials)}127.0.0.1:${httpWithCredentials.port}`, httpWithCredentials]
      ] as const
      for (const [proxy, { seen }] of proxies) {
        const before = seen.length
        assert.strictEqual(yield* Effect.provide(talk(target), over(proxy)), "hello world")
        assert.deepStrictEqual(seen.slice(before), [target])
      }
    })))

  it.live("goes through a chain, in which each proxy is reached through the one below", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* echo
      const first = yield* httpProxy({ credentials: httpCredentials })
      const second = yield* socksProxy()
      const third = yield* socksProxy({ resolve, credentials })
      const Network = over(
        `socks5://${userinfo(credentials)}127.0.0.1:${third.port}`,
        `socks4a://127.0.0.1:${second.port}`,
        `http://${userinfo(httpCredentials)}127.0.0.1:${first.port}`
      )
      const text = "x".repeat(1 << 20)
      assert.strictEqual(yield* Effect.provide(talk(`echo.internal:${port}`, text), Network), `hello ${text}`)
      assert.deepStrictEqual(first.seen, [`127.0.0.1:${second.port}`])
      assert.deepStrictEqual(second.seen, [`127.0.0.1:${third.port}`])
      assert.deepStrictEqual(third.seen, [`echo.internal:${port}`])
    })))

  it.live("says which proxy of a chain refused", () =>
    leavesNothing(Effect.gen(function*() {
      const closed = yield* closedPort
      const first = yield* httpProxy()
      const second = yield* socksProxy()
      const [http, socks] = [`http://127.0.0.1:${first.port}`, `socks5://127.0.0.1:${second.port}`]
      const inner = yield* failure(Effect.provide(dial(`127.0.0.1:${closed}`), over(socks, http)))
      assert.strictEqual(
        inner.message,
        `127.0.0.1:${closed} via ${socks}: the proxy refused: Connection refused (5)`
      )
      const outer = yield* failure(Effect.provide(dial("db.test:1"), over(`socks5://127.0.0.1:${closed}`, http)))
      assert.strictEqual(outer.message, `db.test:1 via ${http}: the proxy refused: Bad Gateway (502)`)
      assert.isTrue(outer.isRetryable)
    })))

  it.live("talks to a proxy inside TLS, and verifies it", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* echo
      const authority = yield* TestCertificates.authority()
      const certificate = yield* authority.issue({ names: ["localhost"] })
      const { port: plain, seen } = yield* httpProxy({ resolve, credentials: httpCredentials })
      const secureContext = NodeTls.createSecureContext(certificate)
      const secure = yield* serve(Effect.fnUntraced(function*(socket) {
        const tls = new NodeTls.TLSSocket(socket, { isServer: true, secureContext })
        yield* relay(tls.on("error", () => {}), yield* connect("127.0.0.1", plain))
      }))
      const proxy = (host: string): Proxy.ProxySettings => ({
        protocol: "https",
        host,
        port: secure,
        username: httpCredentials.username,
        password: Redacted.make(httpCredentials.password),
        tls: { ca: authority.certificate }
      })
      const target = `echo.internal:${port}`
      assert.strictEqual(yield* Effect.provide(talk(target), over(proxy("localhost"))), "hello world")
      assert.deepStrictEqual(seen, [target])

      // the proxy was verified, not the target
      const tls = yield* Effect.scoped(
        Effect.map(Effect.flatMap(dial(target), Connection.fromDuplex), ({ tls }) => tls)
      )
        .pipe(Effect.provide(over(proxy("localhost"))))
      assert.isTrue(Option.isNone(tls))

      const wrongName = yield* failure(Effect.provide(dial(target), over(proxy("127.0.0.1"))))
      assert.strictEqual(wrongName.hop, `https://127.0.0.1:${secure}`)
      assert.strictEqual(wrongName.reason._tag === "TlsHandshake" && wrongName.reason.check, "name")

      const unusable = { ...proxy("localhost"), tls: { ca: "/nowhere/ca.pem" } }
      const error = yield* failure(Effect.provide(dial(target), over(unusable)))
      assert.strictEqual(error.reason._tag, "InvalidTarget")
      assert.include(error.message, "/nowhere/ca.pem")
    })))

  it.live("tells wrong credentials from missing ones, and shows neither", () =>
    leavesNothing(Effect.gen(function*() {
      const socks = yield* socksProxy({ credentials })
      const http = yield* httpProxy({ credentials })
      const missing = "it wants credentials and there are none"
      const wrong = "it does not accept the username and password"
      const cases = [
        [`socks5://127.0.0.1:${socks.port}`, missing],
        [`socks5://user:hunter2@127.0.0.1:${socks.port}`, wrong],
        [`http://127.0.0.1:${http.port}`, `${missing} (it offers Basic)`],
        [`http://user:hunter2@127.0.0.1:${http.port}`, `${wrong} (it offers Basic)`]
      ] as const
      for (const [proxy, detail] of cases) {
        const error = yield* failure(Effect.provide(dial("db.test:1"), over(proxy)))
        assert.strictEqual(error.hop, proxy.replace("user:hunter2@", ""))
        assert.strictEqual(
          error.message,
          `db.test:1 via ${error.hop}: the proxy did not authenticate us: ${detail}`
        )
        assert.isFalse(error.isRetryable)
        assert.notInclude(inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error), "hunter2")
      }
      assert.deepStrictEqual([...socks.seen, ...http.seen], [])
    })))

  it.live("says that the proxy itself cannot be reached", () =>
    leavesNothing(Effect.gen(function*() {
      const closed = yield* closedPort
      const error = yield* failure(Effect.provide(dial("db.test:1"), over(`socks5://127.0.0.1:${closed}`)))
      assert.strictEqual(error.hop, `socks5://127.0.0.1:${closed}`)
      assert.strictEqual(error.reason._tag, "Refused")
    })))

  it.live("builds with settings that cannot be used, and refuses each dial", () =>
    leavesNothing(Effect.gen(function*() {
      const error = yield* failure(Effect.provide(dial("db.test:1"), over("socks6://user:hunter2@proxy.test")))
      assert.strictEqual(
        error.message,
        "db.test:1 via proxy: \"the proxy's settings\" is not usable: " +
          "the protocol is none of socks5, socks5h, socks4, socks4a, http, https"
      )
      assert.strictEqual(error.reason._tag, "InvalidTarget")
    })))

  it.live("refuses a target that the proxy cannot be asked for without connecting to the proxy", () =>
    leavesNothing(Effect.gen(function*() {
      const closed = yield* closedPort
      for (const proxy of [`socks5://127.0.0.1:${closed}`, `http://127.0.0.1:${closed}`]) {
        const error = yield* failure(Effect.provide(dial({ path: "/run/db.sock" }), over(proxy)))
        assert.strictEqual(error.reason._tag, "InvalidTarget")
      }
    })))

  for (const protocol of ["socks5", "socks4a", "http"]) {
    it.live(`gives up on a ${protocol} proxy that says nothing, and hangs up`, () =>
      leavesNothing(Effect.gen(function*() {
        const proxy = yield* silent
        const error = yield* failure(
          Effect.provide(
            dial("db.test:1", { connectTimeout: "50 millis" }),
            over(`${protocol}://127.0.0.1:${proxy.port}`)
          )
        )
        assert.strictEqual(error.reason._tag, "ConnectTimeout")
        assert.include(
          error.message,
          `timed out after 50ms while waiting for the answer of ${protocol}://127.0.0.1:${proxy.port}`
        )
        yield* proxy.closed
      })))

    it.live(`hangs up on a ${protocol} proxy when the dial is interrupted`, () =>
      leavesNothing(Effect.gen(function*() {
        const proxy = yield* silent
        const scope = yield* Scope.make()
        const dialling = yield* dial("db.test:1").pipe(
          Effect.provide(over(`${protocol}://127.0.0.1:${proxy.port}`)),
          Scope.provide(scope),
          Effect.forkChild
        )
        yield* proxy.connected
        yield* Fiber.interrupt(dialling)
        // the caller's scope is still open: the connection must not wait for it
        yield* proxy.closed
        yield* Scope.close(scope, Exit.void)
      })))

    it.live(`hangs up on a ${protocol} proxy when the scope is closed half-way`, () =>
      leavesNothing(Effect.gen(function*() {
        const proxy = yield* silent
        const scope = yield* Scope.make()
        const dialling = yield* dial("db.test:1").pipe(
          Effect.provide(over(`${protocol}://127.0.0.1:${proxy.port}`)),
          Scope.provide(scope),
          Effect.flip,
          Effect.forkChild
        )
        yield* proxy.connected
        yield* Scope.close(scope, Exit.void)
        yield* proxy.closed
        assert.strictEqual((yield* Fiber.join(dialling)).reason._tag, "ProxyProtocol")
      })))
  }

  for (const [protocol, steps] of Object.entries(replies)) {
    const answering = (write: (socket: Socket, bytes: Buffer) => Effect.Effect<void>) =>
      serve(Effect.fnUntraced(function*(socket) {
        for (const [index, [request, reply]] of steps.entries()) {
          yield* typeof request === "number" ? take(socket, request) : takeUntil(socket, request)
          yield* write(socket, index === steps.length - 1 ? Buffer.concat([reply, Buffer.from("early ")]) : reply)
        }
        yield* Effect.callback<void>((resume) => void socket.once("close", () => resume(Effect.void)).pipe(socket))
      }))

    it.live(`keeps what comes in one packet with the reply of a ${protocol} proxy`, () =>
      leavesNothing(Effect.gen(function*() {
        const port = yield* answering((socket, bytes) => Effect.sync(() => void socket.write(bytes)))
        const text = yield* Effect.provide(talk("db.test:80"), over(`${protocol}://127.0.0.1:${port}`))
        assert.strictEqual(text, "early world")
      })))

    it.live(`understands a ${protocol} proxy that answers byte by byte`, () =>
      leavesNothing(Effect.gen(function*() {
        const port = yield* answering((socket, bytes) =>
          Effect.forEach(bytes, (byte) => Effect.andThen(Effect.sync(() => socket.write(Buffer.of(byte))), turn), {
            discard: true
          })
        )
        const text = yield* Effect.provide(talk("db.test:80"), over(`${protocol}://127.0.0.1:${port}`))
        assert.strictEqual(text, "early world")
      })))

    it.live(`says that a ${protocol} proxy hung up, or reset the connection, in the middle`, () =>
      leavesNothing(Effect.gen(function*() {
        const [[request]] = steps
        const ends: ReadonlyArray<(socket: Socket) => void> = [
          (socket) => socket.end(),
          (socket) => socket.resetAndDestroy()
        ]
        for (const end of ends) {
          const port = yield* serve((socket) =>
            Effect.andThen(
              typeof request === "number" ? take(socket, request) : takeUntil(socket, request),
              Effect.sync(() => end(socket))
            )
          )
          const error = yield* failure(Effect.provide(dial("db.test:80"), over(`${protocol}://127.0.0.1:${port}`)))
          assert.strictEqual(error.reason._tag, "ProxyProtocol")
        }
      })))
  }

  it.live("takes the URL, or the parts, from Config", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* echo
      const { port: proxyPort } = yield* socksProxy({ resolve, credentials })
      const provider = ConfigProvider.fromUnknown({
        PROXY: `socks5://${userinfo(credentials)}127.0.0.1:${proxyPort}`,
        PORT: String(proxyPort),
        USER: credentials.username,
        PASSWORD: credentials.password
      })
      const configs = [
        Config.Redacted("PROXY"),
        Config.String("PROXY"),
        Config.all({
          protocol: Config.succeed("socks5" as const),
          host: Config.succeed("127.0.0.1"),
          port: Config.Port("PORT"),
          username: Config.String("USER"),
          password: Config.Redacted("PASSWORD")
        })
      ]
      for (const config of configs) {
        const Network = Proxy.layerConfig(config).pipe(
          Layer.provide(Dialer.layer),
          Layer.provide(ConfigProvider.layer(provider))
        )
        assert.strictEqual(yield* Effect.provide(talk(`echo.internal:${port}`), Network), "hello world")
      }
      const missing = Proxy.layerConfig(Config.Redacted("ABSENT")).pipe(
        Layer.provide(Dialer.layer),
        Layer.provide(ConfigProvider.layer(provider))
      )
      const error = yield* Effect.flip(Effect.provide(talk(`echo.internal:${port}`), missing))
      assert.strictEqual(error._tag, "ConfigError")
    })))
})

describeOnNetworks("Proxy", (test) => {
  for (const [protocol, steps] of Object.entries(replies)) {
    test(`talks through a ${protocol} proxy and keeps what comes with its reply`, () =>
      Effect.gen(function*() {
        const listener = yield* Listener.Listener
        const { accept, address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
        const proxy = Effect.gen(function*() {
          const duplex = yield* accept
          for (const [index, [request, reply]] of steps.entries()) {
            yield* typeof request === "number" ? take(duplex, request) : takeUntil(duplex, request)
            duplex.write(index === steps.length - 1 ? Buffer.concat([reply, Buffer.from("early ")]) : reply)
          }
          duplex.end(yield* take(duplex, 5))
        })
        const serving = yield* Effect.forkChild(Effect.scoped(proxy))
        const text = yield* Effect.provide(
          talk("db.test:80"),
          Proxy.layer(`${protocol}://${NetAddress.isInetAddress(address) ? NetAddress.formatInet(address) : ""}`)
        )
        assert.strictEqual(text, "early world")
        yield* Fiber.join(serving)
      }))
  }
})

keepsPathsApart("Proxy.layer", () => Proxy.layer("socks5://127.0.0.1:1080"))
keepsPathsApart("Proxy.layerConfig", () => Proxy.layerConfig(Config.succeed("http://127.0.0.1:1080")))
