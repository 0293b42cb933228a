import * as Result from "effect/Result"
import { Syntax, UnresolvedType } from "../../../errors/GrpcSchemaError.ts"
import * as Descriptor from "./descriptor.ts"

/** A file to link, and how errors call it. */
export interface Unlinked {
  readonly file: Descriptor.File
  readonly shown: string
}

/** What a name stands for, and the file that says so. */
interface Symbol {
  readonly type: number | undefined
  readonly file: string
}

/** The names below the one in which they are defined, outermost first. */
const nested = (scope: string, name: string) => scope === "" ? name : `${scope}.${name}`

/** Every name that a file defines. Values of an enum stand beside it, as in C. */
const definitions = function*(file: Descriptor.File): Generator<readonly [name: string, type: number | undefined]> {
  const enums = function*(scope: string, types: ReadonlyArray<Descriptor.Enum>) {
    for (const { name } of types) yield [nested(scope, name), Descriptor.enumType] as const
  }
  const messages = function*(
    scope: string,
    types: ReadonlyArray<Descriptor.Message>
  ): Generator<readonly [string, number | undefined]> {
    for (const type of types) {
      const name = nested(scope, type.name)
      yield [name, Descriptor.messageType]
      yield* messages(name, type.nestedType)
      yield* enums(name, type.enumType)
      for (const { name: extension } of type.extension) yield [nested(name, extension), undefined]
    }
  }
  const scope = file.package ?? ""
  yield* messages(scope, file.messageType)
  yield* enums(scope, file.enumType)
  for (const { name } of [...file.service, ...file.extension]) yield [nested(scope, name), undefined]
}

type Symbols = ReadonlyMap<string, Symbol>

const collect = (files: ReadonlyArray<Unlinked>): Result.Result<Symbols, Syntax> => {
  const symbols = new Map<string, Symbol>()
  for (const { file, shown } of files) {
    for (const [name, type] of definitions(file)) {
      const before = symbols.get(name)
      if (before !== undefined) {
        const where = before.file === file.name ? "twice" : `in ${before.file} too`
        return Result.fail(new Syntax({ file: shown, detail: `"${name}" is defined ${where}` }))
      }
      symbols.set(name, { type, file: file.name })
    }
  }
  return Result.succeed(symbols)
}

/** The files behind those that they import, and the imports that lead in a circle. */
const order = (files: ReadonlyArray<Unlinked>) => {
  const byName = new Map(files.map((unlinked) => [unlinked.file.name, unlinked]))
  const done = new Set<string>()
  const ordered: Array<Unlinked> = []
  let circle: { readonly shown: string; readonly way: ReadonlyArray<string> } | undefined
  // a stack of its own: a chain of imports can be longer than that of JavaScript
  for (const first of files) {
    const way = [{ unlinked: first, next: 0 }]
    const onWay = new Set([first.file.name])
    for (let top = way.at(-1); top !== undefined; top = way.at(-1)) {
      const { file, shown } = top.unlinked
      const name = done.has(file.name) ? undefined : file.dependency[top.next++]
      if (name === undefined) {
        way.pop()
        onWay.delete(file.name)
        if (!done.has(file.name)) ordered.push(top.unlinked)
        done.add(file.name)
        continue
      }
      const unlinked = byName.get(name)
      if (unlinked === undefined || done.has(name)) continue
      if (onWay.has(name)) {
        const names = way.map((step) => step.unlinked.file.name)
        circle ??= { shown, way: [...names.slice(names.indexOf(name)), name] }
      } else {
        onWay.add(name)
        way.push({ unlinked, next: 0 })
      }
    }
  }
  return { ordered, circle }
}

/** What a file sees: itself, what it imports, and what those import publicly. */
const visibleFrom = (file: Descriptor.File, byName: ReadonlyMap<string, Descriptor.File>): ReadonlySet<string> => {
  const visible = new Set([file.name])
  const left = [...file.dependency]
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    if (visible.has(name)) continue
    visible.add(name)
    const imported = byName.get(name)
    left.push(...(imported?.publicDependency ?? []).flatMap((index) => imported?.dependency[index] ?? []))
  }
  return visible
}

/**
 * Looks up every type that a file names, writes its full name in its place, and adds the imports that were forgotten.
 * Says whether that changed anything.
 */
