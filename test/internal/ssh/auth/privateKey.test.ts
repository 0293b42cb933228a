import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import { load, recognise, unlock } from "../../../../src/internal/ssh/auth/privateKey.ts"
import { mpint, string, uint32 } from "../../../../src/internal/ssh/wire.ts"
import { generateKey } from "../../../support/sshPeer.ts"

const passphrase = Redacted.make("open sesame")
const protection = { cipher: "aes-256-cbc", passphrase: Redacted.value(passphrase) }

const read = Effect.fnUntraced(function*(key: string | Uint8Array | Redacted.Redacted, secret?: Redacted.Redacted) {
  const stored = yield* Effect.flatMap(load(key), recognise)
  return yield* unlock(stored, secret)
})

/** What is wrong with a key. */
const problem = (key: string | Uint8Array | Redacted.Redacted, secret?: Redacted.Redacted) =>
  Effect.map(Effect.flip(read(key, secret)), ({ message }) => message)

const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
const ec = (namedCurve: string) => Crypto.generateKeyPairSync("ec", { namedCurve }).privateKey
const ed25519 = Crypto.generateKeyPairSync("ed25519").privateKey

const pem = (key: Crypto.KeyObject, type: "pkcs1" | "pkcs8" | "sec1", encryption = {}) =>
  key.export({ format: "pem", type, ...encryption } as Crypto.KeyExportOptions<"pem">).toString()

const number = (text: string | undefined) => mpint(Buffer.from(text ?? "", "base64url"))

/** PuTTY's format, version 2. */
const putty = (key: Crypto.KeyObject, secret = ""): string => {
  const { d, e, n, p, q, qi } = key.export({ format: "jwk" })
  const sha1 = (...parts: ReadonlyArray<Uint8Array | string>) =>
    parts.reduce((hash, part) => hash.update(part), Crypto.createHash("sha1")).digest()
  const encryption = secret === "" ? "none" : "aes256-cbc"
  const shown = Buffer.concat([string("ssh-rsa"), number(e), number(n)])
  const numbers = Buffer.concat([d, p, q, qi].map(number))
  const hidden = secret === "" ? numbers : Buffer.concat([numbers, Buffer.alloc((16 - numbers.length % 16) % 16)])
  const macKey = sha1("putty-private-key-file-mac-key", secret)
  const mac = Crypto.createHmac("sha1", macKey)
    .update(Buffer.concat(["ssh-rsa", encryption, "a comment", shown, hidden].map(string)))
    .digest("hex")
  const cipherKey = Buffer.concat([sha1(uint32(0), secret), sha1(uint32(1), secret)]).subarray(0, 32)
  const cipher = Crypto.createCipheriv("aes-256-cbc", cipherKey, Buffer.alloc(16)).setAutoPadding(false)
  const written = secret === "" ? hidden : Buffer.concat([cipher.update(hidden), cipher.final()])
  const lines = (bytes: Buffer) => bytes.toString("base64").match(/.{1,64}/g) ?? []
  return [
    "PuTTY-User-Key-File-2: ssh-rsa",
    `Encryption: ${encryption}`,
    "Comment: a comment",
    `Public-Lines: ${lines(shown).length}`,
    ...lines(shown),
    `Private-Lines: ${lines(written).length}`,
    ...lines(written),
    `Private-MAC: ${mac}`,
    ""
  ].join("\r\n")
}

