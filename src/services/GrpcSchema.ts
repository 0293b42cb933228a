/**
 * What a gRPC server offers and how its messages look, read from `.proto` definitions at run time: no code is generated.
 *
 * A `GrpcSchema` comes from the text of a definition, from several that import each other, from files or URLs with their
 * imports, from what `protoc` or proto-loader has compiled, or from the server itself (`fromReflection`). It lists and
 * describes services, methods, messages and enums, and turns plain objects into messages and back.
 *
 * **Details**
 *
 * - Definitions can be given in any order. Google's well-known types (`google/protobuf/timestamp.proto`, ...) need not be
 *   given; when they are, yours are used.
 * - A type that is defined in one of the files and not imported where it is used is found all the same.
 * - In a request, fields go by the name in the `.proto` (`user_id`) or by its JSON name (`userId`). A field that does not
 *   exist, a value of the wrong type or out of range, an enum name that is not one and two fields of one `oneof` are
 *   errors with the path of the field. `null` and `undefined` mean "not set".
 * - In a response, fields go by their JSON name (`userId`). 64-bit numbers are `bigint`, bytes a `Uint8Array` of their own,
 *   enum values their names (a number when the definition does not have it), maps plain objects. Fields that did not come
 *   have their default; `optional` fields, messages and members of a `oneof` are not there at all.
 * - 64-bit numbers go in as `bigint`, as a decimal string, or as a number when that is exact.
 * - `schema.message`, `schema.enum` and the fields of a method's `request` and `response` say all that the definitions do,
 *   comments among it. `schema.jsonSchema` says how the plain objects look in JSON: there, bytes are base64 text and 64-bit
 *   numbers are numbers or decimal text, as JSON has neither bytes nor `bigint`.
 * - `schema.files` are all definitions as `protoc` would write them, for tools that read descriptors.
 *
 * **Well-known types**
 *
 * | Type of `google.protobuf` | In a response | In a request, besides that |
 * | --- | --- | --- |
 * | `Timestamp` | `{ seconds: 1700000000n, nanos: 5 }` | a `Date`, an Effect `DateTime`, RFC 3339 text such as `"2026-01-31T12:00:00.5Z"` |
 * | `Duration` | `{ seconds: 1n, nanos: 500000000 }` | an Effect `Duration`, text such as `"1.5s"` |
 * | `Struct`, `Value`, `ListValue` | the JSON value; `null` is a value in them, not "not set" | |
 * | `StringValue`, `Int64Value` and the other wrappers | the value alone | `{ value }` |
 * | `FieldMask` | an array of paths, as the server wrote them | `{ paths }`, text with commas between the paths |
 * | `Any` | `{ "@type": "type.googleapis.com/acme.Order", ...fields }`; `{ "@type", value }` when a well-known type is inside; `{ typeUrl, value }` with the bytes when the definitions do not have the type | |
 * | `Empty` | `{}` | |
 *
 * - Times and durations outside of what protobuf allows are refused in requests: years before 1 and after 9999, nanoseconds
 *   of another sign than the seconds.
 * - A whole request or response is always an object. A wrapper, `Value`, `ListValue` or `FieldMask` that is one, and not a
 *   field of one, has the fields of its message: `{ value: "text" }`, `{ paths: ["a"] }`.
 * - `Timestamp` and `Duration` of this module are Effect schemas of the two, for messages that are described with `Schema`.
 *
 * **Gotchas**
 *
 * - Bytes are read into memory that small ones share: a `Uint8Array` has a part of its `.buffer`.
 * - Extensions of proto2 go by their full name in brackets, such as `"[acme.note]"`. Fields that the definitions do not
 *   have are dropped when a response is read.
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
import type * as DateTime from "effect/DateTime"
import type * as EffectDuration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { DialError } from "../errors/DialError.ts"
import { GrpcSchemaError, Syntax } from "../errors/GrpcSchemaError.ts"
import type { TlsConfigError } from "../errors/TlsConfigError.ts"
import type { FromReflection, ReflectionOptions } from "../internal/grpc/client/reflection.ts"
import * as Descriptor from "../internal/grpc/proto/descriptor.ts"
import * as Disk from "../internal/grpc/proto/disk.ts"
import * as Fetch from "../internal/grpc/proto/fetch.ts"
import * as Load from "../internal/grpc/proto/load.ts"
import { descriptorsOf } from "../internal/grpc/proto/packageDefinition.ts"
import { type GrpcSchema, make } from "../internal/grpc/proto/schema.ts"
import * as WellKnown from "../internal/grpc/proto/wellKnownSchemas.ts"
import * as Dialer from "./Dialer.ts"

export type {
  /**
   * A `google.protobuf.Timestamp` or `google.protobuf.Duration` as messages have it.
   *
   * @category models
   * @since 0.1.0
   */
  SecondsAndNanos
} from "../internal/grpc/proto/wellKnownSchemas.ts"

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
   * One file of a schema, compiled: a serialized `google.protobuf.FileDescriptorProto`.
   *
   * @category models
   * @since 0.1.0
   */
  CompiledFile,
  /**
   * An enum and its values.
   *
   * @category models
   * @since 0.1.0
   */
  Enum,
  /**
   * One value of an enum.
   *
   * @category models
   * @since 0.1.0
   */
  EnumValue,
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
   * A JSON Schema, draft 2020-12.
   *
   * @category models
   * @since 0.1.0
   */
  JsonSchema,
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
   * Fields of which at most one is set.
   *
   * @category models
   * @since 0.1.0
   */
  Oneof,
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

