import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Framing from "../../src/services/Framing.ts"
import type * as Mailbox from "../../src/services/Mailbox.ts"
import type * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { turns } from "../support/streams.ts"
import { ask, collect, connect, eventually, server } from "../support/tcpServers.ts"

const bytes = Effect.fnUntraced(function*(options: TcpServer.Options = {}) {
  const { address, mailbox } = yield* server(options)
  return { address, mailbox: yield* mailbox }
})

const lines = Effect.fnUntraced(function*(options: TcpServer.Options = {}, maxSize?: number) {
  const { address, mailboxOf } = yield* server(options)
  return { address, mailbox: yield* mailboxOf(Framing.lines({ maxSize })) }
})

const text = (data: Uint8Array) => Buffer.from(data).toString()

const ids = <A>(mailbox: Mailbox.Mailbox<A>) => Effect.map(mailbox.connections, (all) => all.map(({ id }) => id))

const isEmpty = <A>(mailbox: Mailbox.Mailbox<A>) => Effect.map(mailbox.connections, (all) => all.length === 0)

describeOnNetworks("a mailbox", (test) => {
  test("takes turns: one that sends without pause gets no more than the others", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines()
      const flooder = yield* connect(address)
      yield* flooder.write("flood\n".repeat(1000))
      assert.strictEqual((yield* mailbox.next()).data, "flood")
      const others = yield* Effect.forEach(["a", "b", "c"], (name) =>
        Effect.tap(connect(address), (client) => client.write(`${name}\n`)))
      yield* eventually(Effect.map(mailbox.connections, (all) =>
        all.length === 4 && all.every(({ unread }) => unread)))
      const next: Array<string> = []
      for (let i = 0; i < 5; i++) next.push((yield* mailbox.next()).data)
      assert.sameMembers(next.slice(0, 4), ["flood", "a", "b", "c"])
      assert.strictEqual(next[4], "flood")
      assert.strictEqual(others.length, 3)
    }))

  test("takes turns with bytes too, however little is taken at a time", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* bytes()
      const clients = yield* Effect.forEach(["aaaaaaaa", "bbbbbbbb"], (data) =>
        Effect.tap(connect(address), (client) => client.write(data)))
      yield* eventually(Effect.map(mailbox.connections, (all) =>
        all.length === 2 && all.every(({ unread }) => unread)))
      let got = ""
      while (got.length < 16) got += text((yield* mailbox.next({ maxSize: 1 })).data)
      assert.strictEqual(got.replaceAll("b", ""), "aaaaaaaa")
      assert.strictEqual(got.slice(0, 2).split("").toSorted().join(""), "ab")
      assert.isBelow(got.lastIndexOf("a") - got.lastIndexOf("b"), 8)
      assert.strictEqual(clients.length, 2)
    }))

  test("slows down a peer that floods, and stores little of it", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* bytes()
      const flooder = yield* connect(address)
      const error = yield* Effect.flip(
        Effect.forever(flooder.write(new Uint8Array(65_536), { timeout: "100 millis" }))
      )
      assert.strictEqual(error.reason._tag, "WriteTimeout")
      const sent = (yield* flooder.stats).bytesWritten
      assert.isBelow(sent, 64 * 1024 * 1024)
      const [entry] = yield* mailbox.connections
      const connection = yield* mailbox.connection(entry!.id)
      assert.isBelow((yield* connection.stats).bytesRead, 1024 * 1024)
    }), 30_000)

  test("loses nothing to timeouts and interruptions", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* bytes()
      const client = yield* connect(address)
      const sent = Array.from({ length: 200 }, (_, i) => `${i};`).join("")
      const sending = yield* Effect.forkChild(
        Effect.forEach(sent.match(/.{1,7}/g) ?? [], (piece) => Effect.andThen(client.write(piece), turns(1)), {
          discard: true
        })
      )
      let got = ""
      for (let i = 0; got.length < sent.length; i++) {
        const taking = yield* Effect.forkChild(
          Effect.map(mailbox.next({ maxSize: 5, timeout: i % 3 === 0 ? "1 millis" : undefined }), ({ data }) => {
            got += text(data)
          }),
          { startImmediately: i % 2 === 0 }
        )
        if (i % 5 === 0) yield* turns(1)
        if (i % 4 === 0) yield* Fiber.interrupt(taking)
        yield* Fiber.await(taking)
      }
      assert.strictEqual(got, sent)
      yield* Fiber.join(sending)
    }), 30_000)

  test("lets several fibers take, each message once", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines()
      const clients = yield* Effect.forEach(Array.from({ length: 5 }), () => connect(address))
      const taken: Array<string> = []
      const takers = yield* Effect.forEach(Array.from({ length: 3 }), () =>
        Effect.forkScoped(Effect.forever(Effect.map(mailbox.next(), ({ data }) => void taken.push(data)))))
      yield* Effect.forEach(clients, (client, i) =>
        client.write(`${i}-1\n${i}-2\n${i}-3\n`), { concurrency: 5 })
      yield* eventually(Effect.sync(() => taken.length === 15))
      assert.strictEqual(new Set(taken).size, 15)
      assert.strictEqual(takers.length, 3)
    }))

  test("answers a peer that has ended its side, and closes with our end", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines()
      const client = yield* connect(address)
      yield* client.write("question")
      yield* client.closeWrite
      const { data, id } = yield* mailbox.next()
      assert.strictEqual(data, "question")
      yield* eventually(Effect.map(mailbox.connections, ([entry]) => entry?.state === "ended"))
      yield* mailbox.write(id, "answer")
      yield* mailbox.closeWrite(id)
      assert.strictEqual(text(yield* client.read({ maxSize: 100 })), "answer")
      yield* eventually(isEmpty(mailbox))
    }))

  test("keeps a connection that broke until what it had sent is taken", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines()
      const leaving = yield* Scope.make()
      const client = yield* Scope.provide(connect(address), leaving)
      yield* client.write("one\ntwo\n")
      yield* eventually(Effect.map(mailbox.connections, ([entry]) => entry?.unread === true))
      yield* Scope.close(leaving, Exit.void)
      yield* turns(20)
      assert.strictEqual((yield* mailbox.next()).data, "one")
      const { data, id } = yield* mailbox.next()
      assert.strictEqual(data, "two")
      yield* Effect.ignore(mailbox.close(id))
      yield* eventually(isEmpty(mailbox))
    }))

  test("holds the place of a connection until it is gone", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines({ maxConnections: 1 })
      const one = yield* connect(address)
      yield* one.write("1\n")
      const { id } = yield* mailbox.next()
      const two = yield* connect(address)
      yield* two.write("2\n")
      assert.strictEqual((yield* reasonOf(mailbox.next({ timeout: "20 millis" })))["_tag"], "ReadTimeout")
      yield* mailbox.close(id)
      assert.strictEqual((yield* mailbox.next()).data, "2")
    }))

  test("reads one connection in every way that a connection can be read, while others are read ahead", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* bytes()
      const client = yield* connect(address)
      const other = yield* connect(address)
      yield* client.write("x")
      const { id } = yield* mailbox.next()
      const reading = yield* Effect.forkChild(mailbox.read(id, { marker: "\n" }), { startImmediately: true })
      yield* other.write("other")
      assert.strictEqual((yield* collect(mailbox, "other")).got, "other")
      assert.strictEqual((yield* reasonOf(mailbox.read(id)))["_tag"], "ConcurrentRead")
      yield* client.write("a line\nand more")
      assert.strictEqual(text(yield* Fiber.join(reading)), "a line\n")
      assert.strictEqual((yield* collect(mailbox, "and more")).got, "and more")
      // a read that is interrupted gives the connection back
      const again = yield* Effect.forkChild(mailbox.read(id, { marker: "\n" }), { startImmediately: true })
      yield* Fiber.interrupt(again)
      yield* client.write("again")
      assert.strictEqual((yield* collect(mailbox, "again")).got, "again")
    }))

  test("reads the next frame of one connection, also one that was read ahead", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines()
      const client = yield* connect(address)
      yield* client.write("0\n1\n2\n")
      const { id } = yield* mailbox.next()
      yield* eventually(Effect.map(mailbox.connections, ([entry]) => entry?.unread === true))
      assert.strictEqual(yield* mailbox.read(id), "1")
      assert.strictEqual(yield* mailbox.read(id), "2")
      yield* client.write("part of a")
      const timeout = yield* reasonOf(mailbox.read(id, { timeout: "30 millis" }))
      assert.strictEqual(timeout["_tag"], "ReadTimeout")
      yield* client.write(" line\n")
      assert.strictEqual((yield* mailbox.next()).data, "part of a line")
    }))

  test("closes a connection whose bytes are no frame, and goes on with the others", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines({}, 16)
      const bad = yield* connect(address)
      const good = yield* connect(address)
      yield* bad.write("x".repeat(100))
      yield* good.write("fine\n")
      assert.strictEqual((yield* mailbox.next()).data, "fine")
      yield* Effect.flip(Effect.forever(bad.read()))
      yield* eventually(Effect.map(ids(mailbox), ({ length }) => length === 1))
    }))

  test("refuses a size that makes no sense", () =>
    Effect.gen(function*() {
      const { mailbox } = yield* bytes()
      for (const maxSize of [0, -1, 1.5, Number.NaN]) {
        assert.strictEqual((yield* reasonOf(mailbox.next({ maxSize })))["_tag"], "Unknown")
      }
    }))

  test("closes everything with its scope, and listens no more", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* server()
      const scope = yield* Scope.make()
      const box = yield* Scope.provide(mailbox, scope)
      const client = yield* connect(address)
      yield* client.write("unread")
      yield* eventually(Effect.map(box.connections, ([entry]) => entry?.unread === true))
      yield* Scope.close(scope, Exit.void)
      assert.include(["EndOfStream", "Reset"], (yield* reasonOf(client.read()))["_tag"])
      assert.strictEqual((yield* Effect.flip(connect(address))).reason._tag, "Refused")
    }))

  test("says that the server is gone to those who wait, and to those who come", () =>
    Effect.gen(function*() {
      const listening = yield* Scope.make()
      const { mailbox } = yield* Scope.provide(server(), listening)
      const box = yield* mailbox
      const waiting = yield* Effect.forkChild(reasonOf(box.next()), { startImmediately: true })
      const stream = yield* Effect.forkChild(reasonOf(Stream.runDrain(box.messages)), { startImmediately: true })
      yield* Scope.close(listening, Exit.void)
      assert.strictEqual((yield* Fiber.join(waiting))["_tag"], "Closed")
      assert.strictEqual((yield* Fiber.join(stream))["_tag"], "Closed")
      assert.strictEqual((yield* reasonOf(box.next()))["_tag"], "Closed")
    }))

  test("serves two hundred clients by a loop, and leaves nothing", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines({ maxConnections: 8 })
      yield* Effect.forkScoped(Effect.forever(Effect.flatMap(mailbox.next(), ({ data, id }) =>
        data === "bye" ? mailbox.close(id) : mailbox.write(id, `${data}!\n`))))
      yield* Effect.forEach(
        Array.from({ length: 200 }),
        (_, i) =>
          Effect.scoped(Effect.gen(function*() {
            const client = yield* connect(address)
            assert.strictEqual(yield* ask(client, `${i}`), `${i}!`)
            yield* client.write("bye\n")
          })),
        { concurrency: 16, discard: true }
      )
    }), 60_000)
})

