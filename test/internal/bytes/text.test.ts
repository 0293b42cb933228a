import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Text from "../../../src/internal/bytes/text.ts"

describe("text", () => {
  it("encodes and decodes what an encoding has", () => {
    for (
      const [encoding, sample] of [
        ["utf-8", "añ漢🎉"],
        ["utf-16le", "añ漢🎉"],
        ["windows-1251", "Съешь ещё"],
        ["koi8-r", "Съешь ещё"],
        ["ibm866", "Съешь ещё"],
        ["shift_jis", "漢字かな"],
        ["windows-1252", "€ naïve"],
        ["latin1", "€ naïve"],
        ["utf-16", "añ漢🎉"]
      ] as const
    ) {
      const bytes = Result.getOrThrow(Text.encode(sample, encoding))
      assert.strictEqual(Result.getOrThrow(Text.decode(bytes, encoding)), sample, encoding)
    }
  })

  it("names the character that an encoding lacks", () => {
    const result = Text.encode("abc→", "windows-1251")
    assert.isTrue(Result.isFailure(result))
    assert.include(Result.isFailure(result) ? result.failure.message : "", "→")
  })

  it("refuses encodings that nobody knows, in both directions", () => {
    assert.isTrue(Result.isFailure(Text.encode("a", "klingon")))
    assert.isTrue(Result.isFailure(Text.decode(Buffer.from("a"), "klingon")))
  })

  it("says which encodings can only be read", () => {
    assert.strictEqual(Result.getOrThrow(Text.decode(Buffer.from([0x1b, 0x28, 0x42, 0x61]), "iso-2022-jp")), "a")
    const written = Text.encode("a", "iso-2022-jp")
    assert.include(Result.isFailure(written) ? written.failure.message : "", "read but not written")
  })

  it("decodes again after a failure", () => {
    assert.isTrue(Result.isFailure(Text.decode(Buffer.from([0xe2, 0x82]), "utf-8")))
    assert.deepEqual(Text.decode(Buffer.from("ok"), "utf-8"), Result.succeed("ok"))
  })
})
