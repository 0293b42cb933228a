import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SshError } from "../../src/errors/SshError.ts"
import { TcpError, Unknown } from "../../src/errors/TcpError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { dial } from "../support/forwarding.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks, networks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { connect, until } from "../support/ssh.ts"
import { read, readAll, write } from "../support/streams.ts"

/** A server and a session with it. */
const connected = Effect.fnUntraced(function*<R = never>(options?: TestPeers.SshServerOptions<R>) {
  const server = yield* TestPeers.sshServer(options)
  return { server, session: yield* connect(server.settings) }
})

/** Asserts that what a server tells comes to be so. */
const becomes = <A>(effect: Effect.Effect<A>, isSo: (value: A) => boolean) => Effect.repeat(effect, { until: isSo })

const statusesOf = (server: TestPeers.SshServerPeer) =>
  Effect.map(server.commands, (commands) => commands.map(({ status }) => status))

const cat: TestPeers.SshHandler = ({ stdin, stdout }) => Stream.runForEach(stdin, stdout)

class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}

describeOnNetworks("TestPeers.sshServer", (test) => {
  test("answers commands by their names, and finds no others", () =>
    Effect.gen(function*() {
      const { session } = yield* connected({
        exec: {
          "uname -a": "Linux\n",
          "true": undefined,
          "false": 1,
          "bytes": Uint8Array.of(0, 255),
          "both": { stdout: "out", stderr: "err", code: 3 },
          "killed": { signal: "SEGV", coreDumped: true, description: "ouch" },
          "silent": { stdout: "gone", code: null },
          "whoami": ({ user }) => `${user}\n`,
          "own words": ({ command }) => Effect.succeed(command)
        }
      })
      const outcomeOf = (command: string) =>
        Effect.map(session.execute(command), ({ errorText, exitCode, signal, text }) => [
          text,
          errorText,
          Option.getOrElse(Option.orElse(exitCode, () => signal), () => "unknown")
        ])
      assert.deepStrictEqual(yield* outcomeOf("uname -a"), ["Linux\n", "", 0])
      assert.deepStrictEqual(yield* outcomeOf("true"), ["", "", 0])
      assert.deepStrictEqual(yield* outcomeOf("false"), ["", "", 1])
      assert.deepStrictEqual((yield* session.execute("bytes")).stdout, Uint8Array.of(0, 255))
      assert.deepStrictEqual(yield* outcomeOf("both"), ["out", "err", 3])
      assert.deepStrictEqual(yield* outcomeOf("killed"), ["", "", "SIGSEGV"])
      assert.deepInclude(yield* session.execute("killed"), { coreDumped: true, description: "ouch" })
      assert.deepStrictEqual(yield* outcomeOf("silent"), ["gone", "", "unknown"])
      assert.deepStrictEqual(yield* outcomeOf("whoami"), ["test\n", "", 0])
      assert.deepStrictEqual(yield* outcomeOf("own words"), ["own words", "", 0])
      assert.deepStrictEqual(yield* outcomeOf("uname"), ["", "uname: command not found\n", 127])
      assert.deepStrictEqual(yield* outcomeOf("toString"), ["", "toString: command not found\n", 127])
    }))

  test("runs commands as effects, with what they need", () =>
    Effect.gen(function*() {
      const { session } = yield* Effect.provideService(
        connected({
          env: { LANG: "C", HOME: "/" },
          exec: ({ command, env }) => Effect.map(Greeting, (hello) => `${hello} ${command} ${JSON.stringify(env)}`)
        }),
        Greeting,
        "hello"
      )
      const { text } = yield* session.execute("you there", { env: { LANG: "de" } })
      assert.strictEqual(text, "hello you there {\"LANG\":\"de\",\"HOME\":\"/\"}")
    }))

  test("says what a command failed with, or died of, and ends it with 255", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected({
        exec: {
          fail: () => Effect.fail(new TcpError({ reason: new Unknown({ detail: "no disk" }) })),
          "fail with text": () => Effect.fail("text"),
          die: () => Effect.die(new Error("a bug")),
          throw: () => {
            throw new Error("thrown")
          },
          interrupt: () => Effect.interrupt
        }
      })
      for (
        const [command, words] of [["fail", "no disk"], ["fail with text", "text"], ["die", "a bug"], [
          "throw",
          "thrown"
        ]]
      ) {
        const { errorText, exitCode } = yield* session.execute(command ?? "")
        assert.deepStrictEqual([errorText, exitCode], [`${words}\n`, Option.some(255)])
      }
      assert.deepStrictEqual((yield* session.execute("interrupt")).signal, Option.some("SIGTERM"))
      assert.deepStrictEqual((yield* statusesOf(server)).at(-1), { _tag: "Killed", signal: "TERM" })
    }))

  test("gives commands their input up to its end, and writes both outputs in order", () =>
    Effect.gen(function*() {
      const { session } = yield* connected({
        exec: {
          cat,
          count: ({ stdin }) =>
            Effect.map(Stream.runFold(stdin, () => 0, (sum, bytes) => sum + bytes.length), (size) => `${size}`),
          deaf: "did not listen",
          both: ({ stderr, stdout }) =>
            Effect.gen(function*() {
              for (let i = 0; i < 100; i++) {
                yield* stdout(`out ${i}\n`)
                yield* stderr(`err ${i}\n`)
              }
            })
        }
      })
      assert.strictEqual((yield* session.execute("cat", { stdin: "some words" })).text, "some words")
      assert.strictEqual((yield* session.execute("cat")).text, "")
      assert.strictEqual((yield* session.execute("count", { stdin: new Uint8Array(10_000) })).text, "10000")
      assert.strictEqual((yield* session.execute("deaf", { stdin: new Uint8Array(10_000) })).text, "did not listen")
      const { errorText, text } = yield* session.execute("both")
      const lines = (word: string) => Array.from({ length: 100 }, (_, i) => `${word} ${i}\n`).join("")
      assert.deepStrictEqual([text, errorText], [lines("out"), lines("err")])
    }))

  test("tells which commands were run, by whom, and how they ended", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected({ exec: { ls: "", wait: () => Effect.never }, username: "ops" })
      yield* session.execute("ls", { env: { A: "1" } })
      yield* session.execute("nope")
      yield* Effect.scoped(Effect.andThen(session.exec("wait"), becomes(server.commands, ({ length }) => length === 3)))
      yield* becomes(server.commands, (commands) => commands.every(({ status }) => status._tag !== "Running"))
      const common = { kind: "exec" as const, user: "ops", terminal: Option.none() }
      assert.deepStrictEqual(yield* server.commands, [
        { ...common, command: "ls", env: { A: "1" }, status: { _tag: "Exited", code: 0 } },
        { ...common, command: "nope", env: {}, status: { _tag: "Exited", code: 127 } },
        { ...common, command: "wait", env: {}, status: { _tag: "Interrupted" } }
      ])
    }))

  test("interrupts what runs for a client that closes the channel, or is gone, and closes its scope", () =>
    Effect.gen(function*() {
      let open = 0
      const { server, session } = yield* connected({
        exec: () =>
          Effect.andThen(
            Effect.acquireRelease(Effect.sync(() => open++), () => Effect.sync(() => open--)),
            Effect.never
          )
      })
      yield* Effect.scoped(Effect.andThen(session.exec("one"), until(() => open === 1)))
      yield* until(() => open === 0)
      const second = yield* session.exec("two")
      yield* until(() => open === 1)
      yield* server.disconnect
      assert.strictEqual((yield* reasonOf(second.exit))["_tag"], "ConnectionLost")
      yield* until(() => open === 0)
      assert.deepStrictEqual(yield* statusesOf(server), [{ _tag: "Interrupted" }, { _tag: "Interrupted" }])
      // and serves the next one
      yield* becomes(server.connections, (count) => count === 0)
      yield* connect(server.settings)
      assert.deepStrictEqual([yield* server.connections, yield* server.accepted], [1, 2])
    }))

  test("does not take a client that is gone for the end of its input", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      let sawEnd = false
      const { server, session } = yield* connected({
        exec: ({ stdin, stdout }) =>
          stdout("ready").pipe(
            Effect.andThen(Stream.runDrain(stdin)),
            Effect.andThen(Effect.sync(() => {
              sawEnd = true
            })),
            Effect.ensuring(Deferred.succeed(ended, undefined))
          )
      })
      const process = yield* session.exec("read")
      yield* Stream.runHead(process.stdout)
      yield* server.disconnect
      yield* Deferred.await(ended)
      assert.isFalse(sawEnd)
    }))

  test("ends commands by signals, unless they take them themselves", () =>
    Effect.gen(function*() {
      const { session } = yield* connected({
        exec: {
          wait: ({ stdout }) => Effect.andThen(stdout("ready"), Effect.never),
          trap: ({ signals, stdout }) =>
            signals.pipe(
              Stream.onStart(stdout("ready")),
              Stream.take(2),
              Stream.runCollect,
              Effect.map((names) => names.join())
            )
        }
      })
      const waiting = yield* session.exec("wait")
      yield* Stream.runHead(waiting.stdout)
      yield* waiting.signal("HUP")
      assert.deepStrictEqual((yield* waiting.exit).signal, Option.some("SIGHUP"))
      const trapping = yield* session.exec("trap")
      yield* Stream.runHead(trapping.stdout)
      yield* trapping.signal("INT")
      yield* trapping.signal("USR1")
      assert.strictEqual(yield* trapping.stdout.pipe(Stream.decodeText(), Stream.mkString), "INT,USR1")
      assert.deepStrictEqual((yield* trapping.exit).exitCode, Option.some(0))
    }))

  test("runs shells in terminals, whose sizes change", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected({
        shell: ({ stderr, stdout, terminal, windowChanges, windowSize }) =>
          Effect.gen(function*() {
            yield* stdout(`${JSON.stringify(Option.getOrUndefined(terminal))} `)
            const change = yield* Stream.runHead(windowChanges)
            assert.deepStrictEqual(change, Option.some(yield* windowSize))
            yield* stderr(JSON.stringify(yield* windowSize))
            return 7
          })
      })
      const { connection, exit, resize } = yield* session.shell({ term: "vt220", columns: 100, rows: 30 })
      assert.strictEqual(
        yield* connection.readString({ marker: " " }),
        "{\"term\":\"vt220\",\"columns\":100,\"rows\":30} "
      )
      yield* resize(120, 40)
      assert.strictEqual(yield* connection.readString({ marker: "}" }), "{\"columns\":120,\"rows\":40}")
      assert.deepStrictEqual((yield* exit).exitCode, Option.some(7))
      assert.deepInclude((yield* server.commands)[0], { kind: "shell", command: "" })
    }))

  test("refuses what it was not told of", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const tagOf = <A, R>(effect: Effect.Effect<A, SshError, R>) =>
        Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)
      assert.strictEqual(yield* tagOf(session.execute("ls")), "ChannelRefused")
      assert.strictEqual(yield* tagOf(session.shell()), "ChannelRefused")
      assert.strictEqual(yield* tagOf(Effect.scoped(session.sftp)), "ChannelRefused")
      assert.strictEqual((yield* reasonOf(session.dialer.dial("db:1")))["_tag"], "TunnelRefused")
      assert.strictEqual(yield* tagOf(Effect.scoped(session.forwardRemote("localhost:0", "db:1"))), "ForwardRefused")
      assert.deepStrictEqual(yield* server.commands, [])
    }))

  test("goes on when one of its clients talks nonsense", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected({ exec: { ls: "files" } })
      for (const nonsense of ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff"]) {
        const stream = yield* dial(server.address)
        stream.write(nonsense, "latin1")
        stream.end()
        yield* readAll(stream)
      }
      assert.strictEqual((yield* session.execute("ls")).text, "files")
      yield* becomes(server.connections, (count) => count === 1)
    }))

  test("ends with its scope, also where commands run and clients stay", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      let running = 0
      const server = yield* Scope.provide(
        TestPeers.sshServer({
          exec: () =>
            Effect.onInterrupt(Effect.andThen(Effect.sync(() => running++), Effect.never), () =>
              Effect.sync(() => running--))
        }),
        scope
      )
      const session = yield* connect(server.settings)
      const process = yield* session.exec("wait")
      yield* until(() =>
        running === 1
      )
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(running, 0)
      assert.strictEqual((yield* reasonOf(process.exit))["_tag"], "ConnectionLost")
      assert.strictEqual((yield* reasonOf(connect(server.settings)))["_tag"], "Refused")
    }))
})

