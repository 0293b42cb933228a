import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import { NoAnswer } from "../../../../src/internal/ssh/auth/credential.ts"
import { localKeys } from "../../../../src/internal/ssh/auth/localKeys.ts"
import { type PrivateKeyOptions, toCredential } from "../../../../src/internal/ssh/auth/privateKeyOptions.ts"
import { temporaryFolder } from "../../../support/servers.ts"
import { certificateOf } from "../../../support/sshCertificate.ts"
import { generateKey } from "../../../support/sshPeer.ts"

const passphrase = Redacted.make("open sesame")

const bytesOf = (line: string) => Buffer.from(line.split(" ")[1] ?? "", "base64")

/** A key in a file, perhaps with a certificate beside it. */
const keyFile = Effect.fnUntraced(function*(certificate?: (key: Buffer) => string) {
  const key = generateKey()
  const file = `${yield* temporaryFolder}/id`
  Fs.writeFileSync(file, key.private)
  if (certificate !== undefined) Fs.writeFileSync(`${file}-cert.pub`, certificate(bytesOf(key.public)))
  return { file, bytes: bytesOf(key.public) }
})

const namesOf = (options: PrivateKeyOptions) =>
  Effect.map(localKeys(toCredential(options)), (keys) => keys.map(({ name }) => name))

const problem = (options: PrivateKeyOptions) =>
  Effect.map(Effect.flip(localKeys(toCredential(options))), ({ _tag, message }) => `${_tag}: ${message}`)

describe("localKeys", () => {
  it.effect("has a key's certificate before the key", () =>
    Effect.gen(function*() {
      const { bytes, file } = yield* keyFile((key) => certificateOf(key))
      const [certificate, key, ...others] = yield* localKeys(toCredential({ key: file }))
      assert.lengthOf(others, 0)
      assert.deepInclude(certificate, { plain: bytes, name: `${file}, certificate "an id"`, locked: false })
      assert.isFalse(certificate?.bytes.equals(bytes))
      assert.deepInclude(key, { plain: bytes, bytes, name: file, locked: false })
    }))

  it.effect("passes over a certificate that only lies there and is of no use, with a word", () =>
    Effect.gen(function*() {
      const useless = {
        "is no certificate": () => "ssh-ed25519 AAAA",
        "is a certificate of a host, not of a user": (key: Buffer) => certificateOf(key, { kind: 2 }),
        "belongs to another key": () => certificateOf(bytesOf(generateKey().public)),
        "is not valid before 1970-01-01T00:00:01.000Z": (key: Buffer) => certificateOf(key, { validAfter: 1n }),
        "was valid until 1970-01-01T00:00:00.000Z": (key: Buffer) => certificateOf(key, { validBefore: 0n })
      }
      for (const [words, certificate] of Object.entries(useless)) {
        const { file } = yield* keyFile(certificate)
        assert.deepStrictEqual(yield* namesOf({ key: file }), [`${file}; ${file}-cert.pub is not used: it ${words}`])
        assert.strictEqual(
          yield* problem({ key: file, certificate: `${file}-cert.pub` }),
          `KeyUnreadable: the private key cannot be used: the certificate of the file "${file}" ${words}`
        )
      }
    }))

  it.effect("takes a certificate as text, as bytes or from a file, instead of the one beside the key", () =>
    Effect.gen(function*() {
      const { bytes, file } = yield* keyFile((key) => certificateOf(key, { kind: 2 }))
      const line = certificateOf(bytes)
      const other = `${file}-other`
      Fs.writeFileSync(other, line)
      for (const certificate of [line, Buffer.from(line), other]) {
        assert.deepStrictEqual(yield* namesOf({ key: file, certificate }), [`${file}, certificate "an id"`, file])
      }
      assert.match(yield* problem({ key: file, certificate: `${file}-not` }), /^KeyUnreadable: .* cannot read .*ENOENT/)
    }))

  it.effect("asks at once for the passphrase of a format that does not show the public key", () =>
    Effect.gen(function*() {
      const { privateKey } = Crypto.generateKeyPairSync("ed25519")
      const key = privateKey
        .export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: Redacted.value(passphrase) })
        .toString()
      let asked = 0
      const ask = Effect.sync(() => {
        asked++
        return passphrase
      })
      const [local] = yield* localKeys(toCredential({ key, passphrase: ask }))
      assert.deepInclude(local, { locked: false, name: "the given text" })
      assert.strictEqual(asked, 1)
      assert.strictEqual(
        yield* problem({ key, passphrase: Effect.fail("nobody there") }),
        "KeyUnreadable: the private key cannot be used: the given text is encrypted: no answer"
      )
    }))

  it.effect("asks later, and once, for the passphrase of a format that shows it", () =>
    Effect.gen(function*() {
      const key = generateKey(passphrase)
      let asked = 0
      const ask = Effect.sync(() => {
        asked++
        return passphrase
      })
      const certificate = certificateOf(bytesOf(key.public))
      const keys = yield* localKeys(toCredential({ key: key.private, passphrase: ask, certificate }))
      assert.deepStrictEqual(keys.map(({ locked }) => locked), [true, true])
      assert.strictEqual(asked, 0)
      const unlocked = yield* Effect.forEach(keys, (key) => key.unlocked)
      assert.strictEqual(unlocked[0], unlocked[1])
      assert.strictEqual(asked, 1)
      const [refused] = yield* localKeys(toCredential({ key: key.private, passphrase: Effect.fail("no") }))
      assert.deepStrictEqual(yield* Effect.flip(refused!.unlocked), new NoAnswer({ why: "no answer" }))
    }))

  it.effect("asks nobody for the passphrase of a key that has none", () =>
    Effect.gen(function*() {
      const never = Effect.die("nobody has to be asked")
      assert.deepStrictEqual(yield* namesOf({ key: generateKey().private, passphrase: never }), ["the given text"])
      assert.deepStrictEqual(yield* namesOf({ key: generateKey().private, passphrase }), ["the given text"])
    }))

  it.effect("decrypts a key once for all connections that use the same description of it", () =>
    Effect.gen(function*() {
      const credential = toCredential({ key: generateKey(passphrase).private, passphrase })
      const unlocked = Effect.flatMap(localKeys(credential), ([key]) => key!.unlocked)
      assert.strictEqual(yield* unlocked, yield* unlocked)
    }))
})
