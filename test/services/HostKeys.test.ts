import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { generateEcdsaKey, generateKey, make } from "../../examples/peers/sshServer.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connect, secret, sshServer, until } from "../support/ssh.ts"

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

describe("HostKeys.knownHosts", () => {
  test("accepts the key that a file knows", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const files = [
        `${yield* temporaryFolder}/not-there`,
        yield* fileWith("# known", "", knownHostsLine(settings.host, settings.port))
      ]
      const session = yield* connect({ ...settings, hostKeys: HostKeys.knownHosts({ files }) })
      assert.strictEqual(session.hostKey.type, "ssh-ed25519")
    }))

  test("sends nothing secret to a host that no file knows", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, knownHostsLine, logins, settings } = yield* sshServer()
      const file = yield* fileWith(knownHostsLine("other", settings.port), knownHostsLine(settings.host, 22))
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) }))
      assert.deepStrictEqual(reason, {
        _tag: "HostKeyRejected",
        host: `[127.0.0.1]:${settings.port}`,
        fingerprint: hostKeyFingerprint,
        why: "unknown",
        detail: `no line for it in ${file}`
      })
      assert.strictEqual(logins(), 0)
    }))

  test("says in which line another key stands", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, logins, settings } = yield* sshServer()
      const other = yield* make()
      const file = yield* fileWith("", other.knownHostsLine(settings.host, settings.port))
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) }))
      assert.deepInclude(reason, {
        why: "changed",
        fingerprint: hostKeyFingerprint,
        detail: `${file}:2 knows the ssh-ed25519 key ${other.hostKeyFingerprint}`
      })
      assert.strictEqual(logins(), 0)
    }))

  test("rejects a revoked key, though it is known", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const line = knownHostsLine(settings.host, settings.port)
      const file = yield* fileWith(line, `@revoked * ${line.slice(line.indexOf(" ") + 1)}`)
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) }))
      assert.deepInclude(reason, { why: "revoked", detail: `${file}:2 revokes this ssh-ed25519 key` })
    }))

  test("asks for the type of key that it knows", () =>
    Effect.gen(function*() {
      const [ed25519, ecdsa] = [generateKey(), generateEcdsaKey()]
      const { settings } = yield* sshServer({ hostKeys: [ed25519.private, ecdsa.private] })
      const host = `[127.0.0.1]:${settings.port}`
      const hostKeys = HostKeys.knownHosts({ files: [yield* fileWith(`${host} ${ecdsa.public}`)] })
      assert.strictEqual((yield* connect({ ...settings, hostKeys })).hostKey.type, "ecdsa-sha2-nistp256")
    }))

  test("does not take a key of another type for the known one", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const file = yield* fileWith(`[127.0.0.1]:${settings.port} ${generateEcdsaKey().public}`)
      for (const hostKeys of [HostKeys.knownHosts({ files: [file] }), HostKeys.acceptNew({ file })]) {
        assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeys })), {
          why: "unknown",
          detail: `it showed an ssh-ed25519 key; known are ecdsa-sha2-nistp256 (${file}:1)`
        })
      }
    }))

  test("fails when a file is there and cannot be read", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const folder = yield* temporaryFolder
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [folder] }) }))
      assert.deepInclude(reason, { _tag: "Unknown", detail: `cannot read known hosts from "${folder}" (EISDIR)` })
      assert.strictEqual(connections(), 0)
    }))
})

describe("HostKeys.fingerprint", () => {
  test("accepts one of the fingerprints, and no other key", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, logins, settings } = yield* sshServer()
      const other = `SHA256:${"A".repeat(43)}`
      yield* connect({ ...settings, hostKeys: HostKeys.fingerprint(other, `${hostKeyFingerprint}=`) })
      assert.strictEqual(logins(), 1)
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.fingerprint(other) }))
      assert.deepInclude(reason, {
        why: "changed",
        fingerprint: hostKeyFingerprint,
        detail: `expected ${other}, not this ssh-ed25519 key`
      })
      assert.strictEqual(logins(), 1)
    }))
})

