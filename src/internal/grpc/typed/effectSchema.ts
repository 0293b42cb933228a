import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { GrpcSchemaError, InvalidMessage, WrongKind } from "../../../errors/GrpcSchemaError.ts"
import type { MessageCodec, MethodKind } from "../definition.ts"
import type { Codec, GrpcSchema, Message } from "../proto/schema.ts"
import { strangeField } from "./strangeField.ts"
import { type MethodTypes, type Part, refused, type TypedMethod } from "./typedMethod.ts"

/** Marks services that are described with Effect schemas. */
export const TypeId = "~hawser/GrpcService"

/** A schema that a message can have: it encodes to an object, needs no services, and neither direction waits. */
export interface MessageSchema extends Schema.ConstraintCodec<unknown, object> {}

/** One method: its kind, and the schemas of its messages. */
export interface SchemaMethod<
  Kind extends MethodKind = MethodKind,
  Payload extends MessageSchema = MessageSchema,
  Success extends MessageSchema = MessageSchema
> {
  readonly kind: Kind
  readonly payload: Payload
  readonly success: Success
}

/** A service whose messages are described with Effect schemas. */
export interface SchemaService<
  Name extends string = string,
  Methods extends { readonly [name: string]: SchemaMethod } = { readonly [name: string]: SchemaMethod }
> {
  readonly [TypeId]: typeof TypeId
  /** As in the `.proto`: `"acme.Orders"`. */
  readonly name: Name
  /** By their names in the `.proto`. */
  readonly methods: Methods
}

/** What the schemas say of the methods. */
export type SchemaMethods<S extends SchemaService> = {
  readonly [K in keyof S["methods"]]: MethodTypes<
    S["methods"][K]["kind"],
    S["methods"][K]["payload"]["Type"],
    S["methods"][K]["payload"]["Type"],
    S["methods"][K]["success"]["Type"],
    S["methods"][K]["success"]["Type"]
  >
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const show = (path: ReadonlyArray<PropertyKey>) =>
  path.reduce<string>(
    (shown, step) =>
      typeof step === "number" ? `${shown}[${step}]` : shown === "" ? String(step) : `${shown}.${String(step)}`,
    ""
  )

/** The first thing that a schema found, and where; all of them are in the cause. */
const mismatch = (method: string, part: Part, cause: Schema.SchemaError): GrpcSchemaError => {
  const { issues: [first] } = format(cause.issue)
  const path = show((first?.path ?? []).map((step) => typeof step === "object" ? step.key : step))
  return new GrpcSchemaError({
    reason: new InvalidMessage({
      method,
      part,
      path: path === "" ? undefined : path,
      detail: first?.message ?? cause.message,
      cause
    })
  })
}

/** A schema on top of the plain objects of a loaded message type, when that has all of its fields. */
const codec = (
  method: string,
  part: Part,
  schema: MessageSchema,
  message: Message & Codec,
  loaded: GrpcSchema
): Result.Result<MessageCodec<unknown>, GrpcSchemaError> => {
  const strange = strangeField(schema.ast, message, part, loaded)
  if (strange !== undefined) {
    const { name, fields } = strange.message
    const known = fields.map(({ jsonName }) => jsonName)
    const detail = `${name} has no such field; there are: ${known.length === 0 ? "none" : known.join(", ")}`
    return Result.fail(
      new GrpcSchemaError({ reason: new InvalidMessage({ method, part, path: strange.path, detail }) })
    )
  }
  const encode = Schema.encodeUnknownResult(schema)
  const decode = Schema.decodeUnknownResult(schema)
  const run = <A>(convert: () => Result.Result<A, Schema.SchemaError>): Result.Result<A, GrpcSchemaError> =>
    // a transformation that waits or has a bug throws
    Result.try({ try: convert, catch: (cause) => refused(method, part, cause) }).pipe(
      Result.flatMap(Result.mapError((cause) => mismatch(method, part, cause)))
    )
  return Result.succeed({
    encode: (value) => Result.flatMap(run(() => encode(value)), message.encode),
    decode: (bytes) => Result.flatMap(message.decode(bytes), (values) => run(() => decode(values)))
  })
}

const methodOf = (
  service: string,
  key: string,
  { kind, payload, success }: SchemaMethod,
  loaded: GrpcSchema
): Result.Result<TypedMethod, GrpcSchemaError> =>
  Result.gen(function*() {
    const method = yield* loaded.method(`${service}/${key}`)
    const { name, path } = method
    if (method.kind !== kind) {
      return yield* Result.fail(
        new GrpcSchemaError({ reason: new WrongKind({ method: path, kind: method.kind, calledAs: kind }) })
      )
    }
    return {
      key,
      path,
      service,
      name,
      kind,
      request: yield* codec(path, "request", payload, method.request, loaded),
      response: yield* codec(path, "response", success, method.response, loaded)
    }
  })

/** The methods of a service, each with the definition that the loaded schema has of it. */
export const definitionsOf = (
  service: SchemaService,
  loaded: GrpcSchema
): Result.Result<ReadonlyArray<TypedMethod>, GrpcSchemaError> =>
  Result.all(Object.entries(service.methods).map(([key, method]) => methodOf(service.name, key, method, loaded)))
