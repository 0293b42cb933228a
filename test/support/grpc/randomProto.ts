/** Definitions that nobody wrote: as `.proto` text, as a descriptor for protobuf-es, and values that fit them. */
import { create } from "@bufbuild/protobuf"
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  Edition,
  EnumDescriptorProtoSchema,
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  OneofDescriptorProtoSchema
} from "@bufbuild/protobuf/wkt"

export type Syntax = "proto2" | "proto3" | "editions"

export interface EnumType {
  readonly name: string
  readonly values: ReadonlyArray<readonly [name: string, number: number]>
}

export interface Field {
  readonly name: string
  /** As callers see it. */
  readonly key: string
  readonly number: number
  readonly rule: "implicit" | "optional" | "required" | "repeated" | "map" | "oneof"
  /** A scalar type, an enum or a message. */
  readonly type: string | EnumType | Message
  readonly keyType: string | undefined
  readonly oneof: string | undefined
  readonly packed: boolean | undefined
  readonly group: boolean
}

export interface Message {
  readonly name: string
  readonly fields: Array<Field>
}

export interface Definition {
  readonly syntax: Syntax
  /** The first one is the one to try. */
  readonly messages: ReadonlyArray<Message>
  readonly enums: ReadonlyArray<EnumType>
}

/** The same numbers for the same seed (mulberry32). */
export class Random {
  private state: number
  constructor(seed: number) {
    this.state = seed | 0
  }
  next(): number {
    this.state = (this.state + 0x6D2B79F5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  below(n: number): number {
    return Math.floor(this.next() * n)
  }
  chance(p: number): boolean {
    return this.next() < p
  }
  pick<A>(items: ReadonlyArray<A>): A {
    return items[this.below(items.length)]!
  }
  bits64(): bigint {
    const bits = (BigInt(this.below(2 ** 32)) << 32n) | BigInt(this.below(2 ** 32))
    return bits >> BigInt(this.below(64))
  }
}

const scalars = new Map([
  ["double", FieldDescriptorProto_Type.DOUBLE],
  ["float", FieldDescriptorProto_Type.FLOAT],
  ["int32", FieldDescriptorProto_Type.INT32],
  ["int64", FieldDescriptorProto_Type.INT64],
  ["uint32", FieldDescriptorProto_Type.UINT32],
  ["uint64", FieldDescriptorProto_Type.UINT64],
  ["sint32", FieldDescriptorProto_Type.SINT32],
  ["sint64", FieldDescriptorProto_Type.SINT64],
  ["fixed32", FieldDescriptorProto_Type.FIXED32],
  ["fixed64", FieldDescriptorProto_Type.FIXED64],
  ["sfixed32", FieldDescriptorProto_Type.SFIXED32],
  ["sfixed64", FieldDescriptorProto_Type.SFIXED64],
  ["bool", FieldDescriptorProto_Type.BOOL],
  ["string", FieldDescriptorProto_Type.STRING],
  ["bytes", FieldDescriptorProto_Type.BYTES]
])
const scalarTypes = [...scalars.keys()]
const keyTypes = scalarTypes.filter((type) => !["double", "float", "bytes"].includes(type))
const packable = (type: Field["type"]) =>
  typeof type === "string" ? type !== "string" && type !== "bytes" : "values" in type

const jsonName = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())

const numberOf = (random: Random, index: number) =>
  random.pick([index + 1, index + 17, index + 2100, index * 1000 + 19_999 + 100_000, 536_870_900 - index])

const ruleOf = (random: Random, syntax: Syntax): Field["rule"] => {
  if (random.chance(0.2)) return "repeated"
  if (random.chance(0.2)) return "map"
  if (random.chance(0.2)) return "oneof"
  return syntax === "proto2" ? random.chance(0.15) ? "required" : "optional" : random.pick(["implicit", "optional"])
}

export const randomDefinition = (random: Random): Definition => {
  const syntax = random.pick<Syntax>(["proto2", "proto3", "editions"])
  const enums: Array<EnumType> = [0, 1].map((index) => ({
    name: `E${index}`,
    values: [
      [`E${index}_FIRST`, 0],
      [`E${index}_SECOND`, 1 + random.below(5)],
      [`E${index}_NEGATIVE`, -1 - random.below(1000)],
      [`E${index}_LARGE`, 2_147_483_647 - random.below(10)]
    ]
  }))
  const messages: Array<Message> = [0, 1, 2].map((index) => ({ name: `M${index}`, fields: [] }))
  for (const message of messages) {
    const taken = new Set<number>()
    const count = 1 + random.below(12)
    for (let index = 0; index < count; index++) {
      const rule = ruleOf(random, syntax)
      const inner = random.pick(messages)
      // a required message that contains itself could not be made
      const type = random.chance(0.2) && rule !== "required"
        ? inner
        : random.chance(0.15)
        ? random.pick(enums)
        : random.pick(scalarTypes)
      const isMessage = typeof type === "object" && "fields" in type
      const isList = rule === "repeated" && packable(type)
      const name = random.chance(0.3) ? `a_field_${index}` : `f${index}`
      const number = numberOf(random, index)
      if (taken.has(number)) continue
      taken.add(number)
      message.fields.push({
        name,
        key: jsonName(name),
        number,
        // messages always have presence
        rule: isMessage && rule === "implicit" ? "optional" : rule,
        type,
        keyType: rule === "map" ? random.pick(keyTypes) : undefined,
        oneof: rule === "oneof" ? random.pick(["one", "another"]) : undefined,
        packed: isList && random.chance(0.5) ? random.chance(0.5) : undefined,
        group: syntax === "editions" && isMessage && rule !== "map" && random.chance(0.5)
      })
    }
  }
  return { syntax, messages, enums }
}

// ---- as text

const typeName = (type: Field["type"]) => typeof type === "string" ? type : type.name

const optionsText = (syntax: Syntax, field: Field) => {
  const options: Array<string> = []
  if (field.packed !== undefined) {
    options.push(
      syntax === "editions"
        ? `features.repeated_field_encoding = ${field.packed ? "PACKED" : "EXPANDED"}`
        : `packed = ${field.packed}`
    )
  }
  if (syntax === "editions" && field.rule === "implicit") options.push("features.field_presence = IMPLICIT")
  if (field.group) options.push("features.message_encoding = DELIMITED")
  return options.length === 0 ? "" : ` [${options.join(", ")}]`
}

const fieldText = (syntax: Syntax, field: Field) => {
  const type = field.rule === "map" ? `map<${field.keyType}, ${typeName(field.type)}>` : typeName(field.type)
  const label = field.rule === "repeated" || field.rule === "required"
    ? `${field.rule} `
    : field.rule === "optional" && syntax !== "editions"
    ? "optional "
    : ""
  return `${label}${type} ${field.name} = ${field.number}${optionsText(syntax, field)};`
}

const oneofsOf = (message: Message) => [...new Set(message.fields.flatMap(({ oneof }) => oneof ?? []))]

export const textOf = ({ enums, messages, syntax }: Definition): string =>
  [
    syntax === "editions" ? `edition = "2023";` : `syntax = "${syntax}";`,
    "package t;",
    ...enums.map(({ name, values }) => `enum ${name} { ${values.map(([name, n]) => `${name} = ${n};`).join(" ")} }`),
    ...messages.map((message) =>
      [
        `message ${message.name} {`,
        ...message.fields.filter(({ oneof }) => oneof === undefined).map((field) => `  ${fieldText(syntax, field)}`),
        ...oneofsOf(message).map((oneof) =>
          `  oneof ${oneof} { ${
            message.fields.filter((field) => field.oneof === oneof).map((field) => fieldText(syntax, field)).join(" ")
          } }`
        ),
        "}"
      ].join("\n")
    )
  ].join("\n")

// ---- as a descriptor

const typeNumber = (field: Field) => {
  if (typeof field.type !== "string") {
    return "values" in field.type
      ? FieldDescriptorProto_Type.ENUM
      : FieldDescriptorProto_Type.MESSAGE
  }
  return scalars.get(field.type)!
}

const entryName = (field: Field) => `${field.key[0]!.toUpperCase()}${field.key.slice(1)}Entry`

const descriptorOfField = (syntax: Syntax, message: Message, field: Field): FieldDescriptorProto => {
  const isMap = field.rule === "map"
  return create(FieldDescriptorProtoSchema, {
    name: field.name,
    jsonName: field.key,
    number: field.number,
    label: isMap || field.rule === "repeated"
      ? FieldDescriptorProto_Label.REPEATED
      : field.rule === "required"
      ? FieldDescriptorProto_Label.REQUIRED
      : FieldDescriptorProto_Label.OPTIONAL,
    type: isMap ? FieldDescriptorProto_Type.MESSAGE : typeNumber(field),
    ...(isMap
      ? { typeName: `.t.${message.name}.${entryName(field)}` }
      : typeof field.type === "string"
      ? {}
      : { typeName: `.t.${field.type.name}` }),
    ...(field.oneof === undefined ? {} : { oneofIndex: oneofsOf(message).indexOf(field.oneof) }),
    ...(syntax === "proto3" && field.rule === "optional" && !(typeof field.type === "object" && "fields" in field.type)
      ? { proto3Optional: true, oneofIndex: oneofsOf(message).length + optionalsOf(message).indexOf(field) }
      : {}),
    options: {
      ...(field.packed === undefined || syntax === "editions" ? {} : { packed: field.packed }),
      features: {
        ...(syntax === "editions" && field.rule === "implicit"
          ? { fieldPresence: FeatureSet_FieldPresence.IMPLICIT }
          : {}),
        ...(field.group ? { messageEncoding: FeatureSet_MessageEncoding.DELIMITED } : {}),
        ...(syntax === "editions" && field.packed !== undefined
          ? {
            repeatedFieldEncoding: field.packed
              ? FeatureSet_RepeatedFieldEncoding.PACKED
              : FeatureSet_RepeatedFieldEncoding.EXPANDED
          }
          : {})
      }
    }
  })
}

/** Each of them has a oneof of its own, which nobody sees. */
const optionalsOf = (message: Message) =>
  message.fields.filter((field) =>
    field.rule === "optional" && !(typeof field.type === "object" && "fields" in field.type)
  )

/** The message that protobuf makes of the entries of a map. */
const descriptorOfEntry = (message: Message, field: Field): DescriptorProto => {
  const part = (name: string, number: number, type: Field["type"]) =>
    descriptorOfField("proto2", message, { ...field, name, key: name, number, type, rule: "optional" })
  return create(DescriptorProtoSchema, {
    name: entryName(field),
    options: { mapEntry: true },
    field: [part("key", 1, field.keyType!), part("value", 2, field.type)]
  })
}

const descriptorOfMessage = (syntax: Syntax, message: Message): DescriptorProto =>
  create(DescriptorProtoSchema, {
    name: message.name,
    field: message.fields.map((field) => descriptorOfField(syntax, message, field)),
    oneofDecl: [
      ...oneofsOf(message),
      ...(syntax === "proto3" ? optionalsOf(message).map(({ name }) => `_${name}`) : [])
    ].map((name) => create(OneofDescriptorProtoSchema, { name })),
    nestedType: message.fields.filter(({ rule }) => rule === "map").map((field) => descriptorOfEntry(message, field))
  })

export const descriptorOf = ({ enums, messages, syntax }: Definition): FileDescriptorProto =>
  create(FileDescriptorProtoSchema, {
    name: "t.proto",
    package: "t",
    syntax: syntax === "proto2" ? "" : syntax,
    ...(syntax === "editions" ? { edition: Edition.EDITION_2023 } : {}),
    enumType: enums.map(({ name, values }) =>
      create(EnumDescriptorProtoSchema, { name, value: values.map(([name, number]) => ({ name, number })) })
    ),
    messageType: messages.map((message) => descriptorOfMessage(syntax, message))
  })

// ---- values, as callers get them

export type Values = { [key: string]: unknown }

const texts = ["", "a", "text", "ünïcödé", "漢字かな", "👍🏽 and more", "x".repeat(200), "nul\0", "constructor"]

const randomScalar = (random: Random, type: string): unknown => {
  switch (type) {
    case "double":
      return random.pick([0, 1.5, -1e300, Infinity, 5e-324, random.next()])
    case "float":
      return Math.fround(random.pick([0, 1.5, -1e30, -Infinity, random.next()]))
    case "int32":
    case "sint32":
    case "sfixed32":
      return random.pick([0, 1, -1, 127, 128, -(2 ** 31), 2 ** 31 - 1, Number(BigInt.asIntN(32, random.bits64()))])
    case "uint32":
    case "fixed32":
      return random.pick([0, 1, 300, 2 ** 31, 2 ** 32 - 1, Number(BigInt.asUintN(32, random.bits64()))])
    case "int64":
    case "sint64":
    case "sfixed64":
      return random.pick([
        0n,
        -1n,
        2n ** 53n,
        -(2n ** 32n),
        -(2n ** 63n),
        2n ** 63n - 1n,
        BigInt.asIntN(64, random.bits64()),
        -BigInt.asIntN(63, random.bits64())
      ])
    case "uint64":
    case "fixed64":
      return random.pick([0n, 1n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 64n - 1n, random.bits64()])
    case "bool":
      return random.chance(0.5)
    case "string":
      return random.pick(texts)
    default:
      return Uint8Array.from({ length: random.pick([0, 1, 3, 150]) }, () => random.below(256))
  }
}

const randomOf = (random: Random, type: Field["type"], depth: number): unknown =>
  typeof type === "string"
    ? randomScalar(random, type)
    : "values" in type
    ? random.pick(type.values)[0]
    : randomValues(random, type, depth + 1)

const randomField = (random: Random, field: Field, depth: number): unknown => {
  const isDeep = depth > 3 && typeof field.type === "object" && "fields" in field.type
  const size = isDeep ? 0 : random.pick([0, 1, 2, 5])
  if (field.rule === "repeated") return Array.from({ length: size }, () => randomOf(random, field.type, depth))
  if (field.rule === "map") {
    return Object.fromEntries(
      Array.from(
        { length: size },
        () => [String(randomScalar(random, field.keyType!)), randomOf(random, field.type, depth)]
      )
    )
  }
  return isDeep ? undefined : randomOf(random, field.type, depth)
}

/** A message with everything in it that a response has: also the defaults of fields that have no presence. */
export const randomValues = (random: Random, message: Message, depth = 0): Values => {
  const values: Values = {}
  const chosen = new Set<string>()
  for (const field of message.fields) {
    if (field.rule === "optional" && random.chance(0.4)) continue
    if (field.oneof !== undefined) {
      if (chosen.has(field.oneof) || random.chance(0.4)) continue
      chosen.add(field.oneof)
    }
    const value = randomField(random, field, depth)
    if (value !== undefined) values[field.key] = value
  }
  return values
}

// ---- values, as the other libraries want them

const convert = (
  value: unknown,
  field: Field,
  one: (value: unknown, type: Field["type"]) => unknown
): unknown => {
  if (field.rule === "repeated") {
    return Array.isArray(value)
      ? value.map((item: unknown) => one(item, field.type))
      : value
  }
  if (field.rule === "map") {
    return Object.fromEntries(Object.entries(objectOf(value)).map(([key, item]) => [key, one(item, field.type)]))
  }
  return one(value, field.type)
}

const objectOf = (value: unknown): Values => {
  if (typeof value !== "object" || value === null) throw new Error("not an object")
  return { ...value }
}

const enumNumber = (type: EnumType, name: unknown) => type.values.find(([known]) => known === name)?.[1]

/** For `create` of protobuf-es. */
export const forProtobufEs = (message: Message, values: Values): Values => {
  const out: Values = {}
  const one = (value: unknown, type: Field["type"]): unknown =>
    typeof type === "string" ? value : "values" in type ? enumNumber(type, value) : forProtobufEs(type, objectOf(value))
  for (const field of message.fields) {
    if (!Object.hasOwn(values, field.key)) continue
    const value = convert(values[field.key], field, one)
    if (field.oneof === undefined) out[field.key] = value
    else out[field.oneof] = { case: field.key, value }
  }
  return out
}

/** For `fromObject` of protobufjs, and what `toObject` gives with `longs: String, enums: Number, defaults: true`. */
export const forProtobufJs = (message: Message, values: Values): Values => {
  const out: Values = {}
  const one = (value: unknown, type: Field["type"]): unknown =>
    typeof value === "bigint"
      ? String(value)
      : typeof type === "string"
      ? value
      : "values" in type
      ? enumNumber(type, value)
      : forProtobufJs(type, objectOf(value))
  for (const field of message.fields) {
    if (Object.hasOwn(values, field.key)) out[field.name] = convert(values[field.key], field, one)
  }
  return out
}
