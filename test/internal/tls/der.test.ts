import { assert, describe, it } from "@effect/vitest"
import * as Der from "../../../src/internal/tls/der.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

describe("der", () => {
  it("writes lengths in the fewest bytes", () => {
    assert.strictEqual(hex(Der.octetString(Buffer.alloc(0))), "0400")
    assert.strictEqual(hex(Der.octetString(Buffer.alloc(127)).subarray(0, 2)), "047f")
    assert.strictEqual(hex(Der.octetString(Buffer.alloc(128)).subarray(0, 3)), "048180")
    assert.strictEqual(hex(Der.octetString(Buffer.alloc(255)).subarray(0, 3)), "0481ff")
    assert.strictEqual(hex(Der.octetString(Buffer.alloc(256)).subarray(0, 4)), "04820100")
    assert.strictEqual(hex(Der.octetString(Buffer.alloc(65536)).subarray(0, 5)), "0483010000")
  })

  it("writes unsigned integers without a sign bit and without leading zeros", () => {
    assert.strictEqual(hex(Der.unsigned(Buffer.of(0))), "020100")
    assert.strictEqual(hex(Der.unsigned(Buffer.of(0x7f))), "02017f")
    assert.strictEqual(hex(Der.unsigned(Buffer.of(0x80))), "02020080")
    assert.strictEqual(hex(Der.unsigned(Buffer.of(0, 0, 0x12, 0x34))), "02021234")
  })

  it("writes object identifiers in base 128", () => {
    assert.strictEqual(hex(Der.oid("2.5.29.17")), "0603551d11")
    assert.strictEqual(hex(Der.oid("1.2.840.10045.4.3.2")), "06082a8648ce3d040302")
  })

  it("writes times as RFC 5280 wants them", () => {
    assert.strictEqual(hex(Der.time(new Date("2049-12-31T23:59:59Z"))), `170d${hex(Buffer.from("491231235959Z"))}`)
    assert.strictEqual(hex(Der.time(new Date("2050-01-01T00:00:00.5Z"))), `180f${hex(Buffer.from("20500101000000Z"))}`)
  })

  it("nests", () => {
    assert.strictEqual(
      hex(Der.sequence(Der.boolean(true), Der.set(Der.utf8("é")), Der.explicit(0, Der.boolean(false)))),
      ["300e", "0101ff", "31040c02c3a9", "a003010100"].join("")
    )
    assert.strictEqual(hex(Der.implicit(2, Buffer.from("a"))), "820161")
    assert.strictEqual(hex(Der.bitString(Buffer.of(0x06), 1)), "03020106")
    assert.strictEqual(hex(Der.nothing), "0500")
  })
})
