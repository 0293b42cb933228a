import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { connect, connected, sshServer, until } from "../support/ssh.ts"

describeOnNetworks("SshSession", (test) => {
  test("runs a command", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const result = yield* session.execute("echo hello wörld")
      assert.strictEqual(result.text, "hello wörld\n")
      assert.strictEqual(result.errorText, "")
      assert.deepStrictEqual(result.exitCode, Option.some(0))
      assert.deepStrictEqual(result.signal, Option.none())
      assert.isTrue(result.succeeded)
    }))

  test("gives the exit code and the error output of a command that fails", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const failed = yield* session.execute("stderr no such thing")
      assert.deepStrictEqual([failed.text, failed.errorText, failed.exitCode], ["", "no such thing\n", Option.some(1)])
      assert.isFalse(failed.succeeded)
      assert.deepStrictEqual((yield* session.execute("exit 42")).exitCode, Option.some(42))
    }))

  test("says by which signal a command was ended", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const result = yield* session.execute("killed SIGTERM")
      assert.deepStrictEqual([result.exitCode, result.signal], [Option.none(), Option.some("SIGTERM")])
    }))

  test("takes the end of a channel for the end of a command of which nothing else is said", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const result = yield* session.execute("vanish")
      assert.deepStrictEqual([result.text, result.exitCode, result.signal], ["gone\n", Option.none(), Option.none()])
    }))

  test("feeds a command text, bytes or a stream, and then the end", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const cat = (stdin: string | Uint8Array | Stream.Stream<Uint8Array>) =>
        Effect.map(session.execute("cat", { stdin }), ({ text }) => text)
      assert.strictEqual(yield* cat("täxt"), "täxt")
      assert.strictEqual(yield* cat(new Uint8Array([98, 121])), "by")
      assert.strictEqual(yield* cat(Stream.make("a", "", "b").pipe(Stream.encodeText)), "ab")
      assert.strictEqual((yield* session.execute("cat")).text, "")
    }))

  test("does not wait for input that the command does not wait for", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.strictEqual((yield* session.execute("echo done", { stdin: Stream.never })).text, "done\n")
    }))

  test("fails with what the input fails with", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.strictEqual(yield* Effect.flip(session.execute("cat", { stdin: Stream.fail("no input") })), "no input")
      assert.strictEqual((yield* session.execute("echo next")).text, "next\n")
    }))

  test("passes environment variables on", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.strictEqual((yield* session.execute("env LANG", { env: { LANG: "C" } })).text, "C\n")
    }))

  test("says that the server does not start a command", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.deepInclude(yield* reasonOf(session.execute("reboot")), { _tag: "ChannelRefused", code: 0 })
      assert.strictEqual((yield* session.execute("echo still there")).text, "still there\n")
    }))

  test("runs commands side by side", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const texts = ["one", "two", "three", "four"]
      const results = yield* Effect.forEach(texts, (stdin) => session.execute("cat", { stdin }), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(results.map(({ text }) => text), texts)
    }))

  test("tells everybody at once that the connection is gone", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const running = yield* session.exec("wait")
      let read = ""
      const output = running.stdout.pipe(
        Stream.decodeText,
        Stream.runForEach((text) => Effect.sync(() => read += text))
      )
      const users = yield* Effect.forkChild(Effect.all([
        reasonOf(output),
        reasonOf(Stream.runDrain(running.stderr)),
        reasonOf(Stream.run(Stream.never, running.stdin)),
        reasonOf(running.exit),
        reasonOf(session.execute("cat", { stdin: Stream.never })),
        reasonOf(session.exec("stall"))
      ], { concurrency: "unbounded" }))
      yield* until(() => read === "waiting\n" && server.running() === 2)
      yield* server.kill
      const lost = (yield* Fiber.join(users)).map(({ _tag }) => _tag)
      assert.deepStrictEqual(lost, Array.from({ length: 6 }, () => "ConnectionLost"))
      assert.strictEqual((yield* session.closed)._tag, "ConnectionLost")
      assert.strictEqual((yield* reasonOf(session.execute("echo")))["_tag"], "ConnectionLost")
    }))

  test("is lost when the server takes its leave", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const waiting = yield* Effect.forkChild(reasonOf(session.execute("wait")))
      yield* until(() => server.running() === 1)
      yield* server.leave
      assert.strictEqual((yield* Fiber.join(waiting))["_tag"], "ConnectionLost")
      yield* until(() => server.connections() === 0)
    }))
})

const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
) =>
  it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer))))

const mebibyte = 1024 * 1024

/** Time for the other side to do what it can. */
const turns = (count: number): Effect.Effect<void> =>
  Effect.repeat(Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))), { times: count })

