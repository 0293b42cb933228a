import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import { parse, problemOf } from "../../../../src/internal/ssh/auth/certificate.ts"
import { recognise } from "../../../../src/internal/ssh/auth/privateKey.ts"
import { fingerprint } from "../../../../src/internal/ssh/hostKeys/publicKey.ts"
import { certificateOf } from "../../../support/sshCertificate.ts"

/** A public key in SSH's own format. */
const publicKey = Effect.fnUntraced(function*(key: Crypto.KeyObject) {
  const bytes = Buffer.from(key.export({ format: "pem", type: "pkcs8" }))
  const stored = yield* recognise({ name: "a key", path: undefined, bytes })
  return Result.getOrThrow(stored.parse(undefined)).bytes
})

const keys = [
  Crypto.generateKeyPairSync("ed25519"),
  Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ...["P-256", "P-384", "P-521"].map((namedCurve) => Crypto.generateKeyPairSync("ec", { namedCurve }))
].map(({ privateKey }) => privateKey)

describe("certificate", () => {
  it.effect("reads certificates of each type of key", () =>
    Effect.gen(function*() {
      for (const key of keys) {
        const bytes = yield* publicKey(key)
        const certificate = parse(
          certificateOf(bytes, { principals: ["demo", "ops"], validAfter: 5n, validBefore: 9n })
        )
        assert.deepInclude(certificate, {
          key: bytes,
          kind: "user",
          id: "an id",
          principals: ["demo", "ops"],
          validAfter: 5n,
          validBefore: 9n,
          authority: fingerprint(Buffer.from("the authority"))
        })
      }
    }))

  it.effect("reads nothing else", () =>
    Effect.gen(function*() {
      const bytes = yield* publicKey(keys[0]!)
      const [type = "", base64 = ""] = certificateOf(bytes).split(" ")
      const cutOff = Buffer.from(base64, "base64").subarray(0, -3).toString("base64")
      const plain = `ssh-ed25519 ${bytes.toString("base64")}`
      for (const text of ["", "a text", plain, `${type} ${cutOff}`, `${type} !`, `x${plain}`]) {
        assert.isUndefined(parse(text))
      }
    }))

  it.effect("says why a certificate is of no use", () =>
    Effect.gen(function*() {
      const key = yield* publicKey(keys[0]!)
      const other = yield* publicKey(keys[2]!)
      const problem = (options: Parameters<typeof certificateOf>[1], now = 1_000_000_000_000, of = key) =>
        problemOf(parse(certificateOf(key, options))!, of, now)
      assert.isUndefined(problem({}))
      assert.isUndefined(problem({ validAfter: 1_000_000_000n, validBefore: 1_000_000_001n }))
      assert.strictEqual(problem({ validAfter: 1_000_000_001n }), "is not valid before 2001-09-09T01:46:41.000Z")
      assert.strictEqual(problem({ validBefore: 1_000_000_000n }), "was valid until 2001-09-09T01:46:40.000Z")
      assert.strictEqual(problem({ validAfter: 2n ** 64n - 2n }), "is not valid before never")
      assert.strictEqual(problem({ kind: 2 }), "is a certificate of a host, not of a user")
      assert.strictEqual(problem({ kind: 3 }), "is a certificate of a kind that is not known, not of a user")
      assert.strictEqual(problem({}, 0, other), "belongs to another key")
    }))

  it.effect("reads nothing that is cut off, and any byte without failing", () =>
    Effect.gen(function*() {
      const [type = "", base64 = ""] = certificateOf(yield* publicKey(keys[0]!)).split(" ")
      const bytes = Buffer.from(base64, "base64")
      const parsed = (bytes: Uint8Array) => parse(`${type} ${Buffer.from(bytes).toString("base64")}`)
      for (let at = 0; at < bytes.length; at++) {
        assert.isUndefined(parsed(bytes.subarray(0, at)))
        parsed(Buffer.from(bytes).fill(bytes[at]! ^ 0x5a, at, at + 1))
      }
    }))
})
