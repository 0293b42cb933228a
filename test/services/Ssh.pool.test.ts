import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import { leavesNothing } from "../support/leaks.ts"
import { reasonOf } from "../support/reason.ts"
import { sshServer, until } from "../support/ssh.ts"

type Body = () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>

const network = Layer.merge(Dialer.layer, Listener.layer)
const test = (title: string, body: Body) =>
  it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), network)))

const wrong = SshAuth.password(Redacted.make("battery staple"))

describe("Ssh.pool", () => {
  test("runs the commands of many on one connection", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const ssh = yield* Ssh.pool()
      const texts = Array.from({ length: 8 }, (_, i) => `echo ${i}`)
      // settings that are made anew and are the same
      const run = (command: string) => ssh.execute({ ...server.settings }, command)
      const results = yield* Effect.forEach(texts, run, { concurrency: "unbounded" })
      assert.strictEqual(results.map(({ text }) => text.trim()).join(""), "01234567")
      yield* run("echo again")
      assert.deepStrictEqual([server.connections(), server.logins()], [1, 1])
      const [one, other] = yield* Effect.all([ssh.connect(server.settings), ssh.connect(server.settings)])
      assert.strictEqual(one, other)
    }))

  test("keeps those apart who log in in another way", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const ssh = yield* Ssh.pool()
      yield* ssh.execute(server.settings, "echo one")
      yield* ssh.execute({ ...server.settings, env: { LANG: "C" } }, "echo two")
      assert.strictEqual(server.connections(), 2)
      assert.strictEqual(
        (yield* reasonOf(ssh.execute({ ...server.settings, auth: wrong }, "echo")))["_tag"],
        "AuthenticationFailed"
      )
    }))

  test("tries again what could not be opened", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const ssh = yield* Ssh.pool()
      const settings = { ...server.settings, auth: wrong }
      for (let i = 0; i < 2; i++) yield* reasonOf(ssh.connect(settings))
      assert.strictEqual(server.logins(), 2)
    }))

  test("connects anew for the next one when a session was lost, and runs nothing again", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const ssh = yield* Ssh.pool()
      const waiting = yield* Effect.forkChild(reasonOf(ssh.execute(server.settings, "wait")))
      yield* until(() => server.running() === 1)
      const session = yield* ssh.connect(server.settings)
      yield* server.kill
      assert.strictEqual((yield* Fiber.join(waiting))["_tag"], "ConnectionLost")
      yield* session.closed
      assert.strictEqual((yield* ssh.execute(server.settings, "echo anew")).text, "anew\n")
      assert.strictEqual((yield* reasonOf(session.execute("echo")))["_tag"], "ConnectionLost")
      assert.strictEqual(server.logins(), 2)
      assert.notStrictEqual(yield* ssh.connect(server.settings), session)
    }))

  test("opens a further connection where one is used by many, as far as it may", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const ssh = yield* Ssh.pool({ usersPerConnection: 2, maxConnections: 2 })
      const scope = yield* Scope.make()
      const sessions = yield* Effect.replicateEffect(ssh.connect(server.settings), 5).pipe(Scope.provide(scope))
      assert.strictEqual(new Set(sessions).size, 2)
      assert.strictEqual(server.connections(), 2)
      yield* Scope.close(scope, Exit.void)
      const [first, second, third] = yield* Effect.replicateEffect(ssh.connect(server.settings), 3)
      assert.strictEqual(first, second)
      assert.notStrictEqual(first, third)
      assert.strictEqual(server.logins(), 2)
    }))

  test("does not fail the others when the first one who asked is interrupted", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const ssh = yield* Ssh.pool()
      const first = yield* Effect.forkChild(ssh.execute(server.settings, "echo 1"), { startImmediately: true })
      const second = yield* Effect.forkChild(ssh.execute(server.settings, "echo 2"), { startImmediately: true })
      yield* Fiber.interrupt(first)
      assert.strictEqual((yield* Fiber.join(second)).text, "2\n")
    }))

  it.effect("closes a session that nobody uses, after a while", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const ssh = yield* Ssh.pool({ idleTimeToLive: "1 minute" })
      yield* ssh.execute(server.settings, "echo one")
      yield* TestClock.adjust("30 seconds")
      yield* ssh.execute(server.settings, "echo two")
      assert.strictEqual(server.logins(), 1)
      yield* TestClock.adjust("61 seconds")
      yield* until(() => server.connections() === 0)
      yield* ssh.execute(server.settings, "echo three")
      assert.strictEqual(server.logins(), 2)
    }).pipe(Effect.provide(network)))
})
