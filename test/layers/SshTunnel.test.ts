import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import { leavesNothing } from "../support/leaks.ts"
import { type Answer, keepsPathsApart } from "../support/memoisation.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { closedPort, rawServer, receiveAll, temporaryFolder } from "../support/servers.ts"
import { connected, secret, sshServer, until } from "../support/ssh.ts"
import { generateKey, make } from "../support/sshPeer.ts"
import { read, readAll, stuffed, write } from "../support/streams.ts"

const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
) =>
  it.live(
    title,
    () => leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer)))
  )

/** A server of this machine that sends everything back, and then the end. */
const echoServer = Effect.fnUntraced(function*(path?: string) {
  const server = yield* rawServer(path)
  yield* Effect.forkScoped(Effect.forever(Effect.map(server.next, (socket) => socket.pipe(socket))))
  return server
})

/** The Dialer that dials from the server. */
const through = Effect.fnUntraced(function*(settings: SshSettings.SshSettings) {
  const below = Layer.succeed(Dialer.Dialer, yield* Dialer.Dialer)
  const context = yield* Layer.build(Layer.provide(SshTunnel.layer(settings), below))
  return Context.get(context, Dialer.Dialer)
})

describeOnNetworks("SshTunnel.layer", (test) => {
  test("dials from the server, many at a time in one session", () =>
    Effect.gen(function*() {
      const echo = yield* echoServer()
      const { connections, logins, settings } = yield* sshServer()
      const dialer = yield* through(settings)
      const texts = ["one", "two", "three"]
      const answers = yield* Effect.forEach(texts, (text) =>
        Effect.gen(function*() {
          const duplex = yield* dialer.dial(echo.address)
          duplex.end(text)
          return yield* readAll(duplex)
        }), { concurrency: "unbounded" })
      assert.deepStrictEqual(
        answers.map(({ bytes, ending }) => [bytes.toString(), ending]),
        texts.map((text) => [text, "end"])
      )
      assert.deepStrictEqual([connections(), logins()], [1, 1])
    }))

  test("dials through a server behind a server", () =>
    Effect.gen(function*() {
      const echo = yield* echoServer()
      const outer = yield* sshServer()
      const inner = yield* make({ password: Redacted.value(secret) })
      const settings = {
        ...outer.settings,
        port: inner.port,
        hostKeys: HostKeys.fingerprint(inner.hostKeyFingerprint)
      }
      const dialer = yield* Effect.provideServiceEffect(through(settings), Dialer.Dialer, through(outer.settings))
      const duplex = yield* dialer.dial(echo.address)
      duplex.end("far away")
      assert.strictEqual((yield* readAll(duplex)).bytes.toString(), "far away")
    }))
})

