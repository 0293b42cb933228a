import * as Effect from "effect/Effect"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import { type CompiledFile, emptySchema, type GrpcSchema } from "../proto/schema.ts"
import * as EffectSchema from "./effectSchema.ts"
import * as GrpcJs from "./grpcJs.ts"
import * as ProtobufEs from "./protobufEs.ts"
import type { TypedMethod } from "./typedMethod.ts"

/** A service with types, whatever describes it. */
export type TypedService = EffectSchema.SchemaService | ProtobufEs.ProtobufEsService | GrpcJs.GrpcJsService

/** What the types of a service say of its methods, by what they are called in a program. */
export type MethodsOf<S extends TypedService> = S extends EffectSchema.SchemaService ? EffectSchema.SchemaMethods<S>
  : S extends ProtobufEs.ProtobufEsService ? ProtobufEs.ProtobufEsMethods<S>
  : S extends GrpcJs.GrpcJsService ? GrpcJs.GrpcJsMethods<S>
  : never

const isSchemaService = (service: TypedService): service is EffectSchema.SchemaService => EffectSchema.TypeId in service

const isProtobufEs = (service: TypedService): service is ProtobufEs.ProtobufEsService =>
  "kind" in service && service.kind === "service"

/**
 * The methods of a service. One that is described with Effect schemas is laid over `loaded`. Errors: `UnknownMethod`,
 * `WrongKind` and `InvalidMessage` where the two do not agree, `MissingPackage`.
 */
export const definitionsOf = (
  service: TypedService,
  loaded: GrpcSchema = emptySchema
): Effect.Effect<ReadonlyArray<TypedMethod>, GrpcSchemaError> =>
  isSchemaService(service)
    ? Effect.fromResult(EffectSchema.definitionsOf(service, loaded))
    : isProtobufEs(service)
    ? ProtobufEs.definitionsOf(service)
    : Effect.succeed(GrpcJs.definitionsOf(service))

/** The files that describe a service, as far as they are known. Error: `MissingPackage`. */
export const filesOf = (
  service: TypedService,
  loaded: GrpcSchema = emptySchema
): Effect.Effect<ReadonlyArray<CompiledFile>, GrpcSchemaError> =>
  isSchemaService(service)
    ? Effect.succeed(loaded.files)
    : isProtobufEs(service)
    ? ProtobufEs.filesOf(service)
    : Effect.succeed(GrpcJs.filesOf(service))
