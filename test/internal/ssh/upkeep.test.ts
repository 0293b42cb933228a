import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as Listener from "../../../src/services/Listener.ts"
import { reasonOf } from "../../support/reason.ts"
import { connect, sshServer } from "../../support/ssh.ts"

const network = Layer.merge(Dialer.layer, Listener.layer)

describe("the upkeep of a session", () => {
  it.live("agrees on new keys after so many bytes, and loses none of them", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect({ ...server.settings, rekey: { bytes: 300_000 } })
      const bytes = Buffer.alloc(14_000_000, "0123456789")
      const { stdout } = yield* session.execute("cat", { stdin: bytes })
      assert.isTrue(Buffer.from(stdout).equals(bytes))
      assert.isAtLeast(server.rekeys(), 3)
    }).pipe(Effect.provide(network)))

  it.live("agrees on new keys after so long, as soon as something passes", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect({ ...server.settings, rekey: { interval: "1 millis" } })
      yield* Effect.sleep("2 millis")
      yield* session.execute("echo one")
      yield* Effect.sleep("2 millis")
      yield* session.execute("echo two")
      assert.isAtLeast(server.rekeys(), 2)
    }).pipe(Effect.provide(network)))

  it.effect("goes by the clock of the program", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect({ ...server.settings, rekey: { interval: "1 hour" } })
      yield* session.execute("echo one")
      assert.strictEqual(server.rekeys(), 0)
      yield* TestClock.adjust("1 hour")
      yield* session.execute("echo two")
      assert.strictEqual(server.rekeys(), 1)
      yield* server.freeze
      const waiting = yield* Effect.forkChild(reasonOf(session.execute("wait")), { startImmediately: true })
      // asked after fifteen seconds, it has forty-five to answer
      yield* TestClock.adjust("59999 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepInclude(yield* Fiber.join(waiting), { _tag: "ConnectionLost", detail: "Keepalive timeout" })
    }).pipe(Effect.provide(network)))

  it.effect("leaves a session alone whose server answers, for as long as it may be", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect(server.settings)
      for (let asked = 0; asked < 10; asked++) {
        yield* TestClock.adjust("15 seconds")
        // its answer to what came later comes later
        assert.strictEqual((yield* session.execute("echo there")).text, "there\n")
      }
    }).pipe(Effect.provide(network)))

  it.live("does neither without need", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect(server.settings)
      yield* session.execute("cat", { stdin: Buffer.alloc(2_000_000) })
      assert.strictEqual(server.rekeys(), 0)
    }).pipe(Effect.provide(network)))
})
