import * as Descriptor from "../proto/descriptor.ts"

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

  /**
   * Of sets of files, each of which knows nothing of the others: two can have different files of one name. Asked for by its
   * name, it is the first; asked for by what it defines, it is the right one.
   */
  constructor(sets: Iterable<ReadonlyArray<ReflectedFile>>) {
    for (const files of new Set(sets)) {
      const byName = new Map(files.map((file) => [file.name, this.known(file)]))
      for (const file of byName.values()) {
        if (this.imports.has(file)) continue
        this.imports.set(file, file.dependencies.flatMap((name) => byName.get(name) ?? []))
        this.add(file)
      }
    }
  }

  /** The same file from another set, where there is one. */
  private known(file: ReflectedFile): ReflectedFile {
    const first = this.files.get(file.name)
    if (first !== undefined) return Buffer.compare(first.bytes, file.bytes) === 0 ? first : file
    this.files.set(file.name, file)
    return file
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
