import protobuf from "protobufjs"
import * as Descriptor from "./descriptor.ts"
import { find } from "./find.ts"

/** An option as protobufjs parsed it: `"deprecated"` or `"(acme.note)"`, with what it is set to. */
export type Given = readonly [name: string, value: unknown]

/** Options that some file added to those of protobuf, and where they go when they are understood. */
export interface Custom {
  /** Which options they are, such as `"MethodOptions"`. */
  readonly on: string
  readonly options: Descriptor.Options
  readonly given: ReadonlyArray<Given>
}

interface Values {
  [name: string]: unknown
}

const isObject = (value: unknown): value is Values =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Sets one field. A list that is given element by element grows. */
const set = (values: Values, field: protobuf.Field, value: unknown) => {
  const before = values[field.name]
  values[field.name] = field.repeated
    ? [...(Array.isArray(before) ? before : []), ...(Array.isArray(value) ? value : [value])]
    : isObject(before) && isObject(value)
    ? { ...before, ...value }
    : value
}

/** What the parser read as the value of a field, as `fromObject` takes it. */
const valueOf = (field: protobuf.Field, value: unknown): unknown => {
  if (field.map) {
    // written entry by entry, as what a map is on the wire
    const entries = [value].flat().filter(isObject)
    return Object.fromEntries(entries.map((entry) => [entry["key"], elementOf(field, entry["value"])]))
  }
  return Array.isArray(value) ? value.map((element) => elementOf(field, element)) : elementOf(field, value)
}

const elementOf = (field: protobuf.Field, value: unknown): unknown => {
  const type = field.resolve().resolvedType
  if (type instanceof protobuf.Type && isObject(value)) return valuesOf(type, Object.entries(value))
  return field.type === "bytes" && typeof value === "string" ? Buffer.from(value, "latin1") : value
}

/** The fields that `type` has; others are left out. In `{ }`, extensions are written in brackets. */
const valuesOf = (type: protobuf.Type, given: ReadonlyArray<Given>): Values => {
  const values: Values = {}
  for (const [name, value] of given) {
    const field = type.fields[name.replace(/^\[(.*)\]$/, ".$1")] ?? type.fields[protobuf.util.camelCase(name)]
    if (field !== undefined) set(values, field, valueOf(field, value))
  }
  return values
}

/** Those that protobuf itself knows, as a descriptor has them, and the rest. */
export const split = (
  on: string,
  all: ReadonlyArray<Given>
): { readonly options: Descriptor.Options | undefined; readonly custom: ReadonlyArray<Given> } => {
  if (all.length === 0) return { options: undefined, custom: [] }
  const type = Descriptor.optionsType(on)
  const values = valuesOf(type, all)
  const custom = all.filter(([name]) => name.startsWith("("))
  const options: Descriptor.Options | undefined = Object.keys(values).length > 0
    ? type.toObject(type.fromObject(values))
    : custom.length > 0
    ? {}
    : undefined
  return { options, custom }
}

/** The extension that an option names, from the package in which it is used outwards. */
const extensionOf = (type: protobuf.Type, packageName: string, name: string): protobuf.Field | undefined => {
  if (name.startsWith(".")) return type.fields[name]
  for (let scope = packageName.split(".");; scope = scope.slice(0, -1)) {
    const field = type.fields[`.${[...scope, name].filter((part) => part !== "").join(".")}`]
    if (field !== undefined || scope.length === 0) return field
  }
}

/**
 * Understands custom options, now that `root` has the extensions which define them, and leaves their bytes where protobufjs
 * takes fields from that it has no definition of. What cannot be understood is left out: no call depends on it.
 */
export const interpret = (root: protobuf.Root, packageName: string, { given, on, options }: Custom): void => {
  const type = find(root, `google.protobuf.${on}`)
  if (!(type instanceof protobuf.Type)) return
  const values: Values = {}
  for (const [name, value] of given) {
    const [, extension = "", path] = /^\(([^)]*)\)(?:\.(.+))?$/.exec(name) ?? []
    const field = extensionOf(type, packageName, extension)
    if (field === undefined) continue
    const nested = (path?.split(".") ?? []).reduceRight<unknown>((inner, step) => ({ [step]: inner }), value)
    set(values, field, valueOf(field, nested))
  }
  if (Object.keys(values).length > 0) {
    Object.assign(options, { $unknowns: [type.encode(type.fromObject(values)).finish()] })
  }
}
