import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { WriteBatch } from "../../../src/internal/bytes/writeBatch.ts"

describe("WriteBatch", () => {
  it.prop(
    "gives all that it accepted as one, in order, and then nothing",
    { sizes: Schema.Array(Schema.Literals([0, 1, 63, 64, 1024, 4095])).check(Schema.isMaxLength(40)) },
    ({ sizes }) => {
      const batch = new WriteBatch()
      const accepted: Array<Buffer> = []
      for (const [i, size] of sizes.entries()) {
        const piece = Buffer.alloc(size, i)
        if (!batch.accepts(piece)) continue
        batch.add(piece)
        accepted.push(piece)
      }
      const whole = Buffer.concat(accepted)
      assert.isAtMost(whole.length, 16 * 1024)
      assert.isTrue(whole.equals(batch.take() ?? Buffer.alloc(0)))
      assert.isUndefined(batch.take())
      assert.isTrue(batch.accepts(Buffer.alloc(4095)))
    }
  )

  it("does not copy a piece that is alone, and accepts none that is large", () => {
    const batch = new WriteBatch()
    const piece = Buffer.from("alone")
    batch.add(piece)
    assert.strictEqual(batch.take(), piece)
    assert.isFalse(batch.accepts(Buffer.alloc(4096)))
  })
})
