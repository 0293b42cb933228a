import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { DialError, NameNotFound } from "../../../../src/errors/DialError.ts"
import { type EventInput, EventSink } from "../../../../src/internal/events.ts"
import * as Backoff from "../../../../src/internal/grpc/client/backoff.ts"
import type { Channel } from "../../../../src/internal/grpc/client/channel.ts"
import type { Connection } from "../../../../src/internal/grpc/client/connection.ts"
import * as Target from "../../../../src/internal/net/target.ts"
import * as Dialer from "../../../../src/services/Dialer.ts"
import * as Listener from "../../../../src/services/Listener.ts"
import * as TestNetwork from "../../../../src/testing/TestNetwork.ts"
import { addresses, answered, call, openChannel, over, recordStates, until } from "../../../support/channels.ts"
import { frame, http2Peer } from "../../../support/http2.ts"
import { leavesNothing } from "../../../support/leaks.ts"
import { describeOnNetworks } from "../../../support/network.ts"
import { turn } from "../../../support/scripted.ts"

/** A test on the test network whose time stands still. */
const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | TestNetwork.TestNetwork | Scope.Scope>
) => it.effect(title, () => leavesNothing(body().pipe(Effect.provide(TestNetwork.layer({ hosts: ["a", "b", "c"] })))))

const target = (host: string) => Result.getOrThrow(Target.parse({ host, port: 50051 }))

/** A Dialer that counts its dials. */
const counting = Effect.map(Dialer.Dialer, (below) => {
  let count = 0
  const dialer = Dialer.Dialer.of({
    ...below,
    dial: (target, options) =>
      Effect.suspend(() => {
        count++
        return below.dial(target, options)
      })
  })
  return { dialer, dials: () => count }
})

/** Lets whatever needs turns of the event loop only come to rest. */
const settled = Effect.replicateEffect(turn, 20, { discard: true })

/** What a channel fails with that has no connection. */
const failure = (channel: Channel) =>
  Effect.map(
    Effect.flip(channel.connection(false)),
    (error) => error._tag === "DialError" ? `${error.target} ${error.hop} ${error.reason._tag}` : error._tag
  )

/** How many of so many calls each connection gets. */
const picks = (channel: Channel, calls: number): ReadonlyArray<number> => {
  const taken = new Map<Connection | undefined, number>()
  for (let i = 0; i < calls; i++) {
    const connection = channel.pick()
    taken.set(connection, (taken.get(connection) ?? 0) + 1)
  }
  return [...taken.values()]
}

