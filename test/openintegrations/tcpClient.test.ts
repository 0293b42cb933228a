/** What the TCP client of the system that this library replaces does, row by row, and its weaknesses, which are gone. */
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import type { DialError } from "../../src/errors/DialError.ts"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type { TlsConfigError } from "../../src/errors/TlsConfigError.ts"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Tls from "../../src/layers/Tls.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpClient from "../../src/services/TcpClient.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connectedPair, pattern } from "../support/connections.ts"
import { leavesNothing } from "../support/leaks.ts"
import { httpProxy, socksProxy } from "../support/loopbackProxies.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { closedPort, temporaryFolder } from "../support/servers.ts"
import { turns } from "../support/streams.ts"
import { eventually, serving } from "../support/tcpServers.ts"

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

const echo = (connection: Connection.Connection) => Stream.run(connection.reads, connection.writes)

/** Answers each line with itself, in capitals. */
const shout = (connection: Connection.Connection) =>
  Effect.forever(Effect.flatMap(connection.readLine(), (line) => connection.write(`${line.toUpperCase()}\n`)))

const { connect, request, requestString } = {
  connect: (...args: Parameters<TcpClient.TcpClient["Service"]["connect"]>) =>
    TcpClient.TcpClient.use((tcp) => tcp.connect(...args)),
  request: (...args: Parameters<TcpClient.TcpClient["Service"]["request"]>) =>
    TcpClient.TcpClient.use((tcp) => tcp.request(...args)),
  requestString: (...args: Parameters<TcpClient.TcpClient["Service"]["requestString"]>) =>
    TcpClient.TcpClient.use((tcp) => tcp.requestString(...args))
}

/** What went wrong, in one word; of a handshake, the check that failed. */
const why = <A, R>(effect: Effect.Effect<A, DialError | TcpError | TlsConfigError, R>) =>
  Effect.map(Effect.flip(effect), (error) =>
    error._tag === "TlsConfigError"
      ? error._tag
      : error.reason._tag === "TlsHandshake"
      ? error.reason.check
      : error.reason._tag)

/** A client that is connected to a test that plays the server. */
const played = Effect.map(connectedPair, ({ client, server }) => ({ client, server }))

