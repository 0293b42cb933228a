import { assert, describe, it } from "@effect/vitest"
import { crc32c } from "../../../src/internal/proxy/crc32c.ts"

describe("crc32c", () => {
  it("gives what RFC 3720, appendix B.4, and the polynomial's usual check say", () => {
    assert.strictEqual(crc32c(Buffer.from("123456789")), 0xe3069283)
    assert.strictEqual(crc32c(Buffer.alloc(32)), 0x8a9136aa)
    assert.strictEqual(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
    assert.strictEqual(crc32c(Buffer.from(Array.from({ length: 32 }, (_, byte) => byte))), 0x46dd794e)
    assert.strictEqual(crc32c(Buffer.alloc(0)), 0)
  })
})
