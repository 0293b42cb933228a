import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Tls from "../../src/layers/Tls.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { rawServer, temporaryFolder } from "../support/servers.ts"
import { turns } from "../support/streams.ts"
import { ask, connect, server, serving } from "../support/tcpServers.ts"

type Handler = (connection: Connection.Connection) => Effect.Effect<unknown, unknown>

const echo: Handler = (connection) => Stream.run(connection.reads, connection.writes)

describeOnNetworks("TcpServer", (test) => {
  test("serves ten clients at once", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo)
      const clients = yield* Effect.forEach(Array.from({ length: 10 }), () => connect(address))
      // all are open before the first is asked
      const answers = yield* Effect.forEach(clients, (client, i) => ask(client, `line ${i}`), { concurrency: 10 })
      assert.deepStrictEqual(answers, clients.map((_, i) => `line ${i}`))
    }))

  test("closes a connection when its handler is done, after what it wrote", () =>
    Effect.gen(function*() {
      const { address } = yield* serving((connection) => connection.write("bye\n"))
      const client = yield* connect(address)
      assert.strictEqual(yield* client.readLine(), "bye")
      assert.strictEqual((yield* Effect.flip(client.readLine())).reason._tag, "EndOfStream")
    }))

  test("goes on when a handler fails or dies, and closes that one's connection", () =>
    Effect.gen(function*() {
      const { address } = yield* serving((connection) =>
        Effect.flatMap(connection.readLine(), (line): ReturnType<Handler> => {
          if (line === "fail") return Effect.fail("no")
          return line === "die" ? Effect.die(new Error("bug")) : connection.write(`${line}\n`)
        })
      )
      const bystander = yield* connect(address)
      for (const line of ["fail", "die"]) {
        const client = yield* connect(address)
        yield* client.write(`${line}\n`)
        assert.strictEqual((yield* Effect.flip(client.read())).reason._tag, "EndOfStream")
      }
      assert.strictEqual(yield* ask(bystander, "still here"), "still here")
    }))

  test("lets a client beyond the limit wait, and serves it when another one leaves", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { maxConnections: 2 })
      const first = yield* Scope.make()
      const one = yield* Scope.provide(connect(address), first)
      const two = yield* connect(address)
      yield* ask(one, "1")
      yield* ask(two, "2")
      const three = yield* connect(address)
      const answer = yield* Effect.forkScoped(ask(three, "3"), { startImmediately: true })
      yield* turns(50)
      assert.isUndefined(answer.pollUnsafe())
      yield* Scope.close(first, Exit.void)
      assert.strictEqual(yield* Fiber.join(answer), "3")
    }))

  test("closes a client beyond the limit at once when it is told to reject", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { maxConnections: 1, overflow: "reject" })
      const first = yield* Scope.make()
      const one = yield* Scope.provide(connect(address), first)
      yield* ask(one, "1")
      const two = yield* connect(address)
      assert.strictEqual((yield* Effect.flip(two.read())).reason._tag, "EndOfStream")
      yield* ask(one, "still here")
      yield* Scope.close(first, Exit.void)
      // the place is free when the handler has noticed
      const again = Effect.scoped(Effect.flatMap(connect(address), (client) => ask(client, "again")))
      assert.strictEqual(yield* Effect.retry(again, { times: 1000 }), "again")
    }))

  test("drains: refuses new clients and lets the handler in the middle finish", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const { address, fiber } = yield* serving(
        (connection) => Effect.andThen(Deferred.await(release), connection.write("done\n")),
        { drainTimeout: "1 hour" }
      )
      const client = yield* connect(address)
      yield* turns(50)
      const stopped = yield* Effect.forkScoped(Fiber.interrupt(fiber), { startImmediately: true })
      yield* turns(5)
      assert.strictEqual((yield* Effect.flip(connect(address))).reason._tag, "Refused")
      assert.isUndefined(stopped.pollUnsafe())
      yield* Deferred.succeed(release, undefined)
      assert.strictEqual(yield* client.readLine(), "done")
      yield* Fiber.join(stopped)
    }))

  test("interrupts what does not finish in time, and closes its connection", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const { address, fiber } = yield* serving(() =>
        Deferred.succeed(started, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      )
      const client = yield* connect(address)
      yield* Deferred.await(started)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(yield* Deferred.isDone(interrupted))
      assert.strictEqual((yield* Effect.flip(client.read())).reason._tag, "EndOfStream")
    }))

  test("can be stopped by a handler, as the first thing that it does", () =>
    Effect.gen(function*() {
      const stopped = yield* Deferred.make<void>()
      const { address, fiber } = yield* serving(() => {
        fiber.interruptUnsafe()
        return Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(stopped, undefined)))
      })
      const client = yield* connect(address)
      yield* Deferred.await(stopped)
      yield* Fiber.await(fiber)
      assert.strictEqual((yield* Effect.flip(client.read())).reason._tag, "EndOfStream")
    }))

  test("gives its connections as a stream, each as long as it likes", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* server()
      const accepted = yield* Queue.unbounded<Connection.Connection>()
      const fiber = yield* Effect.forkScoped(
        Stream.runForEach(accept, (connection) => Queue.offer(accepted, connection)),
        { startImmediately: true }
      )
      const clients = [yield* connect(address), yield* connect(address)]
      for (const [i, client] of clients.entries()) {
        const served = yield* Queue.take(accepted)
        yield* client.write(`${i}\n`)
        assert.strictEqual(yield* served.readLine(), `${i}`)
        if (i === 0) yield* served.close
      }
      yield* Fiber.interrupt(fiber)
      for (const client of clients) assert.strictEqual((yield* Effect.flip(client.read())).reason._tag, "EndOfStream")
      assert.strictEqual((yield* Effect.flip(connect(address))).reason._tag, "Refused")
    }))

  test("counts connections of the stream against the limit until they are closed", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* server({ maxConnections: 1 })
      const accepted = yield* Queue.unbounded<Connection.Connection>()
      yield* Effect.forkScoped(Stream.runForEach(accept, (connection) => Queue.offer(accepted, connection)))
      yield* connect(address)
      const one = yield* Queue.take(accepted)
      yield* connect(address)
      yield* turns(50)
      assert.isTrue(Option.isNone(yield* Queue.poll(accepted)))
      yield* one.close
      yield* Queue.take(accepted)
    }))

  test("encrypts, and serves others while a client is slow with its handshake", () =>
    Effect.gen(function*() {
      const { certificate: ca, issue } = yield* TestCertificates.authority()
      const { address } = yield* serving(echo, { tls: yield* issue({ names: ["127.0.0.1"] }) })
      const silent = yield* connect(address)
      const garbage = yield* connect(address)
      yield* garbage.write("GET / HTTP/1.1\r\n\r\n")
      const client = yield* connect(address).pipe(Effect.provide(Tls.layer({ ca })))
      assert.strictEqual(yield* ask(client, "hello"), "hello")
      yield* garbage.closed.pipe(Effect.andThen(Effect.void), Effect.raceFirst(Effect.ignore(garbage.readUntil("\0"))))
      yield* silent.close
    }))

  test("slows down a client that floods a handler that does not read", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(() => Effect.never)
      const client = yield* connect(address)
      const error = yield* Effect.flip(
        Effect.forever(client.write(new Uint8Array(65_536), { timeout: "100 millis" }))
      )
      assert.strictEqual(error.reason._tag, "WriteTimeout")
      assert.isBelow((yield* client.stats).bytesWritten, 64 * 1024 * 1024)
    }))

  test("leaves nothing after two hundred connections", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { maxConnections: 8 })
      yield* Effect.forEach(
        Array.from({ length: 200 }),
        (_, i) => Effect.scoped(Effect.flatMap(connect(address), (client) => ask(client, `${i}`))),
        { concurrency: 16, discard: true }
      )
    }))
})

