import * as Effect from "effect/Effect"
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
import type { CompiledFile } from "../proto/compile.ts"
import type { GrpcSchema } from "../proto/schema.ts"
import { definitionsOf, filesOf, type TypedService } from "../typed/definitions.ts"
import type { AnyHandler, Implementation, KindHandler } from "./handler.ts"

/** Handlers by what their methods are called in a program. */
export interface Handlers {
  readonly [key: string]: AnyHandler | KindHandler<MethodKind, unknown, unknown> | undefined
}

/** A service that can be served. */
export interface Implemented {
  readonly name: string
  readonly implementations: ReadonlyArray<Implementation>
  /** The files that describe it, as far as they are known. */
  readonly files: ReadonlyArray<CompiledFile>
}

/** A method, and what it is called in a program. */
interface Keyed {
  readonly key: string
  readonly definition: MethodDefinition
}

const fail = (reason: GrpcSchemaErrorReason) => Result.fail(new GrpcSchemaError({ reason }))

const implementOne = (
  definition: MethodDefinition,
  given: Handlers[string],
  partial: boolean
): Result.Result<ReadonlyArray<Implementation>, GrpcSchemaError> => {
  if (given === undefined) return partial ? Result.succeed([]) : fail(new UnhandledMethod({ method: definition.path }))
  if (typeof given === "function") return Result.succeed([{ definition, handler: given }])
  return given.kind === definition.kind
    ? Result.succeed([{ definition, handler: cast(given.handler) }])
    : fail(new WrongKind({ method: definition.path, kind: definition.kind, calledAs: given.kind }))
}

const implement = (
  service: string,
  methods: ReadonlyArray<Keyed>,
  handlers: Handlers,
  partial: boolean
): Result.Result<ReadonlyArray<Implementation>, GrpcSchemaError> => {
  const known = methods.map(({ key }) => key)
  const stray = Object.keys(handlers).find((key) => !known.includes(key))
  if (stray !== undefined) return fail(new UnknownMethod({ method: `${service}/${stray}`, known }))
  return Result.map(
    Result.all(methods.map(({ definition, key }) => implementOne(definition, handlers[key], partial))),
    (implementations) => implementations.flat()
  )
}

/**
 * A service that has types, with its handlers. One of Effect schemas is laid over `loaded`. Errors: `UnhandledMethod` unless
 * it may be `partial`, `UnknownMethod` for a handler without a method, and those of `definitionsOf`.
 */
export const implementTyped = Effect.fnUntraced(function*(
  service: TypedService,
  loaded: GrpcSchema | undefined,
  handlers: Handlers,
  partial: boolean
): Effect.fn.Return<Implemented, GrpcSchemaError> {
  const definitions = yield* definitionsOf(service, loaded)
  const name = definitions[0]?.service ?? ""
  const methods = definitions.map((definition) => ({ key: definition.key, definition }))
  const implementations = yield* Effect.fromResult(implement(name, methods, handlers, partial))
  return { name, implementations, files: yield* filesOf(service, loaded) }
})

/** A service of a schema by name, with its handlers. Errors: as above, `UnknownMethod` also where there is no such service. */
export const implementNamed = (
  schema: GrpcSchema,
  name: string,
  handlers: Handlers,
  partial: boolean
): Effect.Effect<Implemented, GrpcSchemaError> => {
  const service = schema.services.find((service) => service.name === name)
  const known = schema.services.map(({ name }) => name)
  if (service === undefined) return Effect.fromResult(fail(new UnknownMethod({ method: name, known })))
  const methods = service.methods.map((definition) => ({ key: definition.name, definition }))
  return Effect.map(
    Effect.fromResult(implement(name, methods, handlers, partial)),
    (implementations) => ({ name, implementations, files: schema.files })
  )
}