describeOnNetworks("a gRPC channel", (test) => {
  test("connects for the first call and uses the connection for all of them", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const channel = yield* openChannel(addresses(peer))
      const states = yield* recordStates(channel)
      assert.isTrue(channel.pick() === undefined)
      const [connection, same] = yield* Effect.all([channel.connection(false), channel.connection(true)], {
        concurrency: "unbounded"
      })
      assert.isTrue(connection === same)
      assert.isTrue(channel.pick() === connection)
      const first = call(connection)
      yield* answered(first, peer)
      assert.strictEqual(first.stream.rstCode, 0)
      assert.isUndefined(first.endedBy())
      assert.strictEqual(peer.duplexes.length, 1)
      assert.deepStrictEqual(states, ["idle", "connecting", "ready"])
    }))

  test("is idle when the connection is lost, and connects again for the next call", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const channel = yield* openChannel(addresses(peer))
      const states = yield* recordStates(channel)
      const running = call(yield* channel.connection(false))
      yield* peer.nextStream
      peer.duplexes[0]?.destroy()
      yield* over(running)
      yield* until(() => channel.state() === "idle")
      assert.isTrue(channel.pick() === undefined)
      const connection = yield* channel.connection(false)
      assert.isTrue(connection !== running.connection)
      yield* answered(call(connection), peer)
      yield* until(() => states.length === 6)
      assert.deepStrictEqual(states, ["idle", "connecting", "ready", "idle", "connecting", "ready"])
    }))

  test("starts calls on a new connection while those on one that goes away finish", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const channel = yield* openChannel(addresses(peer))
      const running = call(yield* channel.connection(false))
      const stream = yield* peer.nextStream
      const session = yield* peer.nextSession
      session.close()
      yield* running.connection.retired
      assert.isTrue(channel.pick() === undefined)
      const next = call(yield* channel.connection(false))
      yield* answered(next, peer)
      stream.respond({ ":status": 200 }, { endStream: true })
      stream.resume()
      running.stream.end()
      yield* over(running)
      assert.deepStrictEqual([running.stream.rstCode, next.stream.rstCode], [0, 0])
      // what nobody uses any more is closed
      yield* until(() => peer.sessions.size === 1)
      assert.isTrue(channel.pick() === next.connection)
    }))

  test("has calls wait while the server allows no more of them, and not for one that goes away", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ settings: { maxConcurrentStreams: 1 } })
      const channel = yield* openChannel(addresses(peer))
      const begin = Effect.map(channel.connection(false), call)
      const first = yield* begin
      const [second, third] = yield* Effect.all([
        Effect.forkChild(begin, { startImmediately: true }),
        Effect.forkChild(begin, { startImmediately: true })
      ])
      yield* answered(first, peer)
      const running = yield* Fiber.join(second)
      assert.isUndefined(third.pollUnsafe())
      const [, session] = [yield* peer.nextStream, yield* peer.nextSession]
      session.close()
      const last = yield* Fiber.join(third)
      assert.isTrue(last.connection !== running.connection)
      yield* answered(last, peer)
      assert.isFalse(running.stream.closed)
    }))

  test("uses the first address that can be connected to, in their order", () =>
    Effect.gen(function*() {
      const [gone, second, third] = yield* Effect.all([http2Peer(), http2Peer(), http2Peer()])
      yield* gone.close
      const channel = yield* openChannel(addresses(gone, second, third))
      const connection = yield* channel.connection(false)
      assert.deepStrictEqual(connection.target, second.target)
      assert.strictEqual(third.duplexes.length, 0)
    }))

  test("closes its connections with its scope and cancels what is under way", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(openChannel(addresses(peer)), scope)
      const states = yield* recordStates(channel)
      const running = call(yield* channel.connection(false))
      const stream = yield* peer.nextStream
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(running.cancelled(), "the channel was closed")
      assert.strictEqual(running.stream.rstCode, 8)
      yield* until(() => stream.closed)
      assert.strictEqual(stream.rstCode, 8)
      assert.isTrue(channel.pick() === undefined)
      assert.strictEqual(channel.state(), "shutdown")
      assert.strictEqual(yield* failure(channel), "ChannelClosed")
      yield* until(() => peer.sessions.size === 0 && states.at(-1) === "shutdown")
    }))

  test("leaves nothing behind, whenever its scope closes", () =>
    Effect.gen(function*() {
      const peers = yield* Effect.all([http2Peer(), http2Peer()])
      for (const balancing of ["pickFirst", "roundRobin"] as const) {
        for (let turns = 0; turns < 24; turns++) {
          const scope = yield* Scope.make()
          const channel = yield* Scope.provide(openChannel(addresses(...peers), { balancing }), scope)
          const begun = yield* Effect.forkChild(Effect.map(channel.connection(false), call), { startImmediately: true })
          yield* Effect.replicateEffect(turn, turns, { discard: true })
          yield* Scope.close(scope, Exit.void)
          const exit = yield* Fiber.await(begun)
          if (Exit.isSuccess(exit)) yield* over(exit.value)
          assert.strictEqual(channel.state(), "shutdown")
        }
      }
      yield* until(() => peers.every(({ duplexes }) => duplexes.every(({ destroyed }) => destroyed)))
    }))

  test("has calls under way finish when its scope closes, and starts no others", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(
        openChannel(addresses(peer), { drainTimeout: Duration.seconds(60) }),
        scope
      )
      const running = call(yield* channel.connection(false))
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      assert.isTrue(channel.pick() === undefined)
      assert.strictEqual(yield* failure(channel), "ChannelClosed")
      yield* answered(running, peer)
      assert.strictEqual(running.stream.rstCode, 0)
      assert.isUndefined(running.cancelled())
      yield* Fiber.join(closing)
    }))

  test("fails those who wait for a connection when its scope closes", () =>
    Effect.gen(function*() {
      const gone = yield* http2Peer()
      yield* gone.close
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(openChannel(addresses(gone)), scope)
      const waiting = yield* Effect.forkChild(Effect.flip(channel.connection(true)))
      yield* until(() => channel.state() === "transientFailure")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "ChannelClosed")
    }))

  test("gives calls to all addresses in turn when it is told to", () =>
    Effect.gen(function*() {
      const peers = yield* Effect.all([http2Peer(), http2Peer(), http2Peer()])
      const channel = yield* openChannel(addresses(...peers), { balancing: "roundRobin" })
      yield* channel.connection(false)
      yield* Effect.forEach(peers, ({ nextSession }) => nextSession)
      // the client may know of a connection a little later than the server
      yield* until(() => picks(channel, 3).length === 3)
      assert.deepStrictEqual(picks(channel, 30), [10, 10, 10])
    }))
})