describe("TcpServer", () => {
  const onLoopback = Layer.merge(Dialer.layer, Listener.layer)

  it.effect("gives handlers ten seconds to finish, then interrupts them", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const { address, serve } = yield* server()
      const fiber = yield* Effect.forkScoped(
        serve(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never)),
        { startImmediately: true }
      )
      yield* connect(address)
      yield* Deferred.await(started)
      const stopped = yield* Effect.forkScoped(Fiber.interrupt(fiber), { startImmediately: true })
      yield* TestClock.adjust("9999 millis")
      assert.isUndefined(stopped.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stopped)
    }).pipe(Effect.provide(TestNetwork.layer())))

  it.effect("closes a client that has not finished its TLS handshake after ten seconds", () =>
    Effect.gen(function*() {
      const { issue } = yield* TestCertificates.authority()
      const { address } = yield* serving(echo, { tls: yield* issue({ names: ["db"] }), host: "db" })
      const client = yield* connect(address)
      yield* turns(20)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Effect.flip(client.read())).reason._tag, "EndOfStream")
    }).pipe(Effect.provide(TestNetwork.layer())))

  it.live("listens on a unix socket", () =>
    leavesNothing(
      Effect.gen(function*() {
        const path = `${yield* temporaryFolder}/server.sock`
        const { address } = yield* serving(echo, { path })
        assert.isTrue(NetAddress.isUnixPathAddress(address))
        assert.strictEqual(yield* ask(yield* connect({ path }), "hello"), "hello")
      }).pipe(Effect.provide(onLoopback))
    ))

  it.live("cannot be built on an address in use, or with TLS without a certificate", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { port } = yield* rawServer()
        const taken = yield* Effect.flip(server({ port }))
        assert.strictEqual(taken._tag === "TcpError" && taken.reason._tag, "AddressInUse")
        const bare = yield* Effect.flip(server({ tls: {} }))
        assert.strictEqual(bare.message, "TLS option \"cert\": a server needs a certificate and its key")
      }).pipe(Effect.provide(onLoopback))
    ))

  it.live("stops listening with its layer, and serve then fails", () =>
    leavesNothing(
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { address, serve } = yield* Scope.provide(server(), scope)
        const fiber = yield* Effect.forkScoped(Effect.flip(serve(() => Effect.void)), { startImmediately: true })
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Closed")
        assert.strictEqual((yield* Effect.flip(connect(address))).reason._tag, "Refused")
      }).pipe(Effect.provide(onLoopback))
    ))
})
