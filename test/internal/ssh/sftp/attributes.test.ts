import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Attributes from "../../../../src/internal/ssh/sftp/attributes.ts"
import { Cursor, encodeFields } from "../../../../src/internal/ssh/sftp/packet.ts"

const decode = (raw: Uint8Array) => {
  const cursor = new Cursor(Buffer.from(raw))
  const attributes = Attributes.decode(cursor)
  return { attributes, short: cursor.short, left: cursor.left }
}

const u32 = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffffffff }))
const Changes = Schema.Struct({
  size: Schema.UndefinedOr(Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 2n ** 64n - 1n }))),
  mode: Schema.UndefinedOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0o7777 }))),
  owner: Schema.UndefinedOr(Schema.Struct({ uid: u32, gid: u32 })),
  times: Schema.UndefinedOr(Schema.Struct({ atime: u32, mtime: u32 }))
})

describe("attributes", () => {
  it.effect.prop("come back as they were sent", { changes: Changes }, ({ changes }) =>
    Effect.sync(() => {
      const { atime, mtime } = changes.times ?? {}
      const date = (seconds: number | undefined) =>
        Option.map(Option.fromUndefinedOr(seconds), (seconds) => new Date(seconds * 1000))
      assert.deepEqual(decode(Attributes.encode(changes).raw), {
        attributes: {
          type: "Unknown",
          size: Option.fromUndefinedOr(changes.size),
          mode: Option.fromUndefinedOr(changes.mode),
          uid: Option.fromUndefinedOr(changes.owner?.uid),
          gid: Option.fromUndefinedOr(changes.owner?.gid),
          atime: date(atime),
          mtime: date(mtime)
        },
        short: false,
        left: 0
      })
    }))

  it("tell what kind of file it is by the mode, and know none without", () => {
    const typeOf = (mode: number) => decode(encodeFields([4, mode])).attributes.type
    assert.deepEqual([0o010644, 0o020644, 0o040755, 0o060660, 0o100644, 0o120777, 0o140755, 0o644].map(typeOf), [
      "FIFO",
      "CharacterDevice",
      "Directory",
      "BlockDevice",
      "File",
      "SymbolicLink",
      "Socket",
      "Unknown"
    ])
    assert.strictEqual(decode(encodeFields([0])).attributes.type, "Unknown")
  })

  it("pass over what an extension added, and say when there is less than there should be", () => {
    assert.deepInclude(decode(encodeFields([0x80000000, 2, "a", "b", "c", "d", 99])), { short: false, left: 4 })
    assert.isTrue(decode(encodeFields([0x80000000, 0xffffffff, "a", "b"])).short)
    assert.isTrue(decode(encodeFields([15, 1n])).short)
  })

  it("hold whole seconds within what the protocol can carry", () => {
    const sent = (atime: Date | number, mtime: Date | number) => {
      const { attributes } = decode(Attributes.encode({ times: { atime, mtime } }).raw)
      return [attributes.atime, attributes.mtime].map((time) => Option.getOrThrow(time).getTime() / 1000)
    }
    assert.deepEqual(sent(new Date(1_700_000_000_999), 12.9), [1_700_000_000, 12])
    assert.deepEqual(sent(new Date("1969-12-31"), new Date("2200-01-01")), [0, 0xffffffff])
  })
})