export type {
  /**
   * A schema that the server gives, for the `schema` of `Grpc.connect`.
   *
   * @category models
   * @since 0.1.0
   */
  FromReflection,
  /**
   * What of a server is read, and how much.
   *
   * @category models
   * @since 0.1.0
   */
  ReflectionOptions
} from "../internal/grpc/client/reflection.ts"

export type {
  /**
   * How definitions are fetched.
   *
   * @category models
   * @since 0.1.0
   */
  FetchOptions
} from "../internal/grpc/proto/fetch.ts"

export type {
  /**
   * How much is taken from servers.
   *
   * @category models
   * @since 0.1.0
   */
  Limits
} from "../internal/grpc/proto/limits.ts"

/**
 * Options for files.
 *
 * @category models
 * @since 0.1.0
 */
export interface FileOptions {
  /** Where imports are looked for, in this order, before the file's own folder. Default: none. */
  readonly includeDirs?: ReadonlyArray<string> | undefined
}

/**
 * One definition from this machine: its text, or a file. A string is always the text, so that nobody who can choose it can
 * make a program read files.
 *
 * @category models
 * @since 0.1.0
 */
export type LocalSource = string | { readonly text: string } | { readonly file: string }

/**
 * One definition: its text, a file, or a URL.
 *
 * @category models
 * @since 0.1.0
 */
export type Source = LocalSource | URL | { readonly url: string | URL }