describe("HostKeys.acceptNew", () => {
  test("remembers a new host, and from then on knows it", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = `${yield* temporaryFolder}/.ssh/known_hosts`
      const hostKeys = HostKeys.acceptNew({ file })
      yield* connect({ ...settings, hostKeys })
      yield* connect({ ...settings, hostKeys })
      assert.strictEqual(Fs.readFileSync(file, "utf8"), `${knownHostsLine(settings.host, settings.port)}\n`)
      assert.strictEqual(Fs.statSync(file).mode & 0o777, 0o600)
      const other = yield* make({ password: Redacted.value(secret) })
      Fs.writeFileSync(file, knownHostsLine(settings.host, other.port))
      const reason = yield* reasonOf(connect({ ...settings, port: other.port, hostKeys }))
      assert.deepInclude(reason, { why: "changed" })
    }))

  test("adds a line of its own to a file whose last line has no end", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith("# no end")
      yield* connect({ ...settings, hostKeys: HostKeys.acceptNew({ file }) })
      const line = knownHostsLine(settings.host, settings.port)
      assert.strictEqual(Fs.readFileSync(file, "utf8"), `# no end\n${line}\n`)
    }))

  test("remembers a host once, however many connections meet it", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith()
      let meetings = 0
      const { check } = HostKeys.acceptNew({ file })
      // both have looked into the file before either writes to it
      const together: HostKeys.HostKeys = {
        check: (server) =>
          Effect.map(check(server), (inner) => ({
            ...inner,
            proved: (key) =>
              Effect.andThen(
                Effect.suspend(() => {
                  const first = ++meetings === 1
                  return first ? Effect.void : until(() => Fs.statSync(file).size > 0)
                }),
                inner.proved(key)
              )
          }))
      }
      const connecting = connect({ ...settings, hostKeys: together })
      yield* Effect.all([connecting, connecting], { concurrency: "unbounded" })
      assert.strictEqual(Fs.readFileSync(file, "utf8"), `${knownHostsLine(settings.host, settings.port)}\n`)
    }))

  test("remembers no key that the server only claims to hold", () =>
    Effect.gen(function*() {
      const { logins, settings } = yield* sshServer({ claimedHostKey: generateKey().public })
      const file = yield* fileWith("# empty")
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.acceptNew({ file }) }))
      assert.deepInclude(reason, {
        _tag: "HandshakeFailed",
        detail: "Handshake failed: signature verification failed"
      })
      assert.strictEqual(Fs.readFileSync(file, "utf8"), "# empty")
      assert.strictEqual(logins(), 0)
    }))

  test("fails when the key cannot be remembered", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const folder = yield* temporaryFolder
      const file = `${folder}/known_hosts`
      Fs.symlinkSync(`${folder}/not-there/known_hosts`, file)
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.acceptNew({ file }) }))
      assert.deepInclude(reason, { _tag: "Unknown", detail: `cannot add the host key to "${file}" (ENOENT)` })
      yield* until(() => connections() === 0)
    }))
})

describe("HostKeys.make", () => {
  test("lets the decision take its time", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, settings } = yield* sshServer()
      const seen: Array<string> = []
      const hostKeys = HostKeys.make((server, key) =>
        Effect.andThen(
          Effect.sync(() => seen.push(`${server.host}:${server.port} ${key.fingerprint}`)),
          Effect.sleep("20 millis")
        )
      )
      const session = yield* connect({ ...settings, hostKeys })
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
      assert.deepStrictEqual(seen, [`127.0.0.1:${settings.port} ${hostKeyFingerprint}`])
    }))

  test("accepts anything where that is wanted", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const session = yield* connect({ ...settings, hostKeys: HostKeys.insecureAcceptAny })
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
    }))
})
