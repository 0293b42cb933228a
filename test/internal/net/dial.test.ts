import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import type * as Net from "node:net"
import type { Address } from "../../../src/internal/net/connect.ts"
import * as NetDial from "../../../src/internal/net/dial.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { turn } from "../../support/scripted.ts"
import { blackhole, closedBy, closedPort, rawServer } from "../../support/servers.ts"

const options: NetDial.DirectOptions = {
  connectTimeout: Duration.seconds(10),
  noDelay: true,
  keepAlive: undefined,
  attemptDelay: Duration.millis(250)
}

const at = (port: number): Address => ({ host: "127.0.0.1", port })

const race = (ports: ReadonlyArray<number>) => NetDial.race(ports.map(at), options)

const portOf = (socket: Net.Socket) => {
  const { remotePort } = socket
  socket.destroy()
  return remotePort
}

describe("a race for the first of several addresses", () => {
  it.effect("goes on with the next address as soon as one has refused", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const refused = yield* closedPort
      const socket = yield* race([refused, refused, server.port])
      assert.strictEqual(socket.remotePort, server.port)
      socket.destroy()
      // no time has passed on the test clock: it did not wait for the delay
    })))
  it.effect("gives the first address a head start and then tries the next one beside it", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const silent = yield* blackhole
      const fiber = yield* Effect.forkChild(race([silent, server.port]), { startImmediately: true })
      yield* TestClock.adjust("249 millis")
      yield* turn
      assert.strictEqual(server.sockets.size, 0)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(portOf(yield* Fiber.join(fiber)), server.port)
    })))
  it.effect("takes the first address when it answers in time, and leaves the others alone", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const other = yield* rawServer()
      assert.strictEqual(portOf(yield* race([server.port, other.port])), server.port)
      yield* TestClock.adjust("1 second")
      yield* turn
      assert.strictEqual(other.sockets.size, 0)
    })))
  it.effect("fails with what the first address to fail said when all fail", () =>
    leavesNothing(Effect.gen(function*() {
      const first = yield* closedPort
      const second = yield* closedPort
      const reason = yield* Effect.flip(race([first, second]))
      assert.strictEqual(reason._tag, "Refused")
      assert.strictEqual(reason.message, `connection to 127.0.0.1:${first} refused; is something listening there?`)
    })))
  it.effect("waits for an address that is slow when the others have refused", () =>
    leavesNothing(Effect.gen(function*() {
      const silent = yield* blackhole
      const refused = yield* closedPort
      const fiber = yield* Effect.forkChild(race([refused, silent, refused]), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      yield* turn
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
    })))
  it.effect("closes every attempt when it is interrupted", () =>
    leavesNothing(Effect.gen(function*() {
      const silent = yield* blackhole
      const fiber = yield* Effect.forkChild(race([silent, silent, silent]), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    })))
  it.live("leaves no connection open at whichever moment it is interrupted", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const refused = yield* closedPort
      for (let turns = 0; turns < 12; turns++) {
        const fiber = yield* Effect.forkChild(
          Effect.scoped(Effect.acquireRelease(
            race([refused, server.port]),
            (socket) => Effect.sync(() => socket.destroy()),
            { interruptible: true }
          )),
          { startImmediately: true }
        )
        for (let i = 0; i < turns; i++) yield* turn
        yield* Fiber.interrupt(fiber)
      }
      for (const socket of server.sockets) yield* closedBy(socket)
      assert.strictEqual(server.sockets.size, 0)
    })))
})
