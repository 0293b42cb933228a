import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"
import { areAbout } from "../../src/internal/ssh/hostKeys/hostNames.ts"
import { hostKey } from "../../src/internal/ssh/hostKeys/publicKey.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { publicKeys } from "../support/publicKeys.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connect, secret, sshServer, until } from "../support/ssh.ts"
import { generateKey, make } from "../support/sshPeer.ts"

const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>
) =>
  it.live(
    title,
    () => leavesNothing(Effect.provide(Effect.scoped(body()), Layer.merge(Dialer.layer, Listener.layer)))
  )

/** A known_hosts file with these lines. */
const fileWith = Effect.fnUntraced(function*(...lines: ReadonlyArray<string>) {
  const file = `${yield* temporaryFolder}/known_hosts`
  Fs.writeFileSync(file, lines.join("\n"))
  return file
})

const read = (file: string) => Fs.readFileSync(file, "utf8")

const keyOf = (line: string) => hostKey(Buffer.from(line.split(" ")[1]!, "base64"))

describe("HostKeys.acceptNew", () => {
  test("remembers a new host, and from then on knows it", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const folder = `${yield* temporaryFolder}/home/.ssh`
      const file = `${folder}/known_hosts`
      const hostKeys = HostKeys.acceptNew({ files: [file] })
      yield* connect({ ...settings, hostKeys })
      yield* connect({ ...settings, hostKeys })
      assert.strictEqual(read(file), `${knownHostsLine(settings.host, settings.port)}\n`)
      assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
      assert.strictEqual(Fs.statSync(folder).mode & 0o777, 0o700)
      const other = yield* make({ password: Redacted.value(secret) })
      Fs.writeFileSync(file, knownHostsLine(settings.host, other.port))
      const reason = yield* reasonOf(connect({ ...settings, port: other.port, hostKeys }))
      assert.deepInclude(reason, { why: "changed" })
    }))

  test("adds a line of its own to a file whose last line has no end", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith("# no end")
      Fs.chmodSync(file, 0o644)
      yield* connect({ ...settings, hostKeys: HostKeys.acceptNew({ files: [file] }) })
      assert.strictEqual(read(file), `# no end\n${knownHostsLine(settings.host, settings.port)}\n`)
      assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o644)
    }))

  test("writes a name that nobody can read, and finds it again", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const file = yield* fileWith()
      const hostKeys = HostKeys.acceptNew({ files: [file], hash: true })
      yield* connect({ ...settings, hostKeys })
      const written = read(file)
      assert.isTrue(areAbout(written.split(" ")[0]!, `[127.0.0.1]:${settings.port}`))
      assert.notInclude(written, "127")
      yield* connect({ ...settings, hostKeys })
      assert.strictEqual(read(file), written)
    }))

  test("remembers the alias", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith()
      yield* connect({ ...settings, hostKeyAlias: "DB", hostKeys: HostKeys.acceptNew({ files: [file] }) })
      assert.strictEqual(read(file), `${knownHostsLine("db", 22)}\n`)
    }))

  test("writes to the first file, unless another knows the host", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const [first, second] = [yield* fileWith(), yield* fileWith(`other ${publicKeys.ed25519}`)]
      const hostKeys = HostKeys.acceptNew({ files: [first, second] })
      yield* connect({ ...settings, hostKeys })
      assert.strictEqual(read(first), `${knownHostsLine(settings.host, settings.port)}\n`)
      for (const known of [knownHostsLine(settings.host, settings.port), knownHostsLine(settings.host, 22)]) {
        Fs.writeFileSync(first, "")
        Fs.writeFileSync(second, known)
        yield* connect({ ...settings, hostKeys })
        assert.strictEqual(read(first), "")
      }
    }))

  test("refuses revoked keys, also those of the host without its port", () =>
    Effect.gen(function*() {
      const { knownHostsLine, logins, settings } = yield* sshServer()
      for (const line of [knownHostsLine(settings.host, settings.port), knownHostsLine(settings.host, 22)]) {
        const file = yield* fileWith(`@revoked ${line}`)
        const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.acceptNew({ files: [file] }) }))
        assert.deepInclude(reason, { why: "revoked" })
        assert.strictEqual(read(file), `@revoked ${line}`)
      }
      assert.strictEqual(logins(), 0)
    }))

  test("remembers no name that means others in a file", () =>
    Effect.gen(function*() {
      const { logins, settings } = yield* sshServer()
      const file = yield* fileWith()
      for (const hostKeyAlias of ["*", "a,b", "a b", "a\nb", "@revoked", "#x", "|1|x"]) {
        const hostKeys = HostKeys.acceptNew({ files: [file] })
        assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeyAlias, hostKeys })), {
          why: "unknown",
          detail: `no line for it in ${file}, and no file can hold this name and key`
        })
      }
      assert.strictEqual(read(file), "")
      assert.strictEqual(logins(), 0)
    }))

  it.effect("remembers no key that it could not read again", () =>
    Effect.gen(function*() {
      const check = yield* HostKeys.acceptNew({ files: ["/not/there"] }).check({ host: "db", port: 22 })
      const reason = yield* Effect.flip(check.verify(hostKey(Buffer.from("nonsense"))))
      assert.deepInclude(Object.fromEntries(Object.entries(reason)), { why: "unknown" })
    }))

  test("remembers a host once, however many connections meet it", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith()
      const looked = yield* Deferred.make<void>()
      let lookers = 0
      // all have looked into the file before any of them writes to it
      const together: HostKeys.HostKeys = {
        check: (server) =>
          Effect.map(HostKeys.acceptNew({ files: [file] }).check(server), (inner) => ({
            ...inner,
            verify: (key) =>
              Effect.andThen(
                Effect.suspend(() => ++lookers === 3 ? Deferred.succeed(looked, undefined) : Deferred.await(looked)),
                inner.verify(key)
              )
          }))
      }
      const connecting = connect({ ...settings, hostKeys: together })
      yield* Effect.all([connecting, connecting, connecting], { concurrency: "unbounded" })
      assert.strictEqual(read(file), `${knownHostsLine(settings.host, settings.port)}\n`)
    }))

  test("refuses a host that has been met with another key meanwhile", () =>
    Effect.gen(function*() {
      const { logins, settings } = yield* sshServer()
      const file = yield* fileWith()
      const hostKeys = HostKeys.ask(
        () =>
          Effect.sync(() => {
            Fs.writeFileSync(file, `[127.0.0.1]:${settings.port} ${publicKeys.ed25519}\n`)
            return "remember"
          }),
        { files: [file] }
      )
      assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeys })), { why: "changed" })
      assert.strictEqual(read(file), `[127.0.0.1]:${settings.port} ${publicKeys.ed25519}\n`)
      assert.strictEqual(logins(), 0)
    }))

  test("loses no line when two processes write", () =>
    Effect.gen(function*() {
      const file = yield* fileWith(`first ${publicKeys.ed25519}`)
      const program = ["--import", "./test/support/source.ts", "test/support/rememberHosts.ts"]
      const meeting = (name: string) =>
        Effect.callback<number | null>((resume) => {
          const child = spawn(process.execPath, [...program, file, name, "50"], {
            cwd: fileURLToPath(new URL("../..", import.meta.url)),
            stdio: "ignore"
          })
          child.once("exit", (code) => resume(Effect.succeed(code)))
          return Effect.sync(() => child.kill("SIGKILL"))
        })
      const codes = yield* Effect.all([meeting("a"), meeting("b")], { concurrency: "unbounded" })
      assert.deepStrictEqual(codes, [0, 0])
      const lines = read(file).split("\n").filter((line) => line !== "")
      const hosts = ["a", "b"].flatMap((name) => Array.from({ length: 50 }, (_, index) => `${name}-${index}`))
      assert.sameMembers(lines, ["first", ...hosts].map((host) => `${host} ${publicKeys.ed25519}`))
    }))

  test("remembers no key that the server only claims to hold", () =>
    Effect.gen(function*() {
      const { logins, settings } = yield* sshServer({ claimedHostKey: generateKey().public })
      const file = yield* fileWith("# empty")
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.acceptNew({ files: [file] }) }))
      assert.strictEqual(reason["_tag"], "HandshakeFailed")
      assert.include(reason["detail"], "signature verification failed")
      assert.strictEqual(read(file), "# empty")
      assert.strictEqual(logins(), 0)
    }))

  test("fails when the key cannot be remembered, and sends nothing secret", () =>
    Effect.gen(function*() {
      const { connections, logins, settings } = yield* sshServer()
      const folder = yield* temporaryFolder
      const file = `${folder}/known_hosts`
      Fs.symlinkSync(`${folder}/not-there/known_hosts`, file)
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.acceptNew({ files: [file] }) }))
      assert.deepInclude(reason, { _tag: "Unknown", detail: `cannot add the host key to "${file}" (ENOENT)` })
      assert.strictEqual(logins(), 0)
      yield* until(() => connections() === 0)
    }))

  test("does not dial when its file cannot be read", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const folder = yield* temporaryFolder
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.acceptNew({ files: [folder] }) }))
      assert.deepInclude(reason, { _tag: "Unknown", detail: `cannot read known hosts from "${folder}" (EISDIR)` })
      assert.strictEqual(connections(), 0)
    }))
})

