import protobuf from "protobufjs"
import { WrongType } from "../../../../errors/GrpcSchemaError.ts"
import { type Element, maxDepth, noGroup } from "./element.ts"
import { type FieldPlan, type Fields, isFields, isPlainObject, plan } from "./fields.ts"
import { kindOf, Problem, problemOf, unknownField, wrong } from "./problem.ts"

/** Gives the element of a message type, length-delimited or, with the number of its field, as a group. */
export type MessageElement = (type: protobuf.Type, group: number | undefined) => Element

interface Reading {
  readonly field: FieldPlan
  readonly read: FieldPlan["readers"][number][1]
}

/** An object, or an instance of a class, that has the fields of a message. */
const isMessage = (value: unknown): value is Fields =>
  isFields(value) && !(value instanceof Date || value instanceof Map || value instanceof Set)

const tooDeep = () => wrong(`nested at most ${maxDepth} levels deep`, "deeper")

const givenTwice = (key: string, field: FieldPlan) =>
  wrong("given once", `given as ${field.key} and as ${field.name}`).within(key)

const bothOf = (oneof: protobuf.OneOf, one: string, other: string) =>
  wrong(`one of ${oneof.fieldsArray.map(keyOf).join(", ")}`, `both ${one} and ${other}`).within(oneof.name)

const keysByType = new WeakMap<protobuf.Type, ReadonlyMap<protobuf.Field, string>>()

/** Extensions go by their full name in brackets, all others by their JSON name unless that is taken. */
const keysOf = (type: protobuf.Type): ReadonlyMap<protobuf.Field, string> => {
  const known = keysByType.get(type)
  if (known !== undefined) return known
  const names = new Set(type.fieldsArray.map((field) => field.name))
  const taken = new Set<string>()
  const keys = new Map(type.fieldsArray.map((field) => {
    const json = field.resolve().jsonName ?? field.name
    const key = field.declaringField !== null
      ? `[${field.declaringField.fullName.replace(/^\./, "")}]`
      : json !== field.name && (names.has(json) || taken.has(json))
      ? field.name
      : json
    taken.add(key)
    return [field, key] as const
  }))
  keysByType.set(type, keys)
  return keys
}

/** The name of a field in the objects that callers get. */
export const keyOf = (field: protobuf.Field): string =>
  (field.parent instanceof protobuf.Type ? keysOf(field.parent).get(field) : undefined) ?? field.name

/** How one message type is written from plain objects and read into them, worked out once. */
export class MessagePlan {
  /** `"acme.Order"`. */
  readonly name: string
  private readonly fields: ReadonlyArray<FieldPlan>
  private readonly byName = new Map<string, FieldPlan>()
  private readonly byTag = new Map<number, Reading>()
  private readonly required: ReadonlyArray<FieldPlan>
  private readonly blank: Fields
  private readonly owned: ReadonlyArray<FieldPlan>
  private readonly showsFields: boolean

  constructor(type: protobuf.Type, message: MessageElement, showsFields: boolean) {
    this.showsFields = showsFields
    this.name = type.fullName.replace(/^\./, "")
    const keys = keysOf(type)
    this.fields = type.fieldsArray.map((field, index) => {
      const rivals = field.partOf?.fieldsArray.filter((other) => other !== field) ?? []
      const planned = plan(
        field,
        { key: keys.get(field)!, index, rivals: rivals.map((rival) => keys.get(rival)!) },
        message
      )
      this.byName.set(planned.name, planned)
      for (const [tag, read] of planned.readers) this.byTag.set(tag, { field: planned, read })
      return planned
    })
    for (const field of this.fields) this.byName.set(field.key, field)
    this.required = this.fields.filter(({ required }) => required)
    this.owned = this.fields.filter(({ mutable }) => mutable)
    this.blank = Object.fromEntries(
      this.fields.flatMap(({ absent, key }) => absent === undefined ? [] : [[key, absent()]])
    )
  }

  /** A message that has nothing set. */
  make(): Fields {
    const fields = { ...this.blank }
    // no two messages share a list or a map
    for (const { absent, key } of this.owned) fields[key] = absent!()
    return fields
  }

  write(writer: protobuf.Writer, value: unknown, depth: number): void {
    const isPlain = isPlainObject(value)
    if (!isPlain && !isMessage(value)) throw wrong(`an object (${this.name})`, kindOf(value))
    if (depth > maxDepth) throw tooDeep()
    let chosen: Map<protobuf.OneOf, string> | undefined
    let next = 0
    for (const key in value) {
      // asking each time would take longer than writing does
      if (!isPlain && !Object.hasOwn(value, key)) continue
      // most callers name fields in the order of the definition
      const guess = this.fields[next]
      const field = guess !== undefined && guess.key === key ? guess : this.byName.get(key)
      if (field === undefined) throw unknownField(key, this.fields.map(({ key }) => key))
      next = field.index + 1
      const given = value[key]
      if (given === undefined || (given === null && !field.takesNull)) continue
      if (key !== field.key && (value[field.key] ?? undefined) !== undefined) throw givenTwice(key, field)
      if (field.oneof !== undefined) {
        const other = (chosen ??= new Map()).get(field.oneof)
        if (other !== undefined) throw bothOf(field.oneof, other, key)
        chosen.set(field.oneof, key)
      }
      try {
        field.write(writer, given, depth)
      } catch (thrown) {
        throw this.locate(thrown, field, key)
      }
    }
    for (const field of this.required) {
      if ((value[field.key] ?? value[field.name] ?? undefined) === undefined) throw missing(field)
    }
  }

  /** Reads fields up to the end of what `reader` may read, or to the tag that ends a group. */
  read(reader: protobuf.Reader, endGroup: number, depth: number, into: Fields): Fields {
    if (depth > maxDepth) throw tooDeep()
    const end = reader.len
    let reading: Reading | undefined
    try {
      while (reader.pos < end) {
        reading = undefined
        const tag = reader.tag()
        if (tag === endGroup) {
          this.demandRequired(into)
          return into
        }
        reading = this.byTag.get(tag)
        if (reading === undefined) reader.skipType(tag & 7, depth, tag >>> 3)
        else reading.read(reader, into, depth)
      }
    } catch (thrown) {
      throw reading === undefined
        ? problemOf(thrown, `a message (${this.name})`)
        : this.locate(thrown, reading.field, reading.field.key)
    }
    if (endGroup !== noGroup) throw wrong(`a message (${this.name})`, "malformed: its group does not end")
    this.demandRequired(into)
    return into
  }

  private locate(thrown: unknown, field: FieldPlan, key: string): Problem {
    const problem = problemOf(thrown, field.type)
    return this.showsFields ? problem.within(key) : problem
  }

  private demandRequired(fields: Fields): void {
    for (const field of this.required) if (!Object.hasOwn(fields, field.key)) throw missing(field)
  }
}

const missing = (field: FieldPlan) =>
  new Problem((path) => new WrongType({ path, expected: "there (it is required)", got: "missing" })).within(field.name)
