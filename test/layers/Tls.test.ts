import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Net from "node:net"
import * as NodeTls from "node:tls"
import { inspect } from "node:util"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { leavesNothing } from "../support/leaks.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { describeOnNetworks } from "../support/network.ts"
import { closedBy, closedPort, rawServer, temporaryFolder } from "../support/servers.ts"
import { turns } from "../support/streams.ts"

type Handler = (connection: Connection.Connection) => Effect.Effect<unknown, unknown>

const echo: Handler = (connection) => Stream.run(connection.reads, connection.writes)

/** A server on the Listener at hand, for as long as the scope lives. */
const serving = (
  tls: Tls.TlsOptions,
  handler: Handler = echo,
  options: Partial<TcpServer.Options> = {}
) =>
  Effect.gen(function*() {
    const services = yield* Layer.build(TcpServer.layer({ port: 0, tls, drainTimeout: 0, ...options }))
    const server = Context.get(services, TcpServer.TcpServer)
    yield* Effect.forkScoped(server.serve((connection) => Effect.asVoid(handler(connection))))
    return server.address
  })

const connect = (target: DialTarget, options: Tls.TlsOptions, dial?: Dialer.DialOptions) =>
  Dialer.Dialer.use((dialer) => dialer.dial(target, dial)).pipe(
    Effect.flatMap((duplex) => Connection.fromDuplex(duplex)),
    Effect.provide(Tls.layer(options))
  )

/** Says something and gives back the answer. */
const greet = (target: DialTarget, options: Tls.TlsOptions) =>
  Effect.scoped(Effect.gen(function*() {
    const connection = yield* connect(target, options)
    yield* connection.write("hello\n")
    return yield* connection.readLine()
  }))

/** Which check of the handshake fails, with the error's message. */
const refusal = Effect.fnUntraced(function*(target: DialTarget, options: Tls.TlsOptions) {
  const error = yield* Effect.flip(Effect.scoped(connect(target, options)))
  assert.strictEqual(error._tag, "DialError")
  if (error._tag !== "DialError" || error.reason._tag !== "TlsHandshake") return assert.fail(error.message)
  assert.strictEqual(error.hop, "tls")
  assert.strictEqual(error.isRetryable, error.reason.check === "closed")
  return { check: error.reason.check, code: error.reason.code, message: error.message }
})

const authority = TestCertificates.authority()

const daysFromNow = (days: number) => new Date(Date.now() + days * 86_400_000)

const names = ["localhost", "127.0.0.1"]

