import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { hostKey } from "../../src/internal/ssh/hostKeys/publicKey.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HostKeys from "../../src/services/HostKeys.ts"
import * as Listener from "../../src/services/Listener.ts"
import { leavesNothing } from "../support/leaks.ts"
import { publicKeys, revocationLists } from "../support/publicKeys.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connect, sshServer } from "../support/ssh.ts"
import { generateEcdsaKey, generateKey, make } from "../support/sshPeer.ts"

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

/** What is decided about the Ed25519 key of a host, without connecting. */
const decide = Effect.fnUntraced(function*(hostKeys: HostKeys.HostKeys, server: Partial<HostKeys.Server> = {}) {
  const { verify } = yield* hostKeys.check({ host: "db", port: 22, ...server })
  yield* verify(hostKey(Buffer.from(publicKeys.ed25519.split(" ")[1]!, "base64")))
})

const refusalOf = (hostKeys: HostKeys.HostKeys, server?: Partial<HostKeys.Server>) =>
  Effect.map(
    Effect.flip(decide(hostKeys, server)),
    (reason): Readonly<Record<string, unknown>> => Object.fromEntries(Object.entries(reason))
  )

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

  test("reads the files that ssh reads", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const home = yield* temporaryFolder
      const before = process.env["HOME"]
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          process.env["HOME"] = home
        }),
        () =>
          Effect.sync(() => {
            if (before === undefined) delete process.env["HOME"]
            else process.env["HOME"] = before
          })
      )
      const { hostKeys: _, ...byDefault } = settings
      assert.deepInclude(yield* reasonOf(connect(byDefault)), {
        why: "unknown",
        detail: "no line for it in ~/.ssh/known_hosts, ~/.ssh/known_hosts2, /etc/ssh/ssh_known_hosts, " +
          "/etc/ssh/ssh_known_hosts2"
      })
      Fs.mkdirSync(`${home}/.ssh`)
      Fs.writeFileSync(`${home}/.ssh/known_hosts2`, knownHostsLine(settings.host, settings.port))
      yield* connect(byDefault)
    }))

  test("sends nothing secret to a host that no file knows", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, knownHostsLine, logins, settings } = yield* sshServer()
      const file = yield* fileWith(
        knownHostsLine("other", settings.port),
        knownHostsLine(settings.host, settings.port! + 1)
      )
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) }))
      assert.deepStrictEqual(reason, {
        _tag: "HostKeyRejected",
        host: `[127.0.0.1]:${settings.port}`,
        keyType: "ssh-ed25519",
        fingerprint: hostKeyFingerprint,
        why: "unknown",
        detail: `no line for it in ${file}`
      })
      assert.strictEqual(logins(), 0)
    }))

  test("says in which line another key stands, and what to do", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, logins, settings } = yield* sshServer()
      const other = yield* make()
      const file = yield* fileWith("", other.knownHostsLine(settings.host, settings.port))
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) }))
      assert.deepStrictEqual(reason, {
        _tag: "HostKeyRejected",
        host: `[127.0.0.1]:${settings.port}`,
        keyType: "ssh-ed25519",
        fingerprint: hostKeyFingerprint,
        why: "changed",
        detail: `${file}:2 has ssh-ed25519 ${other.hostKeyFingerprint}. Either the server was given another key, or ` +
          "somebody sits in between. If its administrator confirms the key that it showed, remove the old one: " +
          `ssh-keygen -R '[127.0.0.1]:${settings.port}' -f '${file}'`,
        known: { file, line: 2, keyType: "ssh-ed25519", fingerprint: other.hostKeyFingerprint }
      })
      assert.strictEqual(logins(), 0)
    }))

  test("rejects a revoked key, though it is known", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, knownHostsLine, logins, settings } = yield* sshServer()
      const line = knownHostsLine(settings.host, settings.port)
      const file = yield* fileWith(line, `@revoked * ${line.slice(line.indexOf(" ") + 1)}`)
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) }))
      assert.deepInclude(reason, {
        why: "revoked",
        detail: `${file}:2 revokes it, so whoever shows it may have stolen it; the server needs a new key`,
        known: { file, line: 2, keyType: "ssh-ed25519", fingerprint: hostKeyFingerprint }
      })
      assert.strictEqual(logins(), 0)
    }))

  test("asks for the type of key that it knows", () =>
    Effect.gen(function*() {
      const [ed25519, ecdsa] = [generateKey(), generateEcdsaKey()]
      const { settings } = yield* sshServer({ hostKeys: [ed25519.private, ecdsa.private] })
      const host = `[127.0.0.1]:${settings.port}`
      const hostKeys = HostKeys.knownHosts({ files: [yield* fileWith(`${host} ${ecdsa.public}`)] })
      assert.strictEqual((yield* connect({ ...settings, hostKeys })).hostKey.type, "ecdsa-sha2-nistp256")
    }))

  test("takes a key of another type for a changed one, as ssh does", () =>
    Effect.gen(function*() {
      const { logins, settings } = yield* sshServer()
      const file = yield* fileWith(`[127.0.0.1]:${settings.port} ${generateEcdsaKey().public}`)
      for (const hostKeys of [HostKeys.knownHosts({ files: [file] }), HostKeys.acceptNew({ files: [file] })]) {
        assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeys })), {
          why: "changed",
          keyType: "ssh-ed25519"
        })
      }
      assert.strictEqual(logins(), 0)
    }))

  test("refuses a host that only a certificate authority may vouch for", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, knownHostsLine, logins, settings } = yield* sshServer()
      const file = yield* fileWith(`@cert-authority 127.0.0.* ${publicKeys.ecdsa}`)
      const refused = {
        _tag: "Unsupported",
        feature: "host certificate",
        detail:
          `${file}:1 lets a certificate authority vouch for [127.0.0.1]:${settings.port}, and nothing else is known ` +
          `about it. The server showed ssh-ed25519 ${hostKeyFingerprint} without a certificate: if its administrator ` +
          "confirms that key, add it to a known_hosts file, or accept it by its fingerprint"
      }
      for (const hostKeys of [HostKeys.knownHosts({ files: [file] }), HostKeys.acceptNew({ files: [file] })]) {
        assert.deepStrictEqual(yield* reasonOf(connect({ ...settings, hostKeys })), refused)
      }
      assert.strictEqual(logins(), 0)
      Fs.appendFileSync(file, `\n${knownHostsLine(settings.host, settings.port)}`)
      yield* connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) })
    }))

  test("looks the key up by an alias", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const hostKeys = HostKeys.knownHosts({ files: [yield* fileWith(knownHostsLine("db.internal", 22))] })
      yield* connect({ ...settings, hostKeys, hostKeyAlias: "DB.internal" })
      assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeys, hostKeyAlias: "web" })), {
        why: "unknown",
        host: "web"
      })
    }))

  test("looks the key up without the port as well", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith(knownHostsLine(settings.host, 22))
      yield* connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) })
      Fs.writeFileSync(file, `127.0.0.1 ${publicKeys.ed25519}`)
      const reason = yield* reasonOf(connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) }))
      assert.deepInclude(reason, {
        why: "unknown",
        detail: `no line for it in ${file}; for other ports ${file}:1 has ssh-ed25519 ` +
          "SHA256:xOiWLVP9n87JjOXvzOFJbVb0M0cLRqImJEQJe1KGafQ"
      })
    }))

  test("names the files that cannot be read, and reads the others", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const folder = yield* temporaryFolder
      const hostKeys = (file: string) => HostKeys.knownHosts({ files: [folder, file] })
      const file = yield* fileWith(knownHostsLine(settings.host, settings.port))
      yield* connect({ ...settings, hostKeys: hostKeys(file) })
      const empty = yield* fileWith()
      assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeys: hostKeys(empty) })), {
        why: "unknown",
        detail: `no line for it in ${folder}, ${empty}; cannot read ${folder} (EISDIR)`
      })
    }))

  test("ends the session when the server shows another key later", () =>
    Effect.gen(function*() {
      const { changeHostKey, knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith(knownHostsLine(settings.host, settings.port))
      const session = yield* connect({ ...settings, hostKeys: HostKeys.knownHosts({ files: [file] }) })
      yield* session.rekey
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
      const other = generateKey()
      changeHostKey(other.private)
      // what is in the file by then makes no difference
      Fs.writeFileSync(file, `[127.0.0.1]:${settings.port} ${other.public}`)
      yield* Effect.flip(session.rekey)
      yield* session.closed
    }))
})

