import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import type * as Net from "node:net"
import { type DialErrorReason, NameNotFound, Refused } from "../../../src/errors/DialError.ts"
import { connect } from "../../../src/internal/net/connect.ts"
import { connectFirst } from "../../../src/internal/net/happyEyeballs.ts"
import type { Lookup, Resolved } from "../../../src/internal/net/resolve.ts"
import { leavesNothing } from "../../support/leaks.ts"
import { turn } from "../../support/scripted.ts"
import { blackhole, closedBy, closedPort, rawServer } from "../../support/servers.ts"

const delays = { attemptDelay: Duration.millis(250), resolutionDelay: Duration.millis(50) }

const at = (host: string): Resolved => ({ host, port: 1 })

const refused = (host: string) => new Refused({ address: host })

const unknownName = (code = "NotFound") => new NameNotFound({ name: "db", code })

/** What an address does when it is dialled: answer or refuse after some time, or nothing at all. */
type Behaviour = { readonly after: Duration.Input; readonly refuses?: boolean } | "silent"

/** An answer that takes some time, in milliseconds. */
const answers = (hosts: ReadonlyArray<string>, after = 0): Lookup => Effect.delay(Effect.succeed(hosts.map(at)), after)

const noAnswer = (code: string, after = 0): Lookup => Effect.delay(Effect.fail(unknownName(code)), after)

/** Dials scripted addresses under the test clock and notes when each is tried, interrupted or discarded. */
const scripted = (lookups: ReadonlyArray<Lookup>, behaviours: Record<string, Behaviour>) =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const note = (what: string) =>
      Effect.clockWith((clock) => Effect.sync(() => void log.push(`${clock.currentTimeMillisUnsafe()} ${what}`)))
    const attempt = (host: string): Effect.Effect<string, DialErrorReason> => {
      const behaviour = behaviours[host] ?? "silent"
      return behaviour === "silent"
        ? Effect.never
        : Effect.delay(behaviour.refuses ? Effect.fail(refused(host)) : Effect.succeed(host), behaviour.after)
    }
    const discarded: Array<string> = []
    const fiber = yield* Effect.forkChild(
      connectFirst({
        ...delays,
        lookups,
        connect: ({ host }) =>
          Effect.andThen(note(host), Effect.onInterrupt(attempt(host), () => note(`${host} interrupted`))),
        discard: (host) => void discarded.push(host)
      }),
      { startImmediately: true }
    )
    return { log, discarded, fiber }
  })

/** Runs a script to its end. */
const play = (
  lookups: ReadonlyArray<Lookup>,
  behaviours: Record<string, Behaviour>,
  time: Duration.Input = "1 minute"
) =>
  Effect.gen(function*() {
    const { fiber, ...seen } = yield* scripted(lookups, behaviours)
    yield* TestClock.adjust(time)
    const exit = fiber.pollUnsafe()
    if (exit === undefined) yield* Fiber.interrupt(fiber)
    return { ...seen, exit }
  })