/** What a path or a URL is mistaken for, said better than by the first line of it that is no definition. */
const notText = (name: string, text: string): GrpcSchemaError | undefined =>
  /^https?:\/\/\S+\s*$|^(?!\/[/*])[^\n;{}"]*\.proto\s*$/.test(text)
    ? new GrpcSchemaError({
      reason: new Syntax({
        file: name,
        detail: "a string is the text of a definition; a path is written { file } and a URL { url }"
      })
    })
    : undefined

const textSource = (name: string, text: string): Effect.Effect<Load.Source, GrpcSchemaError> => {
  const mistaken = notText(name, text)
  return mistaken === undefined
    ? Effect.succeed({ name, shown: name, text, find: Load.findNothing })
    : Effect.fail(mistaken)
}

const localSource = (name: string, source: LocalSource, { includeDirs = [] }: FileOptions) =>
  typeof source === "string"
    ? textSource(name, source)
    : "file" in source
    ? Disk.readSource(source.file, includeDirs, name)
    : textSource(name, source.text)

const fetcher = (options: Fetch.FetchOptions) => Effect.flatMap(Dialer.Dialer, (dialer) => Fetch.make(dialer, options))

/**
 * Reads the text of one definition. It can import Google's well-known types.
 *
 * Errors: `Syntax` (with the line), `MissingImport`, `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSource = (text: string): Effect.Effect<GrpcSchema, GrpcSchemaError> =>
  fromSources({ "source.proto": text })

/**
 * Reads several definitions that import each other, in any order. The keys are the names they are imported by, such as
 * `"acme/money.proto"`. A value is the text, or `{ file }` or `{ url }`, whose own imports are looked for as `fromFile` and
 * `fromUrl` do when no key has their name.
 *
 * Errors: `Syntax` (with file and line), `MissingImport`, `UnresolvedType`; `UnreadableFile` with files; with URLs also
 * those of `fromUrl`, and a Dialer is needed.
 *
 * **Example** (Definitions from three places)
 *
 * ```ts
 * import { GrpcSchema } from "hawser"
 *
 * const schema = GrpcSchema.fromSources({
 *   "orders.proto": `syntax = "proto3"; import "acme/money.proto"; message Order { acme.Money total = 1; }`,
 *   "acme/money.proto": { file: "protos/acme/money.proto" },
 *   "acme/stock.proto": { url: "https://definitions.example.com/acme/stock.proto" }
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export function fromSources(
  sources: { readonly [name: string]: LocalSource },
  options?: FileOptions
): Effect.Effect<GrpcSchema, GrpcSchemaError>
export function fromSources(
  sources: { readonly [name: string]: Source },
  options?: FileOptions & Fetch.FetchOptions
): Effect.Effect<GrpcSchema, GrpcSchemaError | DialError | TlsConfigError, Dialer.Dialer>
export function fromSources(
  sources: { readonly [name: string]: Source },
  options: FileOptions & Fetch.FetchOptions = {}
): Effect.Effect<GrpcSchema, GrpcSchemaError | DialError | TlsConfigError, Dialer.Dialer> {
  return Effect.gen(function*() {
    const found: Array<Load.Source<Fetch.FetchError>> = []
    let fetch: Fetch.Fetcher | undefined
    for (const [name, source] of Object.entries(sources)) {
      if (source instanceof URL || (typeof source === "object" && "url" in source)) {
        fetch ??= yield* fetcher(options)
        found.push(yield* fetch.source(source instanceof URL ? source : source.url, name))
      } else {
        found.push(yield* localSource(name, source, options))
      }
    }
    return make(yield* Load.load(found))
  })
}

/**
 * Reads a file and what it imports. A relative path that is not there is looked for in `includeDirs`.
 *
 * Errors: `UnreadableFile`, `Syntax` (with file and line), `MissingImport`, `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFile = (
  path: string,
  options: FileOptions = {}
): Effect.Effect<GrpcSchema, GrpcSchemaError> => fromFiles([path], options)

/**
 * Reads several files and what they import, from each other or from `includeDirs`.
 *
 * Errors: `UnreadableFile`, `Syntax` (with file and line), `MissingImport`, `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFiles = Effect.fn("GrpcSchema.fromFiles")(function*(
  paths: ReadonlyArray<string>,
  options: FileOptions = {}
): Effect.fn.Return<GrpcSchema, GrpcSchemaError> {
  const sources = yield* Effect.forEach(paths, (path) => Disk.readSource(path, options.includeDirs ?? []))
  return make(yield* Load.load(Disk.distinct(sources)))
})

/**
 * Fetches a definition and what it imports, over the Dialer, by `http` or `https`. Imports are looked for in the folder of
 * the URL, then in `includeUrls`; Google's well-known types are never fetched.
 *
 * Errors: `Unfetchable` (the URL, the status, too many redirects, a redirect to another scheme, the timeout), `TooLarge`,
 * `Syntax` (with URL and line), `MissingImport`, `UnresolvedType`; `DialError` when a server cannot be reached or its
 * certificate is wrong; `TlsConfigError` from `tls`.
 *
 * **Example** (Fetching through a proxy)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Dialer, GrpcSchema, Proxy } from "hawser"
 *
 * const Network = Proxy.layer("socks5://127.0.0.1:1080").pipe(Layer.provide(Dialer.layer))
 *
 * const schema = GrpcSchema.fromUrl("https://definitions.example.com/acme/orders.proto", {
 *   includeUrls: ["https://definitions.example.com/"]
 * }).pipe(Effect.provide(Network))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromUrl = Effect.fn("GrpcSchema.fromUrl")(function*(
  url: string | URL,
  options: Fetch.FetchOptions = {}
): Effect.fn.Return<GrpcSchema, GrpcSchemaError | DialError | TlsConfigError, Dialer.Dialer> {
  const fetch = yield* fetcher(options)
  return make(yield* Load.load([yield* fetch.source(url)]))
})

/**
 * Takes definitions that a compiler has written: the bytes of a `FileDescriptorSet`, as `protoc --descriptor_set_out` or
 * `buf build` make them. With `--include_imports` everything is in there; without, only Google's well-known types may be
 * missing. Comments are there with `--include_source_info`.
 *
 * Errors: `Syntax` when the bytes are something else, `MissingImport` (which file wants which), `UnresolvedType`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromDescriptorSet = (bytes: Uint8Array): Effect.Effect<GrpcSchema, GrpcSchemaError> =>
  Effect.try({
    try: () => Descriptor.filesOfSet(bytes),
    catch: (cause) =>
      new GrpcSchemaError({
        reason: new Syntax({ file: "descriptors", detail: cause instanceof Error ? cause.message : String(cause) })
      })
  }).pipe(Effect.flatMap(Load.loadDescriptors), Effect.map(make))

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
): Effect.Effect<GrpcSchema, GrpcSchemaError> => Effect.map(Load.loadDescriptors(descriptorsOf(definition)), make)

/**
 * What the server itself says that it offers (gRPC server reflection v1, or v1alpha where that is all there is), asked for
 * by `Grpc.connect`, which connects for that even when it is `lazy`. The schema is the channel's `schema` then.
 *
 * Errors, of `connect`: `BadReflection` when the server has no reflection, refuses it, does not have one of `services`, or
 * makes no sense; `TooLarge`, `MissingImport`, `UnresolvedType`, `Syntax`.
 *
 * **Example** (Listing what a server offers)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Grpc, GrpcSchema } from "hawser"
 *
 * const program = Effect.gen(function*() {
 *   const grpc = yield* Grpc.Grpc
 *   const channel = yield* grpc.connect({ url: "http://localhost:50051", schema: GrpcSchema.fromReflection() })
 *   return channel.services.map((service) => service.name)
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromReflection = (options: ReflectionOptions = {}): FromReflection => ({ _tag: "FromReflection", options })

/**
 * A `google.protobuf.Timestamp`, for messages that are described with Effect schemas: `DateTime.Utc` in the program,
 * `{ seconds, nanos }` in the message. A `DateTime` holds milliseconds, so what is below is cut off when one is read.
 *
 * **Example** (A message with a time in it)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { GrpcSchema } from "hawser"
 *
 * const Order = Schema.Struct({ id: Schema.String, placedAt: GrpcSchema.Timestamp })
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const Timestamp: Schema.Codec<DateTime.Utc, WellKnown.SecondsAndNanos> = WellKnown.Timestamp

/**
 * A `google.protobuf.Duration`, for messages that are described with Effect schemas: an Effect `Duration` in the program,
 * `{ seconds, nanos }` in the message, exact to the nanosecond. An infinite duration cannot be encoded.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Duration: Schema.Codec<EffectDuration.Duration, WellKnown.SecondsAndNanos> = WellKnown.Duration
