import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { connected, echo, read, readAll, stuffed, turns, write } from "../support/streams.ts"

const kibi = 1024

/** A test on a network of its own, under the test clock: nothing on this network waits for time. */
const on = (options: TestNetwork.NetworkOptions) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.scoped(effect), TestNetwork.layer(options))

const dial = (target: string) => Dialer.Dialer.use((dialer) => dialer.dial(target))

const refusal = (target: string) => Effect.map(Effect.flip(Effect.scoped(dial(target))), (error) => error.reason)

const db = { host: "db", port: 5432 }

describe("TestNetwork hosts", () => {
  it.effect("are known by the name that was bound, in any case, and by their address", () =>
    Effect.gen(function*() {
      const { bound } = yield* connected(db)
      assert.isTrue(NetAddress.isInetAddress(bound.address) && !NetAddress.isLoopback(bound.address.address))
      yield* dial("DB:5432")
      yield* dial(NetAddress.formatSocketAddress(bound.address))
    }).pipe(on({})))

  it.effect("are told apart by why they do not answer", () =>
    Effect.gen(function*() {
      yield* Effect.scoped((yield* Listener.Listener).bind({ host: "gone", port: 80 }))
      assert.strictEqual((yield* refusal("nobody:80"))._tag, "NameNotFound")
      assert.strictEqual((yield* refusal("192.0.2.1:80"))._tag, "Unreachable")
      for (const known of ["gone:80", "declared:80", "192.0.2.2:80", "localhost:80", "127.0.0.1:80", "[::1]:80"]) {
        assert.strictEqual((yield* refusal(known))._tag, "Refused", known)
      }
      const unused = yield* Effect.flip((yield* Dialer.Dialer).dial({ path: "/run/nobody.sock" }))
      assert.strictEqual(unused.reason._tag, "Refused")
    }).pipe(on({ hosts: ["Declared", "192.0.2.2"] })))

  it.effect("have the same port each for itself", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      yield* listener.bind(db)
      yield* listener.bind({ host: "replica", port: 5432 })
      const error = yield* Effect.flip(listener.bind(db))
      assert.strictEqual(error.reason._tag, "AddressInUse")
      assert.include(error.message, "db:5432")
    }).pipe(on({})))

  it.effect("answer on every loopback address when bound to all of them", () =>
    Effect.gen(function*() {
      yield* (yield* Listener.Listener).bind("0.0.0.0:80")
      yield* dial("127.0.0.1:80")
      yield* dial("localhost:80")
    }).pipe(on({})))

  it.effect("may be unix sockets", () =>
    Effect.gen(function*() {
      const { bound, client, server } = yield* connected({ path: "/run/db.sock" })
      assert.deepStrictEqual(bound.address, NetAddress.unixPathAddress("/run/db.sock"))
      yield* write(client, "hi")
      assert.strictEqual(String(yield* read(server, 2)), "hi")
      const error = yield* Effect.flip((yield* Listener.Listener).bind({ path: "/run/db.sock" }))
      assert.strictEqual(error.reason._tag, "AddressInUse")
    }).pipe(on({})))

  it.effect("get addresses and ports that nobody has", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const first = yield* listener.bind("db:49152")
      const chosen = yield* listener.bind("db:0")
      const places = [first, chosen].map(({ address }) => NetAddress.formatSocketAddress(address))
      assert.notStrictEqual(places[0], places[1])
      assert.notInclude(places.join(), "10.0.0.2:")
    }).pipe(on({ hosts: ["10.0.0.2"] })))

  it.effect("are of one network: another call of layer gives another one", () =>
    Effect.gen(function*() {
      yield* (yield* Listener.Listener).bind(db)
      const other = yield* Layer.build(TestNetwork.layer())
      const error = yield* Effect.flip(Context.get(other, Dialer.Dialer).dial(db))
      assert.strictEqual(error.reason._tag, "NameNotFound")
    }).pipe(on({})))
})

