import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Proxy from "../../src/layers/Proxy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import type { SshSession } from "../../src/services/SshSession.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import { reasonOf } from "../support/reason.ts"
import { until } from "../support/ssh.ts"
import { Danted } from "./support/danted.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"
import { services } from "./support/peer.ts"
import { Squid } from "./support/squid.ts"
import { sshdWith } from "./support/sshdWith.ts"

const connectTo = (settings: SshSettings.SshSettings) => Effect.flatMap(Ssh.Ssh, (ssh) => ssh.connect(settings))
const connect = Effect.flatMap(sshSettings(), connectTo)

/** The process that serves a session: the parent of its shells. */
const served = Effect.fnUntraced(function*(session: SshSession) {
  return Number((yield* session.execute("echo $PPID")).text)
})

/** Everything that a session can be in the middle of, ready to be told that it is gone. */
const users = Effect.fnUntraced(function*(session: SshSession) {
  const seen = new Set<string>()
  const reading = (name: string, stream: Stream.Stream<Uint8Array, { readonly reason: object }>) =>
    reasonOf(Stream.runForEach(stream, () => Effect.sync(() => void seen.add(name))))
  const talking = yield* session.exec("while :; do echo talking; sleep 0.01; done")
  const reader = yield* session.exec("echo started; sleep 60")
  const writer = yield* session.exec("echo started; cat > /dev/null")
  const shell = yield* session.shell()
  const subsystem = yield* session.subsystem("sftp")
  const zeros = Stream.forever(Stream.succeed(new Uint8Array(65_536)))
  const waiting = yield* Effect.forkChild(Effect.all([
    reading("talking", talking.stdout),
    reading("reader", reader.stdout),
    reasonOf(reader.exit),
    reasonOf(reader.closed),
    reading("writer", writer.stdout),
    reasonOf(Stream.run(zeros, writer.stdin)),
    reasonOf(Stream.run(Stream.never, writer.stdin)),
    reading("shell", shell.connection.reads),
    reasonOf(shell.exit),
    reasonOf(subsystem.connection.readExactly(1)),
    reasonOf(session.execute("cat", { stdin: Stream.never }))
  ], { concurrency: "unbounded" }))
  yield* until(() => seen.size === 4)
  return { told: Effect.map(Fiber.join(waiting), (reasons) => reasons.map(({ _tag }) => _tag)) }
})

/** What all of them are told; a `Connection` says it in its own words. */
const toldAll = [
  ...Array.from({ length: 7 }, () => "ConnectionLost"),
  "Reset",
  "ConnectionLost",
  "Reset",
  "ConnectionLost"
]

const networks = Layer.mergeAll(OpenSsh.layer, Danted.layer, Squid.layer, services)

layer(networks, { excludeTestServices: true, timeout: "120 seconds" })("SSH sessions that are lost", (it) => {
  const direct = Effect.provide(Ssh.layer.pipe(Layer.provide(Dialer.layer)))

  it.effect("tell everybody who is in the middle of something, at once", () =>
    Effect.gen(function*() {
      const session = yield* connect
      const pid = yield* served(session)
      const { told } = yield* users(session)
      process.kill(pid, "SIGKILL")
      assert.deepStrictEqual(yield* told, toldAll)
      assert.strictEqual((yield* session.closed)._tag, "ConnectionLost")
      for (const attempt of [session.execute("true"), session.shell(), session.subsystem("sftp"), session.rekey]) {
        assert.strictEqual((yield* reasonOf(attempt))["_tag"], "ConnectionLost")
      }
    }).pipe(direct))

  it.effect("do so through SOCKS5 and HTTP CONNECT", () =>
    Effect.gen(function*() {
      const danted = yield* Danted
      const squid = yield* Squid
      const proxies = [`socks5://${danted.host}:${danted.port}`, `http://${squid.host}:${squid.openPort}`]
      for (const proxy of proxies) {
        yield* Effect.gen(function*() {
          const session = yield* connect
          assert.strictEqual((yield* session.execute("cat", { stdin: "through" })).text, "through")
          const pid = yield* served(session)
          const { told } = yield* users(session)
          process.kill(pid, "SIGKILL")
          assert.deepStrictEqual(yield* told, toldAll)
        }).pipe(
          Effect.scoped,
          Effect.provide(Ssh.layer.pipe(Layer.provide(Proxy.layer(proxy)), Layer.provide(Dialer.layer)))
        )
      }
    }))

  it.effect("are lost when the server does not answer any more", () =>
    Effect.gen(function*() {
      const session = yield* connectTo(yield* sshSettings({ keepAlive: "100 millis", keepAliveCount: 2 }))
      const pid = yield* served(session)
      const waiting = yield* Effect.forkChild(reasonOf(session.execute("sleep 60")), { startImmediately: true })
      process.kill(pid, "SIGSTOP")
      assert.deepInclude(yield* Fiber.join(waiting), { _tag: "ConnectionLost", detail: "Keepalive timeout" })
      process.kill(pid, "SIGKILL")
    }).pipe(direct))

  it.effect("are not lost while the server sends more than fits on the way", () =>
    Effect.gen(function*() {
      const session = yield* connectTo(yield* sshSettings({ keepAlive: "20 millis", keepAliveCount: 2 }))
      const { stdout } = yield* session.exec("head -c 20000000 /dev/zero")
      const slowly = Stream.mapEffect(stdout, (chunk) => Effect.as(Effect.sleep("1 millis"), chunk.length))
      assert.strictEqual(yield* Stream.run(slowly, Sink.sum), 20_000_000)
    }).pipe(direct))
})

