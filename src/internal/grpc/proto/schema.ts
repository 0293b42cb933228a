import * as Result from "effect/Result"
import protobuf from "protobufjs"
import { GrpcSchemaError, UnknownMethod, UnknownType } from "../../../errors/GrpcSchemaError.ts"
import * as ProtoCodec from "./codec.ts"
import type { CompiledFile, Definitions } from "./compile.ts"
import * as Describe from "./describe.ts"
import { find } from "./find.ts"
import * as Json from "./jsonSchema.ts"

export type { CompiledFile } from "./compile.ts"
export type { Codec, Enum, EnumValue, Field, Message, Method, Oneof, Service, Values } from "./describe.ts"
export type { JsonSchema } from "./jsonSchema.ts"

/** Definitions that have been read and understood. */
export interface GrpcSchema {
  readonly services: ReadonlyArray<Describe.Service>
  /** The method of this name, such as `"acme.Orders/Create"`, or `UnknownMethod` with those that there are. */
  readonly method: (path: string) => Result.Result<Describe.Method, GrpcSchemaError>
  /** The message of this name, such as `"acme.Order"`, or `UnknownType`. It can also be read and written by itself. */
  readonly message: (name: string) => Result.Result<Describe.Message & Describe.Codec, GrpcSchemaError>
  /** The enum of this name, such as `"acme.Colour"`, or `UnknownType`. */
  readonly enum: (name: string) => Result.Result<Describe.Enum, GrpcSchemaError>
  /** A JSON Schema (draft 2020-12) of the plain objects that a message is made from, or `UnknownType`. */
  readonly jsonSchema: (message: string) => Result.Result<Json.JsonSchema, GrpcSchemaError>
  /** All definitions as compilers write them, those that others import first. */
  readonly files: ReadonlyArray<CompiledFile>
}

const servicesOf = (namespace: protobuf.NamespaceBase): ReadonlyArray<protobuf.Service> =>
  namespace.nestedArray.flatMap((nested) =>
    nested instanceof protobuf.Service
      ? [nested]
      : nested instanceof protobuf.Namespace
      ? servicesOf(nested)
      : []
  )

const makeMessage = (type: protobuf.Type): Describe.Message & Describe.Codec => ({
  ...Describe.describeMessage(type),
  ...ProtoCodec.of(type)
})

/** What a program sees of definitions. */
export const make = ({ files, root }: Definitions): GrpcSchema => {
  const messages = new Map<protobuf.Type, Describe.Message & Describe.Codec>()
  const messageOf = (type: protobuf.Type) => {
    const known = messages.get(type)
    if (known !== undefined) return known
    const message = makeMessage(type)
    messages.set(type, message)
    return message
  }
  const services = servicesOf(root).map((service) => Describe.describeService(service, messageOf))
  const byPath = new Map(services.flatMap(({ methods }) => methods.map((method) => [method.path, method])))

  const unknown = (kind: "message" | "enum", name: string) =>
    Result.fail(new GrpcSchemaError({ reason: new UnknownType({ kind, name }) }))
  const named = (name: string) => find(root, name.replace(/^\./, ""))
  const message: GrpcSchema["message"] = (name) => {
    const type = named(name)
    return type instanceof protobuf.Type ? Result.succeed(messageOf(type)) : unknown("message", name)
  }
  const enumOf: GrpcSchema["enum"] = (name) => {
    const type = named(name)
    return type instanceof protobuf.Enum ? Result.succeed(Describe.describeEnum(type)) : unknown("enum", name)
  }
  return {
    services,
    method: (path) => {
      const method = byPath.get(path.startsWith("/") ? path.slice(1) : path)
      if (method !== undefined) return Result.succeed(method)
      const service = services.find(({ name }) => path.replace(/^\//, "").split("/")[0] === name)
      const known = service === undefined ? [...byPath.keys()] : service.methods.map(({ path }) => path)
      return Result.fail(new GrpcSchemaError({ reason: new UnknownMethod({ method: path, known }) }))
    },
    message,
    enum: enumOf,
    jsonSchema: (name) =>
      Result.map(message(name), (found) =>
        Json.jsonSchema(found, {
          message: (name) => Result.getOrThrow(message(name)),
          enum: (name) => Result.getOrThrow(enumOf(name))
        })),
    files
  }
}

/** Nothing at all. */
export const emptySchema: GrpcSchema = make({ root: new protobuf.Root(), files: [] })