describe("HostKeys.fromText", () => {
  test("accepts the keys of a text", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const hostKeys = HostKeys.fromText(`# ours\r\n${knownHostsLine(settings.host, settings.port)}\r\n`)
      yield* connect({ ...settings, hostKeys })
    }))

  it.effect("says what it decides by, and which line of it", () =>
    Effect.gen(function*() {
      const text = `\ndb,web ${publicKeys.otherEd25519}`
      assert.deepInclude(yield* refusalOf(HostKeys.fromText(text, "SSH_KNOWN_HOSTS")), {
        why: "changed",
        detail:
          "line 2 of SSH_KNOWN_HOSTS has ssh-ed25519 SHA256:gXo5KTsOAiJGpHLtCRl84QUgsqvVsusoEpNZNiyIbNo. Either the " +
          "server was given another key, or somebody sits in between. If its administrator confirms the key that it " +
          "showed, change line 2 of SSH_KNOWN_HOSTS"
      })
      assert.deepInclude(yield* refusalOf(HostKeys.fromText(text), { host: "other" }), {
        why: "unknown",
        detail: "no line for it in the given known hosts"
      })
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
        keyType: "ssh-ed25519",
        fingerprint: hostKeyFingerprint,
        detail: `expected ${other}`
      })
      assert.strictEqual(logins(), 1)
    }))

  test("refuses what is no fingerprint before it dials", () =>
    Effect.gen(function*() {
      const { connections, hostKeyFingerprint, settings } = yield* sshServer()
      const md5 = "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"
      for (const wrong of [md5, hostKeyFingerprint.slice(0, -1), hostKeyFingerprint.slice(7), ""]) {
        const hostKeys = HostKeys.fingerprint(hostKeyFingerprint, wrong)
        assert.deepInclude(yield* reasonOf(connect({ ...settings, hostKeys })), {
          _tag: "Unknown",
          detail: `"${wrong}" is not a fingerprint as ssh-keygen -l prints it (SHA256:...)`
        })
      }
      assert.strictEqual(connections(), 0)
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

  test("refuses with words of its own", () =>
    Effect.gen(function*() {
      const { hostKeyFingerprint, logins, settings } = yield* sshServer()
      const hostKeys = HostKeys.make((server, key) => HostKeys.reject(server, key, "revoked", "it was in the news"))
      const error = yield* Effect.flip(connect({ ...settings, hostKeys }))
      assert.strictEqual(
        error.message,
        `ssh demo@127.0.0.1:${settings.port}: the host key of [127.0.0.1]:${settings.port} is revoked: it showed ` +
          `ssh-ed25519 ${hostKeyFingerprint}; it was in the news`
      )
      assert.strictEqual(logins(), 0)
    }))

  test("is given up with the connection", () =>
    Effect.gen(function*() {
      const { kill, logins, settings } = yield* sshServer()
      let interrupted = false
      const hostKeys = HostKeys.make(() =>
        Effect.onInterrupt(Effect.andThen(kill, Effect.never), () =>
          Effect.sync(() => {
            interrupted = true
          }))
      )
      yield* Effect.flip(connect({ ...settings, hostKeys }))
      assert.isTrue(interrupted)
      assert.strictEqual(logins(), 0)
    }))

  test("accepts anything where that is wanted", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshServer()
      const session = yield* connect({ ...settings, hostKeys: HostKeys.insecureAcceptAny })
      assert.strictEqual((yield* session.execute("echo in")).text, "in\n")
    }))
})

