import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type * as Connection from "../../src/services/Connection.ts"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import { describeParity } from "../support/network.ts"
import { failureOf, withoutChance } from "../support/parity.ts"
import { temporaryFolder } from "../support/servers.ts"
import { ask, connect, eventually, server, serving } from "../support/tcpServers.ts"

const echo = (connection: Connection.Connection) => Stream.run(connection.reads, connection.writes)

const ended = { error: "TcpError: EndOfStream", received: 0, message: "the peer has ended the stream" }
const closed = { error: "TcpError: Closed", message: "the connection is closed on this side" }
const refused = {
  error: "DialError: Refused",
  hop: "direct",
  address: "127.0.0.1:port",
  cause: "ECONNREFUSED",
  message: "127.0.0.1:port: connection to 127.0.0.1:port refused; is something listening there?"
}

/** What the log says of the server, in the order in which it happened. */
const told = Effect.map(
  ConnectionLog.ConnectionLog.use((log) => log.events),
  (events) =>
    events.flatMap(({ detail, event, source }) =>
      source === "dial" || event === "dialed" ? [] : [`${event}: ${withoutChance(detail)}`]
    )
)

describeParity("a server", (test) => {
  test("drains: takes nobody new, finishes what is under way, and is gone", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const { address, fiber } = yield* serving((connection) =>
        Effect.flatMap(connection.readLine(), (line) =>
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(Deferred.await(release)),
            Effect.andThen(connection.write(`${line} is done\n`))
          )), { drainTimeout: "1 hour" })
      const client = yield* connect(address)
      yield* client.write("work\n")
      yield* Deferred.await(begun)
      const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      // it does not listen any more as soon as it is told to stop, or a moment later
      const turnedAway = Effect.scoped(Effect.as(Effect.exit(connect(address)), undefined)).pipe(
        Effect.andThen(failureOf(Effect.scoped(connect(address))))
      )
      assert.deepStrictEqual(yield* turnedAway, refused)
      yield* Deferred.succeed(release, undefined)
      assert.strictEqual(yield* client.readLine(), "work is done")
      assert.deepStrictEqual(yield* failureOf(client.read()), ended)
      yield* Fiber.join(stopping)
    }))

  test("ends what does not finish in time", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const { address, fiber } = yield* serving(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      const client = yield* connect(address)
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* failureOf(client.read()), ended)
      assert.deepStrictEqual(yield* failureOf(Effect.scoped(connect(address))), refused)
    }))

  test("serves no more than it may at a time, and the next one when there is room", () =>
    Effect.gen(function*() {
      let open = 0
      let most = 0
      const { address } = yield* serving(
        (connection) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              open++
              most = Math.max(most, open)
            }),
            () => echo(connection),
            () => Effect.sync(() => void open--)
          ),
        { maxConnections: 2 }
      )
      const visit = (name: string) => Effect.scoped(Effect.flatMap(connect(address), (client) => ask(client, name)))
      const names = Array.from({ length: 12 }, (_, i) => `client ${i}`)
      assert.deepStrictEqual(yield* Effect.forEach(names, visit, { concurrency: "unbounded" }), names)
      assert.strictEqual(most, 2)
      yield* eventually(Effect.sync(() => open === 0))
    }))

  test("closes whom it rejects, and tells the log", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { maxConnections: 1, overflow: "reject" })
      const one = yield* connect(address)
      assert.strictEqual(yield* ask(one, "one"), "one")
      const two = yield* connect(address)
      assert.deepStrictEqual(yield* failureOf(two.read()), ended)
      assert.strictEqual(yield* ask(one, "still here"), "still here")
      assert.deepStrictEqual(yield* told, [
        "accepted: 127.0.0.1:port",
        "rejected: 127.0.0.1:port: too many connections are open"
      ])
    }).pipe(Effect.provide(ConnectionLog.layer())))

  test("has enough of a client that says nothing", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { idleTimeout: "50 millis" })
      const client = yield* connect(address)
      assert.strictEqual(yield* ask(client, "hello"), "hello")
      assert.deepStrictEqual(yield* failureOf(client.read()), ended)
    }))

  test("has its address for itself", () =>
    Effect.gen(function*() {
      const { address } = yield* server()
      const port = "port" in address ? address.port : 0
      assert.deepStrictEqual(yield* failureOf(server({ port })), {
        error: "TcpError: AddressInUse",
        address: "127.0.0.1:port",
        cause: "EADDRINUSE",
        message: "the address 127.0.0.1:port is in use"
      })
    }))

  test("serves on a socket file, and is not there when it is gone", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/server.sock`
      yield* Effect.scoped(Effect.gen(function*() {
        const { address } = yield* serving(echo, { path })
        assert.strictEqual(yield* ask(yield* connect(address), "hello"), "hello")
      }))
      assert.deepStrictEqual(yield* failureOf(Effect.scoped(connect({ path }))), {
        error: "DialError: Refused",
        hop: "direct",
        address: "server.sock",
        cause: "ENOENT",
        message: "server.sock: connection to server.sock refused; is something listening there?"
      })
    }))

  test("as a mailbox knows whom it answers, and whom it does not know", () =>
    Effect.gen(function*() {
      const { address, mailbox } = yield* server()
      const box = yield* mailbox
      const client = yield* connect(address)
      yield* client.write("q")
      const { data, id } = yield* box.next()
      assert.strictEqual(String(Buffer.from(data)), "q")
      yield* box.write(id, "answer\n")
      yield* box.closeWrite(id)
      assert.strictEqual(yield* client.readLine(), "answer")
      assert.deepStrictEqual(yield* failureOf(client.read()), ended)
      assert.deepStrictEqual(yield* failureOf(box.write(id, "more")), closed)
      const { error } = yield* failureOf(box.write("nobody", "more"))
      assert.strictEqual(error, "TcpError: UnknownConnection")
    }))
})
