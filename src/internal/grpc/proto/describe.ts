import * as Predicate from "effect/Predicate"
import protobuf from "protobufjs"
import type { MessageCodec, MethodDefinition, MethodKind } from "../definition.ts"
import * as ProtoCodec from "./codec.ts"

/** One field of a message. */
export interface Field {
  /** As in the `.proto`. An extension goes by its full name in brackets: `"[acme.note]"`. */
  readonly name: string
  /** As in responses; requests take both. */
  readonly jsonName: string
  /** The number that stands for it on the wire. */
  readonly number: number
  /** `"string"`, `"int64"`, ... or the full name of a message or an enum. For a map, the type of its values. */
  readonly type: string
  /** What `type` is: `schema.message(type)` and `schema.enum(type)` say more. */
  readonly kind: "scalar" | "enum" | "message"
  /** The names of an enum's values. */
  readonly values: ReadonlyArray<string> | undefined
  /** A list, for which requests take an array. */
  readonly repeated: boolean
  /** The type of a map's keys, when the field is a map. */
  readonly mapKey: string | undefined
  /** The `oneof` that the field belongs to. */
  readonly oneof: string | undefined
  /** Whether "not set" and "set to the default" are two things. */
  readonly presence: boolean
  /** Whether a request without it is refused (proto2). */
  readonly required: boolean
  /** The default that its definition gives it (proto2 and editions). An enum's is a name, that of bytes text with escapes. */
  readonly default: string | number | boolean | bigint | undefined
  readonly deprecated: boolean
  readonly comment: string | undefined
}

/** Fields of which at most one is set. */
export interface Oneof {
  readonly name: string
  /** The names of its fields, as in the `.proto`. */
  readonly fields: ReadonlyArray<string>
  readonly comment: string | undefined
}

/** A message type and its fields. */
export interface Message {
  /** `"acme.Order"`. */
  readonly name: string
  readonly fields: ReadonlyArray<Field>
  readonly oneofs: ReadonlyArray<Oneof>
  readonly deprecated: boolean
  readonly comment: string | undefined
}

/** One value of an enum. */
export interface EnumValue {
  readonly name: string
  readonly number: number
  readonly deprecated: boolean
  readonly comment: string | undefined
}

/** An enum and its values. */
export interface Enum {
  /** `"acme.Colour"`. */
  readonly name: string
  readonly values: ReadonlyArray<EnumValue>
  /** Whether numbers without a name are refused (proto2). */
  readonly closed: boolean
  readonly deprecated: boolean
  readonly comment: string | undefined
}

/** A message as a plain object. */
export interface Values {
  readonly [field: string]: unknown
}

/** Turns plain objects into the bytes of a message and back. */
export interface Codec extends MessageCodec<object, Values> {}

/** One method of a service. Its `path`, such as `"acme.Orders/Create"`, is what `unary` and the others take. */
export interface Method extends MethodDefinition<Message & Codec, Message & Codec> {
  readonly deprecated: boolean
  readonly comment: string | undefined
}

/** A service and its methods. */
export interface Service {
  /** `"acme.Orders"`. */
  readonly name: string
  readonly methods: ReadonlyArray<Method>
  readonly deprecated: boolean
  readonly comment: string | undefined
}

const nameOf = (object: protobuf.ReflectionObject) => object.fullName.replace(/^\./, "")

const commentOf = ({ comment }: protobuf.ReflectionObject) => comment === null || comment === "" ? undefined : comment

const isDeprecated = (object: protobuf.ReflectionObject) => object.getOption("deprecated") === true

/** The members of a `oneof` that was written: `optional` makes one as well, for a single field. */
const oneofOf = ({ partOf }: protobuf.Field) =>
  partOf !== null && partOf.fieldsArray.some((field) => field.options?.["proto3_optional"] !== true)
    ? partOf
    : undefined

const longs = new Set(["int64", "sint64", "sfixed64", "uint64", "fixed64"])

const defaultOf = (field: protobuf.Field): Field["default"] => {
  const given: unknown = field.options?.["default"]
  if (typeof given !== "string" && typeof given !== "number" && typeof given !== "boolean") return undefined
  return longs.has(field.type) ? BigInt(given) : given
}

/** Whether numbers without a name are refused: a feature that protobufjs works out and does not tell. */
const isClosed = (type: protobuf.Enum) => {
  const features: unknown = Reflect.get(type, "_features")
  return Predicate.hasProperty(features, "enum_type") && features.enum_type === "CLOSED"
}

const describeField = (field: protobuf.Field): Field => {
  const type = field.resolve().resolvedType
  const extension = field.declaringField === null ? undefined : `[${nameOf(field.declaringField)}]`
  return {
    name: extension ?? field.name,
    jsonName: extension ?? ProtoCodec.keyOf(field),
    number: field.id,
    type: type === null ? field.type : nameOf(type),
    kind: type === null ? "scalar" : type instanceof protobuf.Enum ? "enum" : "message",
    values: type instanceof protobuf.Enum ? Object.keys(type.values) : undefined,
    repeated: field.repeated,
    mapKey: field instanceof protobuf.MapField ? field.keyType : undefined,
    oneof: oneofOf(field)?.name,
    presence: ProtoCodec.hasPresence(field),
    required: field.required,
    default: defaultOf(field),
    deprecated: isDeprecated(field),
    comment: commentOf(field)
  }
}

export const describeMessage = (type: protobuf.Type): Message => ({
  name: nameOf(type),
  fields: type.fieldsArray.map(describeField),
  oneofs: type.oneofsArray.flatMap((oneof) =>
    oneof.fieldsArray.some((field) => oneofOf(field) === oneof)
      ? [{ name: oneof.name, fields: oneof.fieldsArray.map(({ name }) => name), comment: commentOf(oneof) }]
      : []
  ),
  deprecated: isDeprecated(type),
  comment: commentOf(type)
})

export const describeEnum = (type: protobuf.Enum): Enum => ({
  name: nameOf(type),
  values: Object.entries(type.values).map(([name, number]) => ({
    name,
    number,
    deprecated: type.valuesOptions?.[name]?.["deprecated"] === true,
    comment: type.comments[name] ?? undefined
  })),
  closed: isClosed(type),
  deprecated: isDeprecated(type),
  comment: commentOf(type)
})

const kindOf = (method: protobuf.Method): MethodKind =>
  method.requestStream === true
    ? method.responseStream === true ? "bidi" : "clientStream"
    : method.responseStream === true
    ? "serverStream"
    : "unary"

export const describeService = (
  service: protobuf.Service,
  message: (type: protobuf.Type) => Message & Codec
): Service => {
  const name = nameOf(service)
  return {
    name,
    methods: service.methodsArray.map((method) => ({
      path: `${name}/${method.name}`,
      service: name,
      name: method.name,
      kind: kindOf(method),
      request: message(method.resolvedRequestType!),
      response: message(method.resolvedResponseType!),
      deprecated: isDeprecated(method),
      comment: commentOf(method)
    })),
    deprecated: isDeprecated(service),
    comment: commentOf(service)
  }
}
