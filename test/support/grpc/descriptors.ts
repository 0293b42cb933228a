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

const unknownIn = (value: unknown, path: string): ReadonlyArray<readonly [path: string, bytes: string]> => {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$unknown"
      ? [
        [
          path,
          (inner as ReadonlyArray<{ no: number; data: Uint8Array }>).map(({ data, no }) =>
            `${no}:${Buffer.from(data).toString("hex")}`
          ).toSorted().join()
        ] as const
      ]
      : unknownIn(inner, `${path}.${key}`)
  )
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
