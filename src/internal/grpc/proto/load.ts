import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import protobuf from "protobufjs"
import Descriptor from "protobufjs/ext/descriptor.js"
import {
  GrpcSchemaError,
  type GrpcSchemaErrorReason,
  MissingImport,
  Syntax,
  UnreadableFile,
  UnresolvedType
} from "../../../errors/GrpcSchemaError.ts"

/** The text of one .proto and the name it is imported by. */
export interface Source {
  readonly name: string
  readonly text: string
}

/** Gives the text of an import, or `undefined` when it is not there. */
export type Find = (name: string) => Effect.Effect<string | undefined, GrpcSchemaErrorReason>

const fail = (reason: GrpcSchemaErrorReason) => new GrpcSchemaError({ reason })

/** The definitions that every compiler brings along, when they are not given. */
const wellKnown = (name: string): protobuf.INamespace | undefined => {
  const compiled: unknown = Descriptor
  if (name === "google/protobuf/descriptor.proto" && compiled instanceof protobuf.Namespace) {
    return { nested: { google: { nested: { protobuf: compiled.toJSON() } } } }
  }
  return protobuf.common.get(name) ?? undefined
}

const parse = (root: protobuf.Root, source: Source) =>
  Effect.try({
    try: () => {
      // the parser's own global, and what it writes into each definition as the place it came from
      Reflect.set(protobuf.parse, "filename", source.name)
      return protobuf.parse(source.text, root, { keepCase: true, alternateCommentMode: true })
    },
    catch: (cause) => {
      const message = cause instanceof Error ? cause.message : String(cause)
      const line = /\(.*\bline (\d+)\)$/.exec(message)
      return new Syntax({
        file: source.name,
        line: line?.[1] === undefined ? undefined : Number(line[1]),
        detail: message.replace(/ \(.*\bline \d+\)$/, "")
      })
    }
  })

const types = function*(namespace: protobuf.NamespaceBase): Generator<protobuf.Type | protobuf.Service> {
  for (const nested of namespace.nestedArray) {
    if (nested instanceof protobuf.Type || nested instanceof protobuf.Service) yield nested
    if (nested instanceof protobuf.Namespace) yield* types(nested)
  }
}

/** Looks every type up. protobufjs would do it too, but says neither where the name stands nor, at times, which it is. */
const resolve = Effect.fnUntraced(function*(root: protobuf.Root) {
  for (const object of types(root)) {
    const members: ReadonlyArray<protobuf.Field | protobuf.Method> = object instanceof protobuf.Type
      ? object.fieldsArray
      : object.methodsArray
    for (const member of members) {
      const wanted = member instanceof protobuf.Method ? [member.requestType, member.responseType] : [member.type]
      yield* Effect.try({
        try: () => member.resolve(),
        catch: (cause) => {
          const type = wanted.find((name) => object.lookup(name) === null)
          return type === undefined
            ? new Syntax({
              file: object.filename ?? "definitions",
              detail: cause instanceof Error ? cause.message : String(cause)
            })
            : new UnresolvedType({ file: object.filename ?? undefined, type })
        }
      })
    }
  }
  yield* Effect.try({
    try: () => root.resolveAll(),
    catch: (cause) =>
      new Syntax({ file: "definitions", detail: cause instanceof Error ? cause.message : String(cause) })
  })
})

/**
 * Parses definitions and whatever they import, in any order. protobufjs's own loader is not used: it never ends when a
 * type cannot be resolved.
 */
export const load = (first: ReadonlyArray<Source>, find: Find): Effect.Effect<protobuf.Root, GrpcSchemaError> =>
  Effect.gen(function*() {
    const root = new protobuf.Root()
    const known = new Set(first.map(({ name }) => name))
    const left = [...first]
    for (let source = left.shift(); source !== undefined; source = left.shift()) {
      const { imports = [], weakImports = [] } = yield* parse(root, source)
      for (const name of [...imports, ...weakImports]) {
        if (known.has(name)) continue
        known.add(name)
        const text = yield* find(name)
        const bundled = text === undefined ? wellKnown(name) : undefined
        if (text !== undefined) left.push({ name, text })
        else if (bundled?.nested !== undefined) root.addJSON(bundled.nested)
        else if (!weakImports.includes(name)) return yield* new MissingImport({ file: source.name, import: name })
      }
    }
    yield* resolve(root)
    return root
  }).pipe(Effect.mapError(fail))

const isMissing = (cause: unknown) =>
  cause instanceof Error && "code" in cause && (cause.code === "ENOENT" || cause.code === "ENOTDIR")

const readText = (path: string) =>
  Effect.tryPromise({
    try: () => Fs.readFile(path, "utf8"),
    catch: (cause) => new UnreadableFile({ path, cause })
  })

/** A file, and what it imports from `includeDirs`, in their order, and then from the file's own folder. */
export const loadFile = (
  path: string,
  includeDirs: ReadonlyArray<string>
): Effect.Effect<protobuf.Root, GrpcSchemaError> =>
  Effect.gen(function*() {
    const folders = [...includeDirs, Path.dirname(path)]
    const find: Find = Effect.fnUntraced(function*(name) {
      for (const folder of folders) {
        const candidate = Path.join(folder, name)
        const text = yield* readText(candidate).pipe(
          Effect.catchIf((error) => isMissing(error.cause), () => Effect.undefined)
        )
        if (text !== undefined) return text
      }
      return undefined
    })
    const text = yield* Effect.mapError(readText(path), fail)
    return yield* load([{ name: path, text }], find)
  })

/** Compiled definitions: file descriptors that name each other. */
export const loadDescriptors = (
  files: ReadonlyArray<Uint8Array>
): Effect.Effect<protobuf.Root, GrpcSchemaError> =>
  Effect.gen(function*() {
    const root = yield* Effect.try({
      try: () => {
        const unique = new Map(files.map((bytes) => {
          const file = Descriptor.FileDescriptorProto.decode(bytes)
          return [property(file, "name"), file]
        }))
        const set = Descriptor.FileDescriptorSet.create({ file: [...unique.values()] })
        return protobuf.Root.fromDescriptor(Descriptor.FileDescriptorSet.encode(set).finish(), { keepCase: true })
      },
      catch: (cause) =>
        new Syntax({ file: "descriptors", detail: cause instanceof Error ? cause.message : String(cause) })
    })
    yield* resolve(root)
    return root
  }).pipe(Effect.mapError(fail))

/** The descriptors that proto-loader puts beside its (de)serialisers. */
export const descriptorsOf = (definition: { readonly [name: string]: object }): ReadonlyArray<Uint8Array> =>
  Object.values(definition).flatMap((entry) =>
    // a message or an enum, or a service whose members are methods
    [
      entry,
      ...Object.values(entry).flatMap((method) => [property(method, "requestType"), property(method, "responseType")])
    ]
      .flatMap((type) => {
        const files = property(type, "fileDescriptorProtos")
        return Array.isArray(files) ? files.filter((file) => file instanceof Uint8Array) : []
      })
  )

const property = (value: unknown, name: string): unknown => Predicate.hasProperty(value, name) ? value[name] : undefined
