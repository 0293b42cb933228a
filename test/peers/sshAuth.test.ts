import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { DialError } from "../../src/errors/DialError.ts"
import type { SshError } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import * as SshAgent from "../../src/services/SshAgent.ts"
import * as SshAuth from "../../src/services/SshAuth.ts"
import type * as SshSettings from "../../src/services/SshSettings.ts"
import { securityKey } from "../support/securityKey.ts"
import { loginUser } from "./support/loginUser.ts"
import { run, services } from "./support/peer.ts"
import { formats, passphrase, sshAgent, SshLogins, types } from "./support/sshLogins.ts"

const headers = {
  RFC4716: /^-----BEGIN OPENSSH PRIVATE KEY-----/,
  PEM: /^-----BEGIN (RSA|EC) PRIVATE KEY-----/,
  PKCS8: /^-----BEGIN PRIVATE KEY-----/
}

/** Logs in and gives the user's name as the server has it. */
const whoAmI = Effect.fnUntraced(function*(settings: SshSettings.SshSettings) {
  const ssh = yield* Ssh.Ssh
  return (yield* ssh.execute(settings, "id -un")).text.trimEnd()
})

const reasonOf = <A, R>(effect: Effect.Effect<A, DialError | SshError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag === "SshError" ? error.reason : assert.fail(error.message))

const peers = Layer.mergeAll(SshLogins.layer, Ssh.layer.pipe(Layer.provide(Dialer.layer)), services)