describeOnNetworks("TestPeers.sshServer's logins", (test) => {
  const password = Redacted.make("correct horse")

  test("lets anybody in who is not asked for anything", () =>
    Effect.gen(function*() {
      const server = yield* TestPeers.sshServer({ banner: "welcome", exec: ({ user }) => user })
      const key = yield* TestPeers.sshKeyPair()
      for (const auth of [SshAuth.none, SshAuth.password(password), SshAuth.privateKey({ key: key.private })]) {
        const session = yield* connect({ ...server.settings, username: "anyone", auth })
        assert.strictEqual((yield* session.execute("")).text, "anyone")
      }
      const accepted = { user: "anyone", outcome: "accepted" as const }
      assert.deepStrictEqual(yield* server.logins, [
        { ...accepted, method: "none" },
        { ...accepted, method: "password" },
        { ...accepted, method: "publickey" }
      ])
    }))

  test("lets in who knows the password, under the right name", () =>
    Effect.gen(function*() {
      const server = yield* TestPeers.sshServer({ username: "ops", password })
      yield* connect(server.settings)
      for (
        const wrong of [{ username: "other" }, { auth: SshAuth.password(Redacted.make("guess")) }, {
          auth: SshAuth.none
        }]
      ) {
        assert.deepInclude(yield* reasonOf(connect({ ...server.settings, ...wrong })), { _tag: "AuthenticationFailed" })
      }
      const logins = yield* server.logins
      assert.deepStrictEqual(logins[0], { user: "ops", method: "password", outcome: "accepted" })
      assert.isTrue(logins.slice(1).every(({ outcome }) => outcome === "refused"))
      assert.notInclude(JSON.stringify(logins), "guess")
    }))

  test("asks for a new password in place of one that has expired", () =>
    Effect.gen(function*() {
      const newPassword = Redacted.make("better horse")
      const server = yield* TestPeers.sshServer({ password, newPassword })
      const auth = SshAuth.password(password, { change: () => Effect.succeed(newPassword) })
      yield* connect({ ...server.settings, auth })
    }))

  test("wants a key, then the password, then answers, where it wants all of them", () =>
    Effect.gen(function*() {
      const key = yield* TestPeers.sshKeyPair(password)
      const question = { prompt: "Code: ", echo: false, answer: "123" }
      const server = yield* TestPeers.sshServer({
        password,
        publicKeys: [key.public],
        keyboardInteractive: [{ title: "Second factor", prompts: [question] }, { prompts: [] }],
        require: "all"
      })
      const byKey = SshAuth.privateKey({ key: key.private, passphrase: password })
      const byAnswers = SshAuth.keyboardInteractive(() => Effect.succeed([Redacted.make("123")]))
      yield* connect({ ...server.settings, auth: [byAnswers, SshAuth.password(password), byKey] })
      const outcomes = (yield* server.logins).filter(({ outcome }) => outcome !== "refused")
      assert.deepStrictEqual(outcomes.map(({ method, outcome }) => `${method} ${outcome}`), [
        "publickey partial",
        "password partial",
        "keyboard-interactive accepted"
      ])
      const reason = yield* reasonOf(connect({ ...server.settings, auth: [byKey, SshAuth.password(password)] }))
      assert.deepInclude(reason, { _tag: "AuthenticationFailed", remaining: ["keyboard-interactive"] })
    }))

  test("shows the host key that it says, and each its own where it is given one", () =>
    Effect.gen(function*() {
      const one = yield* TestPeers.sshServer()
      const two = yield* TestPeers.sshServer()
      const own = yield* TestPeers.sshKeyPair()
      const three = yield* TestPeers.sshServer({ hostKey: own.private })
      assert.strictEqual(one.hostKey, two.hostKey)
      assert.strictEqual(three.hostKey, own.public.split(" ").slice(0, 2).join(" "))
      yield* connect({ ...three.settings, hostKeys: HostKeys.fromText(`* ${own.public}`) })
      const reason = yield* reasonOf(connect({ ...three.settings, hostKeys: HostKeys.fingerprint(one.fingerprint) }))
      assert.deepInclude(reason, { _tag: "HostKeyRejected", fingerprint: three.fingerprint })
      assert.deepStrictEqual(yield* three.logins, [{ user: "test", method: "none", outcome: "accepted" }])
    }))
})