describe("a gRPC channel that cannot connect", () => {
  test("fails at once until the next attempt, and waits longer each time (connection-backoff.md)", () =>
    Effect.gen(function*() {
      const { dialer, dials } = yield* counting
      const channel = yield* openChannel([target("a")], {
        path: dialer,
        backoff: { ...Backoff.defaults, jitter: 0 }
      })
      assert.strictEqual(yield* failure(channel), "a:50051 direct Refused")
      assert.strictEqual(yield* failure(channel), "a:50051 direct Refused")
      assert.strictEqual(dials(), 1)
      let attempts = 1
      for (const wait of [1000, 1600, 2560, 4096]) {
        yield* TestClock.adjust(Duration.millis(wait - 1))
        yield* settled
        assert.strictEqual(dials(), attempts)
        yield* TestClock.adjust("1 millis")
        yield* until(() => dials() === attempts + 1)
        attempts++
        yield* settled
      }
      assert.strictEqual(channel.state(), "transientFailure")
    }))

  test("waits from 0.8 to 1.2 times as long", () =>
    Effect.gen(function*() {
      const delays = yield* Effect.replicateEffect(Backoff.delay(Backoff.defaults, 2), 200)
      const millis = delays.map(Duration.toMillis)
      assert.isTrue(millis.every((delay) => delay >= 1280 && delay <= 1920))
      assert.isTrue(Math.max(...millis) - Math.min(...millis) > 320)
      const longest = yield* Backoff.delay({ ...Backoff.defaults, jitter: 0 }, 50)
      assert.strictEqual(Duration.toSeconds(longest), 120)
    }))

  test("connects for those who wait as soon as the server is there, and starts over with the waits", () =>
    Effect.gen(function*() {
      const { dialer, dials } = yield* counting
      const channel = yield* openChannel([target("a")], {
        path: dialer,
        backoff: { ...Backoff.defaults, jitter: 0 }
      })
      const states = yield* recordStates(channel)
      yield* failure(channel)
      yield* TestClock.adjust("1 second")
      yield* until(() => dials() === 2)
      yield* settled
      const waiting = yield* Effect.forkChild(channel.connection(true), { startImmediately: true })
      const peer = yield* http2Peer({ host: "a", port: 50051 })
      yield* TestClock.adjust("1600 millis")
      const connection = yield* Fiber.join(waiting)
      yield* answered(call(connection), peer)
      yield* peer.close
      yield* until(() => channel.state() === "idle")
      assert.strictEqual(yield* failure(channel), "a:50051 direct Refused")
      assert.strictEqual(dials(), 4)
      yield* TestClock.adjust("1 second")
      yield* until(() => dials() === 5)
      assert.deepStrictEqual(states, [
        "idle",
        "connecting",
        "transientFailure",
        "ready",
        "idle",
        "connecting",
        "transientFailure"
      ])
    }))

  test("goes on connecting for the others when one of those who wait is interrupted", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const { accept } = yield* listener.bind({ host: "a", port: 50051 })
      const channel = yield* openChannel([target("a")])
      const [first, second] = yield* Effect.all([
        Effect.forkChild(channel.connection(false), { startImmediately: true }),
        Effect.forkChild(channel.connection(false), { startImmediately: true })
      ])
      const duplex = yield* accept
      yield* Fiber.interrupt(first)
      duplex.resume().write(frame("settings"))
      assert.isTrue((yield* Fiber.join(second)).usable())
    }))

  test("leaves nothing behind when its scope closes while it connects", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const { accept } = yield* listener.bind({ host: "a", port: 50051 })
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(openChannel([target("a")]), scope)
      const waiting = yield* Effect.forkChild(failure(channel), { startImmediately: true })
      const duplex = yield* accept
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(waiting), "ChannelClosed")
      yield* until(() => duplex.resume().readableEnded || duplex.destroyed)
    }))

  test("tells of a Dialer that dies, and tries again", () =>
    Effect.gen(function*() {
      const { dialer } = yield* counting
      let broken = true
      yield* http2Peer({ host: "a", port: 50051 })
      const channel = yield* openChannel([target("a")], {
        path: {
          ...dialer,
          dial: (target, options) => broken ? Effect.die(new Error("a mistake")) : dialer.dial(target, options)
        }
      })
      assert.strictEqual(yield* failure(channel), "a:50051 grpc Unknown")
      broken = false
      yield* TestClock.adjust("2 seconds")
      yield* channel.connection(true)
    }))

  test("says what happens to its connections", () =>
    Effect.gen(function*() {
      const events: Array<EventInput> = []
      yield* Effect.gen(function*() {
        const peer = yield* http2Peer({ host: "b", port: 50051 })
        const channel = yield* openChannel([target("a"), target("b")])
        yield* channel.connection(false)
        yield* peer.close
        yield* until(() => channel.state() === "idle")
      }).pipe(
        Effect.scoped,
        Effect.provideService(EventSink, (event) => void (event.source === "grpc" && events.push(event)))
      )
      assert.deepStrictEqual(events.map(({ detail, event, id }) => [id, event, detail]), [
        ["a:50051", "failed", "a:50051: connection to 10.0.0.2:50051 refused; is something listening there?"],
        ["b:50051", "connected", "greeter.test"],
        ["b:50051", "disconnected", "greeter.test"]
      ])
    }))
})

