import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Refused } from "../../src/errors/DialError.ts"
import { AuthenticationFailed } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import { leavesNothing } from "../support/leaks.ts"

const settings = { host: "web-1", username: "ops", auth: SshAuth.none, hostKeys: undefined }

const connect = Effect.flatMap(Ssh.Ssh, (ssh) => ssh.connect(settings))

/** The reason of an error, as a plain record to compare with. */
const reasonOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.flip(effect),
    (error): Readonly<Record<string, unknown>> =>
      "reason" in error && error.reason instanceof Error
        ? { ...Object.fromEntries(Object.entries(error.reason)), message: error.reason.message }
        : {}
  )

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** What an effect dies with. */
const defectOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.catchDefect(Effect.asVoid(effect), (defect) => Effect.succeed(defect)),
    (defect) => defect instanceof Error ? defect.message : "none"
  )

class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

describe("Ssh.layerTest", () => {
  it.effect("answers commands by their lines", () =>
    Effect.gen(function*() {
      const ssh = yield* Ssh.Ssh
      const run = (command: string) => ssh.execute(settings, command)
      assert.strictEqual((yield* run("uname")).text, "Linux\n")
      assert.deepStrictEqual((yield* run("bytes")).stdout, new Uint8Array([1, 2]))
      assert.deepStrictEqual((yield* run("fail")).exitCode, Option.some(3))
      const all = yield* run("all")
      assert.deepStrictEqual([all.text, all.errorText, all.exitCode], ["out", "err", Option.some(1)])
      const killed = yield* run("killed")
      assert.deepStrictEqual([killed.exitCode, killed.signal], [Option.none(), Option.some("TERM")])
      assert.deepStrictEqual((yield* run("mute")).exitCode, Option.none())
      assert.isTrue((yield* run("nothing")).succeeded)
      const missing = yield* run("none at all")
      assert.deepStrictEqual([missing.errorText, missing.exitCode], ["none: command not found\n", Option.some(127)])
    }).pipe(
      leavesNothing,
      Effect.provide(Ssh.layerTest({
        exec: {
          uname: "Linux\n",
          bytes: new Uint8Array([1, 2]),
          fail: 3,
          all: { stdout: "out", stderr: "err", code: 1 },
          killed: { signal: "TERM" },
          mute: { code: null },
          nothing: () => Effect.void
        }
      }))
    ))

  it.effect("answers commands with one handler, which knows who asks and with what", () => {
    const seen: Array<unknown> = []
    const Test = Ssh.layerTest({
      exec: ({ command, env, kind, stdin, terminal, user }) => {
        seen.push([kind, command, user, env, Option.map(terminal, ({ columns, term }) => [term, columns])])
        return Effect.map(Stream.mkString(Stream.decodeText(stdin)), (input) => input.toUpperCase())
      }
    })
    return Effect.gen(function*() {
      const ssh = yield* Ssh.Ssh
      const withEnv = { ...settings, env: { A: "1", B: "1" } }
      const { text } = yield* ssh.execute(withEnv, "shout", { stdin: "hello", env: { B: "2" }, pty: { columns: 40 } })
      assert.strictEqual(text, "HELLO")
      assert.deepStrictEqual(seen, [["exec", "shout", "ops", { A: "1", B: "2" }, Option.some(["xterm", 40])]])
      const large = "x".repeat(3_000_000)
      const stdin = Stream.make(new TextEncoder().encode(large))
      assert.strictEqual((yield* ssh.execute(settings, "large", { stdin })).text, large.toUpperCase())
    }).pipe(leavesNothing, Effect.provide(Test))
  })

  it.effect("streams what a command reads and writes", () =>
    Effect.gen(function*() {
      const session = yield* connect
      const process = yield* session.exec("cat")
      const lines = yield* Effect.forkChild(
        process.stdout.pipe(Stream.decodeText, Stream.splitLines, Stream.runCollect)
      )
      const errors = yield* Effect.forkChild(Stream.mkString(Stream.decodeText(process.stderr)))
      yield* Stream.run(Stream.encodeText(Stream.make("a\n", "b\n")), process.stdin)
      assert.deepStrictEqual(yield* Fiber.join(lines), ["a", "b"])
      assert.strictEqual(yield* Fiber.join(errors), "done")
      assert.deepStrictEqual((yield* process.exit).exitCode, Option.some(4))
      assert.deepStrictEqual((yield* process.closed).exitCode, Option.some(4))
    }).pipe(
      leavesNothing,
      Effect.provide(Ssh.layerTest({
        exec: {
          cat: ({ stderr, stdin, stdout }) =>
            Effect.as(Effect.andThen(Stream.runForEach(stdin, stdout), stderr("done")), 4)
        }
      }))
    ))

  it.effect("keeps to the limits of execute, by Effect's clock", () =>
    Effect.gen(function*() {
      const session = yield* connect
      const late = yield* Effect.forkChild(reasonOf(session.execute("sleep", { timeout: "5 seconds" })))
      yield* TestClock.adjust("5 seconds")
      assert.deepInclude(yield* Fiber.join(late), { _tag: "CommandTimeout", after: Duration.seconds(5) })
      assert.deepInclude(yield* reasonOf(session.execute("yes", { maxOutput: 1000 })), { _tag: "OutputTooLarge" })
      const slow = yield* Effect.forkChild(session.execute("sleep"))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(slow)).text, "slept")
    }).pipe(
      leavesNothing,
      Effect.provide(Ssh.layerTest({
        exec: {
          sleep: () => Effect.delay(Effect.succeed("slept"), "1 minute"),
          yes: ({ stdout }) => Effect.forever(stdout("y\n"))
        }
      }))
    ))

  it.effect("interrupts the handler of a command that nobody waits for any more", () =>
    Effect.gen(function*() {
      const events = yield* Queue.unbounded<string>()
      const exec: Ssh.TestHandler = ({ command }) =>
        Effect.andThen(
          Queue.offer(events, `${command} runs`),
          Effect.onInterrupt(Effect.never, () => Queue.offer(events, `${command} ends`))
        )
      yield* Effect.gen(function*() {
        const session = yield* connect
        const executing = yield* Effect.forkChild(session.execute("a"))
        assert.strictEqual(yield* Queue.take(events), "a runs")
        yield* Fiber.interrupt(executing)
        assert.strictEqual(yield* Queue.take(events), "a ends")
        yield* Effect.scoped(Effect.andThen(session.exec("b"), Queue.take(events)))
        assert.strictEqual(yield* Queue.take(events), "b ends")
        // the session, and all that is on it
        const other = yield* connect
        const running = yield* Effect.forkChild(reasonOf(other.execute("c")))
        assert.strictEqual(yield* Queue.take(events), "c runs")
        yield* other.close
        assert.strictEqual(yield* Queue.take(events), "c ends")
        assert.strictEqual((yield* Fiber.join(running))["_tag"], "ConnectionLost")
        assert.strictEqual((yield* other.closed)._tag, "ConnectionLost")
        assert.strictEqual((yield* reasonOf(other.execute("d")))["_tag"], "ConnectionLost")
      }).pipe(leavesNothing, Effect.provide(Ssh.layerTest({ exec })))
    }))

  it.effect("passes signals and sizes of terminals on", () =>
    Effect.gen(function*() {
      const events = yield* Queue.unbounded<unknown>()
      const handler: Ssh.TestHandler = ({ signals, stdout, windowChanges }) =>
        Effect.gen(function*() {
          yield* Effect.forkScoped(Stream.runForEach(windowChanges, (size) => Queue.offer(events, size)))
          yield* stdout("ready")
          return yield* Stream.runHead(signals)
        }).pipe(Effect.scoped, Effect.map((signal) => Option.getOrElse(signal, () => "none")))
      yield* Effect.gen(function*() {
        const session = yield* connect
        const process = yield* session.exec("top", { pty: true })
        const output = yield* Effect.forkChild(Stream.mkString(Stream.decodeText(process.stdout)))
        yield* process.resize(100, 50)
        assert.deepStrictEqual(yield* Queue.take(events), { columns: 100, rows: 50 })
        yield* process.signal("HUP")
        assert.strictEqual(yield* Fiber.join(output), "readyHUP")
        // one that takes none is ended by it
        const sleeping = yield* session.exec("sleep")
        yield* Effect.yieldNow
        yield* sleeping.signal("KILL")
        assert.deepStrictEqual((yield* sleeping.exit).signal, Option.some("KILL"))
      }).pipe(
        leavesNothing,
        Effect.provide(Ssh.layerTest({ exec: { top: handler, sleep: () => Effect.never } }))
      )
    }))

  it.effect("answers in a shell and in subsystems", () => {
    const shell: Ssh.TestHandler = ({ stdin, stdout, terminal }) =>
      Effect.gen(function*() {
        yield* stdout(`${Option.getOrThrow(terminal).term}$ `)
        yield* Stream.runForEach(
          Stream.splitLines(Stream.decodeText(stdin)),
          (line) => stdout(`you said ${line}\n$ `)
        )
        return 7
      })
    return Effect.gen(function*() {
      const session = yield* connect
      const { connection, exit } = yield* session.shell({ term: "dumb" })
      assert.strictEqual(text(yield* connection.readUntil("$ ")), "dumb")
      yield* connection.write("hello\n")
      assert.strictEqual(text(yield* connection.readUntil("$ ")), "you said hello\n")
      yield* connection.closeWrite
      assert.deepStrictEqual((yield* exit).exitCode, Option.some(7))
      const subsystem = yield* session.subsystem("netconf")
      assert.strictEqual(yield* subsystem.connection.readString({ marker: "]]>" }), "hello]]>")
    }).pipe(
      leavesNothing,
      Effect.provide(Ssh.layerTest({ shell, subsystems: { netconf: () => "hello]]>" } }))
    )
  })

  it.effect("has files in memory, for as long as the layer", () =>
    Effect.gen(function*() {
      const ssh = yield* Ssh.Ssh
      yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* ssh.connect(settings)
        const sftp = yield* session.sftp
        assert.strictEqual(yield* sftp.readText("/etc/motd"), "welcome\n")
        assert.deepStrictEqual((yield* sftp.readDirectory("/")).map(({ name }) => name).toSorted(), ["etc", "srv"])
        yield* sftp.writeFile("/srv/app/a.txt", "a")
        yield* sftp.rename("/srv/app/a.txt", "/srv/app/b.txt")
        const large = new Uint8Array(2_000_000).map((_, at) => at % 251)
        yield* session.upload(large, "/srv/app/large")
        assert.deepStrictEqual(yield* session.downloadBytes("/srv/app/large"), large)
        const error = yield* reasonOf(sftp.readText("/none"))
        assert.deepInclude(error, { _tag: "SftpStatus", status: "NoSuchFile", path: "/none" })
      }))
      const other = yield* ssh.connect({ ...settings, host: "web-2" })
      assert.strictEqual(yield* (yield* other.sftp).readText("/srv/app/b.txt"), "a")
    }).pipe(
      leavesNothing,
      Effect.provide(
        Ssh.layerTest({ files: { "/etc/motd": "welcome\n", "/srv/app/": "", "etc/bytes": new Uint8Array(3) } })
      )
    ))

  it.effect("holds a command back while nobody reads what it writes", () => {
    let written = 0
    const yes: Ssh.TestHandler = ({ stdout }) =>
      Effect.forever(Effect.andThen(stdout("x".repeat(10_000)), Effect.sync(() => written++)))
    return Effect.gen(function*() {
      const session = yield* connect
      const process = yield* session.exec("yes")
      for (let turns = 0; turns < 2000; turns++) yield* Effect.yieldNow
      assert.isBelow(written, 100)
      const bytes = yield* process.stdout.pipe(
        Stream.map(({ length }) => length),
        Stream.scan(() => 0, (sum, length) => sum + length),
        Stream.takeUntil((sum) => sum > 5_000_000),
        Stream.runLast
      )
      assert.isAbove(Option.getOrThrow(bytes), 5_000_000)
    }).pipe(leavesNothing, Effect.provide(Ssh.layerTest({ exec: { yes } })))
  })

  it.effect("runs many commands at a time", () =>
    Effect.gen(function*() {
      const session = yield* connect
      const all = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, number) => `${number}`),
        (command) => session.execute(command),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(all.map(({ text }) => text), all.map((_, number) => `${number}!`))
    }).pipe(
      leavesNothing,
      Effect.provide(Ssh.layerTest({ exec: ({ command }) => Effect.as(Effect.yieldNow, `${command}!`) }))
    ))

  it.effect("fails to connect as it is told to", () => {
    const Test = Ssh.layerTest({
      exec: { true: 0 },
      connect: ({ host, username }) =>
        host === "down"
          ? Effect.fail(new Refused({ address: "down:22" }))
          : username === "root"
          ? Effect.fail(new AuthenticationFailed({ tried: ["none"], remaining: ["publickey"] }))
          : Effect.void
    })
    return Effect.gen(function*() {
      const ssh = yield* Ssh.Ssh
      const down = yield* Effect.flip(ssh.execute({ ...settings, host: "down" }, "true"))
      assert.deepInclude(down, { _tag: "DialError", target: "down:22", hop: "direct" })
      const refused = yield* Effect.flip(ssh.connect({ ...settings, username: "root", port: 2222 }))
      assert.deepInclude(refused, { _tag: "SshError", server: "ssh root@web-1:2222" })
      assert.strictEqual(refused.reason._tag, "AuthenticationFailed")
      assert.isTrue((yield* ssh.execute(settings, "true")).succeeded)
    }).pipe(Effect.scoped, Effect.provide(Test))
  })

  it.effect("dies with the name of what was not given", () =>
    Effect.gen(function*() {
      const session = yield* connect
      const no = (part: string) => `Ssh.layerTest: no handler for \`${part}\``
      assert.strictEqual(yield* defectOf(session.execute("a")), no("exec"))
      assert.strictEqual(yield* defectOf(session.exec("a")), no("exec"))
      assert.strictEqual(yield* defectOf(session.shell()), no("shell"))
      assert.strictEqual(yield* defectOf(session.subsystem("netconf")), no("subsystems.netconf"))
      assert.strictEqual(yield* defectOf(session.sftp), no("files"))
      assert.strictEqual(yield* defectOf(session.upload(new Uint8Array(1), "/a")), no("files"))
      assert.strictEqual(yield* defectOf(Stream.runDrain(session.uploadProgress(new Uint8Array(1), "/a"))), no("files"))
      assert.strictEqual(yield* defectOf(session.downloadBytes("/a")), no("files"))
      assert.strictEqual(yield* defectOf(session.dialer.dial("a:1")), no("session.dialer"))
      assert.strictEqual(yield* defectOf(session.listener.bind("a:1")), no("session.listener"))
      const forward = Effect.provide(session.forwardRemoteDynamic("a:1"), Dialer.layer)
      assert.strictEqual(yield* defectOf(forward), no("session.forwardRemoteDynamic"))
    }).pipe(Effect.scoped, Effect.provide(Ssh.layerTest({}))))

  it.effect("takes any part of a session from the test", () =>
    Effect.gen(function*() {
      const session = yield* connect
      assert.strictEqual(session.serverVersion, "SSH-2.0-Mine")
      assert.deepStrictEqual(yield* session.downloadBytes("/a"), new Uint8Array([1]))
      yield* session.rekey
      assert.strictEqual(session.name, "ssh ops@web-1:22")
      assert.match(session.hostKey.fingerprint, /^SHA256:/)
    }).pipe(
      Effect.scoped,
      Effect.provide(Ssh.layerTest({
        session: { serverVersion: "SSH-2.0-Mine", downloadBytes: () => Effect.succeed(new Uint8Array([1])) }
      }))
    ))

  it.effect("has a handler that fails or dies be a command that failed", () =>
    Effect.gen(function*() {
      const ssh = yield* Ssh.Ssh
      for (const command of ["fail", "die", "throw"]) {
        const { errorText, exitCode } = yield* ssh.execute(settings, command)
        assert.deepStrictEqual([errorText, exitCode], ["broken\n", Option.some(255)])
      }
    }).pipe(Effect.provide(Ssh.layerTest({
      exec: {
        fail: () => Effect.fail(new Broken({ message: "broken" })),
        die: () => Effect.die(new Error("broken")),
        throw: () => {
          throw new Error("broken")
        }
      }
    }))))

  it.effect("gives handlers what they need, and interrupts them with the layer", () => {
    class Name extends Context.Service<Name, string>()("test/Name") {}
    return Effect.gen(function*() {
      const ended = yield* Deferred.make<string>()
      const begun = yield* Deferred.make<void>()
      const Test: Layer.Layer<Ssh.Ssh, never, Name> = Ssh.layerTest({
        exec: {
          wait: () =>
            Effect.andThen(
              Deferred.succeed(begun, undefined),
              Effect.onInterrupt(Effect.never, () => Effect.flatMap(Name, (name) => Deferred.succeed(ended, name)))
            )
        }
      })
      const lost = yield* Effect.gen(function*() {
        const running = yield* Effect.forkChild(
          reasonOf(Effect.flatMap(Ssh.Ssh, (ssh) => ssh.execute(settings, "wait")))
        )
        yield* Deferred.await(begun)
        return running
      }).pipe(Effect.provide(Test), Effect.flatMap(Fiber.join))
      assert.strictEqual(lost["_tag"], "ConnectionLost")
      assert.strictEqual(yield* Deferred.await(ended), "ann")
    }).pipe(Effect.provideService(Name, "ann"))
  })

  it.effect("opens no socket", () => {
    const sockets = () => process.getActiveResourcesInfo().filter((kind) => /TCP|Pipe/.test(kind)).length
    const before = sockets()
    return Effect.gen(function*() {
      const session = yield* connect
      yield* session.execute("true")
      assert.strictEqual(sockets(), before)
    }).pipe(Effect.scoped, Effect.provide(Ssh.layerTest({ exec: { true: 0 } })))
  })
})