describe("SshTunnel's streams", () => {
  test("lead to unix sockets too", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/echo.sock`
      yield* echoServer(path)
      const { settings } = yield* sshServer()
      const duplex = yield* (yield* through(settings)).dial({ path })
      duplex.end("local")
      assert.strictEqual((yield* readAll(duplex)).bytes.toString(), "local")
    }))

  test("keep the Dialer's contract: not flowing, half-open, a late error harms nobody", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const { settings } = yield* sshServer()
      const duplex = yield* (yield* through(settings)).dial(raw.address)
      const socket = yield* raw.next
      assert.isNull(duplex.readableFlowing)
      assert.isTrue(duplex.allowHalfOpen)
      assert.isAbove(duplex.listenerCount("error"), 0)
      // our end first: what the server still says arrives
      duplex.end("question")
      const { bytes } = yield* readAll(socket)
      assert.strictEqual(bytes.toString(), "question")
      socket.end("answer")
      assert.strictEqual((yield* readAll(duplex)).bytes.toString(), "answer")
      duplex.destroy(new Error("late"))
    }))

  test("carry what is written before the scope closes, and close with it", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const { settings } = yield* sshServer()
      const dialer = yield* through(settings)
      const bytes = Buffer.alloc(3_000_000, "abcdefg")
      const received = yield* Effect.forkChild(Effect.flatMap(raw.next, receiveAll))
      yield* Effect.scoped(Effect.map(dialer.dial(raw.address), (duplex) => duplex.write(bytes)))
      assert.isTrue((yield* Fiber.join(received)).equals(bytes))
    }))

  test("hold the far end back while nobody reads", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const { settings } = yield* sshServer()
      const duplex = yield* (yield* through(settings)).dial(raw.address)
      const socket = yield* raw.next
      const bytes = Buffer.alloc(12_000_000, "0123456789")
      socket.end(bytes)
      duplex.once("readable", () => {})
      yield* stuffed(duplex)
      // ssh2's buffers and windows, and those of the system, hold some of it
      yield* until(() => socket.writableLength > 0)
      assert.isFalse(socket.writableFinished)
      assert.isBelow(duplex.readableLength, 200_000)
      duplex.removeAllListeners("readable")
      const all = yield* readAll(duplex)
      assert.isTrue(all.bytes.equals(bytes))
      assert.strictEqual(all.ending, "end")
    }))

  test("fail a write that the far end will not take any more", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const { settings } = yield* sshServer()
      const duplex = yield* (yield* through(settings)).dial(raw.address)
      const socket = yield* raw.next
      assert.strictEqual(yield* write(duplex, "hello"), "ok")
      socket.destroy()
      duplex.resume()
      const writing = Effect.repeat(write(duplex, Buffer.alloc(65_536)), { while: (outcome) => outcome === "ok" })
      assert.include(yield* writing, "EPIPE")
    }))

  test("end with an error when the session is lost, and nothing is dialled any more", () =>
    Effect.gen(function*() {
      const echo = yield* echoServer()
      const { kill, settings } = yield* sshServer()
      const dialer = yield* through(settings)
      const idle = yield* dialer.dial(echo.address)
      const duplex = yield* dialer.dial(echo.address)
      yield* write(duplex, "before")
      assert.strictEqual((yield* read(duplex, 6)).toString(), "before")
      const reading = yield* Effect.forkChild(readAll(duplex))
      const pending = yield* Effect.forkChild(reasonOf(dialer.dial("stalled.test:1")), { startImmediately: true })
      yield* kill
      assert.include((yield* Fiber.join(reading)).ending, "ECONNRESET")
      yield* until(() => idle.destroyed)
      assert.include(idle.errored?.message, "the SSH connection is gone")
      assert.strictEqual((yield* Fiber.join(pending))["_tag"], "TunnelRefused")
      assert.strictEqual((yield* reasonOf(dialer.dial(echo.address)))["_tag"], "TunnelRefused")
    }))
})

describe("SshTunnel's dials", () => {
  test("say which hop did not reach the target", () =>
    Effect.gen(function*() {
      const port = yield* closedPort
      const { settings } = yield* sshServer()
      const dialer = yield* through(settings)
      const hop = `ssh demo@127.0.0.1:${settings.port}`
      for (const [target, why] of [[`127.0.0.1:${port}`, "Refused"], ["elsewhere.test:80", "TunnelRefused"]] as const) {
        const error = yield* Effect.flip(dialer.dial(target))
        assert.deepInclude(error, { target, hop })
        assert.strictEqual(error.reason._tag, why)
      }
      const error = yield* Effect.flip(dialer.dial("no port"))
      assert.deepInclude(error, { target: "no port", hop })
      assert.strictEqual(error.reason._tag, "InvalidTarget")
    }))

  test("give up in time, and can be interrupted", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const dialer = yield* through(settings)
      const reason = yield* reasonOf(dialer.dial("stalled.test:1", { connectTimeout: "20 millis" }))
      assert.deepInclude(reason, { _tag: "ConnectTimeout", after: Duration.millis(20) })
      const dialling = yield* Effect.forkChild(dialer.dial("stalled.test:1"), { startImmediately: true })
      yield* Fiber.interrupt(dialling)
    }))

  test("keep to the time of the Dialer below where nobody says otherwise", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.deepStrictEqual(session.dialer.connectTimeout, (yield* Dialer.Dialer).connectTimeout)
    }))
})

describe("SshTunnel.layer's session", () => {
  test("lives as long as the layer", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const scope = yield* Scope.make()
      yield* Scope.provide(through(settings), scope)
      assert.strictEqual(connections(), 1)
      yield* Scope.close(scope, Exit.void)
      yield* until(() => connections() === 0)
    }))

  test("is not there when it cannot be opened", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const wrong = { ...settings, auth: SshAuth.password(Redacted.make("wrong")) }
      const reason = yield* reasonOf(through(wrong))
      assert.strictEqual(reason["_tag"], "AuthenticationFailed")
      yield* until(() => connections() === 0)
    }))
})

const hostKey = generateKey().private
const bastion: SshSettings.SshSettings = {
  host: "bastion.test",
  username: "demo",
  auth: SshAuth.password(secret),
  hostKeys: HostKeys.insecureAcceptAny
}
/** Where the path ends there is a server of this machine, whatever was dialled. */
const toServer: Answer = () =>
  Effect.gen(function*() {
    const server = yield* make({ password: Redacted.value(secret), hostKeys: [hostKey] })
    const direct = yield* Effect.provide(Dialer.Dialer, Dialer.layer)
    return yield* direct.dial({ host: "127.0.0.1", port: server.port })
  })

keepsPathsApart("SshTunnel.layer", () => SshTunnel.layer(bastion), toServer)
