/** Descriptors as protobuf-es understands them: a judge of what this library writes. */
import { create, createFileRegistry, fromBinary, toBinary, toJson } from "@bufbuild/protobuf"
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt"
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import type { GrpcSchema } from "../../../src/services/GrpcSchema.ts"

export const filesOf = (schema: GrpcSchema): ReadonlyArray<FileDescriptorProto> =>
  schema.files.map(({ bytes }) => fromBinary(FileDescriptorProtoSchema, bytes))

/** All types, found as a reflection client finds them; throws when one is missing. */
export const registryOf = (schema: GrpcSchema) =>
  createFileRegistry(create(FileDescriptorSetSchema, { file: [...filesOf(schema)] }))

export const setOf = (schema: GrpcSchema, keep: (name: string) => boolean = () => true): Uint8Array =>
  toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, { file: filesOf(schema).filter(({ name }) => keep(name)) })
  )

interface Unknown {
  readonly $unknown?: ReadonlyArray<{ readonly no: number; readonly data: Uint8Array }> | undefined
}

/** Fields that protobuf-es has no definition of, and where they are. */
const unknownIn = (value: object & Unknown, path: string): ReadonlyArray<readonly [path: string, bytes: string]> => {
  const { $unknown = [], ...rest } = value
  const own = $unknown.map(({ data, no }) => `${no}:${Buffer.from(data).toString("hex")}`).toSorted().join()
  return [
    ...(own === "" ? [] : [[path, own] as const]),
    ...Object.entries(rest).flatMap(([key, inner]) =>
      typeof inner === "object" && inner !== null ? unknownIn(inner, `${path}.${key}`) : []
    )
  ]
}

/** What a file says, to be compared: the definitions, custom options as bytes, and the comments by path. */
export const saidBy = (file: FileDescriptorProto) => {
  const { sourceCodeInfo, ...rest } = file
  return {
    definitions: toJson(FileDescriptorProtoSchema, create(FileDescriptorProtoSchema, rest)),
    custom: unknownIn(rest, ""),
    comments: Object.fromEntries(
      (sourceCodeInfo?.location ?? []).flatMap(({ leadingComments, path, trailingComments }) => {
        const comment = (leadingComments === "" ? trailingComments : leadingComments).trim()
        return comment === "" ? [] : [[path.join(), comment] as const]
      })
    )
  }
}
