import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Connection from "../../src/services/Connection.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import { pattern } from "../support/connections.ts"
import { describeParity } from "../support/network.ts"
import { failureOf, lineOf } from "../support/parity.ts"
import { connect, connected, sshServer, until } from "../support/ssh.ts"

const ssh = "ssh demo@127.0.0.1:port:"

describeParity("SSH", (test) => {
  test("runs commands, with what they say and how they end", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const said = yield* session.execute("echo hello")
      assert.deepStrictEqual([String(Buffer.from(said.stdout)), said.exitCode], ["hello\n", Option.some(0)])
      const failed = yield* session.execute("stderr alas")
      assert.deepStrictEqual([failed.stdout.length, String(Buffer.from(failed.stderr)), failed.exitCode], [
        0,
        "alas\n",
        Option.some(1)
      ])
    }))

  test("carries much in and out of a command", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      const bytes = pattern(100_000)
      const { stdout } = yield* session.execute("cat", { stdin: bytes })
      assert.isTrue(bytes.equals(stdout))
    }))

  test("refuses a login, and rejects a host key", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const wrong = { ...settings, auth: SshAuth.password(Redacted.make("wrong")) }
      assert.strictEqual(
        yield* lineOf(connect(wrong)),
        `SshError: AuthenticationFailed: ${ssh} authentication failed: tried password; the server accepts password`
      )
      const expected = `SHA256:${"A".repeat(43)}`
      const { fingerprint, message, ...told } = yield* failureOf(
        connect({ ...settings, hostKeys: HostKeys.fingerprint(expected) })
      )
      assert.deepStrictEqual(told, {
        error: "SshError: HostKeyRejected",
        host: "[127.0.0.1]:port",
        keyType: "ssh-ed25519",
        why: "changed",
        detail: `expected ${expected}`
      })
      assert.strictEqual(
        message,
        `${ssh} the host key of [127.0.0.1]:port is changed: it showed ssh-ed25519 ${
          String(fingerprint)
        }; expected ${expected}`
      )
    }))

  test("tells of a peer that says nothing, hangs up or speaks something else", () =>
    Effect.gen(function*() {
      const server = yield* sshServer()
      const { accept, address } = yield* Listener.Listener.use((listener) => listener.bind("127.0.0.1:0"))
      const settings = { ...server.settings, port: "port" in address ? address.port : 0 }
      const answering = (answer: (connection: Connection.Connection) => Effect.Effect<unknown, unknown>) =>
        Effect.forkScoped(Effect.scoped(Effect.gen(function*() {
          yield* answer(yield* Connection.fromDuplex(yield* accept))
        })))
      yield* answering((connection) => connection.closed)
      assert.strictEqual(
        yield* lineOf(connect({ ...settings, handshakeTimeout: "50 millis" })),
        `SshError: HandshakeTimeout: ${ssh} timed out after 50ms while waiting for the server's identification`
      )
      yield* answering((connection) => connection.closeWrite)
      assert.strictEqual(
        yield* lineOf(connect(settings)),
        `SshError: HandshakeFailed: ${ssh} the SSH handshake failed: Connection lost before handshake`
      )
      yield* answering((connection) => connection.write("220 mail.test ready\r\n"))
      assert.strictEqual(
        yield* lineOf(connect(settings)),
        `SshError: HandshakeFailed: ${ssh} the SSH handshake failed: Connection lost before handshake; `
          + "it does not speak SSH but sent \"220 mail.test ready\\r\\n\""
      )
    }))

  test("tells whoever uses a session that its connection is gone", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected()
      const running = yield* session.exec("wait")
      const users = yield* Effect.forkChild(
        Effect.all([lineOf(Stream.runDrain(running.stdout)), lineOf(running.exit)], { concurrency: "unbounded" })
      )
      yield* until(() => server.running() === 1)
      yield* server.kill
      const lost = `SshError: ConnectionLost: ${ssh} the SSH connection is gone: the server closed it`
      assert.deepStrictEqual(yield* Fiber.join(users), [lost, lost])
      assert.strictEqual(yield* lineOf(session.execute("echo hello")), lost)
    }))

  test("says what is wrong with a command", () =>
    Effect.gen(function*() {
      const { session } = yield* connected()
      assert.deepStrictEqual(
        yield* Effect.all([
          lineOf(session.execute("wait", { timeout: "50 millis" })),
          lineOf(session.execute("bytes 5000", { maxOutput: 1000 })),
          lineOf(session.execute("no-such-command")),
          lineOf(session.sftp)
        ]),
        [
          `SshError: CommandTimeout: ${ssh} the command had not ended after 50ms`,
          `SshError: OutputTooLarge: ${ssh} the command wrote more than 1000 bytes`,
          `SshError: ChannelRefused: ${ssh} the server refused: Unable to exec (0)`,
          `SshError: ChannelRefused: ${ssh} the server refused: Unable to start subsystem: sftp (0)`
        ]
      )
    }))
})
