import type { Enum, Field, Message, Oneof } from "./describe.ts"

/** A JSON Schema, draft 2020-12. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

const whole = (minimum: number, maximum: number): JsonSchema => ({ type: "integer", minimum, maximum })

const signed = whole(-(2 ** 31), 2 ** 31 - 1)
const unsigned = whole(0, 2 ** 32 - 1)
const digits = "^-?[0-9]{1,20}$"
// JSON has no bigint: a number where that is exact, or decimal text
const long = (format: string): JsonSchema => ({ type: ["integer", "string"], pattern: digits, format })

const scalars: Readonly<Record<string, JsonSchema>> = {
  int32: signed,
  sint32: signed,
  sfixed32: signed,
  uint32: unsigned,
  fixed32: unsigned,
  int64: long("int64"),
  sint64: long("int64"),
  sfixed64: long("int64"),
  uint64: long("uint64"),
  fixed64: long("uint64"),
  float: { type: "number", format: "float" },
  double: { type: "number", format: "double" },
  bool: { type: "boolean" },
  string: { type: "string" },
  // JSON has no bytes either
  bytes: { type: "string", contentEncoding: "base64" }
}

const parts: JsonSchema = {
  type: "object",
  properties: { seconds: long("int64"), nanos: signed },
  additionalProperties: false
}

/** The well-known types that are not taken and given as their messages are. */
const wellKnown: Readonly<Record<string, JsonSchema>> = {
  "google.protobuf.Any": { type: "object", properties: { "@type": { type: "string" } } },
  "google.protobuf.Duration": { anyOf: [parts, { type: "string", pattern: "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$" }] },
  "google.protobuf.FieldMask": { anyOf: [{ type: "array", items: { type: "string" } }, { type: "string" }] },
  "google.protobuf.ListValue": { type: "array" },
  "google.protobuf.Struct": { type: "object" },
  "google.protobuf.Timestamp": { anyOf: [parts, { type: "string", format: "date-time" }] },
  "google.protobuf.Value": {},
  ...Object.fromEntries(
    ["Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64"].map((name) =>
      [`google.protobuf.${name}Value`, scalars[name.toLowerCase()]!] as const
    )
  )
}

const reference = (name: string): JsonSchema => ({ $ref: `#/$defs/${name}` })

/** The keys of a map are text in any case. */
const keysOf = (type: string): JsonSchema =>
  type === "string" ? {} : { propertyNames: type === "bool" ? { enum: ["true", "false"] } : { pattern: digits } }

const described = ({ comment, deprecated }: Pick<Field, "comment" | "deprecated">): JsonSchema => ({
  ...(comment === undefined ? {} : { description: comment }),
  ...(deprecated ? { deprecated } : {})
})

/** A default that JSON can hold, if there is one. */
const defaultOf = (field: Field): JsonSchema => {
  const given = field.default
  return given === undefined || field.type === "bytes" || (typeof given === "number" && !Number.isFinite(given))
    ? {}
    : { default: typeof given === "bigint" ? String(given) : given }
}

const fieldSchema = (field: Field): JsonSchema => {
  const type = scalars[field.type] ?? reference(field.type)
  const shape = field.mapKey !== undefined
    ? { type: "object", additionalProperties: type, ...keysOf(field.mapKey) }
    : field.repeated
    ? { type: "array", items: type }
    : type
  return { ...shape, ...described(field), ...defaultOf(field) }
}

/** One of them or none. */
const oneofSchema = ({ fields }: Oneof, keys: ReadonlyMap<string, string>): JsonSchema => {
  const each = fields.map((name) => ({ required: [keys.get(name) ?? name] }))
  return { oneOf: [...each, { not: { anyOf: each } }] }
}

const messageSchema = (message: Message): JsonSchema => {
  const keys = new Map(message.fields.map(({ jsonName, name }) => [name, jsonName]))
  const required = message.fields.filter((field) => field.required).map(({ jsonName }) => jsonName)
  // an optional field is a choice between itself and nothing
  const oneofs = message.oneofs.filter(({ fields }) => fields.length > 1)
  return {
    type: "object",
    ...described(message),
    properties: Object.fromEntries(message.fields.map((field) => [field.jsonName, fieldSchema(field)])),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
    ...(oneofs.length === 0 ? {} : { allOf: oneofs.map((oneof) => oneofSchema(oneof, keys)) })
  }
}

const enumSchema = (type: Enum): JsonSchema => {
  const names = { enum: type.values.map(({ name }) => name) }
  return { ...(type.closed ? names : { anyOf: [names, signed] }), ...described(type) }
}

/** Where the types come from that a message leads to. */
export interface Types {
  readonly message: (name: string) => Message
  readonly enum: (name: string) => Enum
}

/** The plain objects of a message and of all that it leads to, each type once. */
export const jsonSchema = (message: Message, types: Types): JsonSchema => {
  const defs = new Map<string, JsonSchema>()
  const left: Array<Message> = [message]
  defs.set(message.name, {})
  for (const next of left) {
    const known = wellKnown[next.name]
    defs.set(next.name, known ?? messageSchema(next))
    if (known !== undefined) continue
    for (const { kind, type } of next.fields) {
      if (kind === "scalar" || defs.has(type)) continue
      // a message has its place before it has its schema, so that it is put there once
      defs.set(type, {})
      if (kind === "enum") defs.set(type, enumSchema(types.enum(type)))
      else left.push(types.message(type))
    }
  }
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    ...reference(message.name),
    $defs: Object.fromEntries(defs)
  }
}
