import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { DialError, Refused } from "../../src/errors/DialError.ts"
import * as SshTunnel from "../../src/layers/SshTunnel.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import { leavesNothing } from "../support/leaks.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { describeOnNetworks } from "../support/network.ts"
import { closedPort, rawServer } from "../support/servers.ts"
import { connect, secret, sshServer, until } from "../support/ssh.ts"
import { generateKey, make, type SshServerOptions } from "../support/sshPeer.ts"
import { readAll } from "../support/streams.ts"

const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
) =>
  it.live(
    title,
    () => leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer)))
  )

/** A server behind others: those reach it on this machine's own loopback. */
const behind = Effect.fnUntraced(function*(options: SshServerOptions = {}) {
  const server = yield* make({ password: Redacted.value(secret), ...options })
  const settings: SshSettings.SshSettings = {
    host: "127.0.0.1",
    port: server.port,
    username: "demo",
    auth: SshAuth.password(secret),
    hostKeys: HostKeys.fingerprint(server.hostKeyFingerprint)
  }
  return { ...server, settings }
})

/** Connects to where it is told to, and passes everything on. */
const relay = `${process.execPath} -e 'const s=require("net").connect(+process.argv[2],process.argv[1]);` +
  `process.stdin.pipe(s).pipe(process.stdout)' %h %p`

const nameOf = ({ host, port }: SshSettings.SshSettings) => `ssh demo@${host}:${port}`

describeOnNetworks("Ssh through jump hosts", (test) => {
  test("dials each server from the one before, and closes them all with the scope", () =>
    Effect.gen(function*() {
      const gate = yield* sshServer()
      const bastion = yield* behind()
      const target = yield* behind()
      const scope = yield* Scope.make()
      const settings = { ...target.settings, jump: [gate.settings, bastion.settings] }
      const session = yield* Scope.provide(connect(settings), scope)
      assert.strictEqual((yield* session.execute("echo through")).text, "through\n")
      const servers = [gate, bastion, target]
      assert.deepStrictEqual(servers.map((server) => [server.connections(), server.logins()]), [[1, 1], [1, 1], [1, 1]])
      yield* Scope.close(scope, Exit.void)
      yield* until(() => servers.every((server) => server.connections() === 0))
    }))

  test("says which of them was lost", () =>
    Effect.gen(function*() {
      const gate = yield* sshServer()
      const bastion = yield* behind()
      const target = yield* behind()
      const session = yield* connect({ ...target.settings, jump: [gate.settings, bastion.settings] })
      const running = yield* Effect.forkChild(Effect.flip(session.execute("wait")))
      yield* until(() => target.running() === 1)
      yield* gate.kill
      const error = yield* Fiber.join(running)
      assert.strictEqual(error.server, nameOf(target.settings))
      assert.strictEqual(error.reason._tag, "ConnectionLost")
      assert.include(error.message, `${nameOf(bastion.settings)}: `)
      assert.include(error.message, `${nameOf(gate.settings)}: `)
      assert.include((yield* session.closed).message, nameOf(gate.settings))
    }))
})

