import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import type { Duplex } from "node:stream"
import { type DialErrorReason, ProxyRefused } from "../../src/errors/DialError.ts"
import type { DialTarget } from "../../src/internal/net/target.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { describeOnNetworks } from "../support/network.ts"
import { turn } from "../support/scripted.ts"
import { blackhole, closedBy, closedPort, rawServer, receiveAll, temporaryFolder } from "../support/servers.ts"
import { read, write } from "../support/streams.ts"

const dial = (target: DialTarget, options?: Dialer.DialOptions) =>
  Dialer.Dialer.use((dialer) => dialer.dial(target, options))

/** The error of a dial that must fail. */
const failure = (target: DialTarget, options?: Dialer.DialOptions) => Effect.flip(Effect.scoped(dial(target, options)))

const hop = (parts: Partial<Dialer.Hop>): Dialer.Hop => ({
  name: "custom",
  via: Effect.succeed,
  handshake: Effect.succeed,
  ...parts
})

/** A hop whose peer never answers. */
const silent = hop({ name: "silent", handshake: () => Effect.never })

const over = (...hops: ReadonlyArray<Dialer.Hop>) =>
  hops.reduce(
    (below: Layer.Layer<Dialer.Dialer>, hop) => Dialer.layerThrough(Effect.succeed(hop)).pipe(Layer.provide(below)),
    Dialer.layer
  )

