/** Kinds of packets (draft-ietf-secsh-filexfer-02, section 3). */
export const Kind = {
  Init: 1,
  Version: 2,
  Open: 3,
  Close: 4,
  Read: 5,
  Write: 6,
  Lstat: 7,
  Fstat: 8,
  Setstat: 9,
  Fsetstat: 10,
  Opendir: 11,
  Readdir: 12,
  Remove: 13,
  Mkdir: 14,
  Rmdir: 15,
  Realpath: 16,
  Stat: 17,
  Rename: 18,
  Readlink: 19,
  Symlink: 20,
  Status: 101,
  Handle: 102,
  Data: 103,
  Name: 104,
  Attrs: 105,
  Extended: 200,
  ExtendedReply: 201
} as const

/** Bytes that are sent without their length in front. */
export interface Raw {
  readonly raw: Uint8Array
}

/** What a packet is made of: strings and bytes go with their length in front, numbers as 4 bytes, bigints as 8. */
export type Field = string | Uint8Array | number | bigint | Raw

const isRaw = (field: Field): field is Raw => typeof field === "object" && "raw" in field

const sizeOf = (field: Field): number =>
  typeof field === "number"
    ? 4
    : typeof field === "bigint"
    ? 8
    : typeof field === "string"
    ? 4 + Buffer.byteLength(field)
    : isRaw(field)
    ? field.raw.length
    : 4 + field.length

const writeTo = (bytes: Buffer, at: number, field: Field): number => {
  if (typeof field === "number") return bytes.writeUInt32BE(field, at)
  if (typeof field === "bigint") return bytes.writeBigUInt64BE(field, at)
  if (typeof field === "string") {
    const size = bytes.write(field, at + 4)
    bytes.writeUInt32BE(size, at)
    return at + 4 + size
  }
  if (isRaw(field)) {
    bytes.set(field.raw, at)
    return at + field.raw.length
  }
  bytes.set(field, bytes.writeUInt32BE(field.length, at))
  return at + 4 + field.length
}

/** The bytes of some fields. */
export const encodeFields = (fields: ReadonlyArray<Field>): Buffer => {
  let size = 0
  for (const field of fields) size += sizeOf(field)
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const field of fields) at = writeTo(bytes, at, field)
  return bytes
}

/** A packet: its length, its kind, its number, its fields. `more` bytes of it follow separately. */
export const encode = (kind: number, id: number, fields: ReadonlyArray<Field>, more = 0): Buffer => {
  let size = 9
  for (const field of fields) size += sizeOf(field)
  const packet = Buffer.allocUnsafe(size)
  packet.writeUInt32BE(size - 4 + more, 0)
  packet[4] = kind
  packet.writeUInt32BE(id, 5)
  let at = 9
  for (const field of fields) at = writeTo(packet, at, field)
  return packet
}

/** Reads the fields of an answer. What is not there reads as nothing, and `short` says so. */
export class Cursor {
  private readonly bytes: Buffer
  private at = 0
  /** Whether more was read than is there. */
  short = false

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  private take(size: number): number {
    const at = this.at
    if (size > this.bytes.length - at) {
      this.short = true
      this.at = this.bytes.length
      return -1
    }
    this.at = at + size
    return at
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  number(): number {
    const at = this.take(4)
    return at < 0 ? 0 : this.bytes.readUInt32BE(at)
  }

  bigint(): bigint {
    const at = this.take(8)
    return at < 0 ? 0n : this.bytes.readBigUInt64BE(at)
  }

  text(): string {
    const size = this.number()
    const at = this.take(size)
    return at < 0 ? "" : this.bytes.toString("utf8", at, at + size)
  }

  /** A copy, which does not keep the packet that it came in. */
  copy(): Buffer {
    const size = this.number()
    const at = this.take(size)
    return at < 0 ? Buffer.alloc(0) : Buffer.from(this.bytes.subarray(at, at + size))
  }
  /** A copy of all that is left, whatever it is. */
  rest(): Buffer {
    return Buffer.from(this.bytes.subarray(this.take(this.left)))
  }
}
