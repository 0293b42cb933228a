import type protobuf from "protobufjs"

// 64 bits as a bigint and as two words, without arithmetic on bigints
const view = new DataView(new ArrayBuffer(8))

/** What protobufjs takes for a 64-bit number. It reads the words and keeps nothing, so one object does for all. */
const words = { low: 0, high: 0, unsigned: false }

const split = (value: bigint) => {
  view.setBigInt64(0, value)
  words.high = view.getInt32(0)
  words.low = view.getInt32(4)
}

const signed = (low: number, high: number): bigint => {
  if (high === 0) return BigInt(low >>> 0)
  view.setInt32(0, high)
  view.setInt32(4, low)
  return view.getBigInt64(0)
}

const unsigned = (low: number, high: number): bigint => {
  if (high === 0) return BigInt(low >>> 0)
  view.setInt32(0, high)
  view.setInt32(4, low)
  return view.getBigUint64(0)
}

/** Reads a varint of 64 bits and gives its words to `make`. */
const readVarint = (reader: protobuf.Reader, make: (low: number, high: number) => bigint): bigint => {
  const { buf, len } = reader
  let low = 0
  let high = 0
  for (let shift = 0; shift < 70; shift += 7) {
    if (reader.pos >= len) throw new RangeError("a number is cut off")
    const byte = buf[reader.pos++]!
    if (shift < 28) low |= (byte & 127) << shift
    else if (shift === 28) {
      low |= (byte & 127) << 28
      high = (byte & 127) >>> 4
    } else high |= (byte & 127) << (shift - 32)
    if (byte < 128) return make(low, high)
  }
  throw new RangeError("a number is longer than ten bytes")
}

const readFixed = (reader: protobuf.Reader, make: (low: number, high: number) => bigint): bigint => {
  const low = reader.sfixed32()
  return make(low, reader.sfixed32())
}

const unzigzag = (low: number, high: number): bigint => {
  const mask = -(low & 1)
  return signed(((low >>> 1) | (high << 31)) ^ mask, (high >>> 1) ^ mask)
}

export const readInt64 = (reader: protobuf.Reader): bigint => readVarint(reader, signed)
export const readUint64 = (reader: protobuf.Reader): bigint => readVarint(reader, unsigned)
export const readSint64 = (reader: protobuf.Reader): bigint => readVarint(reader, unzigzag)
export const readFixed64 = (reader: protobuf.Reader): bigint => readFixed(reader, unsigned)
export const readSfixed64 = (reader: protobuf.Reader): bigint => readFixed(reader, signed)

const below32 = 2 ** 32

/** Writes an int64 or a uint64, whose varints are alike. Numbers are exact. */
export const writeVarint64 = (writer: protobuf.Writer, value: number | bigint): void => {
  if (typeof value === "number") {
    if (value >= 0 && value < below32) writer.uint32(value)
    else writer.int64(value)
  } else {
    split(value)
    writer.int64(words)
  }
}

export const writeSint64 = (writer: protobuf.Writer, value: number | bigint): void => {
  if (typeof value === "number") writer.sint64(value)
  else {
    split(value)
    writer.sint64(words)
  }
}

export const writeFixed64 = (writer: protobuf.Writer, value: number | bigint): void => {
  if (typeof value === "number") writer.fixed64(value)
  else {
    split(value)
    writer.fixed64(words)
  }
}
