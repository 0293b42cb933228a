import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import type { Duplex } from "node:stream"
import * as NodeTls from "node:tls"
import { DialError } from "../../src/errors/DialError.ts"
import type { TcpError } from "../../src/errors/TcpError.ts"
import { TlsConfigError } from "../../src/errors/TlsConfigError.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connectedPair, pattern } from "../support/connections.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { ScriptedDuplex } from "../support/scripted.ts"
import { temporaryFolder } from "../support/servers.ts"
import { turns } from "../support/streams.ts"

/** An authority, and a server's certificate of it for the address that tests dial. */
const certified = Effect.fnUntraced(function*(names: ReadonlyArray<string> = ["127.0.0.1"]) {
  const authority = yield* TestCertificates.authority()
  return { ca: authority.certificate, server: yield* authority.issue({ names }), authority }
})

const ready = "220 ready\r\n"
const goAhead = "220 go ahead\r\n"

/** A server that greets, is asked for TLS and gives it. */
const serve = Effect.fnUntraced(function*(
  server: Connection.Connection,
  ...[tls, options]: Parameters<Connection.Connection["upgradeTls"]>
) {
  yield* server.write(ready)
  assert.strictEqual(yield* server.readLine(), "STARTTLS")
  return yield* server.upgradeTls(tls, { reply: goAhead, ...options })
})

/** A client that asks for TLS as soon as it is greeted. */
const ask = Effect.fnUntraced(function*(
  client: Connection.Connection,
  ...[tls, options]: Parameters<Connection.Connection["upgradeTls"]>
) {
  assert.strictEqual(yield* client.readLine(), "220 ready")
  yield* client.write("STARTTLS\r\n")
  assert.strictEqual(yield* client.readLine(), "220 go ahead")
  return yield* client.upgradeTls(tls, options)
})

/** Both sides of it. */
const upgraded = Effect.gen(function*() {
  const { ca, server } = yield* certified()
  const pair = yield* connectedPair
  const serving = yield* Effect.forkScoped(serve(pair.server, server))
  const client = yield* ask(pair.client, { ca })
  return { ...pair, secure: { client, server: yield* Fiber.join(serving) } }
})

type UpgradeError = DialError | TcpError | TlsConfigError

/** Why an upgrade failed: for a failed handshake, the check that it failed on. */
const whyOf = (error: UpgradeError): string => {
  if (error instanceof TlsConfigError) return `TlsConfigError: ${error.option}`
  return error.reason._tag === "TlsHandshake" ? error.reason.check : error.reason._tag
}

const dialError = (error: UpgradeError): DialError => error instanceof DialError ? error : assert.fail(error.message)

const why = <A, R>(effect: Effect.Effect<A, UpgradeError, R>) => Effect.map(Effect.flip(effect), whyOf)

/** Waits until what is on its way has had every chance to arrive, also byte by byte. */
const settle = turns(200)