describeOnNetworks("TestPeers.sshServer's forwarding", (test) => {
  test("reaches targets by the Dialer, and says in OpenSSH's words where it does not", () =>
    Effect.gen(function*() {
      const echo = yield* TestPeers.echo()
      const closed = yield* Effect.map(Effect.scoped(TestPeers.echo()), ({ address }) => address)
      const { session } = yield* connected({ forwarding: (target) => !target.startsWith("secret") })
      const stream = yield* session.dialer.dial(echo.address)
      yield* write(stream, "ping")
      assert.strictEqual(String(yield* read(stream, 4)), "ping")
      stream.end("last words")
      assert.strictEqual(String((yield* readAll(stream)).bytes), "last words")
      assert.strictEqual((yield* reasonOf(session.dialer.dial(closed)))["_tag"], "Refused")
      assert.strictEqual((yield* reasonOf(session.dialer.dial("nowhere.invalid:80")))["_tag"], "NameNotFound")
      assert.deepInclude(yield* reasonOf(session.dialer.dial("secret:80")), { _tag: "TunnelRefused" })
    }))

  test("listens for its clients by the Listener, for as long as they want", () =>
    Effect.gen(function*() {
      const echo = yield* TestPeers.echo()
      const { session } = yield* connected({ forwarding: true })
      const address = yield* Effect.scoped(Effect.gen(function*() {
        const forward = yield* session.forwardRemote("localhost:0", echo.address)
        const client = yield* dial(forward.address)
        client.end("there and back")
        assert.strictEqual(String((yield* readAll(client)).bytes), "there and back")
        return forward.address
      }))
      assert.strictEqual((yield* reasonOf(dial(address)))["_tag"], "Refused")
      assert.strictEqual((yield* reasonOf(session.forwardRemote(echo.address, "db:1")))["_tag"], "ForwardRefused")
    }))

  test("breaks what it forwards when its client is gone", () =>
    Effect.gen(function*() {
      const echo = yield* TestPeers.echo()
      const { server, session } = yield* connected({ forwarding: true })
      const stream = yield* session.dialer.dial(echo.address)
      yield* write(stream, "x")
      yield* read(stream, 1)
      yield* server.disconnect
      yield* becomes(echo.connections, (count) => count === 0)
    }))
})