describe("a gRPC channel nobody uses", () => {
  const idleTimeout = Duration.minutes(30)

  test("closes its connection after a while, and connects again for the next call", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ host: "a", port: 50051 })
      const channel = yield* openChannel(addresses(peer), { idleTimeout })
      const running = call(yield* channel.connection(false))
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(channel.state(), "ready")
      yield* answered(running, peer)
      yield* TestClock.adjust("29 minutes")
      assert.strictEqual(channel.state(), "ready")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(channel.state(), "idle")
      yield* until(() => peer.sessions.size === 0)
      yield* answered(call(yield* channel.connection(false)), peer)
      assert.strictEqual(peer.duplexes.length, 2)
    }))

  test("stops trying to connect", () =>
    Effect.gen(function*() {
      const { dialer, dials } = yield* counting
      const channel = yield* openChannel([target("a")], { path: dialer, idleTimeout, balancing: "roundRobin" })
      yield* failure(channel)
      for (let minute = 0; minute < 30; minute++) {
        yield* TestClock.adjust("1 minute")
        yield* settled
      }
      assert.strictEqual(channel.state(), "idle")
      const before = dials()
      assert.isAbove(before, 10)
      yield* TestClock.adjust("1 hour")
      yield* settled
      assert.strictEqual(dials(), before)
    }))

  test("waits for calls under way no longer than it was told when its scope closes", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ host: "a", port: 50051 })
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(openChannel(addresses(peer), { drainTimeout: Duration.seconds(5) }), scope)
      const running = call(yield* channel.connection(false))
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("4 seconds")
      yield* settled
      assert.isUndefined(running.cancelled())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.strictEqual(running.cancelled(), "the channel was closed")
    }))
})