describe("Dialer.layer", () => {
  const forms: ReadonlyArray<readonly [name: string, target: (port: number) => DialTarget]> = [
    ["a string", (port) => `127.0.0.1:${port}`],
    ["a name", (port) => `localhost:${port}`],
    ["host and port", (port) => ({ host: "127.0.0.1", port })],
    ["an address of effect/net", (port) => NetAddress.inetAddressFromNativeUnsafe("127.0.0.1", port)]
  ]
  for (const [name, target] of forms) {
    it.live(`dials ${name}`, () =>
      leavesNothing(
        Effect.gen(function*() {
          const server = yield* rawServer()
          const client = yield* dial(target(server.port))
          const socket = yield* server.next
          yield* write(client, "ping")
          assert.strictEqual(String(yield* read(socket, 4)), "ping")
          socket.write("pong")
          assert.strictEqual(String(yield* read(client, 4)), "pong")
        }).pipe(Effect.provide(Dialer.layer))
      ))
  }

  it.live("dials IPv6, with and without brackets", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "::1", port: 0 })
        const port = NetAddress.isInetAddress(address) ? address.port : 0
        for (const target of [`[::1]:${port}`, { host: "::1", port }, address]) {
          const client = yield* dial(target)
          const server = yield* accept
          yield* write(client, "six")
          assert.strictEqual(String(yield* read(server, 3)), "six")
        }
      }).pipe(Effect.provide(Layer.merge(Dialer.layer, Listener.layer)))
    ))

  it.live("dials a unix socket", () =>
    leavesNothing(
      Effect.gen(function*() {
        const path = `${yield* temporaryFolder}/s.sock`
        const server = yield* rawServer(path)
        for (const target of [{ path }, NetAddress.unixPathAddress(path)]) {
          const client = yield* dial(target)
          const socket = yield* server.next
          yield* write(client, "unix")
          assert.strictEqual(String(yield* read(socket, 4)), "unix")
        }
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("gives a stream that is not flowing, may be half-open and survives a late error", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const client = yield* dial(server.address)
        const socket = yield* server.next
        assert.isNull(client.readableFlowing)
        assert.isTrue(client.allowHalfOpen)
        socket.end("first")
        assert.strictEqual(String(yield* read(client, 5)), "first")
        // the peer has ended, we go on writing
        yield* write(client, "still here")
        assert.strictEqual(String(yield* read(socket, 10)), "still here")
        client.emit("error", new Error("late"))
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("refuses targets that cannot be understood, without dialling", () =>
    Effect.gen(function*() {
      for (const target of ["", "nowhere", "db:0", "db:99999", { path: "" }]) {
        const error = yield* failure(target)
        assert.strictEqual(error.reason._tag, "InvalidTarget")
        assert.strictEqual(error.hop, "direct")
        assert.isFalse(error.isRetryable)
      }
      const error = yield* failure("db:99999")
      assert.strictEqual(error.target, "db:99999")
      assert.match(error.message, /^db:99999: "db:99999" is not usable: ./)
    }).pipe(Effect.provide(Dialer.layer)))

  it.live("says that a connection was refused, and by which address", () =>
    leavesNothing(
      Effect.gen(function*() {
        const target = `127.0.0.1:${yield* closedPort}`
        const error = yield* failure(target)
        assert.strictEqual(error.reason._tag, "Refused")
        assert.isTrue(error.isRetryable)
        assert.strictEqual(
          error.message,
          `${target}: connection to ${target} refused; is something listening there?`
        )
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("says that a socket file is refused when nobody listens on it or it does not exist", () =>
    leavesNothing(
      Effect.gen(function*() {
        const path = `${yield* temporaryFolder}/nobody.sock`
        const error = yield* failure({ path })
        assert.strictEqual(error.reason._tag, "Refused")
        assert.strictEqual(error.target, path)
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("gives what it has no name for as Unknown: a socket path that leads through a file", () =>
    leavesNothing(
      Effect.gen(function*() {
        const error = yield* failure({ path: `${process.execPath}/socket` })
        assert.strictEqual(error.reason._tag, "Unknown")
        assert.isFalse(error.isRetryable)
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("says that a name has no address", () =>
    leavesNothing(
      Effect.gen(function*() {
        const { hop, isRetryable, reason, target } = yield* failure("nobody.invalid:80")
        assert.deepStrictEqual([hop, target], ["direct", "nobody.invalid:80"])
        assert.strictEqual(reason._tag, "NameNotFound")
        if (reason._tag === "NameNotFound") {
          assert.strictEqual(reason.name, "nobody.invalid")
          // a machine without a resolver says "try again"
          assert.include(["ENOTFOUND", "EAI_AGAIN"], reason.code)
          assert.strictEqual(isRetryable, reason.code === "EAI_AGAIN")
        }
      }).pipe(Effect.provide(Dialer.layer))
    ))

  for (
    const [name, layer, options, after] of [
      ["10 seconds by default", Dialer.layer, undefined, "10 seconds"],
      ["what the layer says", Dialer.layerWith({ connectTimeout: "3 seconds" }), undefined, "3 seconds"],
      ["what the dial says", Dialer.layer, { connectTimeout: "40 seconds" }, "40 seconds"]
    ] as const
  ) {
    it.effect(`gives up on a peer that does not answer after ${name}`, () =>
      leavesNothing(
        Effect.gen(function*() {
          const target = `127.0.0.1:${yield* blackhole}`
          const fiber = yield* Effect.forkChild(failure(target, options), { startImmediately: true })
          yield* TestClock.adjust(Duration.subtract(Duration.fromInputUnsafe(after), Duration.millis(1)))
          yield* turn
          assert.isUndefined(fiber.pollUnsafe())
          yield* TestClock.adjust("1 millis")
          const error = yield* Fiber.join(fiber)
          assert.deepStrictEqual(
            error.reason._tag === "ConnectTimeout" && Duration.toMillis(error.reason.after),
            Duration.toMillis(Duration.fromInputUnsafe(after))
          )
          assert.strictEqual(error.hop, "direct")
          assert.isTrue(error.isRetryable)
          assert.strictEqual(
            error.message,
            `${target}: timed out after ${
              Duration.format(Duration.fromInputUnsafe(after))
            } while waiting for the connection`
          )
        }).pipe(Effect.provide(layer))
      ))
  }

  it.effect("waits for ever when the time is infinite", () =>
    leavesNothing(
      Effect.gen(function*() {
        const port = yield* blackhole
        const fiber = yield* Effect.forkChild(
          failure(`127.0.0.1:${port}`, { connectTimeout: Duration.infinity }),
          { startImmediately: true }
        )
        yield* TestClock.adjust("1000 days")
        yield* turn
        assert.isUndefined(fiber.pollUnsafe())
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(over(hop({}))))
    ))

  it.live("closes the socket of a dial that is interrupted while it connects", () =>
    leavesNothing(
      Effect.gen(function*() {
        const port = yield* blackhole
        const fiber = yield* Effect.forkChild(Effect.scoped(dial(`127.0.0.1:${port}`)), { startImmediately: true })
        yield* turn
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.live("leaves no connection open at whichever moment it is interrupted", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        for (const target of [server.address, `localhost:${server.port}`]) {
          for (let turns = 0; turns < 10; turns++) {
            const fiber = yield* Effect.forkChild(Effect.scoped(dial(target)), { startImmediately: true })
            for (let i = 0; i < turns; i++) yield* turn
            yield* Fiber.interrupt(fiber)
          }
        }
        for (const socket of server.sockets) yield* closedBy(socket)
      }).pipe(Effect.provide(over(hop({}), hop({}))))
    ))

  it.effect("gives up on a peer that takes nothing two seconds after the scope has ended, whatever the clock says", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(dial(server.address), scope)
        yield* server.next
        client.write(Buffer.alloc(64 * 1024 * 1024))
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(client.destroyed)
        assert.isFalse(client.writableFinished)
      }).pipe(Effect.provide(Dialer.layer))
    ))

  it.effect("does not wait for the peer when the scope was interrupted", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const client = Effect.flatMap(dial(server.address), (client) => {
          client.write(Buffer.alloc(64 * 1024 * 1024))
          return Effect.never
        })
        const fiber = yield* Effect.forkChild(Effect.scoped(client), { startImmediately: true })
        const socket = yield* server.next
        yield* Fiber.interrupt(fiber)
        yield* closedBy(socket)
        assert.isBelow(socket.bytesRead, 64 * 1024 * 1024)
      }).pipe(Effect.provide(Dialer.layer))
    ))
})

describeOnNetworks("a dialled connection", (test) => {
  const connected = Effect.gen(function*() {
    const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
    const scope = yield* Scope.make()
    const client = yield* Scope.provide(dial(address), scope)
    const server = yield* accept
    return { client, server, scope }
  })

  const everythingOf = (server: Duplex) =>
    Effect.callback<number>((resume) => {
      let size = 0
      server.on("data", (piece: Buffer) => size += piece.length).once("end", () => resume(Effect.succeed(size)))
    })

  test("delivers what was written before its scope ended", () =>
    Effect.gen(function*() {
      const { client, scope, server } = yield* connected
      client.write(Buffer.alloc(300_000, "x"))
      const [size] = yield* Effect.all([everythingOf(server), Scope.close(scope, Exit.void)], {
        concurrency: "unbounded"
      })
      assert.strictEqual(size, 300_000)
      assert.isTrue(client.destroyed)
    }))

  test("delivers what was written before its scope failed", () =>
    Effect.gen(function*() {
      const { client, scope, server } = yield* connected
      client.write("bye")
      const [size] = yield* Effect.all([everythingOf(server), Scope.close(scope, Exit.fail("no"))], {
        concurrency: "unbounded"
      })
      assert.strictEqual(size, 3)
    }))

  test("is closed with its scope also when it was closed before", () =>
    Effect.gen(function*() {
      const { client, scope } = yield* connected
      client.destroy()
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(client.destroyed)
    }))

  test("is slowed down by a peer that does not read", () =>
    Effect.gen(function*() {
      const { client, scope, server } = yield* connected
      const piece = Buffer.alloc(64 * 1024)
      let written = 0
      while (client.write(piece)) written += piece.length
      assert.isBelow(written, 64 * 1024 * 1024)
      server.resume()
      yield* Effect.callback<void>((resume) => void client.once("drain", () => resume(Effect.void)))
      yield* Scope.close(scope, Exit.void)
    }))
})

describe("a hop", () => {
  it.live("dials where it is told to and hands on what its handshake gives", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const seen: Array<string> = []
      const jump = hop({
        name: "jump",
        via: (target) => Effect.sync(() => (seen.push(String(Reflect.get(target, "port"))), server.address)),
        handshake: (duplex) => Effect.as(Effect.promise(() => Promise.resolve(duplex.write("HELLO "))), duplex)
      })
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* dial("far.away:1")
        client.write("there")
      })).pipe(Effect.provide(over(jump)))
      assert.strictEqual(String(yield* receiveAll(yield* server.next)), "HELLO there")
      assert.deepStrictEqual(seen, ["1"])
    })))

  it.effect("must be through its handshake in the time for the whole path", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkChild(failure(server.address), { startImmediately: true })
        const socket = yield* server.next
        yield* TestClock.adjust("9999 millis")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.reason._tag, "ConnectTimeout")
        assert.deepStrictEqual([error.hop, error.target], ["silent", server.address])
        assert.strictEqual(
          error.message,
          `${server.address} via silent: timed out after 10s while waiting for the answer of silent`
        )
        yield* closedBy(socket)
      }).pipe(Effect.provide(over(silent)))
    ))

  it.effect("shares the time with the hops below it", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const slow = hop({ name: "slow", handshake: (duplex) => Effect.delay(Effect.succeed(duplex), "2 seconds") })
      const path = over(slow, slow, silent)
      const fiber = yield* failure(server.address, { connectTimeout: "5 seconds" }).pipe(
        Effect.provide(path),
        Effect.forkChild({ startImmediately: true })
      )
      yield* server.next
      yield* turn
      yield* TestClock.adjust("2 seconds")
      yield* TestClock.adjust("2 seconds")
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.hop, "silent")
      assert.strictEqual(error.reason._tag === "ConnectTimeout" && Duration.toMillis(error.reason.after), 5000)
    })))

  it.live("that fails closes the connection at once, though the caller's scope lives on", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const reason = new ProxyRefused({ code: 5, meaning: "no" })
      const refusing = hop({ name: "refusing", handshake: () => Effect.fail(reason) })
      // the scope of the dial is the test's, which is still open when the server sees the end
      const error = yield* Effect.flip(dial(server.address)).pipe(Effect.provide(over(hop({}), refusing)))
      assert.strictEqual(error.reason, reason)
      assert.strictEqual(error.message, `${server.address} via refusing: the proxy refused: no (5)`)
      yield* closedBy(yield* server.next)
    })))

  it.live("that is interrupted closes the connection", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const fiber = yield* Effect.forkChild(Effect.scoped(dial(server.address)), { startImmediately: true })
        const socket = yield* server.next
        yield* Fiber.interrupt(fiber)
        yield* closedBy(socket)
      }).pipe(Effect.provide(over(hop({}), silent)))
    ))

  it.live("that dies closes the connection", () =>
    leavesNothing(
      Effect.gen(function*() {
        const server = yield* rawServer()
        const exit = yield* Effect.exit(dial(server.address))
        assert.isTrue(Exit.hasDies(exit))
        yield* closedBy(yield* server.next)
      }).pipe(Effect.provide(over(hop({ handshake: () => Effect.die("bug") }))))
    ))

  it.live("names itself when it does not know the way, or the target makes no sense", () =>
    Effect.gen(function*() {
      const reason: DialErrorReason = new ProxyRefused({ code: 2, meaning: "not allowed" })
      const lost = over(hop({ name: "lost", via: () => Effect.fail(reason) }))
      const error = yield* failure("far.away:1").pipe(Effect.provide(lost))
      assert.deepStrictEqual([error.hop, error.target, error.reason], ["lost", "far.away:1", reason])
      const invalid = yield* failure("far.away").pipe(Effect.provide(lost))
      assert.deepStrictEqual([invalid.hop, invalid.reason._tag], ["lost", "InvalidTarget"])
    }))

  it.live("is named when the system cannot reach where it leads, and the target stays the caller's", () =>
    leavesNothing(Effect.gen(function*() {
      const port = yield* closedPort
      const proxy = hop({ name: "proxy", via: () => Effect.succeed(`127.0.0.1:${port}`) })
      for (const path of [over(proxy), over(proxy, hop({ name: "tls" }))]) {
        const error = yield* failure("db.internal:5432").pipe(Effect.provide(path))
        assert.deepStrictEqual([error.hop, error.target], ["proxy", "db.internal:5432"])
        assert.strictEqual(error.reason._tag, "Refused")
      }
      const direct = yield* failure(`127.0.0.1:${port}`).pipe(Effect.provide(over(hop({ name: "tls" }))))
      assert.strictEqual(direct.hop, "direct")
    })))

  it.live("below another one keeps its name when it fails", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const inner = hop({
        name: "inner",
        via: () => Effect.succeed(server.address),
        handshake: () => Effect.fail(new ProxyRefused({ code: 1, meaning: "general failure" }))
      })
      const outer = hop({ name: "outer", via: () => Effect.succeed("outer.proxy:1080") })
      const error = yield* failure("db:1").pipe(Effect.provide(over(inner, outer)))
      assert.deepStrictEqual([error.hop, error.target], ["inner", "db:1"])
    })))

  it.live("keeps the connect timeout of the Dialer below", () =>
    Effect.gen(function*() {
      const path = Dialer.layerThrough(Effect.succeed(hop({}))).pipe(
        Layer.provide(Dialer.layerWith({ connectTimeout: "3 seconds" }))
      )
      const timeout = yield* Dialer.Dialer.useSync((dialer) => dialer.connectTimeout).pipe(Effect.provide(path))
      assert.strictEqual(Duration.toSeconds(timeout), 3)
    }))

  it.live("can fail when its layer is built", () =>
    Effect.gen(function*() {
      const layer = Dialer.layerThrough(Effect.fail("not today")).pipe(Layer.provide(Dialer.layer))
      assert.strictEqual(yield* Effect.flip(Effect.provide(Dialer.Dialer, layer)), "not today")
    }))
})

keepsPathsApart("Dialer.layerThrough", () => Dialer.layerThrough(Effect.succeed(hop({}))))
