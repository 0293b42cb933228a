import { cast } from "effect/Function"
import * as Result from "effect/Result"
import {
  GrpcSchemaError,
  type GrpcSchemaErrorReason,
  UnhandledMethod,
  UnknownMethod,
  WrongKind
} from "../../../errors/GrpcSchemaError.ts"
import type { MethodDefinition, MethodKind } from "../definition.ts"
import type { GrpcSchema } from "../proto/schema.ts"
import type { AnyHandler, Implementation, KindHandler } from "./handler.ts"

/** Handlers by what their methods are called in a program. */
export interface Handlers {
  readonly [key: string]: AnyHandler | KindHandler<MethodKind, unknown, unknown> | undefined
}

/** A method, and what it is called in a program. */
export interface Keyed extends MethodDefinition {
  readonly key: string
}

const fail = (reason: GrpcSchemaErrorReason) => Result.fail(new GrpcSchemaError({ reason }))

const implementOne = (
  definition: Keyed,
  given: Handlers[string],
  partial: boolean
): Result.Result<ReadonlyArray<Implementation>, GrpcSchemaError> => {
  if (given === undefined) return partial ? Result.succeed([]) : fail(new UnhandledMethod({ method: definition.path }))
  if (typeof given === "function") return Result.succeed([{ definition, handler: given }])
  return given.kind === definition.kind
    ? Result.succeed([{ definition, handler: cast(given.handler) }])
    : fail(new WrongKind({ method: definition.path, kind: definition.kind, calledAs: given.kind }))
}

/**
 * The methods of a service with their handlers. Errors: `UnhandledMethod` unless `partial` says that there may be methods
 * without, `UnknownMethod` for a handler without a method, `WrongKind`.
 */
export const implement = (
  service: string,
  definitions: ReadonlyArray<Keyed>,
  handlers: Handlers,
  partial: boolean
): Result.Result<ReadonlyArray<Implementation>, GrpcSchemaError> => {
  const known = definitions.map(({ key }) => key)
  const stray = Object.keys(handlers).find((key) => !known.includes(key))
  if (stray !== undefined) return fail(new UnknownMethod({ method: `${service}/${stray}`, known }))
  return Result.map(
    Result.all(definitions.map((definition) => implementOne(definition, handlers[definition.key], partial))),
    (implementations) => implementations.flat()
  )
}

/** The methods of a service of a schema, by their names there. Error: `UnknownMethod` when it has no such service. */
export const methodsOf = (
  schema: GrpcSchema,
  name: string
): Result.Result<ReadonlyArray<Keyed>, GrpcSchemaError> => {
  const service = schema.services.find((service) => service.name === name)
  return service === undefined
    ? fail(new UnknownMethod({ method: name, known: schema.services.map(({ name }) => name) }))
    : Result.succeed(service.methods.map((method) => ({ ...method, key: method.name })))
}
