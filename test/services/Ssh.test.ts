import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import type { Socket } from "node:net"
import type { DialError } from "../../src/errors/DialError.ts"
import type { SshError } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import { leavesNothing } from "../support/leaks.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { closedBy, closedPort, rawServer, temporaryFolder } from "../support/servers.ts"
import { connect, secret, sshServer, until } from "../support/ssh.ts"
import { generateKey } from "../support/sshPeer.ts"

type Body = () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>

const test = (title: string, body: Body) =>
  it.live(
    title,
    () => leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer)))
  )

const wrong = SshAuth.password(Redacted.make("battery staple"))

/** A key in a file, as text and as a line of authorized_keys. */
const keyFile = Effect.fnUntraced(function*(passphrase?: Redacted.Redacted) {
  const key = generateKey(passphrase)
  const file = `${yield* temporaryFolder}/id_ed25519`
  Fs.writeFileSync(file, key.private)
  return { ...key, file }
})

describeOnNetworks("Ssh", (test) => {
  test("logs in with a password and with a key", () =>
    Effect.gen(function*() {
      const key = yield* keyFile()
      const { settings } = yield* sshServer({ authorizedKeys: [key.public] })
      const { execute } = Ssh.make(yield* Dialer.Dialer)
      const auth = SshAuth.privateKey({ key: key.file })
      assert.strictEqual((yield* execute(settings, "echo password")).text, "password\n")
      assert.strictEqual((yield* execute({ ...settings, auth }, "echo key")).text, "key\n")
    }))

  test("leaves no connection behind when the login is refused", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const reason = yield* reasonOf(connect({ ...settings, auth: wrong }))
      assert.deepStrictEqual(reason, { _tag: "AuthenticationFailed", tried: ["password"], remaining: ["password"] })
      yield* until(() => connections() === 0)
    }))
})

describe("Ssh's login", () => {
  test("takes a key as text, as bytes or from a file, with its passphrase", () =>
    Effect.gen(function*() {
      const plain = yield* keyFile()
      const passphrase = Redacted.make("open sesame")
      const locked = yield* keyFile(passphrase)
      const { settings } = yield* sshServer({ authorizedKeys: [plain.public, locked.public] })
      const ways = [
        SshAuth.privateKey({ key: plain.private }),
        SshAuth.privateKey({ key: Redacted.make(plain.private) }),
        SshAuth.privateKey({ key: new TextEncoder().encode(plain.private) }),
        SshAuth.privateKey({ key: plain.file }),
        SshAuth.privateKey({ key: locked.file, passphrase })
      ]
      for (const auth of ways) {
        const session = yield* connect({ ...settings, auth })
        assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
      }
    }))

  test("tries several ways in order, and does not offer what the server does not accept", () =>
    Effect.gen(function*() {
      const key = yield* keyFile()
      const { settings } = yield* sshServer()
      const other = SshAuth.privateKey({ key: key.private })
      const session = yield* connect({ ...settings, auth: [wrong, other, SshAuth.password(secret)] })
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
      const reason = yield* reasonOf(connect({ ...settings, auth: [SshAuth.none, other, wrong] }))
      assert.deepStrictEqual(reason, {
        _tag: "AuthenticationFailed",
        tried: ["none", "password"],
        remaining: ["password"]
      })
    }))

  test("gives a server that wants two things both, in its order", () =>
    Effect.gen(function*() {
      const key = yield* keyFile()
      const { settings } = yield* sshServer({ authorizedKeys: [key.public], bothRequired: true })
      const auth = [SshAuth.password(secret), SshAuth.privateKey({ key: key.private })]
      const session = yield* connect({ ...settings, auth })
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
      const reason = yield* reasonOf(connect({ ...settings, auth: [SshAuth.privateKey({ key: key.private }), wrong] }))
      assert.strictEqual(reason["_tag"], "AuthenticationFailed")
      assert.match(String(reason["tried"]), /^publickey \(SHA256:\S+ the given text\),password$/)
      assert.deepStrictEqual(reason["remaining"], ["password"])
    }))

  test("says what is wrong with a key before it dials", () =>
    Effect.gen(function*() {
      const { file, public: publicKey } = yield* keyFile(Redacted.make("open sesame"))
      const settings = { host: "127.0.0.1", port: 1, username: "demo" }
      const detailOf = (options: SshAuth.PrivateKeyOptions) =>
        Effect.map(
          reasonOf(connect({ ...settings, auth: [SshAuth.none, SshAuth.privateKey(options)] })),
          (reason) => `${String(reason["_tag"])}: ${String(reason["detail"])}`
        )
      assert.match(yield* detailOf({ key: file }), /^KeyUnreadable: the file ".*id_ed25519" is encrypted: give its/)
      assert.match(
        yield* detailOf({ key: file, passphrase: Redacted.make("wrong") }),
        /^KeyUnreadable: .* cannot be decrypted: the passphrase is wrong$/
      )
      assert.match(yield* detailOf({ key: `${file}.not` }), /^KeyUnreadable: cannot read the file ".*not" \(ENOENT\)$/)
      assert.match(
        yield* detailOf({ key: new TextEncoder().encode(publicKey) }),
        /^KeyUnreadable: .* is a public key, /
      )
      assert.match(yield* detailOf({ key: "-----BEGIN NONSENSE-----" }), /^KeyUnreadable: .* no private key in a known/)
    }))

  test("says that a password has to be changed", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer({ passwordExpired: true })
      assert.deepInclude(yield* reasonOf(connect(settings)), {
        _tag: "AuthenticationFailed",
        tried: ["password (it has to be changed)"]
      })
    }))

  test("keeps secrets out of errors", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const error = yield* Effect.flip(connect({ ...settings, auth: wrong }))
      assert.notInclude(`${error.message} ${error.stack} ${JSON.stringify(error)}`, "staple")
      assert.include(error.message, "authentication failed: tried password; the server accepts password")
    }))
})