describe("HostKeys.orElse", () => {
  const right = HostKeys.fromText(`db ${publicKeys.ed25519}`)
  const wrong = HostKeys.fromText(`db ${publicKeys.otherEd25519}`)
  const unknown = HostKeys.fromText("")

  it.effect("asks the second about what is unknown to the first", () =>
    Effect.gen(function*() {
      yield* decide(HostKeys.orElse(right, wrong))
      yield* decide(HostKeys.orElse(unknown, right))
      assert.deepInclude(yield* refusalOf(HostKeys.orElse(wrong, right)), { why: "changed" })
      assert.deepInclude(yield* refusalOf(HostKeys.orElse(unknown, wrong)), { why: "changed" })
      const revoked = HostKeys.fromText(`@revoked * ${publicKeys.ed25519}`)
      assert.deepInclude(yield* refusalOf(HostKeys.orElse(revoked, right)), { why: "revoked" })
      const certified = HostKeys.fromText(`@cert-authority * ${publicKeys.rsa}`)
      assert.deepInclude(yield* refusalOf(HostKeys.orElse(certified, right)), { _tag: "Unsupported" })
    }))

  it.effect("prefers the types of key that the first knows", () =>
    Effect.gen(function*() {
      const rsa = HostKeys.fromText(`db ${publicKeys.rsa}`)
      const preferred = (hostKeys: HostKeys.HostKeys) =>
        Effect.map(hostKeys.check({ host: "db", port: 22 }), ({ preferredTypes }) => preferredTypes)
      assert.deepStrictEqual(yield* preferred(HostKeys.orElse(rsa, right)), ["ssh-rsa"])
      assert.deepStrictEqual(yield* preferred(HostKeys.orElse(unknown, rsa)), ["ssh-rsa"])
    }))

  test("lets the second remember what it accepted", () =>
    Effect.gen(function*() {
      const { knownHostsLine, settings } = yield* sshServer()
      const file = yield* fileWith()
      const line = knownHostsLine(settings.host, settings.port)
      yield* connect({
        ...settings,
        hostKeys: HostKeys.orElse(HostKeys.fromText(line), HostKeys.acceptNew({ files: [file] }))
      })
      assert.strictEqual(Fs.readFileSync(file, "utf8"), "")
      yield* connect({ ...settings, hostKeys: HostKeys.orElse(unknown, HostKeys.acceptNew({ files: [file] })) })
      assert.strictEqual(Fs.readFileSync(file, "utf8"), `${line}\n`)
    }))
})