describeOnNetworks("Connection.upgradeTls", (test, network) => {
  // a large transfer in pieces of one byte proves nothing that a small one does not
  const large = network === "on the test network, byte by byte" ? 20_000 : 5 * 1024 * 1024

  test("goes on in TLS after a dialogue in the clear, both ways", () =>
    Effect.gen(function*() {
      const { secure } = yield* upgraded
      yield* secure.client.write("EHLO\r\n")
      assert.strictEqual(yield* secure.server.readLine(), "EHLO")
      yield* secure.server.write("250 ok\r\n")
      assert.strictEqual(yield* secure.client.readLine(), "250 ok")
      const sent = pattern(large)
      const echoing = yield* Effect.forkChild(Stream.run(secure.server.reads, secure.server.writes))
      const sending = yield* Effect.forkChild(Effect.andThen(secure.client.write(sent), secure.client.closeWrite))
      assert.isTrue(Buffer.from(yield* secure.client.readExactly(large)).equals(sent))
      yield* Fiber.join(sending)
      yield* Fiber.join(echoing)
    }), 60_000)

  test("begins with a TLS record that asks for the name, and says nothing more in the clear", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connectedPair
      const upgrading = yield* Effect.forkScoped(client.upgradeTls({ servername: "db.test" }))
      const header = yield* server.readExactly(5)
      // RFC 8446, section 5.1: a handshake record
      assert.deepStrictEqual([...header.subarray(0, 3)], [0x16, 0x03, 0x01])
      const hello = Buffer.from(yield* server.readExactly((header[3] ?? 0) * 256 + (header[4] ?? 0)))
      assert.include(hello.toString("latin1"), "db.test")
      yield* Fiber.interrupt(upgrading)
    }))

  test("keeps the addresses and says what TLS agreed on", () =>
    Effect.gen(function*() {
      const { client, secure, server } = yield* upgraded
      assert.deepStrictEqual(client.tls, Option.none())
      const [ours, theirs] = [Option.getOrThrow(secure.client.tls), Option.getOrThrow(secure.server.tls)]
      assert.deepStrictEqual([ours.protocol, theirs.protocol], ["TLSv1.3", "TLSv1.3"])
      assert.isDefined(ours.peer)
      assert.deepStrictEqual(secure.client.remoteAddress, secure.server.localAddress)
      assert.deepStrictEqual(secure.client.localAddress, secure.server.remoteAddress)
      assert.isTrue(Option.isSome(secure.client.remoteAddress))
      assert.strictEqual(new Set([client.id, server.id, secure.client.id, secure.server.id]).size, 4)
    }))

  test("leaves the old connection closed: it neither gives, takes nor disturbs anything", () =>
    Effect.gen(function*() {
      const { client, secure } = yield* upgraded
      const lines = Framing.lines()
      const operations: ReadonlyArray<Effect.Effect<unknown, UpgradeError, Scope.Scope>> = [
        client.read(),
        client.readLine(),
        client.readBatch,
        Stream.runDrain(client.reads),
        Stream.runDrain(client.frames(lines)),
        client.runFrames(lines, () => Effect.void),
        client.consume(() => {}),
        client.write("plain"),
        client.writeAll(["plain"]),
        client.closeWrite,
        client.upgradeTls()
      ]
      for (const operation of operations) assert.strictEqual(yield* why(operation), "Closed")
      assert.deepStrictEqual(yield* client.closed, { _tag: "Local" })
      assert.strictEqual((yield* client.takeBuffered).length, 0)
      yield* client.closeRead
      yield* client.close
      yield* client.closed
      yield* secure.server.write("hello\n")
      assert.strictEqual(yield* secure.client.readLine(), "hello")
      yield* secure.client.write("there\n")
      assert.strictEqual(yield* secure.server.readLine(), "there")
    }))

  test("fails those who still read, write or wait on the old connection", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified()
      const pair = yield* connectedPair
      const serving = yield* Effect.forkScoped(Effect.exit(pair.server.upgradeTls(server)))
      const reading = yield* Effect.forkChild(why(pair.client.read()), { startImmediately: true })
      const waiting = yield* Effect.forkChild(pair.client.closed, { startImmediately: true })
      yield* pair.client.upgradeTls({ ca })
      assert.strictEqual(yield* Fiber.join(reading), "Closed")
      assert.deepStrictEqual(yield* Fiber.join(waiting), { _tag: "Local" })
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(serving)))
    }))

  test("refuses to upgrade what is closed already", () =>
    Effect.gen(function*() {
      const { client } = yield* connectedPair
      yield* client.close
      assert.strictEqual(yield* why(client.upgradeTls()), "Closed")
    }))

  test("closes with its scope, and the connection below with it", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified()
      const pair = yield* connectedPair
      const serving = yield* Effect.forkScoped(serve(pair.server, server))
      const client = yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* ask(pair.client, { ca })
        yield* client.write("last words\n")
        return client
      }))
      assert.strictEqual(yield* why(client.read()), "Closed")
      const other = yield* Fiber.join(serving)
      assert.strictEqual(yield* other.readLine(), "last words")
      assert.strictEqual(yield* why(other.read()), "EndOfStream")
      assert.isTrue(pair.streams.client.destroyed)
    }))

  test("sends what was written before in the clear and in order, however much it is", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified()
      const pair = yield* connectedPair
      const sent = pattern(large)
      yield* Effect.forkChild(Effect.exit(pair.server.write(sent)), { startImmediately: true })
      const serving = yield* Effect.forkScoped(pair.server.upgradeTls(server, { reply: goAhead }))
      assert.isTrue(Buffer.from(yield* pair.client.readExactly(large)).equals(sent))
      assert.strictEqual(yield* pair.client.readLine(), "220 go ahead")
      const client = yield* pair.client.upgradeTls({ ca })
      yield* client.write("x\n")
      assert.strictEqual(yield* (yield* Fiber.join(serving)).readLine(), "x")
    }), 60_000)

  test("lets the client begin in the very moment it has the reply", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified()
      const pair = yield* connectedPair
      const serving = yield* Effect.forkScoped(serve(pair.server, server))
      // a client of Node's own, which begins inside the event that brings the reply's last byte
      const secure = yield* Effect.callback<NodeTls.TLSSocket>((resume) => {
        const { client } = pair.streams
        let heard = ""
        const hear = (bytes: Buffer) => {
          heard += String(bytes)
          if (heard === ready) client.write("STARTTLS\r\n")
          if (heard !== ready + goAhead) return
          client.off("data", hear).pause()
          const tls = NodeTls.connect({ socket: client, ca, host: "127.0.0.1" }, () => resume(Effect.succeed(tls)))
        }
        client.on("data", hear)
      })
      secure.write("at once\n")
      assert.strictEqual(yield* (yield* Fiber.join(serving)).readLine(), "at once")
      yield* Effect.sync(() => secure.destroy())
    }))

  const isGone = (stream: Duplex) => Effect.map(settle, () => assert.isTrue(stream.destroyed))

  test("refuses, as the client, what came with the reply in the clear", () =>
    Effect.gen(function*() {
      const { ca } = yield* certified()
      const { client, server, streams } = yield* connectedPair
      yield* server.write(`${goAhead}* injected\r\n`)
      assert.strictEqual(yield* client.readLine(), "220 go ahead")
      yield* settle
      assert.deepInclude(yield* reasonOf(Effect.catchTag(client.upgradeTls({ ca }), "TlsConfigError", Effect.die)), {
        _tag: "PlaintextBuffered",
        received: 12
      })
      assert.strictEqual(yield* why(client.read()), "Closed")
      assert.strictEqual((yield* client.takeBuffered).length, 0)
      yield* isGone(streams.client)
    }))

  test("refuses, as the client, what nobody has read at all", () =>
    Effect.gen(function*() {
      const { ca } = yield* certified()
      const { client, server } = yield* connectedPair
      yield* server.write(goAhead)
      yield* settle
      assert.strictEqual(yield* why(client.upgradeTls({ ca })), "PlaintextBuffered")
    }))

  test("refuses, as the server, what came with STARTTLS in the clear, and does not say that it goes ahead", () =>
    Effect.gen(function*() {
      const credentials = yield* certified()
      const { client, server, streams } = yield* connectedPair
      yield* client.write("STARTTLS\r\nMAIL FROM:<evil>\r\n")
      assert.strictEqual(yield* server.readLine(), "STARTTLS")
      yield* settle
      assert.deepInclude(
        yield* reasonOf(
          Effect.catchTag(server.upgradeTls(credentials.server, { reply: goAhead }), "TlsConfigError", Effect.die)
        ),
        {
          _tag: "PlaintextBuffered",
          received: 18
        }
      )
      const heard = Buffer.concat(yield* Effect.orElseSucceed(Stream.runCollect(client.reads), () => []))
      assert.strictEqual(String(heard), "")
      yield* isGone(streams.server)
    }))

  test("refuses, as the server, what came before it had read the certificate", () =>
    Effect.gen(function*() {
      const credentials = yield* certified()
      const { client, server } = yield* connectedPair
      const upgrading = yield* Effect.forkChild(why(server.upgradeTls(credentials.server, { reply: goAhead })), {
        startImmediately: true
      })
      yield* client.write("MAIL FROM:<evil>\r\n")
      const reason = yield* Fiber.join(upgrading)
      // before the reply was sent it is refused as what it is, after that it is no TLS
      assert.oneOf(reason, ["PlaintextBuffered", "protocol"])
    }))

  test("refuses a handshake that began before it was asked to, where the reply was sent by hand", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified()
      const pair = yield* connectedPair
      yield* pair.server.write(goAhead)
      assert.strictEqual(yield* pair.client.readLine(), "220 go ahead")
      const asking = yield* Effect.forkChild(why(pair.client.upgradeTls({ ca })), { startImmediately: true })
      yield* Effect.forkScoped(Effect.exit(pair.server.closed))
      yield* settle
      assert.strictEqual(yield* why(pair.server.upgradeTls(server)), "PlaintextBuffered")
      assert.strictEqual(yield* Fiber.join(asking), "closed")
    }))

  test("says on which check a certificate failed, and closes", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified(["other.test"])
      const stranger = yield* certified()
      for (const [tls, check] of [[{ ca: stranger.ca }, "issuer"], [{ ca }, "name"]] as const) {
        const pair = yield* connectedPair
        const serving = yield* Effect.forkScoped(Effect.exit(serve(pair.server, server)))
        const error = dialError(yield* Effect.flip(ask(pair.client, tls)))
        assert.strictEqual(whyOf(error), check)
        assert.strictEqual(error.hop, "tls")
        assert.include(error.target, "127.0.0.1")
        assert.strictEqual(yield* why(pair.client.read()), "Closed")
        yield* isGone(pair.streams.client)
        // with TLS 1.3 the server may be done before the client refuses: then its first read says so
        const exit = yield* Fiber.join(serving)
        if (Exit.isSuccess(exit)) assert.oneOf(yield* why(exit.value.read()), ["EndOfStream", "Reset", "Unknown"])
      }
    }))

  test("verifies another name when it is told to", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified(["db.test"])
      for (const [servername, outcome] of [["db.test", "ok"], ["other.test", "name"]]) {
        const pair = yield* connectedPair
        yield* Effect.forkScoped(Effect.exit(serve(pair.server, server)))
        const exit = yield* Effect.result(ask(pair.client, { ca, servername }))
        assert.strictEqual(exit._tag === "Success" ? "ok" : whyOf(exit.failure), outcome)
      }
    }))

  test("verifies the host that TcpClient dialled", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified(["localhost"])
      const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
      const port = NetAddress.isInetAddress(address) ? address.port : 0
      const tcp = yield* TcpClient.TcpClient
      for (const [host, outcome] of [["localhost", "ok"], ["127.0.0.1", "name"]]) {
        const client = yield* tcp.connect(`${host}:${port}`)
        const accepted = yield* Connection.fromDuplex(yield* accept, { role: "accepted" })
        yield* Effect.forkScoped(Effect.exit(serve(accepted, server)))
        const exit = yield* Effect.result(ask(client, { ca }))
        assert.strictEqual(exit._tag === "Success" ? "ok" : whyOf(exit.failure), outcome)
      }
    }).pipe(Effect.provide(TcpClient.layer)))

  test("fails with TlsConfigError where the options cannot be used, and closes", () =>
    Effect.gen(function*() {
      const { client, server, streams } = yield* connectedPair
      assert.strictEqual(yield* why(server.upgradeTls()), "TlsConfigError: cert")
      assert.strictEqual(yield* why(client.upgradeTls({ ca: "no such file.pem" })), "TlsConfigError: ca")
      yield* isGone(streams.client)
      yield* isGone(streams.server)
    }))

  test("asks for the client's certificate", () =>
    Effect.gen(function*() {
      const { authority, ca, server } = yield* certified()
      const own = yield* authority.issue({ names: [], client: true })
      const tls = { ...server, ca, requestClientCertificate: true }
      for (const [client, outcome] of [[own, "ok"], [{}, "clientCertificate"]] as const) {
        const pair = yield* connectedPair
        const serving = yield* Effect.forkScoped(Effect.result(serve(pair.server, tls)))
        yield* Effect.exit(ask(pair.client, { ca, ...client }))
        const result = yield* Fiber.join(serving)
        assert.strictEqual(result._tag === "Success" ? "ok" : whyOf(result.failure), outcome)
      }
    }))

  test("fails when the peer answers with something else, hangs up or resets", () =>
    Effect.gen(function*() {
      const { ca } = yield* certified()
      for (
        const [act, outcomes] of [
          [(peer: Connection.Connection) => peer.write("no TLS here\r\n"), ["protocol"]],
          [(peer: Connection.Connection) => peer.closeWrite, ["closed"]],
          [(peer: Connection.Connection) => peer.close, ["closed"]]
        ] as const
      ) {
        const { client, server, streams } = yield* connectedPair
        const asking = yield* Effect.forkScoped(why(client.upgradeTls({ ca })), { startImmediately: true })
        yield* server.read()
        yield* act(server)
        assert.oneOf(yield* Fiber.join(asking), [...outcomes])
        yield* isGone(streams.client)
      }
    }))

  test("closes everything when it is interrupted half-way, on either side", () =>
    Effect.gen(function*() {
      const credentials = yield* certified()
      for (const side of ["client", "server"] as const) {
        for (const wait of [0, 1, 5, 50]) {
          const pair = yield* connectedPair
          const tls = side === "client" ? { ca: credentials.ca } : credentials.server
          const upgrading = yield* Effect.forkScoped(pair[side].upgradeTls(tls), { startImmediately: true })
          yield* turns(wait)
          yield* Fiber.interrupt(upgrading)
          assert.isTrue(pair.streams[side].destroyed)
          const other = pair[side === "client" ? "server" : "client"]
          yield* Effect.exit(Stream.runDrain(other.reads))
        }
      }
    }))

  test("closes everything when its scope ends half-way", () =>
    Effect.gen(function*() {
      const { ca } = yield* certified()
      const pair = yield* connectedPair
      const scope = yield* Scope.make()
      yield* Effect.forkIn(Scope.provide(pair.client.upgradeTls({ ca }), scope), scope, { startImmediately: true })
      yield* pair.server.read()
      yield* Scope.close(scope, Exit.void)
      yield* isGone(pair.streams.client)
    }))
})