describe("the order of the attempts", () => {
  it.effect("alternates the families, beginning with the first address that is known", () =>
    Effect.gen(function*() {
      const { log } = yield* play([answers(["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"])], {}, "1 seconds")
      assert.deepStrictEqual(log.slice(0, 5), ["0 ::1", "250 1.1.1.1", "500 ::2", "750 2.2.2.2", "1000 ::3"])
    }))

  it.effect("keeps the resolver's order where there is one family", () =>
    Effect.gen(function*() {
      const { log } = yield* play([answers(["3.3.3.3", "1.1.1.1", "2.2.2.2"])], {}, "600 millis")
      assert.deepStrictEqual(log.slice(0, 3), ["0 3.3.3.3", "250 1.1.1.1", "500 2.2.2.2"])
    }))

  it.effect("starts the next attempt at once when the one before has failed", () =>
    Effect.gen(function*() {
      const refuses = { after: 10, refuses: true } as const
      const { exit, log } = yield* play([answers(["::1", "1.1.1.1", "::2"])], {
        "::1": refuses,
        "1.1.1.1": refuses,
        "::2": { after: 5 }
      })
      assert.deepStrictEqual(log, ["0 ::1", "10 1.1.1.1", "20 ::2"])
      assert.deepStrictEqual(exit, Exit.succeed("::2"))
    }))

  it.effect("does not hurry when an attempt fails that has lost its head start already", () =>
    Effect.gen(function*() {
      const { log } = yield* play([answers(["::1", "1.1.1.1", "::2"])], { "::1": { after: 300, refuses: true } }, 500)
      assert.deepStrictEqual(log.slice(0, 3), ["0 ::1", "250 1.1.1.1", "500 ::2"])
    }))

  it.effect("tries nothing more once a connection is made, and gives up the other attempts", () =>
    Effect.gen(function*() {
      const { exit, log } = yield* play([answers(["::1", "1.1.1.1", "::2"])], { "1.1.1.1": { after: 20 } })
      assert.deepStrictEqual(log, ["0 ::1", "250 1.1.1.1", "270 ::1 interrupted"])
      assert.deepStrictEqual(exit, Exit.succeed("1.1.1.1"))
    }))

  it.effect("lets a slow attempt win over those that started later", () =>
    Effect.gen(function*() {
      const { exit } = yield* play([answers(["::1", "1.1.1.1"])], { "::1": { after: 5000 } })
      assert.deepStrictEqual(exit, Exit.succeed("::1"))
    }))

  it.effect("closes a connection that is made in the same moment as the first", () =>
    Effect.gen(function*() {
      const connected: Array<() => void> = []
      const discarded: Array<string> = []
      const fiber = yield* Effect.forkChild(
        connectFirst({
          ...delays,
          lookups: [answers(["::1", "1.1.1.1"])],
          connect: ({ host }) =>
            Effect.callback<string>((resume) => void connected.push(() => resume(Effect.succeed(host)))),
          discard: (host) => void discarded.push(host)
        }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("250 millis")
      for (const connect of connected) connect()
      assert.strictEqual(yield* Fiber.join(fiber), "::1")
      assert.deepStrictEqual(discarded, ["1.1.1.1"])
    }))
})

describe("a failed race", () => {
  it.effect("says what the first attempt to fail said", () =>
    Effect.gen(function*() {
      const { exit } = yield* play([answers(["::1", "1.1.1.1"])], {
        "::1": { after: 300, refuses: true },
        "1.1.1.1": { after: 10, refuses: true }
      })
      assert.deepStrictEqual(exit, Exit.fail(refused("1.1.1.1")))
    }))

  it.effect("says that there is no such name, and rather what may pass than what will not", () =>
    Effect.gen(function*() {
      const none = yield* play([noAnswer("NotFound"), noAnswer("NotFound", 500)], {})
      assert.deepStrictEqual(none.exit, Exit.fail(unknownName("NotFound")))
      for (const lookups of [["NotFound", "Timeout"], ["Timeout", "NotFound"]]) {
        const { exit } = yield* play(lookups.map((code) => noAnswer(code)), {})
        assert.deepStrictEqual(exit, Exit.fail(unknownName("Timeout")))
      }
    }))

  it.effect("says what an address said when the other question has no answer", () =>
    Effect.gen(function*() {
      const { exit } = yield* play([noAnswer("Timeout"), answers(["1.1.1.1"])], {
        "1.1.1.1": { after: 1, refuses: true }
      })
      assert.deepStrictEqual(exit, Exit.fail(refused("1.1.1.1")))
    }))

  it.effect("waits for an answer that is still out when all addresses so far have failed", () =>
    Effect.gen(function*() {
      const { exit, log } = yield* play([answers(["::1"], 3000), answers(["1.1.1.1"])], {
        "1.1.1.1": { after: 1, refuses: true },
        "::1": { after: 1 }
      })
      assert.deepStrictEqual(log, ["50 1.1.1.1", "3000 ::1"])
      assert.deepStrictEqual(exit, Exit.succeed("::1"))
    }))
})

describe("the answers of two questions", () => {
  const both = (ipv6: Lookup, ipv4: Lookup, time: Duration.Input = "1 second") =>
    Effect.map(play([ipv6, ipv4], {}, time), ({ log }) => log.filter((line) => !line.endsWith("interrupted")))

  it.effect("start the race at once when the preferred one is first", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* both(answers(["::1"], 20), answers(["1.1.1.1"], 40)), ["20 ::1", "270 1.1.1.1"])
    }))

  it.effect("let the preferred one catch up for 50 milliseconds", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* both(answers(["::1"], 60), answers(["1.1.1.1"], 20)), ["60 ::1", "310 1.1.1.1"])
      assert.deepStrictEqual(yield* both(answers(["::1"], 80), answers(["1.1.1.1"], 20)), ["1070 1.1.1.1", "1320 ::1"])
    }))

  it.effect("do not wait for the preferred one when it says that there is nothing", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* both(noAnswer("NotFound", 30), answers(["1.1.1.1"], 20)), ["30 1.1.1.1"])
      assert.deepStrictEqual(yield* both(answers([], 1000), answers(["1.1.1.1"], 1040), "2 seconds"), ["2040 1.1.1.1"])
    }))

  it.effect("wait for the other one when the preferred one is nothing", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* both(noAnswer("NotFound"), answers(["1.1.1.1"], 500)), ["500 1.1.1.1"])
    }))

  it.effect("join the race when they come late, in their turn", () =>
    Effect.gen(function*() {
      const log = yield* both(answers(["::1", "::2"], 400), answers(["1.1.1.1", "2.2.2.2", "3.3.3.3"]), "2 seconds")
      assert.deepStrictEqual(log, ["50 1.1.1.1", "300 2.2.2.2", "550 ::1", "800 3.3.3.3", "1050 ::2"])
    }))
})

