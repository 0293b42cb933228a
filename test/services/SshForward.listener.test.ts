import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { closed } from "../../src/internal/net/duplex.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import { dialThere, loopback, portOf } from "../support/forwarding.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { rawServer, temporaryFolder } from "../support/servers.ts"
import { connected } from "../support/ssh.ts"
import { read, readAll, turns, write } from "../support/streams.ts"

/** Asks the server for something, which it does after all that it was asked for before. */
const roundTrip = (listener: Listener.Listener["Service"]) => Effect.scoped(listener.bind(loopback))

describeOnNetworks("SshSession.listener", (test, network) => {
  test("accepts what connects to the server, at a port that the server chose", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { accept, address } = yield* session.listener.bind(loopback)
      assert.isAbove(portOf(address), 0)
      const client = yield* dialThere(address)
      const server = yield* accept
      yield* write(client, "ping")
      assert.strictEqual(String(yield* read(server, 4)), "ping")
      yield* write(server, "pong")
      assert.strictEqual(String(yield* read(client, 4)), "pong")
    }))

  test("accepts what connects to a unix socket of the server", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/far.sock`
      const { session } = yield* connected()
      const { accept, address } = yield* session.listener.bind({ path })
      assert.isTrue(NetAddress.isUnixPathAddress(address) && address.path === path)
      const client = yield* dialThere({ path })
      yield* write(client, "ping")
      assert.strictEqual(String(yield* read(yield* accept, 4)), "ping")
    }))

  test("keeps what arrives at several addresses apart", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/far.sock`
      const { session } = yield* connected()
      const bounds = yield* Effect.forEach(
        [loopback, loopback, { host: "localhost", port: 0 }, { path }],
        (address) => session.listener.bind(address),
        { concurrency: "unbounded" }
      )
      for (const [i, { address }] of [...bounds.entries()].toReversed()) {
        yield* write(yield* dialThere(address), `to ${i}`)
      }
      for (const [i, { accept }] of bounds.entries()) {
        assert.strictEqual(String(yield* read(yield* accept, 4)), `to ${i}`)
      }
    }))

  test("gives each connection the addresses of its ends", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { accept, address } = yield* session.listener.bind(loopback)
      const client = yield* dialThere(address)
      const { remotePort } = Object.assign({ remotePort: 0 }, yield* accept)
      assert.strictEqual("localPort" in client ? client.localPort : -1, remotePort)
    }))

  test("passes each end on by itself", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { accept, address } = yield* session.listener.bind(loopback)
      const client = yield* dialThere(address)
      client.end("question")
      const server = yield* accept
      assert.strictEqual(String((yield* readAll(server)).bytes), "question")
      server.end("answer")
      const { bytes, ending } = yield* readAll(client)
      assert.strictEqual(`${String(bytes)} ${ending}`, "answer end")
    }))

  test("lets so many wait, refuses further ones, and takes new ones when there is room again", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { accept, address } = yield* session.listener.bind(loopback, { pending: 2 })
      const waiting = [yield* dialThere(address), yield* dialThere(address)]
      for (const client of waiting) yield* write(client, "x")
      const refused = yield* dialThere(address)
      yield* readAll(refused)
      yield* read(yield* accept, 1)
      const another = yield* dialThere(address)
      yield* write(another, "y")
      yield* read(yield* accept, 1)
      assert.strictEqual(String(yield* read(yield* accept, 1)), "y")
    }))

  test("accepts none twice and loses none when waiting for one is interrupted", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { accept, address } = yield* session.listener.bind(loopback)
      const impatient = yield* Effect.forkChild(Effect.scoped(accept), { startImmediately: true })
      yield* Fiber.interrupt(impatient)
      yield* write(yield* dialThere(address), "x")
      assert.strictEqual(String(yield* read(yield* accept, 1)), "x")
    }))

  test("stops listening with its scope, closes what waits and leaves what was accepted", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const scope = yield* Scope.make()
      const { accept, address } = yield* Scope.provide(session.listener.bind(loopback), scope)
      const first = yield* dialThere(address)
      const server = yield* accept
      const second = yield* dialThere(address)
      const third = yield* Effect.forkChild(readAll(second))
      // it arrives before the answer to this
      yield* roundTrip(session.listener)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* reasonOf(dialThere(address)))["_tag"], "Refused")
      assert.strictEqual((yield* reasonOf(Effect.scoped(accept)))["_tag"], "Closed")
      yield* Fiber.join(third)
      yield* write(first, "still")
      assert.strictEqual(String(yield* read(server, 5)), "still")
      // and the address is free
      yield* session.listener.bind(address)
    }))

  test("does not wait for ever for a server that says nothing any more", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const scope = yield* Scope.make()
      const { accept } = yield* Scope.provide(session.listener.bind(loopback), scope)
      yield* server.freeze
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* reasonOf(Effect.scoped(accept)))["_tag"], "Closed")
    }), 20_000)

  test("stops waiting for that when the session is lost", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const scope = yield* Scope.make()
      yield* Scope.provide(session.listener.bind(loopback), scope)
      yield* server.freeze
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* server.kill
      yield* Fiber.join(closing)
    }))

  test("says that an address is in use", () =>
    Effect.gen(function*() {
      const { address } = yield* rawServer()
      const { session } = yield* connected()
      const { reason } = yield* Effect.flip(session.listener.bind(address))
      assert.strictEqual(reason.message, `the address ${address} is in use`)
      assert.propertyVal(reason.cause, "_tag", "ForwardRefused")
      assert.include(String(reason.cause), "it does not say why")
    }))

  test("says that this session listens at an address already", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { address } = yield* session.listener.bind(loopback)
      const { reason } = yield* Effect.flip(session.listener.bind(address))
      assert.strictEqual(reason._tag, "AddressInUse")
      assert.include(String(reason.cause), "this session listens there already")
    }))

  test("says that the server does not listen for it", () =>
    Effect.gen(function*() {
      const { session } = yield* connected({ remoteForwarding: "refused" })
      const reason = yield* reasonOf(session.listener.bind(loopback))
      assert.strictEqual(reason["_tag"], "Unknown")
      assert.strictEqual(
        reason["detail"],
        "the server does not forward 127.0.0.1:0: it does not say why; the address may be in use"
      )
    }))

  test("says that the server forbids it, where the server says so", () =>
    Effect.gen(function*() {
      const { session } = yield* connected({ remoteForwarding: "forbidden" })
      const { reason } = yield* Effect.flip(session.listener.bind(loopback))
      assert.strictEqual(reason._tag, "PermissionDenied")
      assert.propertyVal(reason.cause, "detail", "Server has disabled port forwarding.")
    }))

  test("refuses an address that cannot be understood", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.strictEqual((yield* reasonOf(session.listener.bind("nowhere")))["_tag"], "Unknown")
    }))

  test("can be interrupted while the server does not answer", () =>
    Effect.gen(function*() {
      const { session } = yield* connected({ remoteForwarding: "unanswered" })
      const binding = yield* Effect.forkChild(Effect.scoped(session.listener.bind(loopback)), {
        startImmediately: true
      })
      yield* turns(20)
      yield* Fiber.interrupt(binding)
    }))

  test("has the server stop when it answers an interrupted request", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { address } = yield* Effect.scoped(session.listener.bind(loopback))
      const binding = yield* Effect.forkChild(Effect.scoped(session.listener.bind(address)), { startImmediately: true })
      yield* Fiber.interrupt(binding)
      yield* roundTrip(session.listener)
      yield* roundTrip(session.listener)
      assert.strictEqual((yield* reasonOf(dialThere(address)))["_tag"], "Refused")
    }))

  test("fails to bind when the session is lost, before it and while the server does not answer", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected({ remoteForwarding: "unanswered" })
      const bind = Effect.flip(session.listener.bind(loopback))
      const binding = yield* Effect.forkChild(bind, { startImmediately: true })
      yield* turns(20)
      yield* server.kill
      for (const { reason } of [yield* Fiber.join(binding), yield* bind]) {
        assert.propertyVal(reason.cause, "_tag", "ConnectionLost")
      }
    }))

  test("ends with the session: what was accepted fails, and nothing more is", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const { accept, address } = yield* session.listener.bind(loopback)
      yield* write(yield* dialThere(address), "x")
      const duplex = yield* accept
      const accepting = yield* Effect.forkChild(reasonOf(Effect.scoped(accept)), { startImmediately: true })
      yield* server.kill
      assert.strictEqual((yield* Fiber.join(accepting))["_tag"], "Closed")
      yield* closed(duplex)
      assert.propertyVal(duplex.errored, "code", "ECONNRESET")
    }))

  test("refuses what it did not ask for", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const { address } = yield* Effect.scoped(session.listener.bind(loopback))
      yield* session.listener.bind(loopback)
      const [client] = server.clients
      const port = portOf(address)
      const open = (request: (done: (error: Error | undefined) => void) => void) =>
        Effect.callback<string>((resume) => request((error) => resume(Effect.succeed(error?.message ?? "opened"))))
      assert.match(yield* open((done) => client!.forwardOut("127.0.0.1", port, "127.0.0.1", 1, done)), /failure/)
      assert.match(yield* open((done) => client!.forwardOut("127.0.0.1", 1, "127.0.0.1", 1, done)), /failure/)
      assert.match(yield* open((done) => client!.openssh_forwardOutStreamLocal("/nowhere", done)), /failure/)
      assert.match(yield* open((done) => client!.x11("127.0.0.1", 1, done)), /failure/)
    }))

  test("serves a TcpServer, unchanged", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const Far = Layer.succeed(Listener.Listener, session.listener)
      const Live = TcpServer.layer({ port: 0 }).pipe(Layer.provide(Far))
      yield* Effect.gen(function*() {
        const server = yield* TcpServer.TcpServer
        yield* Effect.forkScoped(server.serve((connection) => Stream.run(connection.reads, connection.writes)))
        const clients = yield* Effect.replicateEffect(dialThere(server.address), 5)
        for (const [i, client] of clients.entries()) client.end(`client ${i}`)
        for (const [i, client] of clients.entries()) {
          assert.strictEqual(String((yield* readAll(client)).bytes), `client ${i}`)
        }
      }).pipe(Effect.provide(Live))
    }))

  // megabytes of single bytes take their time
  if (network !== "on the test network, byte by byte") {
    test("holds a client back while what was accepted is not read", () =>
      Effect.gen(function*() {
        const { session } = yield* connected()
        const { accept, address } = yield* session.listener.bind(loopback)
        const client = yield* dialThere(address)
        const size = 16 * 1_048_576
        client.end(Buffer.alloc(size))
        const server = yield* accept
        yield* turns(200)
        assert.isFalse(client.writableFinished)
        // a channel's window, and no more
        assert.isAtMost(server.readableLength, 2 * 1_048_576 + 65_536)
        let received = 0
        server.on("data", (piece: Buffer) => received += piece.length)
        yield* Effect.callback<void>((resume) => void server.once("end", () => resume(Effect.void)))
        assert.strictEqual(received, size)
      }), 120_000)
  }
})