describe("Connection.upgradeTls and time", () => {
  for (const [side, timeout] of [["client", "3 seconds"], ["server", "3 seconds"], ["client", undefined]] as const) {
    const seconds = timeout === undefined ? 10 : 3
    it.effect(`a silent peer costs the ${side} no more than ${timeout ?? "the default of ten seconds"}`, () =>
      Effect.gen(function*() {
        const credentials = yield* certified()
        const pair = yield* connectedPair
        const tls = side === "client" ? { ca: credentials.ca } : credentials.server
        const upgrading = yield* Effect.forkChild(Effect.flip(pair[side].upgradeTls(tls, { timeout })), {
          startImmediately: true
        })
        yield* turns(20)
        yield* TestClock.adjust(Duration.millis(seconds * 1000 - 1))
        assert.isUndefined(upgrading.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const error = dialError(yield* Fiber.join(upgrading))
        assert.deepInclude(yield* reasonOf(Effect.fail(error)), {
          _tag: "ConnectTimeout",
          after: Duration.seconds(seconds),
          phase: "the TLS handshake"
        })
        assert.isTrue(error.isRetryable)
        assert.isTrue(pair.streams[side].destroyed)
      }).pipe(Effect.provide(TestNetwork.layer())))
  }

  it.live("a peer that takes nothing costs no more either", () =>
    Effect.gen(function*() {
      const { server } = yield* certified()
      const pair = yield* connectedPair
      // more than the network holds
      yield* Effect.forkChild(Effect.exit(pair.server.write(Buffer.alloc(100_000))), { startImmediately: true })
      const error = yield* Effect.flip(pair.server.upgradeTls(server, { reply: goAhead, timeout: "20 millis" }))
      assert.strictEqual(whyOf(error), "ConnectTimeout")
      assert.isTrue(pair.streams.server.destroyed)
    }).pipe(Effect.provide(TestNetwork.layer({ defaults: { bufferSize: 1024 } }))))
})

describe("Connection.upgradeTls with a certificate in a file", () => {
  it.live("refuses what comes before it was read, and does not say that it goes ahead", () =>
    Effect.gen(function*() {
      const { server } = yield* certified()
      const folder = yield* temporaryFolder
      const [cert, key] = [`${folder}/cert.pem`, `${folder}/key.pem`]
      Fs.writeFileSync(cert, server.cert)
      Fs.writeFileSync(key, server.key)
      const peer = new ScriptedDuplex()
      const connection = yield* Connection.fromDuplex(peer, { role: "accepted" })
      const upgrading = yield* Effect.forkChild(why(connection.upgradeTls({ cert, key }, { reply: goAhead })), {
        startImmediately: true
      })
      peer.arrive("MAIL FROM:<evil>\r\n")
      assert.strictEqual(yield* Fiber.join(upgrading), "PlaintextBuffered")
      assert.strictEqual(peer.sent, "")
      assert.isTrue(peer.destroyed)
    }))
})

describe("Connection.upgradeTls where nobody dialled by name", () => {
  it.live("verifies the peer's address", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certified(["10.0.0.2"])
      const listener = yield* Listener.Listener
      const { accept } = yield* listener.bind({ host: "db.test", port: 25 })
      const tcp = yield* TcpClient.TcpClient
      const dialled = yield* tcp.connect("db.test:25")
      const accepted = yield* Connection.fromDuplex(yield* accept, { role: "accepted" })
      const address = Option.getOrThrow(dialled.remoteAddress)
      assert.strictEqual(NetAddress.formatSocketAddress(address), "10.0.0.2:25")
      yield* Effect.forkScoped(Effect.exit(serve(accepted, server)))
      assert.strictEqual(yield* why(ask(dialled, { ca })), "name")
    }).pipe(Effect.provide(Layer.provideMerge(TcpClient.layer, TestNetwork.layer()))))
})
