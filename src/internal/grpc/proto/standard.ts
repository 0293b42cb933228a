import * as Result from "effect/Result"
import protobuf from "protobufjs"
import Compiled from "protobufjs/ext/descriptor.js"
import { google } from "./definitions/google.ts"
import { find as findIn } from "./find.ts"
import { parse, type Parsed } from "./parse.ts"
import { write } from "./tree.ts"

const descriptorProto = "google/protobuf/descriptor.proto"

const typesOf = function*(scope: protobuf.NamespaceBase): Generator<protobuf.Type> {
  for (const nested of scope.nestedArray) {
    if (!(nested instanceof protobuf.Type)) continue
    yield nested
    yield* typesOf(nested)
  }
}

/** `descriptor.proto` comes with protobufjs, which has other names for its fields. */
const descriptors = (): Parsed | undefined => {
  if (!(Compiled instanceof protobuf.Namespace)) return undefined
  const root = protobuf.Root.fromJSON({ nested: { google: { nested: { protobuf: Compiled.toJSON() } } } })
  const scope = findIn(root, "google.protobuf")
  for (const type of scope instanceof protobuf.Namespace ? typesOf(scope) : []) {
    for (const field of type.fieldsArray) {
      field.name = field.protoName ?? field.name
      const { deprecated, packed } = field.options ?? {}
      field.parsedOptions = [
        ...(packed === true ? [{ packed }] : []),
        ...(deprecated === true ? [{ deprecated }] : [])
      ]
    }
  }
  return { ...write(root, descriptorProto, "google.protobuf", { syntax: "proto2", longs: new Map() }), imports: [] }
}

/** Whether a compiler brings a file of this name along. */
export const isThere = (name: string): boolean => name === descriptorProto || Object.hasOwn(google, name)

/** The definitions that every compiler brings along, for when they are not given. */
export const find = (name: string): Parsed | undefined => {
  if (name === descriptorProto) return descriptors()
  const text = Object.hasOwn(google, name) ? google[name] : undefined
  return text === undefined ? undefined : Result.getOrThrow(parse(name, name, text))
}