describe("a gRPC channel to several addresses", () => {
  test("tries the next one beside one that does not answer, and closes what comes late", () =>
    Effect.gen(function*() {
      const listener = yield* Listener.Listener
      const { accept } = yield* listener.bind({ host: "a", port: 50051 })
      const peer = yield* http2Peer({ host: "b", port: 50051 })
      const channel = yield* openChannel([target("a"), target("b")])
      const connecting = yield* Effect.forkChild(channel.connection(false), { startImmediately: true })
      const silent = yield* accept
      yield* TestClock.adjust("249 millis")
      yield* settled
      assert.strictEqual(peer.duplexes.length, 0)
      yield* TestClock.adjust("1 millis")
      const connection = yield* Fiber.join(connecting)
      assert.strictEqual(connection.target, peer.target)
      yield* until(() => silent.resume().readableEnded || silent.destroyed)
    }))

  test("fails as the first one did when none can be connected to", () =>
    Effect.gen(function*() {
      const channel = yield* openChannel([target("c"), target("a"), target("b")])
      assert.strictEqual(yield* failure(channel), "c:50051 direct Refused")
    }))

  test("leaves out one that is down, and uses it again when it is back", () =>
    Effect.gen(function*() {
      const hosts = ["a", "b", "c"] as const
      const peers = yield* Effect.forEach(hosts, (host) => http2Peer({ host, port: 50051 }))
      const channel = yield* openChannel(addresses(...peers), { balancing: "roundRobin" })
      yield* channel.connection(false)
      yield* until(() => picks(channel, 3).length === 3)
      yield* peers[1]!.close
      yield* until(() => picks(channel, 30).length === 2)
      assert.deepStrictEqual(picks(channel, 30), [15, 15])
      assert.strictEqual(channel.state(), "ready")
      yield* TestClock.adjust("2 minutes")
      yield* settled
      assert.deepStrictEqual(picks(channel, 30), [15, 15])
      yield* http2Peer({ host: "b", port: 50051 })
      // in small steps: a handshake takes turns of the event loop and must not take seconds
      while (picks(channel, 30).length < 3) {
        yield* TestClock.adjust("1 second")
        yield* settled
      }
      assert.deepStrictEqual(picks(channel, 30), [10, 10, 10])
    }))

  test("fails when all of several are down", () =>
    Effect.gen(function*() {
      const channel = yield* openChannel([target("a"), target("b")], { balancing: "roundRobin" })
      const states = yield* recordStates(channel)
      assert.match(yield* failure(channel), /^[ab]:50051 direct Refused$/)
      assert.deepStrictEqual(states, ["idle", "connecting", "transientFailure"])
    }))

  for (const balancing of ["pickFirst", "roundRobin"] as const) {
    test(`keeps the connections of addresses that stay, and drains the others (${balancing})`, () =>
      Effect.gen(function*() {
        const [a, b] = yield* Effect.forEach(["a", "b"], (host) => http2Peer({ host, port: 50051 }))
        const lists = yield* Queue.unbounded<ReadonlyArray<Target.Target>>()
        yield* Queue.offer(lists, addresses(a!))
        const channel = yield* openChannel(Stream.fromQueue(lists), { balancing })
        const first = yield* channel.connection(false)
        yield* Queue.offer(lists, addresses(b!, a!, b!))
        yield* until(() => picks(channel, 2).length === (balancing === "pickFirst" ? 1 : 2))
        yield* settled
        assert.isTrue(first.usable())
        const running = call(first)
        yield* Queue.offer(lists, addresses(b!))
        yield* first.retired
        yield* answered(running, a!)
        assert.strictEqual(running.stream.rstCode, 0)
        yield* until(() => a!.sessions.size === 0)
        assert.deepStrictEqual((yield* channel.connection(false)).target, b!.target)
      }))
  }

  test("tries new addresses at once", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ host: "b", port: 50051 })
      const lists = yield* Queue.unbounded<ReadonlyArray<Target.Target>>()
      yield* Queue.offer(lists, [target("a")])
      const channel = yield* openChannel(Stream.fromQueue(lists))
      yield* failure(channel)
      yield* Queue.offer(lists, addresses(peer))
      assert.strictEqual((yield* channel.connection(true)).target, peer.target)
    }))

  test("fails with what its resolver says, asks again, and keeps the addresses that it has", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ host: "a", port: 50051 })
      const nowhere = new DialError({
        target: "greeter",
        hop: "dns",
        reason: new NameNotFound({ name: "greeter", code: "ENOTFOUND" })
      })
      let asked = 0
      const lists = Stream.suspend((): Stream.Stream<ReadonlyArray<Target.Target>, DialError> => {
        asked++
        return asked === 1
          ? Stream.fail(nowhere)
          : asked === 2
          ? Stream.make([])
          : Stream.concat(Stream.make(addresses(peer)), Stream.fail(nowhere))
      })
      const channel = yield* openChannel(lists, { backoff: { ...Backoff.defaults, jitter: 0 } })
      assert.strictEqual(yield* failure(channel), "greeter dns NameNotFound")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* failure(channel), "greeter.test grpc Unknown")
      yield* TestClock.adjust("1600 millis")
      const connection = yield* channel.connection(true)
      yield* TestClock.adjust("1 hour")
      assert.isAbove(asked, 3)
      assert.isTrue(channel.pick() === connection)
    }))
})

