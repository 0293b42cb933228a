/**
 * What can be wrong with `.proto` definitions, and with a request that does not fit them.
 *
 * A request is checked before anything is sent: a field that does not exist, a number that is out of range or the name of
 * an enum value that is not one are errors, never dropped.
 *
 * **Example** (Telling a user which field is wrong)
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { GrpcChannel } from "hawser"
 *
 * const send = (channel: GrpcChannel.GrpcChannel, order: object) =>
 *   channel.unary("acme.Orders/Create", order).pipe(
 *     Effect.catchReason("GrpcSchemaError", "WrongType", (reason) => Effect.succeed({ mend: reason.path }))
 *   )
 * ```
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A definition cannot be understood: `detail` says what is wrong in `file`, at `line` where that is known.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Syntax extends Schema.TaggedError<Syntax>("hawser/GrpcSchemaError/Syntax")("Syntax", {
  file: Schema.String,
  line: Schema.optional(Schema.Int),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.file}${this.line === undefined ? "" : `:${this.line}`}: ${this.detail}`
  }
}

/**
 * `file` imports something that was not given and is in none of the folders.
 *
 * @category reasons
 * @since 0.1.0
 */
export class MissingImport
  extends Schema.TaggedError<MissingImport>("hawser/GrpcSchemaError/MissingImport")("MissingImport", {
    file: Schema.String,
    import: Schema.String
  })
{
  override get message(): string {
    return `${this.file} imports "${this.import}", which is not there`
  }
}

/**
 * A definition uses a type that nothing defines.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnresolvedType
  extends Schema.TaggedError<UnresolvedType>("hawser/GrpcSchemaError/UnresolvedType")("UnresolvedType", {
    file: Schema.optional(Schema.String),
    type: Schema.String
  })
{
  override get message(): string {
    return `${this.file === undefined ? "" : `${this.file}: `}nothing defines the type "${this.type}"`
  }
}

/**
 * A file cannot be read.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnreadableFile
  extends Schema.TaggedError<UnreadableFile>("hawser/GrpcSchemaError/UnreadableFile")("UnreadableFile", {
    path: Schema.String,
    cause: Schema.optional(Schema.Defect())
  })
{
  override get message(): string {
    return `cannot read "${this.path}"`
  }
}

/**
 * A definition cannot be fetched from `url`: `why` says what the server answered, or that it did not in time. A path that
 * leads nowhere is a `DialError` instead.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unfetchable extends Schema.TaggedError<Unfetchable>("hawser/GrpcSchemaError/Unfetchable")("Unfetchable", {
  /** Without user name, password and query. */
  url: Schema.String,
  /** The status of HTTP, when the server gave one other than 200. */
  status: Schema.optional(Schema.Int),
  why: Schema.String
}) {
  /** True when the server has too much to do or is broken: 408, 429 and those from 500 on. */
  get isRetryable(): boolean {
    return this.status !== undefined && (this.status === 408 || this.status === 429 || this.status >= 500)
  }

  override get message(): string {
    return `cannot fetch ${this.url}: ${this.why}`
  }
}

/**
 * Definitions that come over the network are more than is accepted: one of them or all together have more bytes, or there
 * are more of them. `limit` is the number, `of` what it counts.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TooLarge extends Schema.TaggedError<TooLarge>("hawser/GrpcSchemaError/TooLarge")("TooLarge", {
  /** The URL or the name of the file with which it became too much. */
  file: Schema.String,
  limit: Schema.Int,
  of: Schema.Literals(["bytes in a file", "bytes in all", "files"])
}) {
  override get message(): string {
    return `${this.file} is too much: at most ${this.limit} ${this.of} are accepted`
  }
}

/**
 * A server does not say by reflection what it offers, does not have what is asked for, or makes no sense. `why` says what.
 *
 * @category reasons
 * @since 0.1.0
 */
export class BadReflection
  extends Schema.TaggedError<BadReflection>("hawser/GrpcSchemaError/BadReflection")("BadReflection", {
    /** The reason of the `GrpcError` that the call ended with, such as `"Unauthenticated"`, where it did. */
    status: Schema.optional(Schema.String),
    why: Schema.String
  })
{
  /** True when the server was not there, had too much to do, or took too long. */
  get isRetryable(): boolean {
    return ["Unavailable", "ResourceExhausted", "DeadlineExceeded"].includes(this.status ?? "")
  }

  override get message(): string {
    return `server reflection: ${this.why}`
  }
}