describe("a mailbox", () => {
  it.effect("lets a peer that has ended be written to for thirty seconds", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines({ host: "db" })
      const client = yield* connect(address)
      yield* client.write("question\n")
      yield* client.closeWrite
      const { id } = yield* mailbox.next()
      yield* turns(10)
      yield* TestClock.adjust("29 seconds")
      yield* mailbox.write(id, "late but welcome\n")
      assert.strictEqual(yield* client.readLine(), "late but welcome")
      yield* TestClock.adjust("1 second")
      yield* turns(10)
      assert.strictEqual((yield* reasonOf(mailbox.write(id, "too late")))["_tag"], "UnknownConnection")
      assert.strictEqual((yield* reasonOf(client.read()))["_tag"], "EndOfStream")
    }).pipe(Effect.provide(TestNetwork.layer())))

  it.effect("knows its connections by name and address", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* lines({ host: "db" })
      const client = yield* connect(address)
      yield* client.write("hello\n")
      const { id } = yield* mailbox.next()
      const [entry] = yield* mailbox.connections
      assert.strictEqual(entry?.id, id)
      assert.deepStrictEqual(entry?.remoteAddress, client.localAddress)
      const connection = yield* mailbox.connection(id)
      assert.strictEqual(connection.id, id)
      assert.isTrue(Option.isNone(connection.tls))
    }).pipe(Effect.provide(TestNetwork.layer())))
})
