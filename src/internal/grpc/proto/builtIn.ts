import protobuf from "protobufjs"
import { type Codec, type GrpcSchema, make, makeMessage } from "./schema.ts"

/** A definition that comes with this library. */
export interface BuiltIn {
  readonly schema: GrpcSchema
  /** The message of this full name, which has to be there. */
  readonly message: (name: string) => Codec
}

/** Reads the text of a definition that comes with this library: one file with no imports, known to be right. */
export const builtIn = (text: string): BuiltIn => {
  const root = new protobuf.Root()
  protobuf.parse(text, root, { keepCase: true })
  root.resolveAll()
  return { schema: make(root), message: (name) => makeMessage(root.lookupType(name)) }
}