/**
 * The schema has no such message or enum.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnknownType extends Schema.TaggedError<UnknownType>("hawser/GrpcSchemaError/UnknownType")("UnknownType", {
  kind: Schema.Literals(["message", "enum"]),
  name: Schema.String
}) {
  override get message(): string {
    return `no ${this.kind} "${this.name}"`
  }
}

/**
 * The schema has no such method. `known` are those of the service, or of all services when the service is not there
 * either.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnknownMethod
  extends Schema.TaggedError<UnknownMethod>("hawser/GrpcSchemaError/UnknownMethod")("UnknownMethod", {
    method: Schema.String,
    known: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return `no method "${this.method}"; there are: ${this.known.length === 0 ? "none" : this.known.join(", ")}`
  }
}

const MethodKind = Schema.Literals(["unary", "serverStream", "clientStream", "bidi"])

const kinds: { readonly [Kind in typeof MethodKind.Type]: string } = {
  unary: "a unary method",
  serverStream: "a server stream",
  clientStream: "a client stream",
  bidi: "a bidirectional stream"
}

/**
 * The method exists and is called or described as one of another kind, such as a server stream with `unary`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class WrongKind extends Schema.TaggedError<WrongKind>("hawser/GrpcSchemaError/WrongKind")("WrongKind", {
  method: Schema.String,
  kind: MethodKind,
  calledAs: MethodKind
}) {
  override get message(): string {
    return `"${this.method}" is ${kinds[this.kind]} and was called as ${kinds[this.calledAs]}`
  }
}

/**
 * A request has a field that its message does not have. `path` leads to it, such as `"order.items[2].colour"`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnknownField
  extends Schema.TaggedError<UnknownField>("hawser/GrpcSchemaError/UnknownField")("UnknownField", {
    path: Schema.String,
    known: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return `no field "${this.path}"; there are: ${this.known.length === 0 ? "none" : this.known.join(", ")}`
  }
}

/**
 * A value does not fit its field: the wrong type, a number out of range, the name of an enum value that does not exist,
 * two fields of one `oneof`. `got` describes it and is cut when it is long.
 *
 * @category reasons
 * @since 0.1.0
 */
export class WrongType extends Schema.TaggedError<WrongType>("hawser/GrpcSchemaError/WrongType")("WrongType", {
  path: Schema.String,
  expected: Schema.String,
  got: Schema.String
}) {
  override get message(): string {
    return `${this.path === "" ? "the message" : `"${this.path}"`} should be ${this.expected} and is ${this.got}`
  }
}

/**
 * Generated code or an Effect schema refused a message, or a schema has a field that the message does not: `detail` says
 * what is wrong, and `path` leads to the field where that is known. `cause` is what the code threw, or the `SchemaError`
 * with everything that the schema found.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidMessage
  extends Schema.TaggedError<InvalidMessage>("hawser/GrpcSchemaError/InvalidMessage")("InvalidMessage", {
    method: Schema.String,
    part: Schema.Literals(["request", "response"]),
    path: Schema.optional(Schema.String),
    detail: Schema.String,
    cause: Schema.optional(Schema.Defect())
  })
{
  override get message(): string {
    const where = this.path === undefined ? "" : ` at "${this.path}"`
    return `the ${this.part} of "${this.method}" is wrong${where}: ${this.detail}`
  }
}

/**
 * What a service was given as needs a package that cannot be loaded: `@bufbuild/protobuf` for code that protobuf-es has
 * generated.
 *
 * @category reasons
 * @since 0.1.0
 */
export class MissingPackage
  extends Schema.TaggedError<MissingPackage>("hawser/GrpcSchemaError/MissingPackage")("MissingPackage", {
    package: Schema.String,
    cause: Schema.optional(Schema.Defect())
  })
{
  override get message(): string {
    return `the package "${this.package}" cannot be loaded; is it installed beside this one?`
  }
}

/**
 * A service that is to be served has a method for which there is no handler.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnhandledMethod
  extends Schema.TaggedError<UnhandledMethod>("hawser/GrpcSchemaError/UnhandledMethod")("UnhandledMethod", {
    method: Schema.String
  })
{
  override get message(): string {
    return `nobody handles "${this.method}"`
  }
}

/**
 * Everything that can be wrong with definitions and requests.
 *
 * @category models
 * @since 0.1.0
 */
export const GrpcSchemaErrorReason = Schema.Union([
  Syntax,
  MissingImport,
  UnresolvedType,
  UnreadableFile,
  Unfetchable,
  TooLarge,
  BadReflection,
  UnknownMethod,
  UnknownType,
  WrongKind,
  UnknownField,
  WrongType,
  InvalidMessage,
  MissingPackage,
  UnhandledMethod
])

/**
 * Everything that can be wrong with definitions and requests.
 *
 * @category models
 * @since 0.1.0
 */
export type GrpcSchemaErrorReason = typeof GrpcSchemaErrorReason.Type

/**
 * A definition, or a request that should fit it, is wrong. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class GrpcSchemaError extends Schema.TaggedError<GrpcSchemaError>("hawser/GrpcSchemaError")("GrpcSchemaError", {
  reason: GrpcSchemaErrorReason
}) {
  /** The reason, so that tools which print causes show it. */
  override readonly cause = this.reason

  /** False for what stays wrong until somebody mends it: for all but some of `Unfetchable` and `BadReflection`. */
  get isRetryable(): boolean {
    return "isRetryable" in this.reason && this.reason.isRetryable
  }

  override get message(): string {
    return this.reason.message
  }
}