describeOnNetworks("Tls.layer", (test) => {
  test("tells the addresses of the connection below", () =>
    Effect.gen(function*() {
      const ca = yield* authority
      const address = yield* serving(
        yield* ca.issue({ names }),
        (connection) =>
          connection.write(Option.match(connection.remoteAddress, {
            onNone: () => "nobody\n",
            onSome: (address) => `${NetAddress.formatSocketAddress(address)}\n`
          }))
      )
      const connection = yield* connect(address, { ca: ca.certificate })
      assert.deepStrictEqual(connection.remoteAddress, Option.some(address))
      const { localAddress } = connection
      assert.strictEqual(
        yield* connection.readLine(),
        Option.getOrUndefined(Option.map(localAddress, NetAddress.formatSocketAddress))
      )
    }))

  test("encrypts, and verifies the peer", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const address = yield* serving(yield* issue({ names, commonName: "the server" }))
      const connection = yield* connect(address, { ca })
      yield* connection.write("hello\n")
      assert.strictEqual(yield* connection.readLine(), "hello")
      const tls = Option.getOrThrow(connection.tls)
      assert.deepStrictEqual([tls.protocol, tls.alpn, tls.peer?.subject], ["TLSv1.3", undefined, "CN=the server"])
      assert.match(tls.cipher, /^TLS_/)
      assert.match(tls.peer?.fingerprint256 ?? "", /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
      assert.isTrue((tls.peer?.validFrom.getTime() ?? Infinity) < Date.now())
    }))

  test("carries more than fits under way, in both directions", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const address = yield* serving(yield* issue({ names }))
      const connection = yield* connect(address, { ca })
      const sent = Buffer.from("0123456789abcdef".repeat(5_000))
      const [got] = yield* Effect.all(
        [
          connection.readExactly(sent.length),
          Effect.andThen(connection.write(sent), connection.closeWrite)
        ],
        { concurrency: "unbounded" }
      )
      assert.isTrue(sent.equals(got))
      assert.strictEqual((yield* Effect.flip(connection.read())).reason._tag, "EndOfStream")
    }))

  test("delivers what was written before the scope ended", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const received: Array<string> = []
      const address = yield* serving(
        yield* issue({ names }),
        (connection) =>
          connection.reads.pipe(
            Stream.runForEach((bytes) => Effect.sync(() => void received.push(String(bytes)))),
            Effect.andThen(Effect.sync(() => received.push("end")))
          )
      )
      yield* Effect.scoped(Effect.flatMap(connect(address, { ca }), (connection) => connection.write("last words")))
      while (received.at(-1) !== "end") yield* turns(1)
      assert.strictEqual(received.join(""), "last wordsend")
    }))

  test("refuses a certificate of another authority", () =>
    Effect.gen(function*() {
      const address = yield* serving(yield* (yield* authority).issue({ names }))
      const { certificate: ca } = yield* authority
      for (const options of [{ ca }, {}]) {
        const { check, code, message } = yield* refusal(address, options)
        assert.deepStrictEqual([check, code], ["issuer", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"])
        assert.match(message, /via tls: TLS handshake with "127.0.0.1" failed on the issuer check/)
      }
    }))

  test("refuses a certificate for another name", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const address = yield* serving(yield* issue({ names: ["db.test"] }))
      const { check, code, message } = yield* refusal(address, { ca })
      assert.deepStrictEqual([check, code], ["name", "ERR_TLS_CERT_ALTNAME_INVALID"])
      assert.match(message, /127\.0\.0\.1/)
      assert.strictEqual((yield* refusal(address, { ca, servername: "other.test" })).check, "name")
      assert.strictEqual(yield* greet(address, { ca, servername: "db.test" }), "hello")
    }))

  test("refuses a certificate outside its dates", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const expired = yield* serving(yield* issue({ names, notAfter: daysFromNow(-1) }))
      const future = yield* serving(yield* issue({ names, notBefore: daysFromNow(1) }))
      assert.strictEqual((yield* refusal(expired, { ca })).check, "expired")
      assert.strictEqual((yield* refusal(future, { ca })).check, "notYetValid")
    }))

  test("accepts anything with insecureSkipVerify", () =>
    Effect.gen(function*() {
      const { issue } = yield* authority
      const address = yield* serving(yield* issue({ names: ["db.test"], notAfter: daysFromNow(-1) }))
      assert.strictEqual(yield* greet(address, { insecureSkipVerify: true }), "hello")
    }))

  test("agrees on a protocol by ALPN", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const seen: Array<string | undefined> = []
      const address = yield* serving({ ...(yield* issue({ names })), alpn: ["h2", "echo/1"] }, (connection) => {
        seen.push(Option.getOrThrow(connection.tls).alpn)
        return echo(connection)
      })
      const connection = yield* connect(address, { ca, alpn: ["echo/1", "other"] })
      yield* connection.write("hello\n")
      assert.strictEqual(yield* connection.readLine(), "hello")
      assert.strictEqual(Option.getOrThrow(connection.tls).alpn, "echo/1")
      assert.strictEqual(yield* greet(address, { ca }), "hello")
      assert.deepStrictEqual(seen, ["echo/1", undefined])
      assert.strictEqual((yield* refusal(address, { ca, alpn: ["unheard/1"] })).check, "protocol")
    }))

  test("gives the server the client's certificate when it demands one", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const server = { ...(yield* issue({ names })), ca, requestClientCertificate: true }
      const address = yield* serving(server, (connection) =>
        connection.write(`${Option.getOrThrow(connection.tls).peer?.subject}\n`))
      const alice = yield* issue({ names: [], commonName: "alice", client: true })
      assert.strictEqual(yield* greet(address, { ca, ...alice }), "CN=alice")
    }))

  test("lets no client in without a certificate, or with one of another authority", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const handled: Array<string> = []
      const address = yield* serving(
        { ...(yield* issue({ names })), ca, requestClientCertificate: true },
        (connection) => Effect.sync(() => void handled.push(connection.id))
      )
      const mallory = yield* (yield* authority).issue({ names: [], commonName: "mallory", client: true })
      for (const options of [{ ca }, { ca, ...mallory }]) {
        // in TLS 1.3 the client is through before the server has looked: the first read tells
        const error = yield* Effect.flip(Effect.scoped(Effect.gen(function*() {
          return yield* (yield* connect(address, options)).read()
        })))
        assert.include(["TcpError", "DialError"], error._tag)
      }
      assert.deepStrictEqual(handled, [])
    }))

  test("takes up sessions on later dials through the same layer", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const resumed: Array<unknown> = []
      const address = yield* serving(yield* issue({ names }), (connection) => {
        resumed.push(Option.getOrThrow(connection.tls).resumed)
        return echo(connection)
      })
      const say = Effect.scoped(Effect.gen(function*() {
        const dialer = yield* Dialer.Dialer
        const connection = yield* Connection.fromDuplex(yield* dialer.dial(address))
        yield* connection.write("hello\n")
        assert.strictEqual(yield* connection.readLine(), "hello")
        const { peerChain, resumed } = Option.getOrThrow(connection.tls)
        return [resumed, peerChain.length]
      }))
      const told = yield* Effect.provide(Effect.all([say, say, say]), Tls.layer({ ca }))
      assert.deepStrictEqual(told, [[false, 2], [true, 2], [true, 2]])
      assert.deepStrictEqual(resumed, [false, true, true])
      assert.deepStrictEqual(yield* Effect.provide(say, Tls.layer({ ca })), [false, 2])
    }))

  test("says what was expected and what came", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const address = yield* serving({ ...(yield* issue({ names: ["db.test"] })), alpn: ["h2"] })
      const pin = `sha256/${"A".repeat(43)}=`
      const messages = yield* Effect.forEach(
        [{ ca }, { ca: (yield* authority).certificate, servername: "db.test" }, { ca, servername: "db.test", pin }, {
          ca,
          alpn: ["x"]
        }],
        (options) => Effect.map(refusal(address, options), ({ message }) => message.replace(/^.* failed on the /, ""))
      )
      assert.match(messages[0] ?? "", /^name check: expected a certificate for "[^"]+", got one for DNS:db\.test /)
      assert.match(messages[1] ?? "", /^issuer check: .* got "CN=db\.test", issued by "CN=Test authority" /)
      assert.match(messages[2] ?? "", /^pin check: expected sha256\/A+=, got sha256\/[^ ]{44} \(PIN_MISMATCH\)$/)
      assert.match(
        messages[3] ?? "",
        /^protocol check: expected one of the protocols "x", got a server that speaks none/
      )
    }))

  test("stacks: TLS in TLS", () =>
    Effect.gen(function*() {
      const outer = yield* authority
      const inner = yield* authority
      const dialer = yield* Dialer.Dialer
      const innerAddress = yield* serving(yield* inner.issue({ names: ["inner.test"] }))
      // a tunnel: what it decrypts goes on to the inner server
      const tunnel = yield* serving(yield* outer.issue({ names }), (connection) =>
        Effect.scoped(Effect.gen(function*() {
          const onward = yield* Connection.fromDuplex(yield* dialer.dial(innerAddress))
          yield* Effect.all([
            Effect.andThen(Stream.run(connection.reads, onward.writes), onward.closeWrite),
            Effect.andThen(Stream.run(onward.reads, connection.writes), connection.closeWrite)
          ], { concurrency: "unbounded" })
        })).pipe(Effect.ignore))
      const answer = greet(tunnel, { ca: inner.certificate, servername: "inner.test" }).pipe(
        Effect.provide(Tls.layer({ ca: outer.certificate }))
      )
      assert.strictEqual(yield* answer, "hello")
      const wrong = refusal(tunnel, { ca: outer.certificate, servername: "inner.test" }).pipe(
        Effect.provide(Tls.layer({ ca: outer.certificate }))
      )
      assert.strictEqual((yield* wrong).check, "issuer")
    }))

  test("breaks off when the peer speaks no TLS, ends or breaks", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
      const answering = (answer: Handler) =>
        Effect.forkScoped(Effect.scoped(Effect.gen(function*() {
          const connection = yield* Connection.fromDuplex(yield* accept)
          yield* connection.readExactly(1)
          yield* answer(connection)
        })))
      yield* answering((connection) => connection.write("220 mail.test ready\r\n"))
      assert.strictEqual((yield* refusal(address, {})).check, "protocol")
      yield* answering(() => Effect.void)
      assert.strictEqual((yield* refusal(address, {})).check, "closed")
      yield* answering((connection) => connection.closeWrite)
      assert.strictEqual((yield* refusal(address, {})).check, "closed")
    }))
})