layer(OpenSsh.layer, { excludeTestServices: true, timeout: "120 seconds" })("A server's limit of sessions", (it) => {
  const direct = Effect.provide(Ssh.layer.pipe(Layer.provide(Dialer.layer)))

  it.effect("is kept by waiting, in the order in which they came", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("MaxSessions 3")
      const session = yield* connectTo(settings)
      const order = yield* Queue.unbounded<number>()
      const ran = yield* Effect.forEach(
        Array.from({ length: 40 }, (_, i) => i),
        (i) =>
          Effect.flatMap(session.exec("sleep 0.01; ps -o pid= --ppid $PPID | wc -l"), (command) =>
            Effect.gen(function*() {
              yield* Queue.offer(order, i)
              const text = yield* Stream.mkString(Stream.decodeText(command.stdout))
              return Number(text)
            })).pipe(Effect.scoped),
        { concurrency: "unbounded" }
      )
      // the shells of this connection at any one time
      assert.isAtMost(Math.max(...ran), 3)
      assert.deepStrictEqual(
        yield* Queue.takeN(order, 40),
        Array.from({ length: 40 }, (_, i) =>
          i)
      )
    }).pipe(direct))

  it.effect("holds up the one more until another one ends, also where it is the shell that ends", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("MaxSessions 2")
      const session = yield* connectTo(settings)
      const shell = yield* session.shell()
      yield* session.subsystem("sftp")
      const third = yield* Effect.forkChild(session.execute("echo third"), { startImmediately: true })
      const late = yield* reasonOf(session.execute("true", { timeout: "200 millis" }))
      assert.strictEqual(late["_tag"], "CommandTimeout")
      const given = yield* Effect.forkChild(session.execute("echo given up"), { startImmediately: true })
      yield* Fiber.interrupt(given)
      yield* shell.connection.write("exit\n")
      assert.strictEqual((yield* Fiber.join(third)).text, "third\n")
      // one after the other, each at once after the one before
      for (let i = 0; i < 20; i++) assert.isTrue((yield* session.execute("true")).succeeded)
    }).pipe(direct))

  it.effect("ends the wait when the connection is lost", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("MaxSessions 1")
      const session = yield* connectTo(settings)
      const pid = yield* served(session)
      yield* session.exec("sleep 60")
      const waiting = yield* Effect.forkChild(
        Effect.all([reasonOf(session.execute("true")), reasonOf(session.shell())], { concurrency: 2 }),
        { startImmediately: true }
      )
      yield* Effect.sleep("50 millis")
      process.kill(pid, "SIGKILL")
      assert.deepStrictEqual((yield* Fiber.join(waiting)).map(({ _tag }) => _tag), ["ConnectionLost", "ConnectionLost"])
    }).pipe(direct))

  it.effect("is an error where it is none at all", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("MaxSessions 0")
      const session = yield* connectTo(settings)
      const refused = yield* Effect.all(Array.from({ length: 5 }, () => reasonOf(session.execute("true"))), {
        concurrency: "unbounded"
      })
      for (const reason of refused) assert.deepInclude(reason, { _tag: "ChannelRefused", code: 2 })
    }).pipe(direct))
})