describe("SshSession's flow control", () => {
  test("takes no more from the server than somebody reads", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const size = 24 * mebibyte
      const { stdout } = yield* session.exec(`bytes ${size}`)
      let read = 0
      let ahead = 0
      yield* Stream.runForEach(stdout, (chunk) =>
        Effect.gen(function*() {
          read += chunk.length
          yield* turns(3)
          ahead = Math.max(ahead, server.produced() - read)
        }))
      assert.strictEqual(read, size)
      // ssh2's window of 2 MiB, what it refilled while its own buffer was filling, and our own read-ahead
      assert.isBelow(ahead, 4 * mebibyte)
      assert.isAbove(ahead, mebibyte)
    }))

  test("goes on with what was left when a reader was interrupted", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const { stdout } = yield* session.exec(`bytes ${mebibyte}`)
      let read = 0
      const count = (chunk: Uint8Array) => Effect.sync(() => void (read += chunk.length))
      const first = yield* Effect.forkChild(Stream.runForEach(stdout, count))
      yield* until(() => read > 0)
      yield* Fiber.interrupt(first)
      yield* Stream.runForEach(stdout, count)
      assert.strictEqual(read, mebibyte)
    }))

  test("reads both outputs, so that neither holds up the other", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const result = yield* session.execute(`flood ${6 * mebibyte}`)
      assert.deepStrictEqual([result.stderr.length, result.text], [6 * mebibyte, "done\n"])
    }))

  test("writes no faster than the command reads", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const chunk = new Uint8Array(64 * 1024)
      const stdin = Stream.range(1, 128).pipe(Stream.map(() => chunk))
      assert.strictEqual((yield* session.execute("count", { stdin })).text, `${8 * mebibyte}\n`)
    }))

  test("does not wait for the rest of the input when a command ends without reading it", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const result = yield* session.execute("exit 3", { stdin: new Uint8Array(8 * mebibyte) })
      assert.deepStrictEqual(result.exitCode, Option.some(3))
    }))

  test("ends a sink whose command takes no more", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const running = yield* session.exec("echo enough")
      yield* Effect.forkChild(Stream.runDrain(running.stdout))
      yield* Stream.run(Stream.forever(Stream.succeed(new Uint8Array(mebibyte))), running.stdin)
      assert.deepStrictEqual((yield* running.exit).exitCode, Option.some(0))
    }))

  test("stops a command whose output is too large", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      assert.deepInclude(yield* reasonOf(session.execute(`bytes ${64 * mebibyte}`, { maxOutput: 1000 })), {
        _tag: "OutputTooLarge",
        maxSize: 1000
      })
      assert.strictEqual((yield* session.execute("bytes 1000", { maxOutput: 1000 })).stdout.length, 1000)
      assert.strictEqual(
        (yield* reasonOf(session.execute(`flood 1001`, { maxOutput: 1000 })))["_tag"],
        "OutputTooLarge"
      )
      assert.isBelow(server.produced(), 8 * mebibyte)
    }))
})

describe("SshSession's scopes", () => {
  test("close a command's channel and leave the session alone", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const { running } = yield* Effect.scoped(Effect.gen(function*() {
        const running = yield* session.exec("wait")
        yield* until(() => server.running() === 1)
        return { running }
      }))
      yield* until(() => server.running() === 0)
      assert.strictEqual((yield* reasonOf(running.exit))["_tag"], "ConnectionLost")
      assert.strictEqual((yield* reasonOf(Stream.runDrain(running.stderr)))["_tag"], "ConnectionLost")
      assert.strictEqual((yield* session.execute("echo next")).text, "next\n")
    }))

  test("close a channel that opens after nobody wants it any more", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const starting = yield* Effect.forkChild(session.exec("wait"), { startImmediately: true })
      yield* Fiber.interrupt(starting)
      yield* until(() => server.running() === 1)
      yield* until(() => server.running() === 0)
      const stalled = yield* Effect.forkChild(session.exec("stall"), { startImmediately: true })
      yield* Fiber.interrupt(stalled)
      assert.strictEqual((yield* session.execute("echo next")).text, "next\n")
    }))

  test("close a command's channel when it is interrupted, or takes too long", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const waiting = yield* Effect.forkChild(session.execute("wait"))
      yield* until(() => server.running() === 1)
      yield* Fiber.interrupt(waiting)
      yield* until(() => server.running() === 0)
      const reason = yield* reasonOf(session.execute("wait", { timeout: "20 millis" }))
      assert.deepInclude(reason, { _tag: "CommandTimeout", after: Duration.millis(20) })
      yield* until(() => server.running() === 0)
    }))

  test("end what still runs when the session's own is closed", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { server, session } = yield* Scope.provide(connected(), scope)
      const waiting = yield* Effect.forkChild(reasonOf(session.execute("wait")))
      yield* until(() => server.running() === 1)
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* Fiber.join(waiting), { _tag: "ConnectionLost", detail: "the session was closed" })
    }))
})

describe("SshSession's connection", () => {
  test("is lost when the server answers no question any more", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect({ ...server.settings, keepAlive: "20 millis" })
      const waiting = yield* Effect.forkChild(reasonOf(session.execute("wait")))
      yield* until(() => server.running() === 1)
      yield* server.freeze
      assert.deepInclude(yield* Fiber.join(waiting), { _tag: "ConnectionLost", detail: "Keepalive timeout" })
    }))

  test("stays when the server is asked and answers", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const session = yield* connect({ ...server.settings, keepAlive: "5 millis" })
      yield* Effect.sleep("100 millis")
      assert.strictEqual((yield* session.execute("echo there")).text, "there\n")
    }))

  test("gets new keys, for which the server shows its host key again", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.strictEqual((yield* session.execute("rekey")).text, "rekeyed\n")
      assert.strictEqual((yield* session.execute("echo after")).text, "after\n")
    }))
})