describe("Tls.layer", () => {
  const live = (
    title: string,
    body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener>
  ) => it.live(title, () => leavesNothing(Effect.provide(body(), Layer.merge(Dialer.layer, Listener.layer))))

  /** A TLS server of Node's own, and the names that were asked for. */
  const nodeServer = (options: NodeTls.TlsOptions) =>
    Effect.gen(function*() {
      const servernames: Array<unknown> = []
      const server = yield* Effect.acquireRelease(
        Effect.callback<NodeTls.Server>((resume) => {
          const server = NodeTls.createServer(options, (socket) => {
            servernames.push(Reflect.get(socket, "servername"))
            socket.on("error", () => {}).pipe(socket)
          })
          server.on("tlsClientError", () => {})
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const address = server.address()
      return {
        port: typeof address === "object" && address !== null ? address.port : 0,
        servernames,
        /** Waits until no connection is open. */
        quiet: Effect.callback<void>((resume) => {
          const check = () =>
            server.getConnections((_, count) => count === 0 ? resume(Effect.void) : void setImmediate(check))
          check()
        })
      }
    })

  live(
    "asks for the name that is dialled, and for none when it is an address",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const { port, servernames } = yield* nodeServer(yield* issue({ names }))
        assert.strictEqual(yield* greet(`localhost:${port}`, { ca }), "hello")
        assert.strictEqual(yield* greet(`127.0.0.1:${port}`, { ca }), "hello")
        assert.strictEqual(yield* greet(`127.0.0.1:${port}`, { ca, servername: "localhost" }), "hello")
        assert.deepStrictEqual(servernames, ["localhost", false, "localhost"])
      }))
  )

  live(
    "says that the peer wants a client certificate, where it says so in the handshake",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const { port } = yield* nodeServer({
          ...(yield* issue({ names })),
          ca,
          maxVersion: "TLSv1.2",
          requestCert: true,
          rejectUnauthorized: true
        })
        assert.strictEqual((yield* refusal(`127.0.0.1:${port}`, { ca })).check, "clientCertificate")
        const alice = yield* issue({ names: [], client: true })
        assert.strictEqual(yield* greet(`127.0.0.1:${port}`, { ca, ...alice }), "hello")
      }))
  )

  live("speaks no version below the one that is wanted", () =>
    Effect.scoped(Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const { port } = yield* nodeServer({ ...(yield* issue({ names })), maxVersion: "TLSv1.2" })
      assert.strictEqual(yield* greet(`127.0.0.1:${port}`, { ca }), "hello")
      assert.strictEqual((yield* refusal(`127.0.0.1:${port}`, { ca, minVersion: "TLSv1.3" })).check, "protocol")
    })))

  live("takes a unix socket for localhost", () =>
    Effect.scoped(Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const path = `${yield* temporaryFolder}/tls.sock`
      const address = yield* serving(yield* issue({ names: ["localhost"] }), echo, { path })
      assert.isTrue(NetAddress.isUnixPathAddress(address))
      assert.strictEqual(yield* greet({ path }, { ca }), "hello")
    })))

  live(
    "says that the connection was closed when the peer resets it in the handshake",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkScoped(refusal(server.address, {}), { startImmediately: true })
        const socket = yield* server.next
        socket.resetAndDestroy()
        assert.strictEqual((yield* Fiber.join(fiber)).check, "closed")
      }))
  )

  live(
    "closes the connection below when it refuses the peer, though the caller's scope lives on",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const { issue } = yield* authority
        const { certificate: ca } = yield* authority
        const server = yield* nodeServer(yield* issue({ names }))
        assert.strictEqual((yield* Effect.flip(connect(`127.0.0.1:${server.port}`, { ca })))._tag, "DialError")
        yield* server.quiet
      }))
  )

  live(
    "closes the connection below when it is interrupted in the handshake",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkScoped(Effect.scoped(connect(server.address, {})), { startImmediately: true })
        const socket = yield* server.next
        yield* turns(5)
        yield* Fiber.interrupt(fiber)
        yield* closedBy(socket)
      }))
  )

  live("leaves no connection open at whichever moment it is interrupted", () =>
    Effect.scoped(Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const address = yield* serving(yield* issue({ names }))
      for (let count = 0; count < 25; count++) {
        const fiber = yield* Effect.forkScoped(greet(address, { ca }), { startImmediately: true })
        yield* turns(count)
        yield* Fiber.interrupt(fiber)
      }
    })))

  it.effect("gives up on a silent peer after the time for the whole path", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkScoped(
          Effect.flip(Effect.scoped(connect(server.address, {}, { connectTimeout: "5 seconds" }))),
          { startImmediately: true }
        )
        const socket = yield* server.next
        yield* TestClock.adjust("5 seconds")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(
          error.message,
          `${server.address} via tls: timed out after 5s while waiting for the answer of tls`
        )
        yield* closedBy(socket)
      }).pipe(Effect.provide(Dialer.layer))
    ))

  live("leaves a refused connection to who refused it", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(connect(`127.0.0.1:${yield* closedPort}`, {}))
      assert.deepStrictEqual(error._tag === "DialError" && [error.hop, error.reason._tag], ["direct", "Refused"])
    }).pipe(Effect.scoped))

  live("cannot be built with options that cannot be used", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(connect("db:1", { ca: "./missing.pem" })))
      assert.strictEqual(error.message, "TLS option \"ca\": cannot read the file \"./missing.pem\"")
    }))

  live(
    "tells a connection that broke after the handshake from one that ended",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const { certificate: ca, issue } = yield* authority
        const { port } = yield* nodeServer(yield* issue({ names }))
        const relay = yield* rawServer()
        const dialed = yield* Effect.forkScoped(connect(relay.address, { ca }), { startImmediately: true })
        const socket = yield* relay.next
        const onward = Net.connect(port, "127.0.0.1").on("error", () => {})
        socket.pipe(onward)
        onward.pipe(socket)
        const connection = yield* Fiber.join(dialed)
        yield* connection.write("hello\n")
        assert.strictEqual(yield* connection.readLine(), "hello")
        socket.resetAndDestroy()
        onward.destroy()
        const error = yield* Effect.flip(connection.read())
        assert.strictEqual(error.reason._tag, "Reset")
        assert.strictEqual((yield* connection.closed)._tag, "Broken")
        // and what had been agreed on is still known
        assert.strictEqual(Option.getOrThrow(connection.tls).protocol, "TLSv1.3")
      }))
  )

  it.effect("takes its options from Config, and shows no secret of them", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      const { cert, key } = yield* issue({ names })
      const options = { ca: Config.String("CA"), cert: Config.String("CERT"), key: Config.Redacted("KEY") }
      const layer = Layer.provide(Tls.layerConfig(options), Dialer.layer)
      const building = (env: Record<string, string>) =>
        Effect.void.pipe(
          Effect.provide(layer),
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env))
        )
      yield* building({ CA: ca, CERT: cert, KEY: key })
      assert.strictEqual((yield* Effect.flip(building({ CA: ca })))._tag, "ConfigError")
      const error = yield* Effect.flip(building({ CA: ca, CERT: cert, KEY: "hunter2" }))
      assert.strictEqual(error._tag, "TlsConfigError")
      assert.notInclude(inspect(error, { depth: 20 }), "hunter2")
    }))

  it.live("works on the test network under any name", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* authority
      yield* serving(yield* issue({ names: ["db.test"] }), echo, { host: "db.test", port: 5432 })
      assert.strictEqual(yield* greet("db.test:5432", { ca }), "hello")
      assert.strictEqual((yield* refusal("10.0.0.2:5432", { ca })).check, "name")
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer())))
})

keepsPathsApart("Tls.layer", () => Tls.layer())
keepsPathsApart("Tls.layerConfig", () => Tls.layerConfig({}))
