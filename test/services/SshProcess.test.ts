import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ConnectionLog from "../../src/services/ConnectionLog.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { connect, connected, sshServer, until } from "../support/ssh.ts"

describeOnNetworks("SSH shells", (test) => {
  test("are read as every connection is", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { connection, exit, resize } = yield* session.shell({ term: "vt220", columns: 100, rows: 30 })
      yield* connection.readUntil("> ")
      yield* connection.write("size\n")
      assert.strictEqual(yield* connection.readLine(), "vt220 100x30")
      yield* resize(20, 10)
      yield* connection.write("hello\nsize\n")
      assert.strictEqual(yield* connection.readString({ marker: "lo\r\n" }), "> hello\r\n")
      assert.strictEqual(
        (yield* reasonOf(connection.read({ marker: "never", timeout: "20 millis" })))["_tag"],
        "ReadTimeout"
      )
      // what had come is still there
      assert.strictEqual(yield* connection.readString({ marker: "10\r\n" }), "> vt220 20x10\r\n")
      yield* connection.write("exit 3\n")
      assert.deepStrictEqual((yield* exit).exitCode, Option.some(3))
      yield* Stream.runDrain(connection.reads)
    }))

  test("end with their input", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { connection, exit } = yield* session.shell()
      yield* connection.closeWrite
      assert.deepStrictEqual((yield* exit).exitCode, Option.some(0))
    }))

  test("are ended by a signal", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { exit, signal } = yield* session.shell()
      yield* signal("HUP")
      const { coreDumped, description, exitCode, signal: by } = yield* exit
      assert.deepStrictEqual([exitCode, by], [Option.none(), Option.some("SIGHUP")])
      assert.deepStrictEqual([coreDumped, description], [true, "dumped"])
    }))

  test("close with their scope, and are lost with the session", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const scope = yield* Scope.make()
      const { connection, exit } = yield* Scope.provide(session.shell(), scope)
      yield* connection.readUntil("> ")
      const reading = yield* Effect.forkChild(reasonOf(connection.readLine()), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(reading))["_tag"], "Closed")
      yield* until(() => server.running() === 0)
      yield* Effect.exit(exit)
      const other = yield* session.shell()
      const waiting = yield* Effect.forkChild(
        Effect.all([reasonOf(other.connection.read({ marker: "never" })), reasonOf(other.exit)], { concurrency: 2 })
      )
      yield* until(() => server.running() === 1)
      yield* server.kill
      assert.deepStrictEqual((yield* Fiber.join(waiting)).map(({ _tag }) => _tag), ["Reset", "ConnectionLost"])
    }))
})

const network = Layer.merge(Dialer.layer, Listener.layer)
const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
) => it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), network)))

