import * as Result from "effect/Result"
import protobuf from "protobufjs"
import { type GrpcSchemaErrorReason, MissingImport, Syntax } from "../../../errors/GrpcSchemaError.ts"
import * as Comments from "./comments.ts"
import * as Descriptor from "./descriptor.ts"
import * as Link from "./link.ts"
import * as Options from "./options.ts"
import type { Parsed } from "./parse.ts"
import * as Standard from "./standard.ts"

/** One file of a schema, compiled. */
export interface CompiledFile {
  /** As others import it: `"acme/orders.proto"`. */
  readonly name: string
  /** The names of the files that it imports. */
  readonly dependencies: ReadonlyArray<string>
  /** A serialized `google.protobuf.FileDescriptorProto`. */
  readonly bytes: Uint8Array
}

/** Definitions whose types are all there. */
export interface Definitions {
  /** Messages, enums and services, for protobufjs. */
  readonly root: protobuf.Root
  /** All files, those that others import first. */
  readonly files: ReadonlyArray<CompiledFile>
}

/** A file, what is left to be understood of its options, and the bytes that it came as. */
interface Unit extends Link.Unlinked {
  readonly custom: ReadonlyArray<Options.Custom>
  readonly bytes: Uint8Array | undefined
}

/** For what protobufjs finds wrong where no file can be named. */
const attempt = <A>(file: string, make: () => A): Result.Result<A, Syntax> =>
  Result.try({
    try: make,
    catch: (cause) => new Syntax({ file, detail: cause instanceof Error ? cause.message : String(cause) })
  })

const rootOf = (files: ReadonlyArray<Uint8Array>) =>
  attempt("definitions", () => protobuf.Root.fromDescriptor(Descriptor.setOfFiles(files), { keepCase: true }))

const compile = (units: ReadonlyArray<Unit>): Result.Result<Definitions, GrpcSchemaErrorReason> =>
  Result.gen(function*() {
    const linked = yield* Link.link(units)
    const byName = new Map(units.map((unit) => [unit.file.name, unit]))
    const encode = ({ changed, file }: Link.Linked) => {
      const came = byName.get(file.name)?.bytes
      return came === undefined || changed ? Descriptor.encode(file) : came
    }
    const bytes = yield* attempt("definitions", () => linked.map(encode))
    const root = yield* rootOf(bytes)
    yield* attempt("definitions", () => {
      for (const { custom, file } of units) {
        for (const options of custom) Options.interpret(root, file.package ?? "", options)
      }
    })
    for (const { file } of linked) Comments.attach(root, file)
    const files = linked.map(({ file }, index): CompiledFile => ({
      name: file.name,
      dependencies: file.dependency,
      bytes: byName.get(file.name)?.custom.length === 0 ? bytes[index]! : Descriptor.encode(file)
    }))
    return { root, files }
  })

/** A file that has been parsed, and how errors call it. */
export interface ParsedFile {
  readonly parsed: Parsed
  readonly shown: string
}

/** Definitions that have been parsed, with all that they import. */
export const fromParsed = (
  sources: ReadonlyArray<ParsedFile>
): Result.Result<Definitions, GrpcSchemaErrorReason> => {
  const there = new Set(sources.map(({ parsed }) => parsed.file.name))
  return compile(sources.map(({ parsed: { custom, file, imports }, shown }) => {
    for (const { kind, name } of imports) {
      if (!there.has(name) || file.dependency.includes(name)) continue
      if (kind === "public") file.publicDependency.push(file.dependency.length)
      if (kind === "weak") file.weakDependency.push(file.dependency.length)
      file.dependency.push(name)
    }
    return { file, shown, custom, bytes: undefined }
  }))
}

/**
 * Definitions that have been compiled: serialized `FileDescriptorProto`s that name each other, in any order. One that comes
 * twice counts once.
 */
export const fromDescriptors = (
  descriptors: ReadonlyArray<Uint8Array>
): Result.Result<Definitions, GrpcSchemaErrorReason> =>
  Result.gen(function*() {
    const units = new Map<string, Unit>()
    for (const bytes of descriptors) {
      const file = yield* attempt("descriptors", () => Descriptor.decode(bytes))
      units.set(file.name, { file, bytes, shown: file.name, custom: [] })
    }
    // a Map gives what is added on the way, too
    for (const { file } of units.values()) {
      for (const [index, name] of file.dependency.entries()) {
        if (units.has(name) || file.weakDependency.includes(index)) continue
        const standard = Standard.find(name)
        if (standard === undefined) return yield* Result.fail(new MissingImport({ file: file.name, import: name }))
        for (const { name } of standard.imports) standard.file.dependency.push(name)
        units.set(name, { file: standard.file, bytes: undefined, shown: name, custom: [] })
      }
    }
    return yield* compile([...units.values()])
  })