layer(peers, { excludeTestServices: true, timeout: "120 seconds" })("SshAuth with OpenSSH", (it) => {
  for (const type of types) {
    it.effect(`logs in with a key: ${type}, in each format, plain and encrypted`, () =>
      Effect.gen(function*() {
        const { path, read, settings, username } = yield* SshLogins
        for (const format of formats.filter((format) => type !== "ed25519" || format !== "PEM")) {
          assert.match(yield* read(`${type}_${format}_plain`), headers[format])
          const plain = SshAuth.privateKey({ key: path(`${type}_${format}_plain`) })
          assert.strictEqual(yield* whoAmI(settings(plain)), username, format)
          const key = path(`${type}_${format}_encrypted`)
          const encrypted = SshAuth.privateKey({ key, passphrase: Redacted.make(passphrase) })
          assert.strictEqual(yield* whoAmI(settings(encrypted)), username, `${format}, encrypted`)
        }
      }))
  }

  it.effect("logs in with a certificate of each type of key, which it finds beside the key", () =>
    Effect.gen(function*() {
      const { path, settings, username } = yield* SshLogins
      for (const type of types) {
        const auth = SshAuth.privateKey({ key: path(`${type}_certified`) })
        assert.strictEqual(yield* whoAmI(settings(auth)), username, type)
      }
    }))

  it.effect("logs in with a certificate that is given as text, for a key that is given as text", () =>
    Effect.gen(function*() {
      const { read, settings, username } = yield* SshLogins
      const auth = SshAuth.privateKey({
        key: yield* read("ecdsa384_certified"),
        certificate: yield* read("ecdsa384_certified-cert.pub")
      })
      assert.strictEqual(yield* whoAmI(settings(auth)), username)
    }))

  it.effect("tries the key alone when the server does not take the certificate", () =>
    Effect.gen(function*() {
      const { authorize, certify, generate, path, read, settings, username } = yield* SshLogins
      yield* generate("ed25519", "badly_certified")
      yield* certify("badly_certified", "other_ca", "-n", username)
      const auth = SshAuth.privateKey({ key: path("badly_certified") })
      const reason = yield* reasonOf(whoAmI(settings(auth)))
      assert.match(
        reason.message,
        /tried publickey \((SHA256:\S+) \S+badly_certified, certificate "id of badly_certified"\), publickey \(\1 \S+badly_certified\);/
      )
      yield* authorize(yield* read("badly_certified.pub"))
      assert.strictEqual(yield* whoAmI(settings(auth)), username)
    }))

  it.effect("says before it dials what is wrong with a certificate that was asked for", () =>
    Effect.gen(function*() {
      const { certify, generate, path, settings, username } = yield* SshLogins
      const wrong = {
        expired: ["-V", "20200101:20210101", "-n", username],
        early: ["-V", "20900101:20910101", "-n", username],
        of_a_host: ["-h", "-n", "localhost"]
      } as const
      const problems = {
        expired: "was valid until 2021-",
        early: "is not valid before 20",
        of_a_host: "of a host, not of a user"
      }
      for (const kind of ["expired", "early", "of_a_host"] as const) {
        yield* generate("ed25519", kind)
        yield* certify(kind, "ca", ...wrong[kind])
        const auth = SshAuth.privateKey({ key: path(kind), certificate: path(`${kind}-cert.pub`) })
        const reason = yield* reasonOf(whoAmI({ ...settings(auth), port: 1 }))
        assert.strictEqual(reason._tag, "KeyUnreadable")
        assert.include(reason.message, problems[kind])
        // one that only lies there is passed over
        const found = yield* reasonOf(whoAmI(settings(SshAuth.privateKey({ key: path(kind) }))))
        assert.strictEqual(found._tag, "AuthenticationFailed")
        assert.match(found.message, new RegExp(`-cert.pub is not used: it .*${problems[kind]}`))
      }
      const other = SshAuth.privateKey({ key: path("ed25519"), certificate: path("rsa_certified-cert.pub") })
      const none = SshAuth.privateKey({ key: path("ed25519"), certificate: path("rsa.pub") })
      assert.include((yield* reasonOf(whoAmI({ ...settings(other), port: 1 }))).message, "belongs to another key")
      assert.include((yield* reasonOf(whoAmI({ ...settings(none), port: 1 }))).message, "is no certificate")
    }))

  it.effect("logs in with every key that ssh-agent holds", () =>
    Effect.gen(function*() {
      const { path, settings, username } = yield* SshLogins
      for (const type of types) {
        const { add, agent } = yield* sshAgent
        yield* add(path(type))
        assert.strictEqual(yield* whoAmI(settings(SshAuth.agent(agent))), username, type)
      }
    }))

  it.effect("logs in with every certificate that ssh-agent holds, before its other keys", () =>
    Effect.gen(function*() {
      const { path, settings, username } = yield* SshLogins
      for (const type of types) {
        const { add, agent } = yield* sshAgent
        // ssh-add adds the key and the certificate beside it; servers allow six tries
        for (const key of ["stranger", "ca", "other_ca", "host"]) yield* add(path(key))
        yield* add(path(`${type}_certified`))
        assert.strictEqual(yield* whoAmI(settings(SshAuth.agent(agent))), username, type)
      }
    }))

  it.effect("offers the server only those keys of an agent that are wanted", () =>
    Effect.gen(function*() {
      const { path, read, settings, username } = yield* SshLogins
      const { add, agent } = yield* sshAgent
      for (const type of types) yield* add(path(`${type}_certified`))
      for (const key of ["stranger", "ed25519"]) yield* add(path(key))
      const tooMany = yield* reasonOf(whoAmI(settings(SshAuth.agent(agent, { keys: [path("stranger.pub")] }))))
      assert.match(tooMany.message, /tried publickey \(SHA256:\S+ agent \S+: stranger\); the server accepts/)
      const line = yield* read("ed25519.pub")
      assert.strictEqual(yield* whoAmI(settings(SshAuth.agent(agent, { keys: [line] }))), username)
      yield* whoAmI(settings([SshAuth.keyboardInteractive(), SshAuth.privateKey({ key: path("rsa") })], "pam"))
      const missing = yield* reasonOf(whoAmI(settings(SshAuth.agent(agent, { keys: [path("rsa.pub")] }))))
      assert.match(missing.message, /publickey \(agent \S+; it has none of the keys asked for\)/)
    }))

  it.effect("says when the server has enough of keys", () =>
    Effect.gen(function*() {
      const { generate, path, settings } = yield* SshLogins
      const { add, agent } = yield* sshAgent
      for (let i = 0; i < 8; i++) {
        yield* generate("ed25519", `many${i}`)
        yield* add(path(`many${i}`))
      }
      const reason = yield* reasonOf(whoAmI(settings(SshAuth.agent(agent))))
      assert(reason._tag === "AuthenticationFailed")
      assert.lengthOf(reason.tried, 6)
      assert.match(reason.tried[5]!, /: many5\): Too many authentication failures$/)
    }))

  it.effect("logs in with an agent in memory, also with a certificate", () =>
    Effect.gen(function*() {
      const { path, settings, username } = yield* SshLogins
      for (const type of types) {
        for (const name of [type, `${type}_certified`]) {
          const agent = SshAgent.inMemory({ key: path(name) })
          assert.strictEqual(yield* whoAmI(settings(SshAuth.agent(agent))), username, name)
        }
      }
    }))

  it.effect("logs in with a security key that an agent holds", () =>
    Effect.gen(function*() {
      const { authorize, settings, username } = yield* SshLogins
      const { agent, publicKey } = securityKey()
      yield* authorize(publicKey)
      assert.strictEqual(yield* whoAmI(settings(SshAuth.agent(agent))), username)
    }))

  it.effect("takes an agent that refuses to sign for a failed attempt", () =>
    Effect.gen(function*() {
      const { path, settings, username } = yield* SshLogins
      const { add, agent } = yield* sshAgent
      // somebody would have to be asked, and there is nobody
      yield* add("-c", path("ed25519"))
      const auth = SshAuth.agent(agent)
      const reason = yield* reasonOf(whoAmI(settings(auth)))
      assert.match(reason.message, /publickey \(SHA256:\S+ agent \S+: ed25519; the agent refused to sign\)/)
      assert.strictEqual(yield* whoAmI(settings([auth, SshAuth.privateKey({ key: path("rsa") })])), username)
    }))

  it.effect("gives two factors, a key and a password, in the server's order", () =>
    Effect.gen(function*() {
      const { password, path, settings } = yield* SshLogins
      const key = SshAuth.privateKey({ key: path("rsa") })
      const secret = SshAuth.password(Redacted.make(password))
      for (const auth of [[key, secret], [secret, key]]) yield* whoAmI(settings(auth, "twoFactors"))
      const wrong = SshAuth.password(Redacted.make("battery staple"))
      const reason = yield* reasonOf(whoAmI(settings([key, wrong], "twoFactors")))
      assert.match(reason.message, /tried publickey \(SHA256:\S+ \S+\/rsa\), password; the server accepts password$/)
    }))

  it.effect("answers keyboard-interactive, with an answer that is known and by asking", () =>
    Effect.gen(function*() {
      const { password, settings, username } = yield* SshLogins
      // the server takes no passwords as such
      for (const way of [SshAuth.keyboardInteractive, SshAuth.password]) {
        assert.strictEqual(yield* whoAmI(settings(way(Redacted.make(password)), "pam")), username)
      }
      const asked: Array<SshAuth.Questions> = []
      const handler = SshAuth.keyboardInteractive((questions) => {
        asked.push(questions)
        return Effect.succeed(questions.prompts.map(() => Redacted.make(password)))
      })
      assert.strictEqual(yield* whoAmI(settings(handler, "pam")), username)
      assert.deepStrictEqual(asked[0]?.prompts, [{ prompt: "Password: ", echo: false }])
    }))

  it.effect("changes a password that has expired, in several rounds of questions", () =>
    Effect.gen(function*() {
      const { settings } = yield* SshLogins
      const { password, username } = yield* loginUser
      yield* run({ command: "chage", package: "passwd" }, ["-d", "0", username])
      const asked: Array<string> = []
      const renewed = "n3w horse, better battery"
      const auth = SshAuth.keyboardInteractive(({ prompts }) => {
        asked.push(...prompts.map(({ prompt }) => prompt))
        return Effect.succeed(prompts.map(({ prompt }) => Redacted.make(/new/i.test(prompt) ? renewed : password)))
      })
      assert.strictEqual(yield* whoAmI({ ...settings(auth, "pam"), username }), username)
      assert.isAbove(asked.length, 3)
      const now = SshAuth.keyboardInteractive(Redacted.make(renewed))
      assert.strictEqual(yield* whoAmI({ ...settings(now, "pam"), username }), username)
    }))

  it.effect("gives two factors, a key and an answer", () =>
    Effect.gen(function*() {
      const { password, path, settings, username } = yield* SshLogins
      const auth = [SshAuth.keyboardInteractive(Redacted.make(password)), SshAuth.privateKey({ key: path("ed25519") })]
      assert.strictEqual(yield* whoAmI(settings(auth, "pamTwoFactors")), username)
    }))

  it.effect("fails when an answer is wrong or missing, and shows no answer", () =>
    Effect.gen(function*() {
      const { path, settings } = yield* SshLogins
      const wrong = yield* reasonOf(whoAmI(settings(SshAuth.keyboardInteractive(Redacted.make("staple")), "pam")))
      assert.match(wrong.message, /tried keyboard-interactive; the server accepts publickey, keyboard-interactive/)
      assert.notInclude(JSON.stringify(wrong) + wrong.message, "staple")
      yield* whoAmI(settings([SshAuth.keyboardInteractive(), SshAuth.privateKey({ key: path("rsa") })], "pam"))
      const missing = yield* reasonOf(whoAmI(settings(SshAuth.keyboardInteractive(), "pam")))
      assert.include(
        missing.message,
        "keyboard-interactive (no answer to \"Password: \"); the server accepts keyboard-interactive"
      )
    }))

  it.effect("is refused with a key that was revoked", () =>
    Effect.gen(function*() {
      const { path, settings } = yield* SshLogins
      const reason = yield* reasonOf(whoAmI(settings(SshAuth.privateKey({ key: path("ed25519_revoked") }))))
      assert.match(reason.message, /tried publickey \(SHA256:\S+ \S+ed25519_revoked\); the server accepts/)
    }))

  it.effect("never signs with SHA-1, even where the server takes nothing else", () =>
    Effect.gen(function*() {
      const { path, settings } = yield* SshLogins
      const reason = yield* reasonOf(whoAmI(settings(SshAuth.privateKey({ key: path("rsa") }), "sha1")))
      assert.match(reason.message, /tried publickey \(SHA256:\S+ \S+rsa\); the server accepts publickey, password/)
    }))

  it.effect("asks for a passphrase only when the server would take the key", () =>
    Effect.gen(function*() {
      const { path, settings, username } = yield* SshLogins
      let asked = 0
      const ask = Effect.sync(() => {
        asked++
        return Redacted.make(passphrase)
      })
      const locked = SshAuth.privateKey({ key: path("rsa_RFC4716_encrypted"), passphrase: ask })
      assert.strictEqual(yield* whoAmI(settings([SshAuth.privateKey({ key: path("ed25519") }), locked])), username)
      assert.strictEqual(asked, 0)
      assert.strictEqual(yield* whoAmI(settings(locked)), username)
      assert.strictEqual(asked, 1)
      const refused = SshAuth.privateKey({ key: path("rsa_RFC4716_encrypted"), passphrase: ask })
      yield* reasonOf(whoAmI({ ...settings(refused), username: `not-${username}` }))
      assert.strictEqual(asked, 1)
    }))
})
