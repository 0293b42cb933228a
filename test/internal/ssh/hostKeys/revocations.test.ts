import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { hostKey } from "../../../../src/internal/ssh/hostKeys/publicKey.ts"
import { parse } from "../../../../src/internal/ssh/hostKeys/revocations.ts"
import { string, uint32 } from "../../../../src/internal/ssh/wire.ts"
import { publicKeys, revocationLists } from "../../../support/publicKeys.ts"

const { certificate, ed25519, otherEd25519, rsa } = publicKeys
const keyOf = (key: string) => hostKey(Buffer.from(key.split(" ")[1]!, "base64"))

/** Which of two keys are revoked, or what is wrong with the file. */
const revoked = (file: Buffer) =>
  Result.match(parse(file), {
    onSuccess: ({ has }) => [ed25519, rsa].map((key) => has(keyOf(key))),
    onFailure: (detail) => detail
  })

const list = revocationLists.key
const withSection = (...section: ReadonlyArray<Buffer>) => Buffer.concat([list, ...section])

describe("revoked keys", () => {
  it("are listed one a line", () => {
    assert.deepStrictEqual(revoked(Buffer.from("")), [false, false])
    assert.deepStrictEqual(revoked(Buffer.from(`# stolen\n\n \t${ed25519} a comment\n`)), [true, false])
    assert.deepStrictEqual(revoked(Buffer.from(`${rsa}\r\n${certificate}`)), [true, true])
    assert.deepStrictEqual(revoked(Buffer.from(otherEd25519)), [false, false])
  })

  it("are not guessed where a line is none", () => {
    assert.strictEqual(revoked(Buffer.from(`${rsa}\n${ed25519.slice(0, -1)}\n`)), "its line 2 is not a public key")
    assert.strictEqual(revoked(Buffer.from(`db ${rsa}\n`)), "its line 1 is not a public key")
  })

  it("are found in the lists of ssh-keygen, by themselves and by their hashes", () => {
    for (const list of [revocationLists.key, revocationLists.sha256, revocationLists.sha1]) {
      assert.deepStrictEqual(revoked(list), [true, false])
    }
    assert.deepStrictEqual(revoked(revocationLists.certificate), [false, false])
  })

  it("are found in several sections, and before a signature", () => {
    const keys = Buffer.concat([string(keyOf(otherEd25519).bytes), string(keyOf(rsa).bytes)])
    assert.deepStrictEqual(revoked(withSection(Buffer.of(2), string(keys))), [true, true])
    assert.deepStrictEqual(revoked(withSection(Buffer.of(4), string(keyOf(rsa).bytes), string("signature"))), [
      true,
      false
    ])
  })

  it("are not guessed where a list is broken or says more than is known", () => {
    assert.strictEqual(revoked(list.subarray(0, -1)), "it is broken")
    assert.strictEqual(revoked(list.subarray(0, 20)), "it is broken")
    assert.strictEqual(revoked(withSection(Buffer.of(2), string(uint32(9)))), "it is broken")
    assert.strictEqual(revoked(withSection(Buffer.of(9), string(""))), "its section of type 9 is not known")
    const later = Buffer.from(list)
    later.writeUInt32BE(2, 8)
    assert.strictEqual(revoked(later), "its version 2 is not known")
  })

  it.effect.prop("never throw", { bytes: Schema.Uint8Array, cut: Schema.Int }, ({ bytes, cut }) =>
    Effect.sync(() => {
      parse(Buffer.from(bytes))
      parse(Buffer.concat([list, bytes]))
      parse(list.subarray(0, Math.abs(cut) % list.length))
    }))
})