describe("Ssh through jump hosts", () => {
  test("takes one as well as several, none, and servers with jump hosts of their own", () =>
    Effect.gen(function*() {
      const gate = yield* behind()
      const bastion = yield* behind()
      const target = yield* behind()
      const ways: ReadonlyArray<SshSettings.SshSettings["jump"]> = [
        [],
        gate.settings,
        { ...bastion.settings, jump: gate.settings },
        [gate.settings, { ...bastion.settings, jump: [] }]
      ]
      for (const jump of ways) {
        yield* Effect.scoped(Effect.flatMap(connect({ ...target.settings, jump }), ({ execute }) => execute("echo")))
      }
      assert.deepStrictEqual([gate.logins(), bastion.logins(), target.logins()], [3, 2, 4])
    }))

  test("verifies the key of each server with its own settings, and says which one is wrong", () =>
    Effect.gen(function*() {
      const gate = yield* behind()
      const bastion = yield* behind()
      const target = yield* behind()
      const impostor = HostKeys.fingerprint(gate.hostKeyFingerprint)
      const error = yield* Effect.flip(
        connect({ ...target.settings, jump: [gate.settings, { ...bastion.settings, hostKeys: impostor }] })
      )
      assert.strictEqual(error._tag === "SshError" ? error.server : "", nameOf(bastion.settings))
      assert.strictEqual(error.reason._tag, "HostKeyRejected")
      assert.strictEqual(target.logins() + bastion.logins(), 0)
      yield* until(() => gate.connections() + bastion.connections() === 0)
    }))

  test("says which server refused the login, or could not be reached from which", () =>
    Effect.gen(function*() {
      const gate = yield* behind()
      const target = yield* behind()
      const wrong = SshAuth.password(Redacted.make("wrong"))
      const refused = yield* Effect.flip(connect({ ...target.settings, jump: { ...gate.settings, auth: wrong } }))
      assert.strictEqual(refused._tag === "SshError" ? refused.server : "", nameOf(gate.settings))
      assert.strictEqual(refused.reason._tag, "AuthenticationFailed")
      const port = yield* closedPort
      const lost = yield* Effect.flip(connect({ ...target.settings, port, jump: gate.settings }))
      assert.deepInclude(lost, { _tag: "DialError", target: `127.0.0.1:${port}`, hop: nameOf(gate.settings) })
      const far = yield* Effect.flip(connect({ ...target.settings, jump: { ...gate.settings, port } }))
      assert.deepInclude(far, { _tag: "DialError", target: `127.0.0.1:${port}`, hop: "direct" })
      yield* until(() => gate.connections() === 0)
    }))

  test("finds out that the target's key is missing before it dials anything", () =>
    Effect.gen(function*() {
      const gate = yield* behind()
      const auth = SshAuth.privateKey({ key: "/nowhere/id" })
      const error = yield* Effect.flip(connect({ host: "db.test", username: "demo", auth, jump: gate.settings }))
      assert.strictEqual(error.reason._tag, "KeyUnreadable")
      assert.strictEqual(gate.logins(), 0)
    }))

  for (const stalled of ["gate", "bastion", "target"] as const) {
    test(`leaves nothing open when it is interrupted while the ${stalled} is silent`, () =>
      Effect.gen(function*() {
        const options = (name: string) => ({ stallLogin: name === stalled })
        const gate = yield* behind(options("gate"))
        const bastion = yield* behind(options("bastion"))
        const target = yield* behind(options("target"))
        const servers = { gate, bastion, target }
        const connecting = yield* Effect.forkChild(
          connect({ ...target.settings, jump: [gate.settings, bastion.settings] })
        )
        yield* until(() => servers[stalled].logins() === 1)
        yield* Fiber.interrupt(connecting)
        yield* until(() => Object.values(servers).every((server) => server.connections() === 0))
      }))
  }

  test("goes by a command to the first of them", () =>
    Effect.gen(function*() {
      const gate = yield* behind()
      const target = yield* behind()
      const session = yield* connect({ ...target.settings, jump: gate.settings, proxyCommand: relay })
      assert.strictEqual((yield* session.execute("echo all")).text, "all\n")
      assert.deepStrictEqual([gate.connections(), target.connections()], [1, 1])
    }))
})

describe("SshTunnel.layer with jump hosts", () => {
  test("dials from the last of them, and by a command to the first", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      yield* Effect.forkScoped(Effect.forever(Effect.map(raw.next, (socket) => socket.pipe(socket))))
      const gate = yield* behind()
      const bastion = yield* behind()
      for (const proxyCommand of [undefined, relay]) {
        const settings = { ...bastion.settings, jump: gate.settings, proxyCommand }
        const layer = SshTunnel.layer(settings).pipe(Layer.provide(Dialer.layer))
        const dialer = Context.get(yield* Layer.build(layer), Dialer.Dialer)
        const duplex = yield* dialer.dial(raw.address)
        duplex.end("far away")
        assert.strictEqual((yield* readAll(duplex)).bytes.toString(), "far away")
      }
    }))
})

const key = generateKey().private
const jumping: SshSettings.SshSettings = {
  host: "bastion.test",
  username: "demo",
  auth: SshAuth.password(secret),
  hostKeys: HostKeys.insecureAcceptAny,
  jump: {
    host: "gate.test",
    username: "demo",
    auth: SshAuth.password(secret),
    hostKeys: HostKeys.insecureAcceptAny
  }
}

// the way ends at the first server, which does not know the second
keepsPathsApart("SshTunnel.layer with a jump host", () => SshTunnel.layer(jumping), () =>
  Effect.gen(function*() {
    const server = yield* make({ password: Redacted.value(secret), hostKeys: [key] })
    const direct = yield* Effect.provide(Dialer.Dialer, Dialer.layer)
    return yield* direct.dial({ host: "127.0.0.1", port: server.port })
  }))

describe("connectionAttempts", () => {
  const settings = { host: "db.test", username: "demo", auth: SshAuth.none, hostKeys: HostKeys.insecureAcceptAny }

  it.effect("are made with a second between", () =>
    Effect.gen(function*() {
      let dials = 0
      const third = yield* Deferred.make<void>()
      const dialer: Dialer.Dialer["Service"] = {
        connectTimeout: Duration.seconds(1),
        dial: () =>
          Effect.suspend(() => {
            if (++dials === 3) Deferred.doneUnsafe(third, Effect.void)
            return Effect.fail(
              new DialError({ target: "db.test:22", hop: "direct", reason: new Refused({ address: "db.test:22" }) })
            )
          })
      }
      const connecting = yield* Effect.forkChild(
        Effect.flip(Effect.scoped(Ssh.make(dialer).connect({ ...settings, connectionAttempts: 3 })))
      )
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(dials, 1)
      yield* TestClock.adjust("1 milli")
      assert.strictEqual(dials, 2)
      yield* TestClock.adjust("1 second")
      yield* Deferred.await(third)
      assert.strictEqual((yield* Fiber.join(connecting)).reason._tag, "Refused")
      assert.strictEqual(dials, 3)
    }))
})