describeOnNetworks("the TCP client of openintegrations", (define, network) => {
  type Body = () => Effect.Effect<
    unknown,
    unknown,
    Dialer.Dialer | Listener.Listener | Scope.Scope | TcpClient.TcpClient
  >
  const test = (title: string, body: Body, timeout?: number) =>
    define(title, () => Effect.provide(body(), TcpClient.layer), timeout)

  const large = network === "on the test network, byte by byte" ? 20_000 : 8 * 1024 * 1024

  test("CreateConnection(address, tls, proxy): opens a connection, over TLS if wanted", () =>
    Effect.gen(function*() {
      const plain = yield* serving(shout)
      const connection = yield* connect(plain.address)
      yield* connection.write("hello\n")
      assert.strictEqual(yield* connection.readLine(), "HELLO")
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const secure = yield* serving(shout, { tls: yield* issue({ names: ["127.0.0.1"] }) })
      const encrypted = yield* connect(secure.address, { tls: { ca } })
      yield* encrypted.write("hello\n")
      assert.strictEqual(yield* encrypted.readLine(), "HELLO")
      assert.isTrue(encrypted.tls._tag === "Some")
    }))

  test("CloseConnection: the scope's end closes it, close does so earlier", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      const { address } = yield* serving((connection) =>
        Effect.map(connection.closed, ({ _tag }) => void ends.push(_tag))
      )
      const connection = yield* Effect.scoped(connect(address))
      assert.strictEqual(yield* why(connection.read()), "Closed")
      const early = yield* connect(address)
      yield* early.close
      assert.strictEqual(yield* why(early.write("x")), "Closed")
      yield* eventually(Effect.sync(() => ends.length === 2))
      assert.deepStrictEqual(ends, ["Peer", "Peer"])
    }))

  test("ReadBinaryData(maxSize, marker, timeout): whichever comes first, in any combination", () =>
    Effect.gen(function*() {
      const read = Effect.fnUntraced(function*(sent: string, options: Connection.ReadOptions, ends = false) {
        const { client, server } = yield* played
        yield* server.write(sent)
        if (ends) yield* server.closeWrite
        const got = yield* Effect.result(client.read(options))
        return got._tag === "Success" ? text(got.success) : got.failure.reason._tag
      })
      const timeout = "50 millis"
      // a size
      assert.strictEqual(yield* read("abcdef", { maxSize: 4 }), "abcd")
      assert.strictEqual(yield* read("ab", { maxSize: 4, timeout }), "ReadTimeout")
      assert.strictEqual(yield* read("ab", { maxSize: 4 }, true), "ab")
      // a marker
      assert.strictEqual(yield* read("ab;cd", { marker: ";" }), "ab;")
      assert.strictEqual(yield* read("abcd", { marker: ";", timeout }), "ReadTimeout")
      assert.strictEqual(yield* read("abcd", { marker: ";" }, true), "abcd")
      assert.strictEqual(yield* read("a\0\u0001b", { marker: Uint8Array.of(0, 1) }), "a\0\u0001")
      // both
      assert.strictEqual(yield* read("ab;cd", { maxSize: 4, marker: ";" }), "ab;")
      assert.strictEqual(yield* read("abcd;", { maxSize: 4, marker: ";" }), "abcd")
      assert.strictEqual(yield* read("abc", { maxSize: 4, marker: ";", timeout }), "ReadTimeout")
      assert.strictEqual(yield* read("abc", { maxSize: 4, marker: ";", timeout }, true), "abc")
      // neither: anything at all, and the end
      assert.strictEqual(yield* read("a", {}), "a")
      assert.strictEqual(yield* read("", { timeout }), "ReadTimeout")
      assert.strictEqual(yield* read("", { timeout }, true), "EndOfStream")
    }))

  test("ReadLine(encoding, marker, timeout): the same, decoded", () =>
    Effect.gen(function*() {
      const { client, server } = yield* played
      yield* server.writeString("привет\r\nмир;", { encoding: "windows-1251" })
      yield* server.writeString("до свидания\n")
      assert.strictEqual(yield* client.readLine({ encoding: "windows-1251" }), "привет")
      assert.strictEqual(yield* client.readString({ encoding: "windows-1251", marker: ";" }), "мир;")
      assert.strictEqual(yield* client.readString({ marker: "\n", timeout: "5 seconds" }), "до свидания\n")
      assert.strictEqual(yield* why(client.readString({ marker: "\n", timeout: "10 millis" })), "ReadTimeout")
      yield* server.write(Uint8Array.of(0xff, 0x0a))
      assert.strictEqual(yield* why(client.readLine()), "Encoding")
      assert.deepStrictEqual([...yield* client.takeBuffered], [0xff, 0x0a])
    }))

  test("SendBinaryData(data or file, timeout): bytes, or the content of a file", () =>
    Effect.gen(function*() {
      const { client, server } = yield* played
      yield* client.write(Uint8Array.of(0, 1, 255), { timeout: "5 seconds" })
      assert.deepStrictEqual([...yield* server.readExactly(3)], [0, 1, 255])
      const path = `${yield* temporaryFolder}/data.bin`
      const content = pattern(Math.min(large, 1024 * 1024))
      Fs.writeFileSync(path, content)
      const received = yield* Effect.forkChild(server.readExactly(content.length))
      const files = yield* FileSystem.FileSystem
      yield* Stream.run(files.stream(path), client.writes)
      assert.isTrue(Buffer.from(yield* Fiber.join(received)).equals(content))
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  test("SendLine(text, encoding, timeout): writes text in an encoding", () =>
    Effect.gen(function*() {
      const { client, server } = yield* played
      yield* client.writeString("Привет\n", { timeout: "5 seconds" })
      assert.strictEqual(yield* server.readLine(), "Привет")
      yield* client.writeString("Привет\n", { encoding: "windows-1251", timeout: "5 seconds" })
      assert.deepStrictEqual([...yield* server.readExactly(7)], [0xcf, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2, 0x0a])
      yield* client.writeString("Привет\n", { encoding: "utf-16le" })
      assert.strictEqual((yield* server.readExactly(14)).length, 14)
      assert.strictEqual(yield* why(client.writeString("漢", { encoding: "windows-1251" })), "Encoding")
    }))

  test("ProcessRequest(address, data, asString, tls, proxy): connects, sends, reads to the end of the line, closes", () =>
    Effect.gen(function*() {
      let gone = 0
      const { address } = yield* serving((connection) =>
        Effect.ensuring(shout(connection), Effect.sync(() => void gone++))
      )
      assert.strictEqual(text(yield* request(address, Buffer.from("bytes\n"))), "BYTES\n")
      assert.strictEqual(yield* requestString(address, "text\n"), "TEXT\n")
      yield* eventually(Effect.sync(() => gone === 2))
    }))

  test("GetLastError: is not needed, each error is the failure of the operation that had it", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* why(connect(`127.0.0.1:${yield* closedPort}`)), "Refused")
      // on loopback the system would ask a name server
      if (network !== "on loopback") assert.strictEqual(yield* why(connect("no.such.name:1")), "NameNotFound")
      assert.strictEqual(yield* why(connect("no address")), "InvalidTarget")
      const { client, server } = yield* played
      assert.deepInclude(yield* reasonOf(client.read({ marker: "\n", timeout: "10 millis" })), {
        _tag: "ReadTimeout",
        after: Duration.millis(10),
        received: 0
      })
      yield* server.close
      assert.strictEqual(yield* why(client.read()), "EndOfStream")
    }))

  test("GetTlsSettings(disable verification, CA file): and names, versions, client certificates", () =>
    Effect.gen(function*() {
      const { certificate, issue } = yield* TestCertificates.authority()
      const ca = `${yield* temporaryFolder}/ca.pem`
      Fs.writeFileSync(ca, certificate)
      const { address } = yield* serving(shout, { tls: yield* issue({ names: ["127.0.0.1"] }) })
      const ask = (tls: TcpClient.ConnectOptions["tls"]) => requestString(address, "hello\n", { tls })
      assert.strictEqual(yield* ask({ ca }), "HELLO\n")
      assert.strictEqual(yield* ask({ insecureSkipVerify: true }), "HELLO\n")
      assert.strictEqual(yield* why(ask({ ca, servername: "other.test" })), "name")
      assert.strictEqual(yield* why(ask({ ca: `${ca}.missing` })), "TlsConfigError")
      // verification is on unless it is switched off
      assert.strictEqual(yield* why(ask(true)), "issuer")
      const asLayer = Layer.provide(TcpClient.layer, Tls.layer({ ca }))
      assert.strictEqual(yield* Effect.provide(requestString(address, "hello\n"), asLayer), "HELLO\n")
    }))

  test("IsClientObject: isConnection tells connections from everything else", () =>
    Effect.gen(function*() {
      const { client } = yield* played
      assert.isTrue(Connection.isConnection(client))
      for (const other of [undefined, null, 1, "tcp-1", {}, { ...client }, yield* client.toSocket]) {
        assert.isFalse(Connection.isConnection(other))
      }
    }))

  // ---- what is weak there

  test("a marker is noticed wherever it is, not only at the end of a packet, and what follows it stays", () =>
    Effect.gen(function*() {
      const { client, server } = yield* played
      yield* server.write("one\ntwo\nthr")
      assert.strictEqual(text(yield* client.read({ marker: "\n" })), "one\n")
      assert.strictEqual(text(yield* client.read({ marker: "\n" })), "two\n")
      const third = yield* Effect.forkChild(client.read({ marker: "\n" }), { startImmediately: true })
      yield* turns(10)
      assert.isUndefined(third.pollUnsafe())
      yield* server.write("ee\nfour")
      assert.strictEqual(text(yield* Fiber.join(third)), "three\n")
      assert.strictEqual(text(yield* client.readExactly(4)), "four")
      // a marker in two packets
      yield* server.write("a\r")
      yield* turns(10)
      yield* server.write("\nb")
      assert.strictEqual(text(yield* client.read({ marker: "\r\n" })), "a\r\n")
    }))

  test("a timeout and a complete message cannot be taken for each other", () =>
    Effect.gen(function*() {
      const { client, server } = yield* played
      yield* server.write("part")
      assert.deepInclude(yield* reasonOf(client.read({ marker: "\n", timeout: "100 millis" })), {
        _tag: "ReadTimeout",
        received: 4
      })
      yield* server.write(" and rest\n")
      assert.strictEqual(text(yield* client.read({ marker: "\n", timeout: "5 seconds" })), "part and rest\n")
    }))

  test("a write is never partial: everything arrives, however slow the peer is", () =>
    Effect.gen(function*() {
      const { client, server } = yield* played
      const sent = pattern(large)
      const writing = yield* Effect.forkChild(Effect.andThen(client.write(sent), client.closeWrite))
      const received: Array<Uint8Array> = []
      yield* Stream.runForEach(
        server.reads,
        (piece) => Effect.andThen(turns(1), Effect.sync(() => received.push(piece)))
      )
      yield* Fiber.join(writing)
      assert.isTrue(Buffer.concat(received).equals(sent))
      assert.strictEqual((yield* client.stats).bytesWritten, sent.length)
    }), 60_000)

  test("several root certificates are trusted together, and a client shows a certificate of its own", () =>
    Effect.gen(function*() {
      const authorities = yield* Effect.all([
        TestCertificates.authority(),
        TestCertificates.authority(),
        TestCertificates.authority()
      ])
      const [one, other, third] = authorities
      const ca = authorities.slice(0, 2).map(({ certificate }) => certificate)
      const own = yield* third.issue({ names: [], commonName: "a client", client: true })
      for (const { issue } of [one, other]) {
        const tls = {
          ...(yield* issue({ names: ["127.0.0.1"] })),
          ca: third.certificate,
          requestClientCertificate: true
        }
        const { address } = yield* serving((connection) =>
          Effect.andThen(
            connection.readLine(),
            connection.write(
              `${connection.tls._tag === "Some" ? connection.tls.value.peer?.subject : "no TLS"}\n`
            )
          ), { tls })
        assert.strictEqual(yield* requestString(address, "who am I?\n", { tls: { ca, ...own } }), "CN=a client\n")
        // the server refuses who shows none: in TLS 1.3 only after the client is done
        assert.oneOf(yield* why(requestString(address, "x\n", { tls: { ca } })), [
          "clientCertificate",
          "EndOfStream",
          "Reset",
          "Unknown"
        ])
      }
      const { address } = yield* serving(shout, { tls: yield* third.issue({ names: ["127.0.0.1"] }) })
      assert.strictEqual(yield* why(request(address, "x\n", { tls: { ca } })), "issuer")
    }))
})

