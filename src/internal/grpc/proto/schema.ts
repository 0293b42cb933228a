import * as Result from "effect/Result"
import protobuf from "protobufjs"
import {
  GrpcSchemaError,
  type GrpcSchemaErrorReason,
  UnknownMethod,
  WrongType
} from "../../../errors/GrpcSchemaError.ts"
import type { MessageCodec, MethodDefinition, MethodKind } from "../definition.ts"
import * as ProtoCodec from "./codec.ts"

/** One field of a message. */
export interface Field {
  /** As in the `.proto`. */
  readonly name: string
  /** As in responses; requests take both. */
  readonly jsonName: string
  /** `"string"`, `"int64"`, ... or the full name of a message or an enum. For a map, the type of its values. */
  readonly type: string
  readonly kind: "scalar" | "enum" | "message"
  /** The names of an enum's values. */
  readonly values: ReadonlyArray<string> | undefined
  readonly repeated: boolean
  /** The type of a map's keys, when the field is a map. */
  readonly mapKey: string | undefined
  /** The `oneof` that the field belongs to. */
  readonly oneof: string | undefined
  /** Whether "not set" and "set to the default" are two things. */
  readonly presence: boolean
  readonly comment: string | undefined
}

/** A message type and its fields. */
export interface Message {
  /** `"acme.Order"`. */
  readonly name: string
  readonly fields: ReadonlyArray<Field>
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
  readonly comment: string | undefined
}

/** A service and its methods. */
export interface Service {
  /** `"acme.Orders"`. */
  readonly name: string
  readonly methods: ReadonlyArray<Method>
  readonly comment: string | undefined
}

/** Definitions that have been read and understood. */
export interface GrpcSchema {
  readonly services: ReadonlyArray<Service>
  /** The method of this name, such as `"acme.Orders/Create"`, or `UnknownMethod` with those that there are. */
  readonly method: (path: string) => Result.Result<Method, GrpcSchemaError>
}

const nameOf = (object: protobuf.ReflectionObject) => object.fullName.replace(/^\./, "")

const commentOf = (object: protobuf.ReflectionObject) => object.comment ?? undefined

const describeField = (field: protobuf.Field): Field => {
  const type = field.resolve().resolvedType
  return {
    name: field.name,
    jsonName: field.jsonName,
    type: type === null ? field.type : nameOf(type),
    kind: type === null ? "scalar" : type instanceof protobuf.Enum ? "enum" : "message",
    values: type instanceof protobuf.Enum ? Object.keys(type.values) : undefined,
    repeated: field.repeated,
    mapKey: field instanceof protobuf.MapField ? field.keyType : undefined,
    oneof: field.partOf !== null && field.partOf.fieldsArray.length > 1 ? field.partOf.name : undefined,
    presence: ProtoCodec.hasPresence(field),
    comment: commentOf(field)
  }
}

const fail = (reason: GrpcSchemaErrorReason) => new GrpcSchemaError({ reason })

/** One message type, for reading and writing it without a method. */
export const makeMessage = (type: protobuf.Type): Message & Codec => ({
  name: nameOf(type),
  fields: type.fieldsArray.map(describeField),
  comment: commentOf(type),
  encode: (values) => Result.mapError(ProtoCodec.encode(type, values), fail),
  decode: (bytes) =>
    Result.try({
      try: () => ProtoCodec.decode(type, bytes),
      catch: (cause) =>
        fail(
          new WrongType({
            path: "",
            expected: `a message of type ${nameOf(type)}`,
            got: cause instanceof Error ? cause.message : String(cause)
          })
        )
    })
})

const kindOf = (method: protobuf.Method): MethodKind =>
  method.requestStream === true
    ? method.responseStream === true ? "bidi" : "clientStream"
    : method.responseStream === true
    ? "serverStream"
    : "unary"

const makeService = (service: protobuf.Service): Service => {
  const name = nameOf(service)
  return {
    name,
    comment: commentOf(service),
    methods: service.methodsArray.map((method) => ({
      path: `${name}/${method.name}`,
      service: name,
      name: method.name,
      kind: kindOf(method),
      request: makeMessage(method.resolvedRequestType!),
      response: makeMessage(method.resolvedResponseType!),
      comment: commentOf(method)
    }))
  }
}

const servicesOf = (namespace: protobuf.NamespaceBase): ReadonlyArray<protobuf.Service> =>
  namespace.nestedArray.flatMap((nested) =>
    nested instanceof protobuf.Service
      ? [nested]
      : nested instanceof protobuf.Namespace
      ? servicesOf(nested)
      : []
  )

/** What a program sees of definitions whose types are all resolved. */
export const make = (root: protobuf.Root): GrpcSchema => {
  const services = servicesOf(root).map(makeService)
  const byPath = new Map(services.flatMap(({ methods }) => methods.map((method) => [method.path, method])))
  return {
    services,
    method: (path) => {
      const method = byPath.get(path.startsWith("/") ? path.slice(1) : path)
      if (method !== undefined) return Result.succeed(method)
      const service = services.find(({ name }) => path.replace(/^\//, "").split("/")[0] === name)
      const known = service === undefined ? [...byPath.keys()] : service.methods.map(({ path }) => path)
      return Result.fail(fail(new UnknownMethod({ method: path, known })))
    }
  }
}