describe("TestNetwork delivery", () => {
  it.effect("never happens inside a write", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      let arrived = 0
      server.on("data", (piece: Buffer) => arrived += piece.length)
      yield* turns(2)
      client.write("now")
      client.end("and the end")
      assert.strictEqual(arrived, 0)
      yield* turns(3)
      assert.strictEqual(arrived, 14)
    }).pipe(on({})))

  it.effect("joins what was written in one turn, and cuts what is larger than a piece", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const pieces: Array<number> = []
      server.on("data", (piece: Buffer) => pieces.push(piece.length))
      client.write("abc")
      client.write("defg")
      yield* turns(5)
      client.write("123456789")
      yield* turns(10)
      assert.deepStrictEqual(pieces, [5, 2, 5, 4])
    }).pipe(on({ defaults: { fragment: 5 } })))

  it.effect("is byte by byte when asked for", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const pieces: Array<string> = []
      server.on("data", (piece: Buffer) => pieces.push(String(piece)))
      client.end("abc")
      yield* Effect.callback<void>((resume) => void server.once("end", () => resume(Effect.void)))
      assert.deepStrictEqual(pieces, ["a", "b", "c"])
    }).pipe(on({ defaults: { fragment: 1 } })))

  it.effect("gives each side its own copy", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const sent = Buffer.from("original")
      yield* write(client, sent)
      sent.fill("x")
      const received = yield* read(server, 8)
      assert.strictEqual(String(received), "original")
      received.fill("y")
      assert.strictEqual(String(sent), "xxxxxxxx")
    }).pipe(on({})))

  it.effect("counts the bytes", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      yield* write(client, "12345")
      yield* read(server, 5)
      assert.strictEqual(Reflect.get(client, "bytesWritten"), 5)
      assert.strictEqual(Reflect.get(server, "bytesRead"), 5)
    }).pipe(on({})))

  it.effect.prop(
    "brings every byte once and in order, whatever the sizes",
    {
      writes: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3000 }))).check(
        Schema.isMaxLength(20)
      ),
      fragment: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2000 })),
      bufferSize: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6000 })),
      corked: Schema.Boolean
    },
    ({ bufferSize, corked, fragment, writes }) =>
      Effect.gen(function*() {
        const { client, server } = yield* connected(db)
        yield* echo(server)
        const received = yield* Effect.forkChild(readAll(client), { startImmediately: true })
        let next = 0
        const chunks = writes.map((length) => Buffer.from(Array.from({ length }, () => next++ % 251)))
        if (corked) client.cork()
        for (const chunk of chunks) client.write(chunk)
        client.end()
        const { bytes, ending } = yield* Fiber.join(received)
        assert.isTrue(bytes.equals(Buffer.concat(chunks)))
        assert.strictEqual(ending, "end")
      }).pipe(on({ defaults: { fragment, bufferSize } })),
    { arbitrary: { runs: 60 }, timeout: 30_000 }
  )
})

describe("TestNetwork backpressure", () => {
  it.effect("stops a writer whose peer does not read, at the bound, until it reads", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      let written = 0
      const writer = yield* Effect.forkChild(
        Effect.forever(Effect.andThen(write(client, Buffer.alloc(100)), Effect.sync(() => written += 100))),
        { startImmediately: true }
      )
      yield* stuffed(server)
      yield* turns(200)
      // one kibibyte under way, and one that the reading end has read ahead, rounded up to a piece
      assert.isAtLeast(written, 2 * kibi - 100)
      assert.isAtMost(written, 3 * kibi)
      const stopped = written
      yield* turns(200)
      assert.strictEqual(written, stopped)
      yield* read(server, kibi)
      yield* turns(10)
      assert.isAbove(written, stopped)
      yield* Fiber.interrupt(writer)
      client.destroy()
    }).pipe(on({ defaults: { bufferSize: kibi } })))

  it.effect("holds a single write that is larger than the bound until its last byte is under way", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      const sent = Buffer.alloc(20 * kibi, "0123456789")
      const writing = yield* Effect.forkChild(write(client, sent), { startImmediately: true })
      yield* turns(50)
      assert.isUndefined(writing.pollUnsafe())
      const received = yield* read(server, sent.length)
      assert.isTrue(received.equals(sent))
      assert.strictEqual(yield* Fiber.join(writing), "ok")
    }).pipe(on({ defaults: { bufferSize: kibi } })))

  it.effect("does not hold back the other direction", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      client.write(Buffer.alloc(20 * kibi))
      yield* write(server, "still here")
      assert.strictEqual(String(yield* read(client, 10)), "still here")
      client.destroy()
    }).pipe(on({ defaults: { bufferSize: kibi } })))
})