describe("the TCP client of openintegrations, in time", () => {
  it.effect("reads are told when bytes arrive, with no polling: they need no clock that goes on", () =>
    // the clock of this test stands still, so that whoever sleeps between two looks waits for ever
    Effect.gen(function*() {
      const { client, server } = yield* played
      for (const options of [{}, { marker: "\n" }, { maxSize: 2 }, { marker: "\n", timeout: "1 hour" }] as const) {
        const reading = yield* Effect.forkChild(client.read(options), { startImmediately: true })
        yield* turns(5)
        assert.isUndefined(reading.pollUnsafe())
        yield* server.write("x\n")
        assert.strictEqual(text(yield* Fiber.join(reading)), "x\n")
      }
    }).pipe(Effect.provide(TestNetwork.layer())))

  it.effect("a timeout is exact, not rounded up to a polling interval", () =>
    Effect.gen(function*() {
      const { client } = yield* played
      const reading = yield* Effect.forkChild(why(client.read({ timeout: "37 millis" })), { startImmediately: true })
      yield* TestClock.adjust("36 millis")
      assert.isUndefined(reading.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(reading), "ReadTimeout")
    }).pipe(Effect.provide(TestNetwork.layer())))

  it.effect("SendBinaryData(data or file, timeout): fails with WriteTimeout when the peer takes nothing", () =>
    Effect.gen(function*() {
      const { client } = yield* played
      const writing = yield* Effect.forkChild(why(client.write(Buffer.alloc(1_000_000), { timeout: "3 seconds" })), {
        startImmediately: true
      })
      yield* turns(20)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* Fiber.join(writing), "WriteTimeout")
    }).pipe(Effect.provide(TestNetwork.layer({ defaults: { bufferSize: 1024 } }))))
})

