import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import type { Duplex } from "node:stream"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { rawServer, temporaryFolder } from "../support/servers.ts"
import { read, readAll, turns, write } from "../support/streams.ts"

const loopback = { host: "127.0.0.1", port: 0 }

const bind = (address: DialTarget, options?: Listener.BindOptions) =>
  Listener.Listener.use((listener) => listener.bind(address, options))

const dial = (target: DialTarget) => Dialer.Dialer.use((dialer) => dialer.dial(target))

const bindError = (address: DialTarget) => Effect.flip(Effect.scoped(bind(address)))

/** Waits until what is on its way has had every chance to arrive. */
const settle = turns(50)

describe("Listener.layer", () => {
  const live = (title: string, body: () => Effect.Effect<unknown, unknown, Listener.Listener | Scope.Scope>) =>
    it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), Listener.layer)))

  live("listens on IPv6", () =>
    Effect.gen(function*() {
      const { address } = yield* bind("[::1]:0")
      assert.match(NetAddress.formatSocketAddress(address), /^\[::1\]:\d+$/)
    }))
  live("listens on a name", () =>
    Effect.gen(function*() {
      const { address } = yield* bind("localhost:0")
      assert.isTrue(NetAddress.isInetAddress(address))
    }))
  live("listens on a unix socket and removes its file", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/l.sock`
      yield* Effect.scoped(Effect.gen(function*() {
        const { accept, address } = yield* bind({ path })
        assert.isTrue(NetAddress.isUnixPathAddress(address) && address.path === path)
        const client = yield* Effect.provide(dial(address), Dialer.layer)
        const server = yield* accept
        yield* write(client, "over a file")
        assert.strictEqual(String(yield* read(server, 11)), "over a file")
      }))
      assert.isFalse(Fs.existsSync(path))
    }))
  live("takes the place of a socket file that a dead server has left behind", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/l.sock`
      const script =
        `require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`
      const died = spawnSync(process.execPath, ["-e", script, path])
      assert.strictEqual(died.signal, "SIGKILL")
      assert.isTrue(Fs.existsSync(path))
      const { accept } = yield* bind({ path })
      yield* Effect.provide(dial({ path }), Dialer.layer)
      yield* accept
    }))
  live("takes nobody's place: not a living server's, and not a file's that is no socket", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { accept } = yield* bind({ path: `${folder}/l.sock` })
      assert.strictEqual((yield* bindError({ path: `${folder}/l.sock` })).reason._tag, "AddressInUse")
      // the one that looked whether somebody answers is a connection too
      yield* accept
      const client = yield* Effect.provide(dial({ path: `${folder}/l.sock` }), Dialer.layer)
      yield* write(client, "x")
      assert.strictEqual(String(yield* read(yield* accept, 1)), "x")
      Fs.writeFileSync(`${folder}/precious`, "data")
      assert.strictEqual((yield* bindError({ path: `${folder}/precious` })).reason._tag, "AddressInUse")
      assert.strictEqual(Fs.readFileSync(`${folder}/precious`, "utf8"), "data")
    }))
  live("gives a unix socket's file the permissions it is told", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/l.sock`
      yield* bind({ path }, { mode: 0o660 })
      assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o660)
    }))
  live("says that an address is in use, and which", () =>
    Effect.gen(function*() {
      const { address } = yield* rawServer()
      const error = yield* bindError(address)
      assert.strictEqual(error.reason._tag, "AddressInUse")
      assert.isTrue(error.isRetryable)
      assert.strictEqual(error.message, `the address ${address} is in use`)
    }))
  live("says that the system does not permit it", () =>
    Effect.gen(function*() {
      // libuv reports a folder that does not exist as one that may not be written to
      const path = `${yield* temporaryFolder}/missing/l.sock`
      const error = yield* bindError({ path })
      assert.strictEqual(error.reason._tag, "PermissionDenied")
      assert.isFalse(error.isRetryable)
      assert.strictEqual(error.message, `the system does not permit listening on ${path}`)
    }))
  for (
    const [name, address] of [
      ["an address that is not of this machine", "192.0.2.1:0"],
      ["a name without address", "nobody.invalid:0"],
      ["a socket path that is too long", { path: `/tmp/${"x".repeat(300)}` }],
      ["an empty socket path", { path: "" }],
      ["an address that cannot be understood", "nowhere"],
      ["a port that does not exist", { host: "127.0.0.1", port: 65536 }]
    ] as const
  ) {
    live(`refuses ${name}`, () =>
      Effect.gen(function*() {
        const error = yield* bindError(address)
        assert.strictEqual(error.reason._tag, "Unknown")
        assert.isFalse(error.isRetryable)
        assert.match(error.message, /^cannot listen/)
      }))
  }
  live("frees the address when the scope ends, at once", () =>
    Effect.gen(function*() {
      const { address } = yield* Effect.scoped(bind(loopback))
      for (let i = 0; i < 5; i++) {
        assert.deepStrictEqual((yield* Effect.scoped(bind(address))).address, address)
      }
    }))
  live("does not listen when bind was interrupted, at whichever moment", () =>
    Effect.gen(function*() {
      for (const address of [loopback, "localhost:0"]) {
        for (let count = 0; count < 8; count++) {
          const fiber = yield* Effect.forkChild(Effect.scoped(bind(address)), { startImmediately: true })
          yield* turns(count)
          yield* Fiber.interrupt(fiber)
        }
      }
      // a name is looked up in another thread, which answers when it likes
      yield* Effect.scoped(bind("localhost:0"))
    }))
})

describeOnNetworks("a listener", (test) => {
  test("says which port it was given", () =>
    Effect.gen(function*() {
      const first = yield* bind(loopback)
      const second = yield* bind(loopback)
      const ports = [first, second].map(({ address }) => NetAddress.isInetAddress(address) ? address.port : 0)
      assert.isAbove(ports[0] ?? 0, 0)
      assert.notStrictEqual(ports[0], ports[1])
    }))

  test("refuses an address that has a listener", () =>
    Effect.gen(function*() {
      const { address } = yield* bind(loopback)
      const error = yield* bindError(address)
      assert.strictEqual(error.reason._tag, "AddressInUse")
    }))

  test("gives connections in the order in which they were made", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* bind(loopback)
      for (const name of ["a", "b", "c"]) yield* write(yield* dial(address), name)
      for (const name of ["a", "b", "c"]) assert.strictEqual(String(yield* read(yield* accept, 1)), name)
    }))

  test("gives those who wait their connections in the order in which they came", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* bind(loopback)
      const takers = yield* Effect.forEach(
        ["a", "b"],
        () => Effect.forkScoped(Effect.flatMap(accept, (duplex) => read(duplex, 1)), { startImmediately: true })
      )
      for (const name of ["a", "b"]) yield* write(yield* dial(address), name)
      assert.deepStrictEqual((yield* Effect.forEach(takers, Fiber.join)).map(String), ["a", "b"])
    }))

  test("keeps what a client sent and ended before it was accepted", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* bind(loopback)
      const client = yield* dial(address)
      client.end("early")
      yield* settle
      const { bytes, ending } = yield* readAll(yield* accept)
      assert.deepStrictEqual([String(bytes), ending], ["early", "end"])
    }))

  test("loses no connection to an accept that was interrupted or timed out", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* bind(loopback)
      const waiting = yield* Effect.forkScoped(Effect.scoped(accept), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(waiting)))
      yield* Effect.timeoutOption(Effect.scoped(accept), "1 millis")
      yield* write(yield* dial(address), "x")
      assert.strictEqual(String(yield* read(yield* accept, 1)), "x")
    }))

  test("closes connections beyond those that may wait", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* bind(loopback, { pending: 2 })
      const clients = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.tap(dial(address), (c) => write(c, name)))
      const { bytes } = yield* readAll(clients[2]!)
      assert.strictEqual(bytes.length, 0)
      for (const name of ["a", "b"]) assert.strictEqual(String(yield* read(yield* accept, 1)), name)
      // there is room again
      yield* write(yield* dial(address), "d")
      assert.strictEqual(String(yield* read(yield* accept, 1)), "d")
    }))

  test("calls a receiver back with those that wait and those that come, while it is ready", () =>
    Effect.gen(function*() {
      const { accept, address, receive } = yield* bind(loopback)
      const taken: Array<Duplex> = []
      yield* Effect.addFinalizer(() => Effect.sync(() => taken.forEach((duplex) => duplex.destroy())))
      yield* dial(address)
      yield* settle
      let room = 1
      let closed = 0
      const take = (duplex: Duplex) => {
        room--
        taken.push(duplex)
      }
      const { more, stop } = receive({ ready: () => room > 0, take, closed: () => void closed++ })
      assert.strictEqual(taken.length, 1)
      for (let i = 0; i < 3; i++) yield* dial(address)
      yield* settle
      assert.strictEqual(taken.length, 1)
      room = 2
      more()
      assert.strictEqual(taken.length, 3)
      // those that it does not take are there for others
      yield* accept
      stop()
      room = 9
      yield* dial(address)
      yield* settle
      assert.strictEqual(taken.length, 3)
      yield* accept
      assert.strictEqual(closed, 0)
    }))

  test("tells a receiver once that it is closed, also one that comes too late", () =>
    Effect.gen(function*() {
      const listening = yield* Scope.make()
      const { receive } = yield* Scope.provide(bind(loopback), listening)
      let closed = 0
      const receiver = { ready: () => true, take: () => {}, closed: () => void closed++ }
      receive(receiver)
      yield* Scope.close(listening, Exit.void)
      assert.strictEqual(closed, 1)
      receive(receiver)
      assert.strictEqual(closed, 2)
    }))

  test("forgets a connection that broke while it waited", () =>
    Effect.gen(function*() {
      const { accept, address } = yield* bind(loopback, { pending: 1 })
      const client = yield* dial(address)
      yield* settle
      if ("resetAndDestroy" in client && typeof client.resetAndDestroy === "function") client.resetAndDestroy()
      yield* settle
      yield* write(yield* dial(address), "next")
      assert.strictEqual(String(yield* read(yield* accept, 4)), "next")
    }))

  test("closes with its scope: accept fails, waiting connections end, accepted ones live on", () =>
    Effect.gen(function*() {
      const listening = yield* Scope.make()
      const { accept, address } = yield* Scope.provide(bind(loopback), listening)
      const client = yield* dial(address)
      const server = yield* accept
      const waiting = yield* dial(address)
      yield* settle
      yield* Scope.close(listening, Exit.void)
      assert.strictEqual((yield* Effect.flip(accept)).reason._tag, "Closed")
      assert.strictEqual((yield* readAll(waiting)).bytes.length, 0)
      assert.strictEqual((yield* Effect.flip(dial(address))).reason._tag, "Refused")
      yield* write(client, "still here")
      assert.strictEqual(String(yield* read(server, 10)), "still here")
    }))

  test("fails an accept that waits when it is closed", () =>
    Effect.gen(function*() {
      const listening = yield* Scope.make()
      const { accept } = yield* Scope.provide(bind(loopback), listening)
      const waiting = yield* Effect.forkScoped(Effect.flip(accept), { startImmediately: true })
      yield* Scope.close(listening, Exit.void)
      const error = yield* Fiber.join(waiting)
      assert.strictEqual(error.reason._tag, "Closed")
      assert.isFalse(error.isRetryable)
    }))
})

describe("Listener and Dialer", () => {
  it.live("leave nothing after two hundred connections", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { accept, address } = yield* bind(loopback)
        yield* Effect.forEach(
          Array.from({ length: 200 }),
          () => Effect.scoped(Effect.andThen(dial(address), accept)),
          { concurrency: 20, discard: true }
        )
      }).pipe(Effect.provide(Layer.merge(Dialer.layer, Listener.layer)))
    ))
})