describe("HostKeys.withRevoked", () => {
  test("refuses a key that is on the list, whoever accepts it", () =>
    Effect.gen(function*() {
      const { logins, settings } = yield* sshServer({ hostKeys: [generateKey().private] })
      const file = yield* fileWith("# nothing", publicKeys.ed25519)
      yield* connect({ ...settings, hostKeys: HostKeys.withRevoked(settings.hostKeys!, file) })
      const session = yield* connect(settings)
      Fs.writeFileSync(file, `ssh-ed25519 ${Buffer.from(session.hostKey.bytes).toString("base64")}`)
      const before = logins()
      const reason = yield* reasonOf(
        connect({ ...settings, hostKeys: HostKeys.withRevoked(file)(HostKeys.insecureAcceptAny) })
      )
      assert.deepInclude(reason, {
        _tag: "HostKeyRejected",
        why: "revoked",
        detail: `${file} revokes it; the server needs a new key`
      })
      assert.strictEqual(logins(), before)
    }))

  test("reads what ssh-keygen -k made", () =>
    Effect.gen(function*() {
      for (const list of [revocationLists.key, revocationLists.sha256, revocationLists.sha1]) {
        const file = yield* fileWith()
        Fs.writeFileSync(file, list)
        const hostKeys = HostKeys.withRevoked(HostKeys.insecureAcceptAny, file)
        assert.deepInclude(yield* refusalOf(hostKeys), { why: "revoked" })
      }
    }))

  test("accepts nothing while its file is not there or not understood", () =>
    Effect.gen(function*() {
      const { connections, settings } = yield* sshServer()
      const file = yield* fileWith("no key")
      const connecting = connect({ ...settings, hostKeys: HostKeys.withRevoked(HostKeys.insecureAcceptAny, file) })
      assert.deepInclude(yield* reasonOf(connecting), {
        _tag: "Unknown",
        detail: `cannot read revoked keys from "${file}": its line 1 is not a public key`
      })
      Fs.rmSync(file)
      assert.deepInclude(yield* reasonOf(connecting), {
        _tag: "Unknown",
        detail: `cannot read revoked keys from "${file}" (ENOENT)`
      })
      assert.strictEqual(connections(), 0)
    }))
})