describe("the TCP client of openintegrations, through proxies", () => {
  const live = (
    title: string,
    body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope | TcpClient.TcpClient>,
    timeout?: number
  ) =>
    it.live(title, () =>
      leavesNothing(
        Effect.provide(
          Effect.scoped(body()),
          Layer.provideMerge(TcpClient.layer, Layer.merge(Dialer.layer, Listener.layer))
        )
      ), timeout)

  const resolve = () => "127.0.0.1"
  const credentials = { username: "user", password: "p@ss:wörd" }
  const portOf = (address: NetAddress.SocketAddress) => NetAddress.isInetAddress(address) ? address.port : 0

  live(
    "CreateConnection(address, tls, proxy): with TLS to the target inside the proxy's tunnel",
    () =>
      Effect.gen(function*() {
        const { certificate: ca, issue } = yield* TestCertificates.authority()
        const { address } = yield* serving(shout, { tls: yield* issue({ names: ["db.internal"] }) })
        const { port, seen } = yield* httpProxy({ resolve })
        const target = `db.internal:${portOf(address)}`
        const connection = yield* connect(target, { tls: { ca }, proxy: `http://127.0.0.1:${port}` })
        yield* connection.write("hello\n")
        assert.strictEqual(yield* connection.readLine(), "HELLO")
        assert.deepStrictEqual(seen, [target])
        // the same in layers
        const path = Tls.layer({ ca }).pipe(Layer.provide(Proxy.layer(`http://127.0.0.1:${port}`)))
        const answer = Effect.provide(requestString(target, "hello\n"), Layer.provide(TcpClient.layer, path))
        assert.strictEqual(yield* answer, "HELLO\n")
      })
  )

  live(
    "GetProxySettings(address, port, socks5/socks4/http, login, password): as settings or as a URL",
    () =>
      Effect.gen(function*() {
        const { address } = yield* serving(shout)
        const target = `db.internal:${portOf(address)}`
        const socks = yield* socksProxy({ resolve, credentials })
        const open = yield* socksProxy({ resolve })
        const http = yield* httpProxy({ resolve, credentials })
        const password = Redacted.make(credentials.password)
        const userinfo = `${credentials.username}:${encodeURIComponent(credentials.password)}`
        const host = "127.0.0.1"
        const { username } = credentials
        const proxies: ReadonlyArray<Proxy.ProxyInput> = [
          { protocol: "socks5", host, port: socks.port, username, password },
          `socks5://${userinfo}@${host}:${socks.port}`,
          { protocol: "socks4", host, port: open.port },
          `socks4://${host}:${open.port}`,
          { protocol: "http", host, port: http.port, username, password },
          Redacted.make(`http://${userinfo}@${host}:${http.port}`)
        ]
        for (const proxy of proxies) assert.strictEqual(yield* requestString(target, "hello\n", { proxy }), "HELLO\n")
        assert.deepStrictEqual([socks.seen, open.seen, http.seen], [[target, target], [target, target], [
          target,
          target
        ]])
        for (const { port, protocol } of [{ protocol: "socks5", ...socks }, { protocol: "http", ...http }] as const) {
          assert.strictEqual(
            yield* why(
              request(target, "x\n", { proxy: { protocol, host, port, username, password: Redacted.make("no") } })
            ),
            "ProxyAuthentication"
          )
        }
      })
  )

  live("ProcessRequest(address, data, asString, tls, proxy): through a proxy", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(shout)
      const { port } = yield* socksProxy({ resolve })
      const proxy = `socks5://127.0.0.1:${port}`
      assert.strictEqual(yield* requestString(`db.internal:${portOf(address)}`, "hello\n", { proxy }), "HELLO\n")
    }))

  live(
    "HTTP proxies are as stable as any: many at once, much at once, and what comes right behind the answer",
    () =>
      Effect.gen(function*() {
        const { port, seen } = yield* httpProxy({ resolve, credentials })
        const proxy = `http://${credentials.username}:${encodeURIComponent(credentials.password)}@127.0.0.1:${port}`
        const many = yield* serving(shout)
        const answers = yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => `line ${i}\n`),
          (line) => requestString(`db.internal:${portOf(many.address)}`, line, { proxy }),
          { concurrency: 20 }
        )
        assert.deepStrictEqual(answers, Array.from({ length: 200 }, (_, i) => `LINE ${i}\n`))
        assert.strictEqual(seen.length, 200)

        const much = yield* serving(echo)
        const connection = yield* connect(`db.internal:${portOf(much.address)}`, { proxy })
        const sent = pattern(8 * 1024 * 1024)
        const sending = yield* Effect.forkChild(connection.write(sent))
        assert.isTrue(Buffer.from(yield* connection.readExactly(sent.length)).equals(sent))
        yield* Fiber.join(sending)

        const greeting = yield* serving((connection) =>
          Effect.andThen(connection.write("220 at once\r\n"), connection.closed)
        )
        const greeted = yield* connect(`db.internal:${portOf(greeting.address)}`, { proxy })
        assert.strictEqual(yield* greeted.readLine(), "220 at once")
        assert.strictEqual(yield* why(connect(`db.internal:${yield* closedPort}`, { proxy })), "ProxyRefused")
      }),
    60_000
  )
})