describe("a gRPC channel whose servers say how they are", () => {
  test("uses a connection only while its server is healthy", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ host: "a", port: 50051 })
      const health = yield* Queue.unbounded<boolean>()
      const channel = yield* openChannel(addresses(peer), {
        onConnected: () => Stream.fromQueue(health),
        idleTimeout: Duration.hours(1)
      })
      const states = yield* recordStates(channel)
      const waiting = yield* Effect.forkChild(channel.connection(false), { startImmediately: true })
      yield* peer.nextSession
      yield* settled
      assert.deepStrictEqual(states, ["idle", "connecting"])
      yield* Queue.offer(health, true)
      const connection = yield* Fiber.join(waiting)
      yield* Queue.offer(health, false)
      yield* until(() => channel.state() === "transientFailure")
      assert.isTrue(channel.pick() === undefined)
      assert.strictEqual(yield* failure(channel), "a:50051 grpc Unknown")
      assert.isTrue(connection.usable())
      yield* Queue.offer(health, true)
      assert.isTrue((yield* channel.connection(true)) === connection)
      assert.strictEqual(peer.duplexes.length, 1)
    }))

  test("is idle in spite of those who ask", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer({ host: "a", port: 50051 })
      const channel = yield* openChannel(addresses(peer), {
        idleTimeout: Duration.minutes(1),
        onConnected: (connection) =>
          Stream.scoped(Stream.concat(
            Stream.fromEffect(
              Effect.as(
                Effect.acquireRelease(
                  Effect.sync(() => call(connection)),
                  (call) => Effect.sync(() => call.cancel("enough"))
                ),
                true
              )
            ),
            Stream.never
          ))
      })
      yield* channel.connection(false)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(channel.state(), "idle")
      yield* until(() => peer.sessions.size === 0)
    }))
})
