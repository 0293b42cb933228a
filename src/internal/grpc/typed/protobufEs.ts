import * as Effect from "effect/Effect"
import { GrpcSchemaError, MissingPackage } from "../../../errors/GrpcSchemaError.ts"
import type { MethodKind } from "../definition.ts"
import type { CompiledFile } from "../proto/compile.ts"
import { foreignCodec, type MethodTypes, type Part, type TypedMethod } from "./typedMethod.ts"

// The package is an optional peer: no published type may name it. These are the parts of its types that matter, and
// test/types holds them to it.

/** A message type, as protobuf-es describes it (`DescMessage`, `GenMessage`). */
export interface ProtobufEsMessage {
  readonly kind: "message"
  readonly typeName: string
}

/** A method, as protobuf-es describes it (`DescMethod`). */
export interface ProtobufEsMethod {
  readonly name: string
  readonly methodKind: "unary" | "server_streaming" | "client_streaming" | "bidi_streaming"
  readonly input: ProtobufEsMessage
  readonly output: ProtobufEsMessage
}

/** A file, as protobuf-es describes it (`DescFile`, `GenFile`). */
export interface ProtobufEsFile {
  readonly proto: { readonly name: string; readonly dependency: ReadonlyArray<string> }
  readonly dependencies: ReadonlyArray<ProtobufEsFile>
}

/** A service that protobuf-es (version 2) has generated, `GenService`, or one of a registry, `DescService`. */
export interface ProtobufEsService {
  readonly kind: "service"
  readonly typeName: string
  readonly file: ProtobufEsFile
  readonly method: { readonly [key: string]: ProtobufEsMethod }
}

/** What all messages have. */
interface Message {
  readonly $typeName: string
}

type Oneof = { readonly case: string | undefined; readonly value?: unknown }

/** What `create` takes for a message: each field may be left out, and so may `$typeName`, at every depth. */
type MessageInit<T> =
  | T
  | {
    [P in keyof T as P extends "$unknown" ? never : P]?: P extends "$typeName" ? never : FieldInit<T[P]>
  }

type FieldInit<F> = F extends Date | Uint8Array | bigint | boolean | string | number ? F
  : F extends Array<infer U> ? Array<FieldInit<U>>
  : F extends ReadonlyArray<infer U> ? ReadonlyArray<FieldInit<U>>
  : F extends Message ? MessageInit<F>
  : F extends { case: infer C extends string; value: infer V extends Message } ? { case: C; value: MessageInit<V> }
  : F extends Oneof ? F
  : F extends { [key: string | number]: infer V extends Message } ? { [key: string | number]: MessageInit<V> }
  : F

type Generated<Desc> = Desc extends { readonly $codegenv2: { readonly a: infer Shape } } ? Shape
  : Desc extends { readonly $codegenv1: { readonly a: infer Shape } } ? Shape
  : never

/** What a message of this type is when it was decoded: `MessageShape`. */
export type ProtobufEsShape<Desc> = [Generated<Desc>] extends [never] ? Message : Generated<Desc>

/** What is taken for a message of this type: `MessageInitShape`. */
export type ProtobufEsInit<Desc> = [Generated<Desc>] extends [never] ? Record<string, unknown>
  : MessageInit<Generated<Desc>>

const kinds = {
  unary: "unary",
  server_streaming: "serverStream",
  client_streaming: "clientStream",
  bidi_streaming: "bidi"
} as const satisfies Record<string, MethodKind>

/** What a generated service says of its methods. */
export type ProtobufEsMethods<S extends ProtobufEsService> = {
  readonly [K in keyof S["method"]]: MethodTypes<
    typeof kinds[S["method"][K]["methodKind"]],
    ProtobufEsInit<S["method"][K]["input"]>,
    ProtobufEsShape<S["method"][K]["input"]>,
    ProtobufEsInit<S["method"][K]["output"]>,
    ProtobufEsShape<S["method"][K]["output"]>
  >
}

/** What is needed of the package. */
interface Library {
  create(type: ProtobufEsMessage, init: unknown): unknown
  toBinary(type: ProtobufEsMessage, message: unknown): Uint8Array
  fromBinary(type: ProtobufEsMessage, bytes: Uint8Array): unknown
}

const missing = (cause: unknown) =>
  new GrpcSchemaError({ reason: new MissingPackage({ package: "@bufbuild/protobuf", cause }) })

/**
 * Descriptors carry no code, so reading and writing need the package itself. Who has a generated service has it installed;
 * all others need not. A copy other than the one that the generated code uses does as well: nothing in it depends on the
 * identity of its classes.
 */
const protobufEs = Effect.callback<Library, GrpcSchemaError>((resume) => {
  // a failure that is handled right here tells bundlers that the package may be missing
  import("@bufbuild/protobuf").then(
    (library: Library) => resume(Effect.succeed(library)),
    (cause: unknown) => resume(Effect.fail(missing(cause)))
  )
})

/** The methods of a service that protobuf-es describes. */
export const definitionsOf = (
  service: ProtobufEsService
): Effect.Effect<ReadonlyArray<TypedMethod>, GrpcSchemaError> =>
  Effect.map(
    protobufEs,
    (library) =>
      Object.entries(service.method).map(([key, { input, methodKind, name, output }]) => {
        const path = `${service.typeName}/${name}`
        const codec = (part: Part, type: ProtobufEsMessage) =>
          foreignCodec(
            path,
            part,
            (value) => library.toBinary(type, library.create(type, value)),
            // a copy: what is decoded can hold views of it
            (bytes) => library.fromBinary(type, new Uint8Array(bytes))
          )
        return {
          key,
          path,
          service: service.typeName,
          name,
          kind: kinds[methodKind],
          request: codec("request", input),
          response: codec("response", output)
        }
      })
  )

const descriptorProto = Effect.callback<ProtobufEsMessage, GrpcSchemaError>((resume) => {
  import("@bufbuild/protobuf/wkt").then(
    ({ FileDescriptorProtoSchema }) => resume(Effect.succeed(FileDescriptorProtoSchema)),
    (cause: unknown) => resume(Effect.fail(missing(cause)))
  )
})

/** The file that defines a service, and all that it imports. */
export const filesOf = Effect.fnUntraced(function*(
  { file }: ProtobufEsService
): Effect.fn.Return<ReadonlyArray<CompiledFile>, GrpcSchemaError> {
  const library = yield* protobufEs
  const type = yield* descriptorProto
  const found = new Set([file])
  // a Set gives what is added on the way, too
  for (const { dependencies } of found) for (const imported of dependencies) found.add(imported)
  return Array.from(found, ({ proto }) => ({
    name: proto.name,
    dependencies: proto.dependency,
    bytes: library.toBinary(type, proto)
  }))
})