describe("HostKeys.ask", () => {
  test("asks about a new host once, and remembers it", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, knownHostsLine, settings } = yield* sshServer()
      const [host, port] = [settings.host, settings.port!]
      const file = yield* fileWith(knownHostsLine("bücher.test,web", 22), `x ${publicKeys.ed25519}`)
      const questions: Array<unknown> = []
      const hostKeys = HostKeys.ask(({ key, ...question }) =>
        Effect.sync(() => {
          questions.push({ ...question, key: `${key.type} ${key.fingerprint}` })
          return "remember"
        }), { files: [file] })
      yield* connect({ ...settings, hostKeys })
      yield* connect({ ...settings, hostKeys })
      assert.deepStrictEqual(questions, [{
        server: { host, port, alias: undefined },
        name: `[127.0.0.1]:${port}`,
        key: `ssh-ed25519 ${hostKeyFingerprint}`,
        alsoKnownAs: [`${file}:1: bücher.test,web`]
      }])
      assert.strictEqual(read(file).split("\n").at(-2), knownHostsLine(host, port))
    }))

  test("accepts a key for one connection", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const file = yield* fileWith()
      let asked = 0
      const hostKeys = HostKeys.ask(() =>
        Effect.sync(() => {
          asked++
          return "once"
        }), { files: [file] })
      yield* connect({ ...settings, hostKeys })
      yield* connect({ ...settings, hostKeys })
      assert.strictEqual(asked, 2)
      assert.strictEqual(read(file), "")
    }))

  it.effect("waits for as long as it takes to answer, which decisions of one's own are not given", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const anHour = TestClock.adjust("1 hour")
      const hostKeys = HostKeys.ask(() => Effect.as(anHour, "once"), { files: [yield* fileWith()] })
      yield* connect({ ...settings, hostKeys })
      const slow = connect({ ...settings, hostKeys: HostKeys.make(() => Effect.andThen(anHour, Effect.never)) })
      assert.deepInclude(yield* reasonOf(slow), {
        _tag: "HandshakeTimeout",
        phase: "the host key to be verified"
      })
    }).pipe(Effect.provide(Layer.merge(Dialer.layer, Listener.layer))))

  test("is given up with the connection", () =>
    Effect.gen(function*() {
      const { kill, logins, settings } = yield* sshServer()
      const file = yield* fileWith()
      const hostKeys = HostKeys.ask(() => Effect.andThen(kill, Effect.never), { files: [file] })
      yield* Effect.flip(connect({ ...settings, hostKeys }))
      assert.strictEqual(read(file), "")
      assert.strictEqual(logins(), 0)
    }))

  test("can be interrupted", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const asked = yield* Deferred.make<void>()
      const hostKeys = HostKeys.ask(() => Effect.andThen(Deferred.succeed(asked, undefined), Effect.never), {
        files: [yield* fileWith()]
      })
      const connecting = yield* Effect.forkChild(Effect.scoped(connect({ ...settings, hostKeys })))
      yield* Deferred.await(asked)
      yield* Fiber.interrupt(connecting)
      yield* until(() => connections() === 0)
    }))

  test("refuses a key that is not accepted, and sends nothing secret", () =>
    Effect.gen(function*() {
      const { logins, settings } = yield* sshServer()
      const file = yield* fileWith()
      const hostKeys = HostKeys.ask(() => Effect.succeed("reject"), { files: [file] })
      assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeys })), {
        why: "unknown",
        detail: `no line for it in ${file}, and it was not accepted`
      })
      assert.strictEqual(logins(), 0)
      assert.strictEqual(read(file), "")
    }))

  it.effect("does not ask about a key that has changed, was revoked or needs a certificate", () =>
    Effect.gen(function*() {
      const key = keyOf(publicKeys.ed25519)
      const lines = [
        `db ${publicKeys.otherEd25519}`,
        `@revoked * ${publicKeys.ed25519}`,
        `@cert-authority * ${publicKeys.rsa}`
      ]
      for (const line of lines) {
        const file = yield* fileWith(line)
        const hostKeys = HostKeys.ask(() => Effect.die("asked"), { files: [file] })
        const { verify } = yield* hostKeys.check({ host: "db", port: 22 })
        assert.notStrictEqual((yield* Effect.flip(verify(key)))._tag, "Unknown")
        assert.strictEqual(read(file), line)
      }
    }))
})