describe("SSH commands", () => {
  test("take signals and sizes", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const waiting = yield* session.exec("wait", { pty: { columns: 10 } })
      yield* waiting.resize(20, 20)
      yield* waiting.signal("TERM")
      assert.deepStrictEqual((yield* waiting.exit).signal, Option.some("SIGTERM"))
      assert.deepStrictEqual((yield* waiting.closed).signal, Option.some("SIGTERM"))
    }))

  test("get the environment of the session's settings, and what is said for them", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect({ ...server.settings, env: { A: "settings", B: "settings" } })
      assert.strictEqual((yield* session.execute("env A")).text, "settings\n")
      assert.strictEqual((yield* session.execute("env B", { env: { B: "call" } })).text, "call\n")
    }))

  test("are not started with settings that make no sense", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      for (const maxOutput of [NaN, -1, 1.5]) {
        const reason = yield* reasonOf(session.execute("echo", { maxOutput }))
        assert.deepInclude(reason, {
          _tag: "Unknown",
          detail: `maxOutput has to be a whole number or Infinity, not ${maxOutput}`
        })
      }
      for (const run of [session.execute("echo", { pty: { term: "ä" } }), session.shell({ term: "ä" })]) {
        assert.strictEqual((yield* reasonOf<unknown, Scope.Scope>(run))["_tag"], "Unknown")
      }
      assert.strictEqual(server.running(), 0)
      assert.strictEqual((yield* session.execute("cat", { stdin: "x", maxOutput: Infinity })).text, "x")
      assert.strictEqual((yield* session.execute("exit 0", { maxOutput: 0 })).text, "")
    }))

  test("are done as soon as they have ended where that is wanted", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const result = yield* session.execute("exit 4", { until: "exit" })
      assert.deepStrictEqual(result.exitCode, Option.some(4))
      const reason = yield* reasonOf(session.execute("bytes 100000000", { until: "exit", maxOutput: 1000 }))
      assert.strictEqual(reason["_tag"], "OutputTooLarge")
    }))

  test("tell a writer that they are gone though their output is not read", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const running = yield* session.exec("echo enough")
      yield* Stream.run(Stream.forever(Stream.succeed(new Uint8Array(1024 * 1024))), running.stdin)
      assert.strictEqual(yield* Stream.mkString(Stream.decodeText(running.stdout)), "enough\n")
    }))

  test("are counted by what became of them, and their channels are in the log", () =>
    Effect.gen(function*() {
      const log = yield* ConnectionLog.ConnectionLog
      const { server, session } = yield* connected()
      const before = yield* commands
      yield* session.execute("echo secret-word")
      yield* session.execute("exit 3")
      yield* session.execute("killed TERM")
      yield* session.execute("vanish")
      yield* reasonOf(session.execute("wait", { timeout: "10 millis" }))
      yield* reasonOf(session.execute("reboot"))
      yield* Effect.flip(session.execute("cat", { stdin: Stream.fail("none") }))
      yield* until(() => server.running() === 0)
      const waiting = yield* Effect.forkChild(session.execute("wait"), { startImmediately: true })
      yield* until(() => server.running() === 1)
      yield* Fiber.interrupt(waiting)
      const after = yield* commands
      const more = [...after].map(([outcome, count]) => [outcome, count - (before.get(outcome) ?? 0)] as const)
      assert.deepStrictEqual(
        new Map(more.filter(([, count]) => count > 0)),
        new Map([
          ["ok", 1],
          ["failed", 1],
          ["killed", 1],
          ["unknown", 1],
          ["CommandTimeout", 1],
          ["ChannelRefused", 1],
          ["input", 1],
          ["interrupted", 1]
        ])
      )
      yield* session.close
      const events = (yield* log.events).filter(({ source }) => source === "ssh")
      const of = (name: string) => events.filter(({ event }) => event === name)
      assert.match(of("connected")[0]!.detail, /^SSH-2\.0-\S+.*, curve25519-sha256, aes128-gcm@openssh\.com, SHA256:/)
      assert.deepInclude(of("channel opened")[0], { detail: "exec" })
      assert.isAtLeast(of("channel closed").length, 4)
      assert.lengthOf(of("channel refused"), 1)
      assert.match(of("closed")[0]!.detail, /^the session was closed; \d+ bytes read, \d+ bytes written$/)
      assert.notInclude(JSON.stringify(events), "secret-word")
    }).pipe(Effect.provide(ConnectionLog.layer())))
})

/** How many commands there were, by outcome. */
const commands = Effect.map(
  Metric.snapshot,
  (all) =>
    new Map(all.flatMap((metric) =>
      metric.id === "hawser_ssh_commands_total" && metric.type === "Counter"
        ? [[metric.attributes?.["outcome"] ?? "", Number(metric.state.count)] as const]
        : []
    ))
)

describe("SSH sessions", () => {
  const sessions = Effect.map(
    Metric.snapshot,
    (all) =>
      Object.fromEntries(
        all.flatMap((metric) =>
          metric.id.startsWith("hawser_ssh_") && (metric.type === "Counter" || metric.type === "Gauge")
            ? [[
              [metric.id, ...Object.values(metric.attributes ?? {})].join(" "),
              Number(metric.type === "Counter" ? metric.state.count : metric.state.value)
            ]]
            : []
        )
      )
  )

  test("are counted, with what became of them and how much they carried", () =>
    Effect.gen(function*() {
      const before = yield* sessions
      const { server, session } = yield* connected()
      assert.strictEqual(
        (yield* sessions)["hawser_ssh_sessions_active"],
        (before["hawser_ssh_sessions_active"] ?? 0) + 1
      )
      yield* server.kill
      yield* session.closed
      const other = yield* connect(server.settings)
      yield* other.close
      assert.deepInclude(yield* other.closed, { detail: "the session was closed" })
      const after = yield* sessions
      const more = (name: string) => (after[name] ?? 0) - (before[name] ?? 0)
      assert.strictEqual(more("hawser_ssh_sessions_total"), 2)
      assert.strictEqual(more("hawser_ssh_sessions_active"), 0)
      assert.strictEqual(more("hawser_ssh_sessions_lost_total"), 1)
      assert.isAbove(more("hawser_ssh_bytes_total read"), 1000)
      assert.isAbove(more("hawser_ssh_bytes_total written"), 1000)
    }))

  test("agree on new keys when they are asked to, and are told when they cannot", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      yield* session.rekey
      assert.strictEqual((yield* session.execute("echo after")).text, "after\n")
      yield* server.freeze
      const waiting = yield* Effect.forkChild(reasonOf(session.rekey), { startImmediately: true })
      yield* server.kill
      assert.strictEqual((yield* Fiber.join(waiting))["_tag"], "ConnectionLost")
      assert.strictEqual((yield* reasonOf(session.rekey))["_tag"], "ConnectionLost")
    }))
})
