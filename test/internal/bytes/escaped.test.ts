import { assert, describe, it } from "@effect/vitest"
import { escaped, excerpt } from "../../../src/internal/bytes/escaped.ts"

describe("bytes as text", () => {
  it("are UTF-8 where they can be, with escapes for what cannot be seen", () => {
    assert.strictEqual(
      escaped(Buffer.from("PING\r\n\t\"ю\"\\\0\b\f\x1b\x7f")),
      "\"PING\\r\\n\\t\\\"ю\\\"\\\\\\x00\\x08\\x0c\\x1b\\x7f\""
    )
    assert.strictEqual(escaped(Buffer.from("a\\b\\u0001")), "\"a\\\\b\\\\u0001\"")
    assert.strictEqual(escaped(new Uint8Array()), "\"\"")
    assert.strictEqual(escaped(Uint8Array.of(5, 0xff, 0x41, 0x80)), "\"\\x05\\xffA\\x80\"")
  })

  it("are cut around what matters", () => {
    const long = Buffer.from(`${"a".repeat(500)}X${"b".repeat(499)}`)
    assert.strictEqual(excerpt(Buffer.from("short"), 3), "\"short\"")
    assert.strictEqual(excerpt(long), `"${"a".repeat(120)}"… (1000 bytes)`)
    assert.strictEqual(excerpt(long, 500), `…"${"a".repeat(20)}X${"b".repeat(99)}"… (1000 bytes)`)
    assert.strictEqual(excerpt(long, 1000), `…"${"b".repeat(120)}" (1000 bytes)`)
  })
})
