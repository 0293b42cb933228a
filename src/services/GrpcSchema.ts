/**
 * What a gRPC server offers and how its messages look, read from `.proto` definitions at run time: no code is generated.
 *
 * A `GrpcSchema` comes from the text of a definition, from several that import each other, from a file with its imports, or
 * from what proto-loader made. It lists services and methods, and turns plain objects into messages and back.
 *
 * **Details**
 *
 * - Definitions can be given in any order. Google's well-known types (`google/protobuf/timestamp.proto`, ...) need not be
 *   given; when they are, yours are used.
 * - In a request, fields go by the name in the `.proto` (`user_id`) or by its JSON name (`userId`). A field that does not
 *   exist, a value of the wrong type or out of range, an enum name that is not one and two fields of one `oneof` are
 *   errors with the path of the field. `null` and `undefined` mean "not set".
 * - In a response, fields go by their JSON name (`userId`). 64-bit numbers are `bigint`, bytes a `Uint8Array` of their own,
 *   enum values their names (a number when the definition does not have it), maps plain objects. Fields that did not come
 *   have their default; `optional` fields, messages and members of a `oneof` are not there at all.
 * - 64-bit numbers go in as `bigint`, as a decimal string, or as a number when that is exact.
 *
 * **Gotchas**
 *
 * Well-known types are messages like any other, not the special JSON forms: a `Timestamp` is
 * `{ seconds: 1700000000n, nanos: 0 }`.
 *
 * **Example** (Listing what a definition offers)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { GrpcSchema } from "hawser"
 *
 * const program = Effect.gen(function*() {
 *   const schema = yield* GrpcSchema.fromFile("protos/greeter.proto", { includeDirs: ["protos"] })
 *   for (const { methods, name } of schema.services) {
 *     yield* Console.log(name, methods.map((method) => method.name))
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { GrpcSchemaError } from "../errors/GrpcSchemaError.ts"
import * as Disk from "../internal/grpc/proto/disk.ts"
import * as ProtoLoad from "../internal/grpc/proto/load.ts"
import { descriptorsOf } from "../internal/grpc/proto/packageDefinition.ts"
import * as ProtoSchema from "../internal/grpc/proto/schema.ts"

export type {
  /**
   * Which sides send a stream of messages: none, the server, the client, both.
   *
   * @category models
   * @since 0.1.0
   */
  MethodKind
} from "../internal/grpc/definition.ts"

export type {
  /**
   * Turns plain objects into the bytes of a message and back.
   *
   * @category models
   * @since 0.1.0
   */
  Codec,
  /**
   * One field of a message.
   *
   * @category models
   * @since 0.1.0
   */
  Field,
  /**
   * Definitions that have been read and understood.
   *
   * @category models
   * @since 0.1.0
   */
  GrpcSchema,
  /**
   * A message type and its fields.
   *
   * @category models
   * @since 0.1.0
   */
  Message,
  /**
   * One method: its names, whether either side streams, and the types of its messages.
   *
   * @category models
   * @since 0.1.0
   */
  Method,
  /**
   * A service and its methods.
   *
   * @category models
   * @since 0.1.0
   */
  Service,
  /**
   * A message as a plain object.
   *
   * @category models
   * @since 0.1.0
   */
  Values
} from "../internal/grpc/proto/schema.ts"

/**
 * Reads the text of one definition. It can import Google's well-known types.
 *
 * Errors: `Syntax` (with the line), `MissingImport`, `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSource = (text: string): Effect.Effect<ProtoSchema.GrpcSchema, GrpcSchemaError> =>
  fromSources({ "source.proto": text })

/**
 * Reads several definitions that import each other, in any order. The keys are the names they are imported by, such as
 * `"acme/money.proto"`.
 *
 * Errors: `Syntax` (with file and line), `MissingImport`, `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSources = (
  sources: { readonly [name: string]: string }
): Effect.Effect<ProtoSchema.GrpcSchema, GrpcSchemaError> =>
  Effect.map(
    ProtoLoad.load(
      Object.entries(sources).map(([name, text]) => ({ name, text, shown: name, find: ProtoLoad.findNothing }))
    ),
    ProtoSchema.make
  )

/**
 * Options of `fromFile`.
 *
 * @category models
 * @since 0.1.0
 */
export interface FileOptions {
  /** Where imports are looked for, in this order, before the file's own folder. Default: none. */
  readonly includeDirs?: ReadonlyArray<string> | undefined
}

/**
 * Reads a file and what it imports.
 *
 * Errors: `UnreadableFile`, `Syntax` (with file and line), `MissingImport`, `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFile = (
  path: string,
  options: FileOptions = {}
): Effect.Effect<ProtoSchema.GrpcSchema, GrpcSchemaError> =>
  Disk.readSource(path, options.includeDirs ?? []).pipe(
    Effect.flatMap((source) => ProtoLoad.load([source])),
    Effect.map(ProtoSchema.make)
  )

/**
 * Takes a package definition that `@grpc/proto-loader` has made. Only its descriptors are used: messages are read and
 * written by this library, with its checks and its names, whatever options it was loaded with.
 *
 * Errors: `Syntax` when a descriptor cannot be read, `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPackageDefinition = (
  definition: { readonly [name: string]: object }
): Effect.Effect<ProtoSchema.GrpcSchema, GrpcSchemaError> =>
  Effect.map(ProtoLoad.loadDescriptors(descriptorsOf(definition)), ProtoSchema.make)