describe("TestPeers.sshServer", () => {
  it.live("reaches nothing where there is no Dialer", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* Effect.provide(TestPeers.sshServer({ forwarding: true }), Listener.layer)
      yield* Effect.gen(function*() {
        const session = yield* connect(server.settings)
        const reason = yield* reasonOf(session.dialer.dial("127.0.0.1:1"))
        assert.include(reason["detail"], "the server has no Dialer")
      }).pipe(Effect.provide(Dialer.layer))
    })))

  it.effect("needs no time to pass on a test network", () =>
    Effect.gen(function*() {
      const server = yield* TestPeers.sshServer({ exec: { date: () => Effect.as(Effect.sleep("1 hour"), "late") } })
      const network = yield* TestNetwork.TestNetwork
      const executing = Ssh.make(yield* Dialer.Dialer).execute(server.settings, "date")
      assert.strictEqual((yield* network.run(executing)).text, "late")
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer())))

  it.effect("is lost with the host that crashes", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const host = yield* network.host("bastion")
      const started = yield* Deferred.make<TestPeers.SshServerPeer>()
      yield* host.start(
        Effect.gen(function*() {
          const server = yield* TestPeers.sshServer({ address: "bastion:22", exec: () => Effect.never })
          yield* Deferred.succeed(started, server)
          return yield* Effect.never
        }).pipe(Effect.scoped)
      )
      const server = yield* Deferred.await(started)
      const session = yield* connect({ ...server.settings, keepAlive: "1 second", keepAliveCount: 2 })
      const process = yield* session.exec("wait")
      const waiting = yield* Effect.forkChild(reasonOf(process.exit), { startImmediately: true })
      yield* network.crash("bastion")
      assert.strictEqual((yield* network.run(Fiber.join(waiting)))["_tag"], "ConnectionLost")
    }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer())))
})

