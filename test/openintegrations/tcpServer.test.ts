/** What the TCP server of the system that this library replaces does, row by row, and its weaknesses, which are gone. */
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Tls from "../../src/layers/Tls.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as Framing from "../../src/services/Framing.ts"
import type * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { turns } from "../support/streams.ts"
import { ask, collect, connect, eventually, server, serving } from "../support/tcpServers.ts"

const echo = (connection: Connection.Connection) => Stream.run(connection.reads, connection.writes)

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

const mailboxOf = Effect.fnUntraced(function*(options: TcpServer.Options = {}) {
  const { address, mailbox } = yield* server(options)
  return { address, mailbox: yield* mailbox }
})

describeOnNetworks("the TCP server of openintegrations", (test, network) => {
  test("StartServer(port, poolSize, logging): at most poolSize connections are served at once", () =>
    Effect.gen(function*() {
      let served = 0
      let most = 0
      const { address } = yield* serving(
        (connection) =>
          Effect.sync(() => {
            most = Math.max(most, ++served)
          }).pipe(
            Effect.andThen(echo(connection)),
            Effect.ensuring(Effect.sync(() => served--))
          ),
        { maxConnections: 3 }
      )
      assert.isTrue(NetAddress.isInetAddress(address) && address.port > 0)
      yield* Effect.forEach(
        Array.from({ length: 12 }),
        (_, i) =>
          Effect.scoped(Effect.flatMap(connect(address), (client) => ask(client, `${i}`))).pipe(
            Effect.tap((answer) => Effect.sync(() => assert.strictEqual(answer, `${i}`)))
          ),
        { concurrency: 12 }
      )
      assert.strictEqual(most, 3)
    }))

  test("StopServer: the scope's end stops listening, after what is being answered", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const asked = yield* Queue.unbounded<string>()
      const { address, fiber } = yield* Scope.provide(
        serving(
          (connection) =>
            Effect.gen(function*() {
              yield* Queue.offer(asked, yield* connection.readLine())
              yield* turns(20)
              yield* connection.write("the answer\n")
            }),
          { drainTimeout: "1 minute" }
        ),
        scope
      )
      const client = yield* connect(address)
      yield* client.write("a question\n")
      yield* Queue.take(asked)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* client.readLine(), "the answer")
      assert.isDefined(fiber.pollUnsafe())
      assert.strictEqual((yield* Effect.flip(connect(address))).reason._tag, "Refused")
    }))

  test("GetNextConnectionData(timeout, maxSize): next bytes of whichever connection has some", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const clients = [yield* connect(address), yield* connect(address)]
      const ids = new Set<string>()
      for (const [i, client] of clients.entries()) {
        yield* client.write(`hello ${i}`)
        const { got, id } = yield* collect(mailbox, "hello 0")
        assert.strictEqual(got, `hello ${i}`)
        ids.add(id)
      }
      assert.strictEqual(ids.size, 2)
      // never more than maxSize, and the rest comes later
      yield* clients[0]!.write("abcdefgh")
      let got = ""
      while (got.length < 8) {
        const { data } = yield* mailbox.next({ maxSize: 3, timeout: "10 seconds" })
        assert.isAtMost(data.length, 3)
        assert.isAtLeast(data.length, 1)
        got += text(data)
      }
      assert.strictEqual(got, "abcdefgh")
      const timeout = yield* reasonOf(mailbox.next({ timeout: "5 millis" }))
      assert.strictEqual(timeout["_tag"], "ReadTimeout")
      assert.strictEqual(timeout["received"], 0)
    }))

  test("GetNextConnectionData(timeout, maxSize): the same as a Stream", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const client = yield* connect(address)
      yield* client.write("hello")
      const first = yield* Stream.runCollect(Stream.take(mailbox.messages, 1))
      assert.isTrue("hello".startsWith(text(first[0]!.data)))
    }))

  test("GetConnectionData(id, timeout, maxSize): next bytes of one connection", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const [one, two] = [yield* connect(address), yield* connect(address)]
      yield* one.write("1")
      const { id } = yield* mailbox.next()
      yield* two.write("not asked for")
      yield* one.write("first line\nsecond")
      assert.strictEqual(text(yield* mailbox.read(id, { marker: "\n" })), "first line\n")
      assert.strictEqual(text(yield* mailbox.read(id, { maxSize: 3 })), "sec")
      assert.strictEqual(text(yield* mailbox.read(id, { maxSize: 3 })), "ond")
      assert.strictEqual((yield* reasonOf(mailbox.read(id, { timeout: "5 millis" })))["_tag"], "ReadTimeout")
      assert.strictEqual((yield* collect(mailbox, "not asked for")).got, "not asked for")
    }))

  test("SendData(id, data): write to one connection", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const [one, two] = [yield* connect(address), yield* connect(address)]
      yield* one.write("1")
      const first = (yield* mailbox.next()).id
      yield* two.write("2")
      const second = (yield* mailbox.next()).id
      yield* mailbox.write(second, "to the second\n")
      yield* mailbox.write(first, new TextEncoder().encode("to the first\n"))
      assert.strictEqual(yield* one.readLine(), "to the first")
      assert.strictEqual(yield* two.readLine(), "to the second")
      assert.deepInclude(yield* reasonOf(mailbox.write("tcp-none", "x")), { _tag: "UnknownConnection", id: "tcp-none" })
    }))

  test("CloseIncomingConnection(id): close one, after what was written has left", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const [one, two] = [yield* connect(address), yield* connect(address)]
      yield* one.write("1")
      const { id } = yield* mailbox.next()
      yield* mailbox.write(id, "bye\n")
      yield* mailbox.close(id)
      assert.strictEqual(yield* one.readLine(), "bye")
      assert.strictEqual((yield* Effect.flip(one.read())).reason._tag, "EndOfStream")
      for (const gone of [mailbox.read(id), mailbox.write(id, "x"), mailbox.close(id), mailbox.closeWrite(id)]) {
        assert.strictEqual((yield* reasonOf(gone))["_tag"], "UnknownConnection")
      }
      yield* two.write("2")
      yield* mailbox.write((yield* mailbox.next()).id, "still here\n")
      assert.strictEqual(yield* two.readLine(), "still here")
    }))

  test("CompleteSend(id): half-close, no more sends", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const client = yield* connect(address)
      yield* client.write("1")
      const { id } = yield* mailbox.next()
      yield* mailbox.write(id, "last")
      yield* mailbox.closeWrite(id)
      assert.strictEqual(text(yield* client.read({ maxSize: 100 })), "last")
      assert.strictEqual((yield* reasonOf(mailbox.write(id, "x")))["_tag"], "Closed")
      // the other direction is open
      yield* client.write("2")
      assert.strictEqual(text((yield* mailbox.next()).data), "2")
    }))

  test("FinishReceiving(id): half-close, no more receives", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const client = yield* connect(address)
      yield* client.write("1")
      const { id } = yield* mailbox.next()
      yield* mailbox.closeRead(id)
      yield* client.write("not read")
      assert.strictEqual((yield* reasonOf(mailbox.next({ timeout: "20 millis" })))["_tag"], "ReadTimeout")
      assert.strictEqual((yield* reasonOf(mailbox.read(id)))["_tag"], "Closed")
      yield* mailbox.write(id, "still sending\n")
      assert.strictEqual(yield* client.readLine(), "still sending")
      // it is over when the peer ends too
      yield* client.closeWrite
      yield* eventually(Effect.map(mailbox.connections, (all) => all.length === 0))
    }))

  test("GetConnectionList: active connections and closed ones with unread data", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const gone = yield* Scope.make()
      const one = yield* connect(address)
      yield* eventually(Effect.map(mailbox.connections, (all) => all.length === 1))
      const two = yield* Scope.provide(connect(address), gone)
      yield* two.write("last words")
      yield* Scope.close(gone, Exit.void)
      const states = Effect.map(mailbox.connections, (all) => all.map(({ state, unread }) => ({ state, unread })))
      yield* eventually(Effect.map(states, (all) => all.some(({ state, unread }) => state !== "open" && unread)))
      const [first, second] = yield* mailbox.connections
      assert.deepStrictEqual([first?.state, first?.unread], ["open", false])
      assert.strictEqual(second?.remoteAddress._tag, "Some")
      assert.strictEqual((yield* collect(mailbox, "last words")).got, "last words")
      yield* mailbox.close(second!.id)
      assert.deepStrictEqual((yield* mailbox.connections).map(({ id }) => id), [first!.id])
      yield* one.write("1")
      assert.strictEqual((yield* mailbox.next()).id, first!.id)
    }))

  test("GetLog(asString, count), GetLoggingSettings(memory, maxEvents, file): what connections did, in memory", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { maxConnections: 1, overflow: "reject" })
      const client = yield* connect(address)
      yield* ask(client, "our-secret")
      const beyond = yield* connect(address)
      assert.strictEqual((yield* Effect.flip(beyond.read())).reason._tag, "EndOfStream")
      const log = yield* ConnectionLog.ConnectionLog
      const events = yield* log.events
      assert.includeMembers(events.map(({ event }) => event), ["accepted", "rejected"])
      const rejected = events.find(({ event }) => event === "rejected")
      assert.strictEqual(rejected?.id, `server ${NetAddress.formatSocketAddress(address)}`)
      assert.match(rejected?.detail ?? "", /^(127\.0\.0\.1:\d+): too many connections are open$/)
      assert.strictEqual((yield* log.asString(2)).split("\n").length, 2)
      assert.notInclude(yield* log.asString(), "secret")
    }).pipe(Effect.provide(ConnectionLog.layer({ maxEvents: 100 }))))

  test("weakness: a message is found wherever the network cuts it, not only at the end of a packet", () =>
    Effect.gen(function*() {
      const server_ = yield* server()
      const mailbox = yield* server_.mailboxOf(Framing.lines())
      const client = yield* connect(server_.address)
      yield* client.write("one\ntwo\nthr")
      assert.strictEqual((yield* mailbox.next()).data, "one")
      assert.strictEqual((yield* mailbox.next()).data, "two")
      assert.strictEqual((yield* reasonOf(mailbox.next({ timeout: "20 millis" })))["_tag"], "ReadTimeout")
      yield* client.write("ee\n")
      assert.strictEqual((yield* mailbox.next()).data, "three")
    }))

  test("weakness: a timeout and a message do not look the same", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const client = yield* connect(address)
      yield* client.write("half")
      const { id } = yield* collect(mailbox, "half")
      yield* client.write("of a line")
      const timeout = yield* reasonOf(mailbox.read(id, { marker: "\n", timeout: "50 millis" }))
      assert.strictEqual(timeout["_tag"], "ReadTimeout")
      yield* client.write("\n")
      assert.strictEqual(text(yield* mailbox.read(id, { marker: "\n" })), "of a line\n")
    }))

  test("weakness: a write is whole, however large and however slow the peer", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* mailboxOf()
      const client = yield* connect(address)
      yield* client.write("1")
      const { id } = yield* mailbox.next()
      const size = network === "on the test network, byte by byte" ? 100_000 : 20_000_000
      const written = yield* Effect.forkChild(mailbox.write(id, Buffer.alloc(size, 7)), { startImmediately: true })
      const got = yield* client.readExactly(size)
      yield* Fiber.join(written)
      assert.isTrue(got.every((byte) => byte === 7))
    }), 60_000)

  test("more than it: TLS, with a certificate", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { address, mailbox } = yield* mailboxOf({ tls: yield* issue({ names: ["127.0.0.1"] }) })
      const client = yield* connect(address).pipe(Effect.provide(Tls.layer({ ca })))
      yield* client.write("hello")
      const { id } = yield* collect(mailbox, "hello")
      yield* mailbox.write(id, "over TLS\n")
      assert.strictEqual(yield* client.readLine(), "over TLS")
    }))
})

describe("the TCP server of openintegrations", () => {
  it.live("GetLog(asString, count), GetLoggingSettings(memory, maxEvents, file): all of it in a file", () =>
    leavesNothing(Effect.gen(function*() {
      const file = `${yield* temporaryFolder}/server.log`
      yield* Effect.gen(function*() {
        const { address } = yield* serving(echo)
        yield* Effect.scoped(Effect.flatMap(connect(address), (client) => ask(client, "hello")))
        assert.isAtMost((yield* ConnectionLog.ConnectionLog.use((log) => log.events)).length, 2)
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.merge(
          TestNetwork.layer(),
          ConnectionLog.layerFile({ file, maxEvents: 2 }).pipe(Layer.provide(NodeFileSystem.layer))
        ))
      )
      const lines = Fs.readFileSync(file, "utf8").trimEnd().split("\n")
      assert.isAtLeast(lines.length, 4)
      assert.isTrue(lines.some((line) => / accepted: /.test(line)))
    })))
})
