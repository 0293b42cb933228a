import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as PublicKey from "../../../../src/internal/ssh/hostKeys/publicKey.ts"
import { string } from "../../../../src/internal/ssh/wire.ts"
import { publicKeys } from "../../../support/publicKeys.ts"

const blobOf = (key: string) => Buffer.from(key.split(" ")[1]!, "base64")

/** A key with other bytes, and its right type before them. */
const withBlob = (key: string, blob: Buffer) => `${key.split(" ")[0]} ${blob.toString("base64")}`

const small = Buffer.concat([string("ssh-rsa"), string(Buffer.of(1, 0, 1)), string(Buffer.alloc(127, 0x7f))])

describe("public keys", () => {
  it("have the type and the fingerprint that ssh-keygen prints", () => {
    const key = PublicKey.hostKey(blobOf(publicKeys.ed25519))
    assert.deepInclude(key, {
      type: "ssh-ed25519",
      fingerprint: "SHA256:xOiWLVP9n87JjOXvzOFJbVb0M0cLRqImJEQJe1KGafQ"
    })
    assert.strictEqual(PublicKey.hostKey(blobOf(publicKeys.ecdsa)).type, "ecdsa-sha2-nistp384")
    assert.strictEqual(PublicKey.typeOf(new Uint8Array([0, 0])), "")
  })

  it("are read from files, of each type", () => {
    const { certificate, ...plain } = publicKeys
    for (const key of Object.values(plain)) {
      const expected = { type: key.split(" ")[0]!, bytes: blobOf(key), inCertificate: false }
      assert.deepStrictEqual(PublicKey.fromText(`${key} a comment`), expected)
      assert.deepStrictEqual(PublicKey.fromText(`${key}\r`), expected)
      assert.deepStrictEqual(PublicKey.parse(blobOf(key)), expected)
    }
    const inside = { type: "ssh-ed25519", bytes: blobOf(plain.ed25519), inCertificate: true }
    assert.deepStrictEqual(PublicKey.fromText(certificate), inside)
  })

  it("of security keys are read as well", () => {
    const ed25519 = Buffer.concat([string("sk-ssh-ed25519@openssh.com"), string(Buffer.alloc(32)), string("ssh:")])
    assert.deepInclude(PublicKey.parse(ed25519), { type: "sk-ssh-ed25519@openssh.com", bytes: ed25519 })
    assert.isUndefined(PublicKey.parse(ed25519.subarray(0, -8)))
  })

  it("may be named by the signatures that they make", () => {
    const key = PublicKey.fromText(publicKeys.rsa)
    for (const name of ["rsa-sha2-256", "rsa-sha2-512"]) {
      assert.deepStrictEqual(PublicKey.fromText(publicKeys.rsa.replace("ssh-rsa", name)), key)
    }
    assert.isUndefined(PublicKey.fromText(publicKeys.ed25519.replace("ssh-ed25519", "rsa-sha2-512")))
  })

  it("are nothing where something is missing, left over, or not what the type says", () => {
    const { ed25519, ...others } = publicKeys
    for (const key of [ed25519, ...Object.values(others)]) {
      const blob = blobOf(key)
      assert.isUndefined(PublicKey.fromText(withBlob(key, blob.subarray(0, -1))), key)
      assert.isUndefined(PublicKey.fromText(withBlob(key, Buffer.concat([blob, Buffer.of(0)]))), key)
      assert.isUndefined(PublicKey.fromText(`ssh-foo ${key.split(" ")[1]}`), key)
    }
    const [type = "", base64 = ""] = ed25519.split(" ")
    const wrong = [
      "",
      type,
      `${type} `,
      base64,
      `${type.toUpperCase()} ${base64}`,
      `${type} ${base64}=`,
      `${type} ${base64}!`,
      `${type} ${base64.slice(0, -1)}`,
      `${type} ${base64.slice(0, -2)}=${base64.slice(-1)}`,
      withBlob(publicKeys.rsa, small)
    ]
    for (const text of wrong) assert.isUndefined(PublicKey.fromText(text), text)
  })

  it("of elliptic curves lie on them, uncompressed", () => {
    for (const key of [publicKeys.ecdsa, publicKeys.ecdsa521]) {
      const blob = blobOf(key)
      blob[blob.length - 1]! ^= 1
      assert.isUndefined(PublicKey.fromText(withBlob(key, blob)))
    }
    const compressed = Buffer.concat([
      string("ecdsa-sha2-nistp256"),
      string("nistp256"),
      string(Buffer.concat([Buffer.of(2), Buffer.alloc(32, 1)]))
    ])
    assert.isUndefined(PublicKey.parse(compressed))
  })

  it.effect.prop(
    "are never found in anything else, and nothing throws",
    { bytes: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))), cut: Schema.Int },
    ({ bytes, cut }) =>
      Effect.sync(() => {
        assert.isUndefined(PublicKey.parse(Buffer.from(bytes)))
        const blob = blobOf(publicKeys.certificate)
        const at = Math.abs(cut) % blob.length
        assert.isUndefined(PublicKey.parse(blob.subarray(0, at)))
        assert.isUndefined(PublicKey.parse(Buffer.concat([blob.subarray(0, at), Buffer.of(0), blob.subarray(at)])))
      })
  )
})