/** Megabytes of single bytes take their time, and these have nothing to do with how bytes come. */
describe("TestPeers.sshServer's outputs", () => {
  const test = (
    title: string,
    body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
  ) => it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), networks["on loopback"]())), 60_000)

  test("hold a command back that writes more than its client reads", () =>
    Effect.gen(function*() {
      const size = 8 * 1_048_576
      let written = 0
      const { session } = yield* connected({
        exec: ({ stdout }) =>
          Effect.gen(function*() {
            for (const piece = new Uint8Array(65_536); written < size; written += piece.length) yield* stdout(piece)
          })
      })
      const process = yield* session.exec("yes")
      yield* Stream.runHead(process.stdout)
      yield* Effect.repeat(Effect.sync(() => written), { until: (now) => now >= 1_048_576 })
      for (let turn = 0; turn < 100; turn++) {
        yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
      }
      assert.isBelow(written, size)
      const rest = yield* Stream.runFold(process.stdout, () => 0, (sum, piece) => sum + piece.length)
      assert.isAbove(rest, size - 1_048_576)
    }))

  test("keep apart what is held back of both", () =>
    Effect.gen(function*() {
      const pieces = 60
      const piece = (name: string, i: number) => `${name} ${i} `.padEnd(100_000, ".")
      const { session } = yield* connected({
        exec: ({ stderr, stdout }) =>
          Effect.forEach(Array.from({ length: pieces }, (_, i) => i), (i) =>
            Effect.all([stdout(piece("out", i)), stderr(piece("err", i))], { concurrency: 2 }), { discard: true })
      })
      const { errorText, text } = yield* session.execute("both", { maxOutput: 20_000_000 })
      const all = (name: string) =>
        Array.from({ length: pieces }, (_, i) =>
          piece(name, i)).join("")
      assert.isTrue(text === all("out"), "the output is as it was written")
      assert.isTrue(errorText === all("err"), "the error output is as it was written")
    }))
})
