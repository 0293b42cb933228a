import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { decodeTimeout, encodeTimeout } from "../../../../src/internal/grpc/wire/timeout.ts"

const maxHours = 99_999_999

const between = (minimum: number, maximum: number) => Schema.Finite.check(Schema.isBetween({ minimum, maximum }))

describe("grpc-timeout", () => {
  it.effect.prop(
    "has at most eight digits and is never shorter than it should be, nor much longer",
    // so that every unit has its turn
    { exponent: between(-3, 14), mantissa: between(1, 10) },
    ({ exponent, mantissa }) =>
      Effect.sync(() => {
        const millis = mantissa * 10 ** exponent
        const header = encodeTimeout(millis)
        assert.match(header, /^\d{1,8}[HMSmun]$/)
        const decoded = decodeTimeout(header)
        assert.isDefined(decoded)
        if (millis > maxHours * 3_600_000) return assert.strictEqual(header, `${maxHours}H`)
        assert.isAtLeast(decoded, millis * (1 - 1e-12))
        assert.isAtMost(decoded, Math.max(millis * 1.001, millis + 1))
      }),
    { arbitrary: { runs: 1000 } }
  )

  it("says some times as one would expect", () => {
    const expected: Record<string, number> = {
      "0u": 0,
      "1u": 0.000_5,
      "500u": 0.5,
      "1m": 1,
      "2m": 1.5,
      "99999999m": 99_999_999,
      "100000S": 100_000_000,
      "99999999S": 99_999_999_000,
      "1666667M": 100_000_000_000,
      "99999999H": Number.MAX_VALUE
    }
    for (const [header, millis] of Object.entries(expected)) assert.strictEqual(encodeTimeout(millis), header)
    assert.strictEqual(encodeTimeout(-5), "0u")
  })

  it("is read in every unit", () => {
    const millis = { n: 1e-6, u: 1e-3, m: 1, S: 1000, M: 60_000, H: 3_600_000 }
    for (const [unit, one] of Object.entries(millis)) {
      assert.strictEqual(decodeTimeout(`1${unit}`), one)
      assert.strictEqual(decodeTimeout(`99999999${unit}`), 99_999_999 * one)
      assert.strictEqual(decodeTimeout(`0${unit}`), 0)
      assert.strictEqual(decodeTimeout(`00000007${unit}`), 7 * one)
    }
  })

  it("makes no sense in any other form", () => {
    for (const header of ["", "1", "S", "1s", "1h", "-1S", "+1S", "1.5S", "100000000S", " 1S", "1S ", "1SS", "1 S"]) {
      assert.isUndefined(decodeTimeout(header), header)
    }
  })
})
