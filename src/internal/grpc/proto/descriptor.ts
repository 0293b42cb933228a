import * as Predicate from "effect/Predicate"
import protobuf from "protobufjs"
import Descriptor from "protobufjs/ext/descriptor.js"

/**
 * `google.protobuf.FileDescriptorProto` and its parts as plain objects: what every source of definitions is turned into.
 * Names of types are as they were written until the file is linked, and full names with a dot in front from then on.
 */
export interface File {
  readonly name: string
  readonly package?: string
  readonly dependency: Array<string>
  readonly publicDependency: Array<number>
  readonly weakDependency: Array<number>
  readonly messageType: Array<Message>
  readonly enumType: Array<Enum>
  readonly service: Array<Service>
  readonly extension: Array<Field>
  options?: Options
  readonly sourceCodeInfo?: { readonly location: ReadonlyArray<Location> }
  readonly syntax?: string
  readonly edition?: number
}

export interface Message {
  readonly name: string
  readonly field: Array<Field>
  readonly extension: Array<Field>
  readonly nestedType: Array<Message>
  readonly enumType: Array<Enum>
  readonly extensionRange: Array<Range>
  readonly oneofDecl: Array<{ readonly name: string; options?: Options }>
  readonly reservedRange: Array<Range>
  readonly reservedName: Array<string>
  options?: Options
}

/** Of a message without its end, of an enum with it. */
export interface Range {
  readonly start: number
  readonly end: number
}

export interface Field {
  readonly name: string
  readonly number: number
  readonly label: number
  /** 0 until it is known whether `typeName` is a message or an enum. */
  type: number
  typeName?: string
  extendee?: string
  readonly defaultValue?: string
  readonly oneofIndex?: number
  readonly jsonName?: string
  readonly proto3Optional?: boolean
  options?: Options
}

export interface Enum {
  readonly name: string
  readonly value: Array<{ readonly name: string; readonly number: number; options?: Options }>
  readonly reservedRange: Array<Range>
  readonly reservedName: Array<string>
  options?: Options
}

export interface Service {
  readonly name: string
  readonly method: Array<Method>
  options?: Options
}

export interface Method {
  readonly name: string
  inputType: string
  outputType: string
  readonly clientStreaming?: boolean
  readonly serverStreaming?: boolean
  options?: Options
}

/** The options that protobuf itself knows; those that files add are not here. */
export interface Options {
  readonly [name: string]: unknown
}

/** The comment of what `path` leads to, by the numbers of fields and the places in lists. */
export interface Location {
  readonly path: ReadonlyArray<number>
  readonly span: ReadonlyArray<number>
  readonly leadingComments?: string
  readonly trailingComments?: string
}

/** `google.protobuf.FieldDescriptorProto.Type`. */
export const scalarTypes: Readonly<Record<string, number>> = {
  double: 1,
  float: 2,
  int64: 3,
  uint64: 4,
  int32: 5,
  fixed64: 6,
  fixed32: 7,
  bool: 8,
  string: 9,
  bytes: 12,
  uint32: 13,
  sfixed32: 15,
  sfixed64: 16,
  sint32: 17,
  sint64: 18
}
export const groupType = 10
export const messageType = 11
export const enumType = 14

/** `google.protobuf.FieldDescriptorProto.Label`. */
export const labels = { optional: 1, required: 2, repeated: 3 } as const

/** The fields of descriptors that lead to others, for the paths of comments. */
export const steps = {
  file: { messageType: 4, enumType: 5, service: 6, extension: 7 },
  message: { field: 2, nestedType: 3, enumType: 4, extension: 6, oneofDecl: 8 },
  enum: { value: 2 },
  service: { method: 2 }
} as const

/** The type of options such as `"MethodOptions"`. */
export const optionsType = (name: string): protobuf.Type =>
  Descriptor.FileDescriptorProto.root.lookupType(`google.protobuf.${name}`)

/** protobufjs gives the shape above to all that it reads; it has no opinion on names. */
const isFile = (value: unknown): value is File =>
  Predicate.hasProperty(value, "name") && typeof value.name === "string" && value.name !== ""

/** Reads a file's descriptor. Throws when the bytes are something else. */
export const decode = (bytes: Uint8Array): File => {
  const type = Descriptor.FileDescriptorProto
  // lists are there, empty or not, and what else is not given is not there
  const file = type.toObject(type.decode(bytes), { arrays: true })
  if (!isFile(file)) throw new Error("a file has no name")
  return file
}

/** Writes a file's descriptor. */
export const encode = (file: File): Uint8Array => Descriptor.FileDescriptorProto.encode(file).finish()

/** The files of a `FileDescriptorSet`, each as it came. Throws when the bytes are something else. */
export const filesOfSet = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const reader = protobuf.Reader.create(bytes)
  const files: Array<Uint8Array> = []
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    if (tag === 0x0a) files.push(new Uint8Array(reader.bytes()))
    else reader.skipType(tag & 7)
  }
  return files
}

/** The opposite of `filesOfSet`. */
export const setOfFiles = (files: ReadonlyArray<Uint8Array>): Uint8Array => {
  const writer = protobuf.Writer.create()
  for (const bytes of files) writer.uint32(0x0a).bytes(bytes)
  return writer.finish()
}
