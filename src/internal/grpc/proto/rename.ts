import protobuf from "protobufjs"

/** `name` and `dependency` of `google.protobuf.FileDescriptorProto`, with the type of a string. */
const tags = new Set([(1 << 3) | 2, (3 << 3) | 2])

/** A file's descriptor with other names for the file and for what it imports. All else stays as it is, byte by byte. */
export const rename = (bytes: Uint8Array, nameOf: (name: string) => string): Uint8Array => {
  const reader = protobuf.Reader.create(bytes)
  const pieces: Array<Uint8Array> = []
  while (reader.pos < reader.len) {
    const start = reader.pos
    const tag = reader.uint32()
    if (tags.has(tag)) pieces.push(protobuf.Writer.create().uint32(tag).string(nameOf(reader.string())).finish())
    else {
      reader.skipType(tag & 7)
      pieces.push(bytes.subarray(start, reader.pos))
    }
  }
  return Buffer.concat(pieces)
}
