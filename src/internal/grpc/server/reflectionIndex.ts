import * as Descriptor from "../proto/descriptor.ts"
import { rename } from "../proto/rename.ts"

/** A file of definitions, compiled. */
export interface ReflectedFile {
  /** As others import it: `"acme/orders.proto"`. */
  readonly name: string
  /** The names of the files that it imports. */
  readonly dependencies: ReadonlyArray<string>
  /** A serialized `google.protobuf.FileDescriptorProto`. */
  readonly bytes: Uint8Array
}

const within = (scope: string, name: string) => scope === "" ? name : `${scope}.${name}`

const enumSymbols = function*(scope: string, types: ReadonlyArray<Descriptor.Enum>): Generator<string> {
  for (const type of types) {
    yield within(scope, type.name)
    // the values of an enum stand beside it, as in C
    for (const value of type.value) yield within(scope, value.name)
  }
}

const messageSymbols = function*(scope: string, types: ReadonlyArray<Descriptor.Message>): Generator<string> {
  for (const type of types) {
    const name = within(scope, type.name)
    yield name
    for (const member of [...type.field, ...type.oneofDecl, ...type.extension]) yield within(name, member.name)
    yield* messageSymbols(name, type.nestedType)
    yield* enumSymbols(name, type.enumType)
  }
}

/** All that a file gives a name. */
const symbolsOf = function*(file: Descriptor.File): Generator<string> {
  const scope = file.package ?? ""
  yield* messageSymbols(scope, file.messageType)
  yield* enumSymbols(scope, file.enumType)
  for (const extension of file.extension) yield within(scope, extension.name)
  for (const service of file.service) {
    const name = within(scope, service.name)
    yield name
    for (const method of service.method) yield within(name, method.name)
  }
}

const extensionsOf = function*(
  { extension, messageType = [], nestedType = messageType }: Partial<Descriptor.File & Descriptor.Message>
): Generator<Descriptor.Field> {
  yield* extension ?? []
  for (const nested of nestedType) yield* extensionsOf(nested)
}

/** Where things are defined. */
export class Index {
  private readonly files = new Map<string, ReflectedFile>()
  private readonly imports = new Map<ReflectedFile, ReadonlyArray<ReflectedFile>>()
  private readonly symbols = new Map<string, ReflectedFile>()
  private readonly extensions = new Map<string, Map<number, ReflectedFile>>()

  /** Of sets of files, each of which knows nothing of the others. */
  constructor(sets: Iterable<ReadonlyArray<ReflectedFile>>) {
    for (const files of new Set(sets)) {
      const byName = new Map(files.map((file) => [file.name, file]))
      const taken = new Map<ReflectedFile, ReflectedFile>()
      const take = (file: ReflectedFile): ReflectedFile => {
        const before = taken.get(file)
        if (before !== undefined) return before
        const imports = file.dependencies.flatMap((name) => {
          const imported = byName.get(name)
          return imported === undefined ? [] : [[name, take(imported)] as const]
        })
        const known = this.take(file, new Map(imports))
        taken.set(file, known)
        return known
      }
      for (const file of files) take(file)
    }
  }

  /**
   * Keeps a file, or finds the same one from another set. Clients know files by their names: one whose name another file
   * has gets a new one, and those that import it learn it.
   */
  private take(file: ReflectedFile, imports: ReadonlyMap<string, ReflectedFile>): ReflectedFile {
    for (let count = 1;; count++) {
      const name = count === 1 ? file.name : `${count}/${file.name}`
      const named = (before: string) => before === file.name ? name : imports.get(before)?.name ?? before
      const isSame = [file.name, ...file.dependencies].every((before) => named(before) === before)
      const known = isSame
        ? file
        : { name, dependencies: file.dependencies.map(named), bytes: rename(file.bytes, named) }
      const before = this.files.get(name)
      if (before === undefined) {
        this.files.set(name, known)
        this.imports.set(known, [...imports.values()])
        this.add(known)
        return known
      }
      if (Buffer.compare(before.bytes, known.bytes) === 0) return before
    }
  }

  private add(file: ReflectedFile) {
    const descriptor = Descriptor.decode(file.bytes)
    for (const symbol of symbolsOf(descriptor)) {
      if (!this.symbols.has(symbol)) this.symbols.set(symbol, file)
    }
    for (const { extendee = "", number } of extensionsOf(descriptor)) {
      const type = extendee.replace(/^\./, "")
      const numbers = this.extensions.get(type) ?? new Map<number, ReflectedFile>()
      if (!numbers.has(number)) this.extensions.set(type, numbers.set(number, file))
    }
  }

  file(name: string): ReflectedFile | undefined {
    return this.files.get(name)
  }

  symbol(name: string): ReflectedFile | undefined {
    return this.symbols.get(name)
  }

  extension(type: string, number: number): ReflectedFile | undefined {
    return this.extensions.get(type)?.get(number)
  }

  extensionNumbers(type: string): ReadonlyArray<number> {
    return [...this.extensions.get(type)?.keys() ?? []].toSorted((one, other) => one - other)
  }

  /** All that a file imports, and what that imports, as far as it is there. */
  importsOf(file: ReflectedFile): ReadonlyArray<ReflectedFile> {
    const found = new Set([file])
    // a Set gives what is added on the way, too
    for (const next of found) for (const imported of this.imports.get(next) ?? []) found.add(imported)
    return [...found].slice(1)
  }
}