describe("TestNetwork.reset", () => {
  it.effect("breaks both ends of every connection to the host, and no other", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const [one, other] = [yield* connected(db), yield* connected({ host: "other", port: 80 })]
      yield* write(one.client, "arrived")
      const reading = yield* Effect.forkChild(
        Effect.all([readAll(one.client), readAll(one.server)], { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      assert.strictEqual(yield* network.reset("DB"), 1)
      const [client, server] = yield* Fiber.join(reading)
      assert.strictEqual(client.ending, "ECONNRESET")
      assert.strictEqual(server.ending, "ECONNRESET")
      assert.strictEqual(String(server.bytes), "arrived")
      assert.isTrue(one.client.destroyed && one.server.destroyed)
      yield* write(other.client, "fine")
      assert.strictEqual(String(yield* read(other.server, 4)), "fine")
      assert.strictEqual(yield* network.reset("db"), 0)
      assert.strictEqual(yield* network.reset("nobody"), 0)
    }).pipe(on({})))

  it.effect("leaves what had arrived to be read later", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      yield* write(client, "kept")
      yield* (yield* TestNetwork.TestNetwork).reset("db")
      assert.isTrue(server.destroyed)
      assert.strictEqual(String(server.read()), "kept")
    }).pipe(on({ defaults: { fragment: 1 } })))

  it.effect("fails the write that waits", () =>
    Effect.gen(function*() {
      const { client } = yield* connected(db)
      const writing = yield* Effect.forkChild(write(client, Buffer.alloc(20 * kibi)), { startImmediately: true })
      yield* turns(10)
      yield* (yield* TestNetwork.TestNetwork).reset("db")
      assert.strictEqual(yield* Fiber.join(writing), "ECANCELED")
    }).pipe(on({ defaults: { bufferSize: kibi } })))

  it.effect("shows in the next write where the peer had already ended", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected(db)
      server.end()
      yield* readAll(client)
      yield* (yield* TestNetwork.TestNetwork).reset("db")
      assert.strictEqual(yield* write(client, "?"), "EPIPE")
    }).pipe(on({})))

  it.effect("leaves the listener alone", () =>
    Effect.gen(function*() {
      const { bound } = yield* connected(db)
      yield* (yield* TestNetwork.TestNetwork).reset("db")
      yield* dial("db:5432")
      const server = yield* bound.accept
      assert.isFalse(server.destroyed)
    }).pipe(on({})))
})

describe("TestNetwork scopes", () => {
  it.effect("connections lists what is open, with the ends that are", () =>
    Effect.gen(function*() {
      const { connections } = yield* TestNetwork.TestNetwork
      const bound = yield* (yield* Listener.Listener).bind(db)
      assert.deepStrictEqual(yield* connections, [])
      const [clientScope, serverScope] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(dial("db:5432"), clientScope)
      assert.deepStrictEqual(yield* connections, [
        { connection: 1, target: "db:5432", from: "client", to: "db", open: ["client", "server"] }
      ])
      yield* Scope.provide(bound.accept, serverScope)
      yield* Scope.close(clientScope, Exit.void)
      assert.deepStrictEqual(yield* connections, [
        { connection: 1, target: "db:5432", from: "client", to: "db", open: ["server"] }
      ])
      yield* Scope.close(serverScope, Exit.void)
      assert.deepStrictEqual(yield* connections, [])
    }).pipe(on({})))

  it.effect("an interrupted dial leaves nothing open", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* (yield* Listener.Listener).bind(db)
      const dialing = yield* Effect.forkChild(Effect.scoped(dial("db:5432")), { startImmediately: true })
      yield* Fiber.interrupt(dialing)
      yield* turns(3)
      assert.deepStrictEqual(yield* network.connections, [])
    }).pipe(on({})))

  it.effect("an interrupted accept leaves the connection to the next one", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* Listener.Listener).bind(db)
      const accepting = yield* Effect.forkChild(bound.accept, { startImmediately: true })
      yield* Fiber.interrupt(accepting)
      const client = yield* dial("db:5432")
      const server = yield* bound.accept
      yield* write(client, "!")
      assert.strictEqual(String(yield* read(server, 1)), "!")
    }).pipe(on({})))

  it.effect("an interrupted scope closes without sending what still waits, and resets nobody", () =>
    Effect.gen(function*() {
      const bound = yield* (yield* Listener.Listener).bind(db)
      const sending = yield* Effect.forkChild(
        Effect.scoped(Effect.flatMap(dial("db:5432"), (client) => write(client, Buffer.alloc(20 * kibi)))),
        { startImmediately: true }
      )
      const server = yield* bound.accept
      yield* stuffed(server)
      yield* Fiber.interrupt(sending)
      const { bytes, ending } = yield* readAll(server)
      assert.isBelow(bytes.length, 20 * kibi)
      assert.strictEqual(ending, "end")
    }).pipe(on({ defaults: { bufferSize: kibi } })))

  it.effect("the end of the network closes connections, those that wait to be accepted, and accept", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Scope.provide(Layer.build(TestNetwork.layer({ leaks: "ignore" })), scope)
      const listener = Context.get(context, Listener.Listener)
      const dialer = Context.get(context, Dialer.Dialer)
      const bound = yield* listener.bind(db)
      const client = yield* dialer.dial(db)
      const server = yield* bound.accept
      const waiting = yield* dialer.dial(db)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(client.destroyed && server.destroyed && waiting.destroyed)
      assert.strictEqual((yield* Effect.flip(bound.accept)).reason._tag, "Closed")
      assert.strictEqual((yield* Effect.flip(dialer.dial(db))).reason._tag, "Refused")
      assert.deepStrictEqual(yield* Context.get(context, TestNetwork.TestNetwork).connections, [])
    }))
})
