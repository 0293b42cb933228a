import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { AnswerReader } from "../../../../src/internal/ssh/sftp/answers.ts"
import { Kind } from "../../../../src/internal/ssh/sftp/packet.ts"
import { packet } from "../../../../src/internal/ssh/testServer/sftp.ts"
import { fragments, Sizes } from "../../../support/fragments.ts"

/** What a reader makes of some bytes. */
const readAll = (pieces: ReadonlyArray<Uint8Array>) => {
  const packets: Array<readonly [kind: number, bytes: string]> = []
  const nonsense: Array<string> = []
  let data: Array<Buffer> = []
  let current: readonly [id: number, size: number] = [0, 0]
  const reader = new AnswerReader({
    onPacket: (kind, body) => void packets.push([kind, body.toString("hex")]),
    onDataStart: (id, size) => {
      current = [id, size]
    },
    onData: (piece) => void data.push(Buffer.from(piece)),
    onDataEnd: () => {
      const bytes = Buffer.concat(data)
      assert.lengthOf(bytes, current[1])
      packets.push([Kind.Data, packet(0, [current[0], bytes]).subarray(5).toString("hex")])
      data = []
    },
    onNonsense: (detail, received) => void nonsense.push(`${detail}: ${received.toString("latin1", 0, 20)}`)
  })
  for (const piece of pieces) reader.read(Buffer.from(piece))
  return { packets, nonsense }
}

const Packets = Schema.Array(Schema.Tuple([
  Schema.Literals([Kind.Status, Kind.Handle, Kind.Data, Kind.Name, Kind.Attrs, Kind.ExtendedReply]),
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffffffff })),
  Schema.Uint8Array
]))

describe("AnswerReader", () => {
  it.effect.prop(
    "reads packets and file data however they are cut",
    { packets: Packets, sizes: Sizes },
    ({ packets, sizes }) =>
      Effect.sync(() => {
        const encoded = packets.map(([kind, id, bytes]) => packet(kind, [id, bytes]))
        const expected = encoded.map((bytes) => [bytes[4], bytes.subarray(5).toString("hex")])
        for (const pieces of [fragments(Buffer.concat(encoded), sizes), [Buffer.concat(encoded)], encoded]) {
          const read = readAll(pieces)
          assert.deepEqual<unknown>(read, { packets: expected, nonsense: [] })
        }
      })
  )

  it("hands file data on before all of it is there", () => {
    const pieces: Array<number> = []
    const reader = new AnswerReader({
      onPacket: () => assert.fail("a packet"),
      onDataStart: (id, size) => void pieces.push(id, size),
      onData: (piece) => void pieces.push(piece.length),
      onDataEnd: () => void pieces.push(-1),
      onNonsense: (detail) => assert.fail(detail)
    })
    const bytes = packet(Kind.Data, [7, Buffer.alloc(1000)])
    reader.read(bytes.subarray(0, 13 + 400))
    assert.deepEqual(pieces, [7, 1000, 400])
    reader.read(bytes.subarray(13 + 400))
    assert.deepEqual(pieces, [7, 1000, 400, 600, -1])
  })

  it("takes packets of 257 KiB, and calls longer and empty ones nonsense", () => {
    const largest = packet(Kind.Name, [{ raw: Buffer.alloc(257 * 1024 - 1) }])
    assert.lengthOf(readAll([largest]).packets, 1)
    assert.deepEqual(readAll([packet(Kind.Name, [{ raw: Buffer.alloc(257 * 1024) }])]), {
      packets: [],
      nonsense: [`a packet of ${257 * 1024 + 1} bytes: \x00\x04\x04\x01h${"\x00".repeat(15)}`]
    })
    assert.deepEqual(readAll([Buffer.alloc(5)]).nonsense, ["a packet of 0 bytes: \0\0\0\0\0"])
    assert.deepEqual(readAll([Buffer.from("Wel"), Buffer.from("come\n")]).nonsense, [
      "a packet of 1466264675 bytes: Welcome\n"
    ])
  })

  it("calls file data nonsense whose size is not the rest of its packet", () => {
    const bytes = packet(Kind.Data, [1, Buffer.alloc(10)])
    bytes.writeUInt32BE(11, 9)
    assert.lengthOf(readAll([bytes]).nonsense, 1)
    // and looks at nothing that comes behind it
    assert.deepEqual(readAll([bytes, packet(Kind.Status, [1, 0])]).packets, [])
  })
})