describe("privateKey", () => {
  it.effect("reads PEM and PKCS#8, encrypted or not", () =>
    Effect.gen(function*() {
      const types = [
        [rsa, "ssh-rsa", "pkcs1"],
        [ec("P-256"), "ecdsa-sha2-nistp256", "sec1"],
        [ec("P-384"), "ecdsa-sha2-nistp384", "sec1"],
        [ec("P-521"), "ecdsa-sha2-nistp521", "sec1"],
        [ed25519, "ssh-ed25519", "pkcs8"]
      ] as const
      for (const [key, type, old] of types) {
        for (const format of ["pkcs8", old] as const) {
          const plain = yield* read(pem(key, format))
          assert.strictEqual(plain.type, type)
          assert.isTrue(plain.key.equals(key))
          const encrypted = yield* read(pem(key, format, protection), passphrase)
          assert.isTrue(encrypted.key.equals(key))
          assert.isTrue(encrypted.bytes.equals(plain.bytes))
          assert.strictEqual(
            yield* problem(pem(key, format, protection), Redacted.make("open barley")),
            "the private key cannot be used: the given text cannot be decrypted: the passphrase is wrong"
          )
        }
      }
    }))

  it.effect("reads PuTTY's version 2 with RSA keys, encrypted or not", () =>
    Effect.gen(function*() {
      assert.isTrue((yield* read(putty(rsa))).key.equals(rsa))
      const encrypted = putty(rsa, Redacted.value(passphrase))
      assert.isTrue((yield* read(encrypted, passphrase)).key.equals(rsa))
      assert.match(yield* problem(encrypted), /is encrypted: give its passphrase/)
      assert.match(yield* problem(encrypted, Redacted.make("open barley")), /the passphrase is wrong$/)
      assert.match(
        yield* problem(putty(rsa).replace("ssh-rsa", "ssh-ed25519")),
        /type ssh-ed25519: convert it with "puttygen/
      )
      assert.match(
        yield* problem(putty(rsa).replace("File-2", "File-3")),
        /newer format of PuTTY than 2: convert it with/
      )
    }))

  it.effect("finds the key among other things in a text", () =>
    Effect.gen(function*() {
      const parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
      const key = ec("P-256")
      assert.isTrue((yield* read(`${parameters}${pem(key, "sec1")}\n\n`)).key.equals(key))
      const openssh = generateKey().private
      assert.strictEqual((yield* read(`\r\n${openssh.replaceAll("\n", "\r\n")}\r\n`)).type, "ssh-ed25519")
    }))

  it.effect("reads many keys of OpenSSH's format, also those with zeros in front", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 100; i++) {
        const { private: key, public: line } = generateKey()
        assert.strictEqual((yield* read(key)).bytes.toString("base64"), line.split(" ")[1])
      }
    }))

  it.effect("says what it got instead", () =>
    Effect.gen(function*() {
      const { publicKey } = Crypto.generateKeyPairSync("ed25519")
      const publicKeys = [
        generateKey().public,
        publicKey.export({ format: "pem", type: "spki" }).toString(),
        "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n"
      ]
      for (const key of publicKeys) assert.match(yield* problem(key), /the given text is a public key/)
      assert.match(yield* problem(Buffer.from("nothing")), /the given bytes holds? no private key in a known format/)
      assert.match(yield* problem("/nonexistent/id_rsa"), /cannot read the file "\/nonexistent\/id_rsa" \(ENOENT\)$/)
      const dsa = Crypto.generateKeyPairSync("dsa", { modulusLength: 1024, divisorLength: 160 }).privateKey
      assert.match(yield* problem(pem(dsa, "pkcs8")), /keys of its type are not used with SSH \(dsa\)$/)
      for (const curve of ["secp256k1", "brainpoolP256r1"]) {
        assert.match(yield* problem(pem(ec(curve), "pkcs8")), /keys of its type are not used with SSH \(ec\)$/)
      }
      const damaged = pem(ed25519, "pkcs8").replace(/\n..../, "\nAAAA")
      assert.match(yield* problem(damaged), /the given text cannot be used: it is damaged$/)
      const [begin, , ...rest] = generateKey().private.split("\n")
      assert.match(yield* problem([begin, ...rest].join("\n")), /the given text is damaged$/)
    }))

  it.effect("refuses the handle of a security key", () =>
    Effect.gen(function*() {
      const type = "sk-ssh-ed25519@openssh.com"
      const bytes = Buffer.concat([string(type), string(Buffer.alloc(32)), string("ssh:")])
      const container = Buffer.concat([
        Buffer.from("openssh-key-v1\0"),
        string("none"),
        string("none"),
        string(""),
        uint32(1),
        string(bytes),
        string("hidden")
      ])
      const text = `-----BEGIN OPENSSH PRIVATE KEY-----\n${
        container.toString("base64")
      }\n-----END OPENSSH PRIVATE KEY-----\n`
      const error = yield* Effect.flip(read(text))
      assert.deepInclude(error, { _tag: "Unsupported", feature: "security key" })
      assert.include(error.message, "put it into an agent")
    }))

  it.effect("shows no secret, not even one that is no key", () =>
    Effect.gen(function*() {
      assert.notInclude(yield* problem(Redacted.make("b3BlbnNzaC1rZXktdjE")), "b3Bl")
      assert.notInclude(yield* problem(Redacted.make("-----BEGIN SECRET-----")), "SECRET")
      const locked = generateKey(passphrase).private
      assert.notInclude(yield* problem(locked, Redacted.make("barley")), "barley")
    }))

  it.effect("has a typed answer to a damaged key, whatever byte is wrong", () =>
    Effect.gen(function*() {
      const { private: key, public: line } = generateKey()
      const [begin = "", ...lines] = key.trim().split("\n")
      const end = lines.pop() ?? ""
      const bytes = Buffer.from(lines.join(""), "base64")
      for (let at = 0; at < bytes.length; at++) {
        for (const damaged of [bytes.subarray(0, at), Buffer.from(bytes).fill(bytes[at]! ^ 0x5a, at, at + 1)]) {
          const result = yield* Effect.result(read(`${begin}\n${damaged.toString("base64")}\n${end}\n`))
          if (result._tag === "Failure") assert.include(["KeyUnreadable", "Unsupported"], result.failure._tag)
          // the comment, the checks against a wrong passphrase, the private half: nobody can tell
          else assert.strictEqual(result.success.type, line.split(" ")[0])
        }
      }
    }))
})
