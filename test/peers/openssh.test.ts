import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { DialError } from "../../src/errors/DialError.ts"
import type { SshError } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import { OpenSsh, sshSettings } from "./support/openssh.ts"
import { run, services } from "./support/peer.ts"

const connect = Effect.fnUntraced(function*(changes?: Partial<SshSettings.SshSettings>) {
  const ssh = yield* Ssh.Ssh
  return yield* ssh.connect(yield* sshSettings(changes))
})

const whoAmI = Effect.fnUntraced(function*(auth: SshSettings.SshSettings["auth"]) {
  const ssh = yield* Ssh.Ssh
  return (yield* ssh.execute(yield* sshSettings({ auth }), "id -un")).text.trimEnd()
})

const reasonOf = <A, R>(effect: Effect.Effect<A, DialError | SshError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag === "SshError" ? error.reason : assert.fail(error.message))

const peers = Layer.mergeAll(OpenSsh.layer, Ssh.layer.pipe(Layer.provide(Dialer.layer)), services)

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("OpenSSH", (it) => {
  it.effect("logs in with a password that has a space and a letter that is not ASCII", () =>
    Effect.gen(function*() {
      const { password, username } = yield* OpenSsh
      assert.strictEqual(yield* whoAmI(SshAuth.password(Redacted.make(password))), username)
    }))

  it.effect("logs in with keys of each type, also with one that is encrypted", () =>
    Effect.gen(function*() {
      const { keys, passphrase, username } = yield* OpenSsh
      for (const key of [keys.ed25519, keys.rsa, keys.ecdsa]) {
        assert.strictEqual(yield* whoAmI(SshAuth.privateKey({ key })), username)
      }
      const encrypted = SshAuth.privateKey({ key: keys.encrypted, passphrase: Redacted.make(passphrase) })
      assert.strictEqual(yield* whoAmI(encrypted), username)
    }))

  it.effect("tries one way to log in after the other", () =>
    Effect.gen(function*() {
      const { keys, password, username } = yield* OpenSsh
      const auth = [SshAuth.privateKey({ key: keys.stranger }), SshAuth.password(Redacted.make(password))]
      assert.strictEqual(yield* whoAmI(auth), username)
    }))

  it.effect("gives a key and a password to a server that wants both, in whatever order they are given", () =>
    Effect.gen(function*() {
      const { keys, password, strictPort } = yield* OpenSsh
      const key = SshAuth.privateKey({ key: keys.ed25519 })
      const secret = SshAuth.password(Redacted.make(password))
      for (const auth of [[key, secret], [secret, key]]) {
        const session = yield* connect({ port: strictPort, auth })
        assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
      }
      const reason = yield* reasonOf(connect({ port: strictPort, auth: key }))
      assert(reason._tag === "AuthenticationFailed")
      assert.match(reason.tried.join(), /^publickey \(SHA256:\S+ \S+id_ed25519\)$/)
      assert.deepStrictEqual(reason.remaining, ["password"])
    }))

  it.effect("does not accept a wrong password, and the error does not show it", () =>
    Effect.gen(function*() {
      const reason = yield* reasonOf(whoAmI(SshAuth.password(Redacted.make("not-the-password"))))
      assert.deepInclude(reason, { _tag: "AuthenticationFailed", tried: ["password"] })
      assert.notInclude(`${reason.message} ${JSON.stringify(reason)}`, "not-the-password")
    }))

  it.effect("does not accept a key that it does not know", () =>
    Effect.gen(function*() {
      const { keys } = yield* OpenSsh
      const reason = yield* reasonOf(whoAmI(SshAuth.privateKey({ key: keys.stranger })))
      assert(reason._tag === "AuthenticationFailed")
      assert.match(reason.tried.join(), /^publickey \(SHA256:\S+ \S+id_stranger\)$/)
    }))

  it.effect("is not asked with a key that cannot be decrypted", () =>
    Effect.gen(function*() {
      const { keys } = yield* OpenSsh
      const auth = SshAuth.privateKey({ key: keys.encrypted, passphrase: Redacted.make("wrong") })
      assert.strictEqual((yield* reasonOf(whoAmI(auth)))._tag, "KeyUnreadable")
    }))

  it.effect("is recognised by known_hosts, plain, hashed, and by a key that it would not show first", () =>
    Effect.gen(function*() {
      const { fingerprint, knownHosts } = yield* OpenSsh
      const keyFrom = (file: string) =>
        Effect.map(connect({ hostKeys: HostKeys.knownHosts({ files: [file] }) }), (session) => session.hostKey)
      assert.deepInclude(yield* keyFrom(knownHosts.all), { type: "ssh-ed25519", fingerprint })
      assert.deepInclude(yield* keyFrom(knownHosts.hashed), { type: "ssh-ed25519", fingerprint })
      assert.deepInclude(yield* keyFrom(knownHosts.rsa), { type: "ssh-rsa" })
    }))

  it.effect("is recognised by the fingerprint that ssh-keygen prints", () =>
    Effect.gen(function*() {
      const { fingerprint } = yield* OpenSsh
      const session = yield* connect({ hostKeys: HostKeys.fingerprint(fingerprint) })
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
    }))

  it.effect("is not trusted when its key is not the known one, or when nothing is known", () =>
    Effect.gen(function*() {
      const { fingerprint, knownHosts } = yield* OpenSsh
      const refusal = (hostKeys: HostKeys.HostKeys) => reasonOf(connect({ hostKeys }))
      assert.deepInclude(yield* refusal(HostKeys.knownHosts({ files: [knownHosts.other] })), {
        _tag: "HostKeyRejected",
        why: "changed",
        fingerprint
      })
      assert.deepInclude(yield* refusal(HostKeys.knownHosts({ files: [knownHosts.empty] })), {
        _tag: "HostKeyRejected",
        why: "unknown"
      })
      assert.deepInclude(yield* refusal(HostKeys.fingerprint(`SHA256:${"A".repeat(43)}`)), {
        _tag: "HostKeyRejected",
        why: "changed"
      })
    }))

  it.effect("is remembered in a file that OpenSSH understands", () =>
    Effect.gen(function*() {
      const { folder, host, port } = yield* OpenSsh
      const file = `${folder}/known_hosts_new`
      yield* connect({ hostKeys: HostKeys.acceptNew({ files: [file] }) })
      const keygen = { command: "ssh-keygen", package: "openssh-client" }
      assert.include(yield* run(keygen, ["-F", `[${host}]:${port}`, "-f", file]), "ssh-ed25519")
      yield* connect({ hostKeys: HostKeys.knownHosts({ files: [file] }) })
    }))

  it.effect("gives output, error output and exit code of a command", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const result = yield* session.execute("echo out; echo 'wörld ✓' >&2; exit 42")
      assert.strictEqual(result.text, "out\n")
      assert.strictEqual(result.errorText, "wörld ✓\n")
      assert.deepStrictEqual(result.exitCode, Option.some(42))
    }))

  it.effect("says by which signal a command ended", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const result = yield* session.execute("kill -TERM $$")
      assert.deepStrictEqual(result.exitCode, Option.none())
      assert.match(Option.getOrThrow(result.signal), /TERM$/)
    }))

  it.effect("feeds a command four megabytes and takes eight from another", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const stdin = Buffer.alloc(4 * 1024 * 1024, "0123456789abcdef")
      assert.strictEqual((yield* session.execute("wc -c", { stdin })).text.trim(), `${stdin.length}`)
      const size = 8 * 1024 * 1024
      const { stdout } = yield* session.exec(`head -c ${size} /dev/zero`)
      assert.strictEqual(yield* Stream.runFold(stdout, () => 0, (sum, chunk) => sum + chunk.length), size)
    }))

  it.effect("passes the environment that it allows", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const env = { PEER_NAME: "a b", OTHER_NAME: "c" }
      assert.strictEqual((yield* session.execute("echo \"[$PEER_NAME] [$OTHER_NAME]\"", { env })).text, "[a b] []\n")
    }))

  it.effect("runs commands side by side", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const results = yield* Effect.forEach(
        Array.from({ length: 10 }, (_, i) => `${i}`),
        (text) => session.execute("cat", { stdin: text }),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(results.map((result) => result.text).join(""), "0123456789")
    }))

  it.effect("stops a command that takes too long or says too much, and the session goes on", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      const slow = session.execute("cat", { stdin: Stream.never, timeout: "200 millis" })
      assert.strictEqual((yield* reasonOf(slow))._tag, "CommandTimeout")
      assert.deepInclude(yield* reasonOf(session.execute("yes", { maxOutput: 1000 })), {
        _tag: "OutputTooLarge",
        maxSize: 1000
      })
      assert.strictEqual((yield* session.execute("echo still here")).text, "still here\n")
    }))

  it.effect("tells a waiting command that the connection is gone", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      // the shell's parent is the process that serves this connection
      assert.strictEqual((yield* reasonOf(session.execute("kill -9 $PPID; sleep 1")))._tag, "ConnectionLost")
      assert.strictEqual((yield* session.closed)._tag, "ConnectionLost")
    }))

  it.effect("has nobody left to serve when the scope is closed, also when it was closed half-way", () =>
    Effect.gen(function*() {
      const { sessions } = yield* OpenSsh
      const gone = sessions.pipe(
        Effect.filterOrFail((pids) => pids.length === 0),
        Effect.retry({ times: 500, schedule: Schedule.spaced("10 millis") })
      )
      yield* gone
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(connect(), scope)
      assert.lengthOf(yield* sessions, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* reasonOf(session.execute("true")))._tag, "ConnectionLost")
      yield* gone
      // at several moments of the way in
      for (const after of [1, 5, 10, 20, 40, 80]) yield* Effect.timeoutOption(Effect.scoped(connect()), after)
      yield* gone
    }))
})