/** A peer that is not an SSH server: it does one thing to whoever connects. */
const peer = Effect.fnUntraced(function*(serve: (socket: Socket) => void) {
  const server = yield* rawServer()
  yield* Effect.forkScoped(Effect.forever(Effect.map(server.next, serve)))
  return { host: "127.0.0.1", port: server.port, username: "demo", auth: SshAuth.none }
})

describe("Ssh's handshake", () => {
  test("gives up on a server that says nothing", () =>
    Effect.gen(function*() {
      const settings = yield* peer((socket) => socket.resume())
      const reason = yield* reasonOf(connect({ ...settings, handshakeTimeout: "30 millis" }))
      assert.deepStrictEqual(reason, {
        _tag: "HandshakeTimeout",
        after: Duration.millis(30),
        phase: "the server's identification"
      })
    }))

  it.effect("gives up on a server that stops in the middle", () =>
    leavesNothing(Effect.provide(
      Effect.scoped(Effect.gen(function*() {
        /** What the handshake waits for, once the server has come so far. */
        const phaseOf = Effect.fnUntraced(function*(settings: SshSettings.SshSettings, hasStopped: () => boolean) {
          const connecting = yield* Effect.forkChild(reasonOf(connect(settings)))
          yield* until(hasStopped)
          yield* TestClock.adjust("20 seconds")
          return (yield* Fiber.join(connecting))["phase"]
        })
        let received = 0
        const dumb = yield* peer((socket) => {
          socket.on("data", (chunk) => received += chunk.length).resume().write("SSH-2.0-dumb\r\n")
        })
        // its own identification, and then an offer of algorithms in answer to ours
        assert.strictEqual(yield* phaseOf(dumb, () => received > 100), "the server's host key")

        const { logins, settings } = yield* sshServer({ stallLogin: true })
        let asked = false
        const hostKeys = HostKeys.make(() => Effect.andThen(Effect.sync(() => asked = true), Effect.never))
        assert.strictEqual(yield* phaseOf({ ...settings, hostKeys }, () => asked), "the host key to be verified")
        assert.strictEqual(yield* phaseOf(settings, () => logins() === 1), "the login")
      })),
      Layer.merge(Dialer.layer, Listener.layer)
    )))

  test("says what a peer sent that does not speak SSH", () =>
    Effect.gen(function*() {
      const settings = yield* peer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
      const reason = yield* reasonOf(connect(settings))
      assert.strictEqual(reason["_tag"], "HandshakeFailed")
      assert.include(reason["detail"], "does not speak SSH but sent \"HTTP/1.1 400 Bad Request\\r\\n\\r\\n\"")
    }))

  test("does not listen for ever to a peer that does not speak SSH", () =>
    Effect.gen(function*() {
      for (const babble of ["x".repeat(1000), "words\r\n".repeat(1000)]) {
        const settings = yield* peer((socket) => {
          const more = () => {
            while (socket.write(babble));
            socket.once("drain", more)
          }
          more()
        })
        assert.include((yield* reasonOf(connect(settings)))["detail"], "too much that is not an SSH identification")
      }
    }))

  test("fails when the server hangs up, at once or in the middle", () =>
    Effect.gen(function*() {
      for (const word of ["", "SSH-2.0-rude\r\n", "SSH-1.5-old\r\n"]) {
        const settings = yield* peer((socket) => socket.resume().end(word))
        assert.strictEqual((yield* reasonOf(connect(settings)))["_tag"], "HandshakeFailed")
      }
    }))

  test("leaves the errors of the way there as they are", () =>
    Effect.gen(function*() {
      const port = yield* closedPort
      const error = yield* Effect.flip(connect({ host: "127.0.0.1", port, username: "demo", auth: SshAuth.none }))
      assert.strictEqual(error._tag, "DialError")
      assert.strictEqual(error.reason._tag, "Refused")
    }))

  test("can be interrupted while it waits, for whatever it waits", () =>
    Effect.gen(function*() {
      const raw = yield* rawServer()
      const silent: SshSettings.SshSettings = {
        host: "127.0.0.1",
        port: raw.port,
        username: "demo",
        auth: SshAuth.none
      }
      const connecting = yield* Effect.forkChild(connect(silent))
      const socket = yield* raw.next
      yield* Fiber.interrupt(connecting)
      yield* closedBy(socket)

      const { connections, settings } = yield* sshServer({ stallLogin: true })
      const undecided = HostKeys.make(() => Effect.never)
      for (const step of [{}, { hostKeys: undecided }]) {
        const waiting = yield* Effect.forkChild(connect({ ...settings, ...step }))
        yield* until(() => connections() === 1)
        yield* Fiber.interrupt(waiting)
        yield* until(() => connections() === 0)
      }
    }))

  test("closes what it opened when the scope is closed, half-way too", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      yield* Effect.scoped(connect(settings))
      yield* until(() => connections() === 0)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Effect.forkScoped(connect({ ...settings, hostKeys: HostKeys.make(() => Effect.never) }))
        yield* until(() => connections() === 1)
      }))
      yield* until(() => connections() === 0)
    }))
})

describe("Ssh.layer", () => {
  test("gives the service over the Dialer below", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const run: Effect.Effect<string, DialError | SshError, Ssh.Ssh> = Effect.map(
        Ssh.Ssh.use((ssh) => ssh.execute(settings, "echo layer")),
        ({ text }) => text
      )
      assert.strictEqual(yield* Effect.provide(run, Ssh.layer.pipe(Layer.provide(Dialer.layer))), "layer\n")
    }))
})
