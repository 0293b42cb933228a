import { assert, describe, it } from "@effect/vitest"
import { boolean, mpint, Reader, string, uint32 } from "../../../src/internal/ssh/wire.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

describe("wire", () => {
  it("writes numbers as RFC 4251 shows them", () => {
    assert.strictEqual(hex(mpint(Buffer.of(0))), "00000000")
    assert.strictEqual(hex(mpint(Buffer.of())), "00000000")
    assert.strictEqual(hex(mpint(Buffer.from("09a378f9b2e332a7", "hex"))), "0000000809a378f9b2e332a7")
    assert.strictEqual(hex(mpint(Buffer.from("000080", "hex"))), "000000020080")
    assert.strictEqual(hex(uint32(699921578)), "29b7f4aa")
    assert.strictEqual(hex(boolean(true)) + hex(boolean(false)), "0100")
    assert.strictEqual(hex(string("testing")), "0000000774657374696e67")
    assert.strictEqual(hex(string("ä")), "00000002c3a4")
  })

  it("reads what it wrote, from bytes in the middle of others", () => {
    const bytes = Buffer.concat([Buffer.of(9), uint32(7), string("text"), Buffer.from("0000000000000102", "hex")])
    const reader = new Reader(new Uint8Array(bytes).subarray(1))
    assert.deepStrictEqual([reader.uint32(), reader.text(), reader.position], [7, "text", 12])
    assert.isFalse(reader.done)
    assert.strictEqual(reader.uint64(), 258n)
    assert.isTrue(reader.done && !reader.failed)
  })

  it("says so where there is not enough, and then gives nothing more", () => {
    const wholes = [uint32(7), string("text"), Buffer.alloc(8)]
    const reads = [
      (reader: Reader) => reader.uint32(),
      (reader: Reader) => reader.text(),
      (reader: Reader) => reader.uint64()
    ]
    wholes.forEach((whole, i) => {
      for (let size = 0; size < whole.length; size++) {
        const reader = new Reader(whole.subarray(0, size))
        reads[i]!(reader)
        assert.isTrue(reader.failed)
        assert.deepStrictEqual([reader.byte(), reader.uint32(), reader.text(), reader.uint64()], [0, 0, "", 0n])
      }
    })
  })
})