describe("an interrupted race", () => {
  it.effect("gives up its questions and attempts", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const silent: Lookup = Effect.onInterrupt(Effect.never, () => Deferred.succeed(asked, undefined))
      const { fiber, log } = yield* scripted([answers(["::1"]), silent], {})
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(asked)
      assert.deepStrictEqual(log, ["0 ::1", "0 ::1 interrupted"])
    }))
})

describe("a race of sockets", () => {
  const options = { noDelay: true, keepAlive: undefined, localAddress: undefined, localPort: undefined }
  const race = (ports: ReadonlyArray<number>) =>
    connectFirst({
      ...delays,
      lookups: [Effect.succeed(ports.map((port) => ({ host: "127.0.0.1", port })))],
      connect: (address) => connect(address, options, Duration.infinity),
      discard: (socket: Net.Socket) => void socket.destroy()
    })

  it.effect("goes on with the next address as soon as one has refused", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const nobody = yield* closedPort
      const socket = yield* race([nobody, nobody, server.port])
      // no time has passed on the test clock: it did not wait for the delay
      assert.strictEqual(socket.remotePort, server.port)
      socket.destroy()
    })))

  it.effect("passes an address that does not answer", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const silent = yield* blackhole
      const fiber = yield* Effect.forkChild(race([silent, server.port]), { startImmediately: true })
      yield* TestClock.adjust("249 millis")
      yield* turn
      assert.strictEqual(server.sockets.size, 0)
      yield* TestClock.adjust("1 millis")
      const socket = yield* Fiber.join(fiber)
      assert.strictEqual(socket.remotePort, server.port)
      socket.destroy()
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
      const nobody = yield* closedPort
      for (let turns = 0; turns < 12; turns++) {
        const fiber = yield* Effect.forkChild(
          Effect.scoped(Effect.acquireRelease(
            race([nobody, server.port]),
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