const resolve = (
  { file, shown }: Unlinked,
  symbols: Symbols,
  byName: ReadonlyMap<string, Descriptor.File>
): Result.Result<boolean, UnresolvedType> => {
  const visible = visibleFrom(file, byName)
  const forgotten = new Set<string>()
  let changed = false
  let unresolved: string | undefined

  /** From the innermost scope outwards. What the file sees goes before what it does not. */
  const find = (scope: string, name: string): readonly [string, Symbol] | undefined => {
    let unseen: readonly [string, Symbol] | undefined
    for (let outer = name.startsWith(".") ? "" : scope;; outer = outer.slice(0, Math.max(0, outer.lastIndexOf(".")))) {
      const candidate = name.startsWith(".") ? name.slice(1) : nested(outer, name)
      const symbol = symbols.get(candidate)
      if (symbol?.type !== undefined) {
        if (visible.has(symbol.file)) return [candidate, symbol]
        unseen ??= [candidate, symbol]
      }
      if (outer === "") return unseen
    }
  }

  const full = (scope: string, name: string, type?: number): { readonly name: string; readonly type: number } => {
    const found = find(scope, name)
    if (found === undefined || (type !== undefined && found[1].type !== type)) {
      unresolved ??= name
      return { name, type: 0 }
    }
    const [fullName, symbol] = found
    if (!visible.has(symbol.file)) forgotten.add(symbol.file)
    if (name !== `.${fullName}`) changed = true
    return { name: `.${fullName}`, type: symbol.type ?? 0 }
  }

  const fields = (scope: string, list: ReadonlyArray<Descriptor.Field>) => {
    for (const field of list) {
      if (field.typeName !== undefined && field.typeName !== "") {
        const { name, type } = full(scope, field.typeName)
        field.typeName = name
        if (field.type !== type && field.type !== Descriptor.groupType) {
          field.type = type
          changed = true
        }
      }
      if (field.extendee !== undefined && field.extendee !== "") {
        field.extendee = full(scope, field.extendee, Descriptor.messageType).name
      }
    }
  }
  const messages = (scope: string, types: ReadonlyArray<Descriptor.Message>) => {
    for (const type of types) {
      const inner = nested(scope, type.name)
      fields(inner, type.field)
      fields(inner, type.extension)
      messages(inner, type.nestedType)
    }
  }
  const scope = file.package ?? ""
  messages(scope, file.messageType)
  fields(scope, file.extension)
  for (const service of file.service) {
    for (const method of service.method) {
      const within = nested(scope, service.name)
      method.inputType = full(within, method.inputType, Descriptor.messageType).name
      method.outputType = full(within, method.outputType, Descriptor.messageType).name
    }
  }
  if (unresolved !== undefined) {
    return Result.fail(new UnresolvedType({ file: shown, type: unresolved.replace(/^\./, "") }))
  }
  file.dependency.push(...forgotten)
  return Result.succeed(changed || forgotten.size > 0)
}

/** A file whose types are all there. */
export interface Linked {
  readonly file: Descriptor.File
  /** Whether anything had to be written differently for that. */
  readonly changed: boolean
}

/**
 * Looks up every type that files name, in each other, as a compiler does. Files that others import come first. A type that is
 * defined in a file which is there and not imported is found too, and the import added.
 */
export const link = (
  files: ReadonlyArray<Unlinked>
): Result.Result<ReadonlyArray<Linked>, Syntax | UnresolvedType> => {
  const { circle } = order(files)
  if (circle !== undefined) {
    const detail = `it imports itself: ${circle.way.join(" -> ")}`
    return Result.fail(new Syntax({ file: circle.shown, detail }))
  }
  const symbols = collect(files)
  if (Result.isFailure(symbols)) return Result.fail(symbols.failure)
  const byName = new Map(files.map(({ file }) => [file.name, file]))
  const changed = new Map<string, boolean>()
  for (const unlinked of files) {
    const resolved = resolve(unlinked, symbols.success, byName)
    if (Result.isFailure(resolved)) return Result.fail(resolved.failure)
    changed.set(unlinked.file.name, resolved.success)
  }
  // once more, with the imports that were added
  return Result.succeed(
    order(files).ordered.map(({ file }) => ({ file, changed: changed.get(file.name) === true }))
  )
}
