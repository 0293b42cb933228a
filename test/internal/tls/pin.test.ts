import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import * as Pin from "../../../src/internal/tls/pin.ts"

describe("pin", () => {
  it("is the SHA-256 of a public key", () => {
    // printf abc | sha256sum
    assert.strictEqual(Pin.ofPublicKey(Buffer.from("abc")), "sha256/ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
  })
  it.effect("is understood in every way that people write it", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 100; n++) {
        const bytes = Crypto.randomBytes(32)
        const base64 = bytes.toString("base64")
        const hex = bytes.toString("hex")
        const colons = hex.toUpperCase().replace(/(..)(?=.)/g, "$1:")
        for (
          const text of [base64, hex, colons].flatMap((
            text
          ) => [text, `sha256/${text}`, `sha256//${text}`, ` ${text}\n`])
        ) {
          assert.strictEqual(yield* Pin.parse(text), `sha256/${base64}`)
        }
      }
    }))
  it.effect("is refused when it is anything else", () =>
    Effect.gen(function*() {
      const base64 = Crypto.randomBytes(32).toString("base64")
      const hex = Crypto.randomBytes(32).toString("hex")
      for (
        const text of [
          "",
          "sha256/",
          base64.slice(1),
          `${base64}A`,
          hex.slice(1),
          `${hex}0`,
          `sha1/${base64}`,
          "x".repeat(44)
        ]
      ) {
        const error = yield* Effect.flip(Pin.parse(text))
        assert.strictEqual(error.option, "pin")
        assert.include(error.message, `"${text}"`)
      }
    }))
  it.effect.prop("of any text is itself, or refused", { text: Schema.String }, ({ text }) =>
    Effect.gen(function*() {
      const parsed = yield* Effect.result(Pin.parse(text))
      if (parsed._tag === "Success") assert.strictEqual(yield* Pin.parse(parsed.success), parsed.success)
    }))
})
