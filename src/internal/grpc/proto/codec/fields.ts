import protobuf from "protobufjs"
import { type Element, narrow } from "./element.ts"
import { kindOf, problemOf, wrong } from "./problem.ts"
import { enumElement, scalarElement } from "./scalars.ts"

/** A message under construction. */
export type Fields = Record<string, unknown>

/** Reads what follows a tag into a message. */
type Read = (reader: protobuf.Reader, into: Fields, depth: number) => void

/** One field of a message type, ready to be written and read. */
export interface FieldPlan {
  /** As in the `.proto`. */
  readonly name: string
  /** As in the plain objects that callers get. */
  readonly key: string
  /** Its place in the definition. */
  readonly index: number
  readonly type: string
  readonly required: boolean
  readonly takesNull: boolean
  /** The `oneof` it shares with other fields. */
  readonly oneof: protobuf.OneOf | undefined
  /** Writes a value that is there, with its tag, unless it is one that need not be sent. */
  readonly write: (writer: protobuf.Writer, value: unknown, depth: number) => void
  /** By tag: a list may come packed or not. */
  readonly readers: ReadonlyArray<readonly [tag: number, read: Read]>
  /** What callers get when it did not come; `undefined` where that is nothing at all. */
  readonly absent: (() => unknown) | undefined
  /** Whether `absent` makes something that a message has to itself. */
  readonly mutable: boolean
}

/** What a field's own type cannot say. */
export interface FieldNames {
  readonly key: string
  readonly index: number
  /** The other members of its `oneof`, by key. */
  readonly rivals: ReadonlyArray<string>
}

const featuresOf = (object: protobuf.ReflectionObject): Record<string, unknown> => {
  const features: unknown = Reflect.get(object, "_features")
  return typeof features === "object" && features !== null ? { ...features } : {}
}

/** Whether "not there" and "there with the default value" are two things. protobufjs does not say so of messages. */
export const hasPresence = (field: protobuf.Field): boolean => {
  // its type says boolean; for the members of a oneof it is the oneof
  const tracked: unknown = field.hasPresence
  return Boolean(tracked) || (!field.repeated && !field.map && field.resolvedType instanceof protobuf.Type)
}

/** An object that stands for fields or for the entries of a map. */
export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

/** What is written in braces: no `Date`, no `Map`, no instance of a class. */
export const isPlainObject = (value: unknown): value is Fields => {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Assigns, also where plain assignment would change the prototype. */
export const assign = (into: Fields, key: string, value: unknown): void => {
  if (key === "__proto__") {
    Object.defineProperty(into, key, { value, enumerable: true, configurable: true, writable: true })
  } else into[key] = value
}

const tagOf = (id: number, wireType: number) => ((id << 3) | wireType) >>> 0

const singular = (field: protobuf.Field, element: Element, { key, rivals }: FieldNames): FieldPlan["readers"] => {
  const merges = field.resolvedType instanceof protobuf.Type
  const plain: Read = (reader, into, depth) => {
    const value = element.get(reader, depth, undefined)
    if (value !== undefined) into[key] = value
  }
  const careful: Read = (reader, into, depth) => {
    const value = element.get(reader, depth, merges && Object.hasOwn(into, key) ? into[key] : undefined)
    if (value === undefined) return
    // the last member of a oneof wins
    for (const rival of rivals) if (Object.hasOwn(into, rival)) delete into[rival]
    assign(into, key, value)
  }
  const read = merges || rivals.length > 0 || key === "__proto__" ? careful : plain
  return [[tagOf(field.id, element.wireType), read]]
}

const writeSingular = (field: protobuf.Field, element: Element): FieldPlan["write"] => {
  const tag = tagOf(field.id, element.wireType)
  const end = element.wireType === 3 ? tagOf(field.id, 4) : undefined
  const presence = hasPresence(field)
  return (writer, value, depth) => {
    const checked = element.check(value)
    if (!presence && element.isDefault(checked)) return
    writer.uint32(tag)
    element.put(writer, checked, depth)
    if (end !== undefined) writer.uint32(end)
  }
}

/** The list of a field, made when the message was. */
const list = (into: Fields, key: string): Array<unknown> => {
  const items = into[key]
  return Array.isArray(items) ? items : []
}

const repeated = (field: protobuf.Field, element: Element, { key }: FieldNames): FieldPlan["readers"] => {
  const one: Read = (reader, into, depth) => {
    const items = list(into, key)
    try {
      const value = element.get(reader, depth, undefined)
      if (value !== undefined) items.push(value)
    } catch (thrown) {
      throw problemOf(thrown, element.name).within(items.length)
    }
  }
  const packed: Read = (reader, into, depth) => {
    const outer = narrow(reader)
    const items = list(into, key)
    while (reader.pos < reader.len) {
      const value = element.get(reader, depth, undefined)
      if (value !== undefined) items.push(value)
    }
    reader.len = outer
  }
  const packedAtOnce: Read = (reader, into) => element.getAll?.(reader, list(into, key))
  const single = [tagOf(field.id, element.wireType), one] as const
  return element.wireType === 2 || element.wireType === 3 ? [single] : [single, [
    tagOf(field.id, 2),
    element.getAll === undefined ? packed : packedAtOnce
  ]]
}

const writeRepeated = (field: protobuf.Field, element: Element): FieldPlan["write"] => {
  const packs = field.packed && element.wireType !== 2 && element.wireType !== 3
  const tag = tagOf(field.id, element.wireType)
  const packedTag = tagOf(field.id, 2)
  const end = element.wireType === 3 ? tagOf(field.id, 4) : undefined
  const items = (value: unknown): ReadonlyArray<unknown> => {
    if (!Array.isArray(value)) throw wrong("an array", kindOf(value))
    return value
  }
  /** Writes all of a list; what is wrong with an item is located by its index. */
  const put = (writer: protobuf.Writer, values: ReadonlyArray<unknown>, depth: number) => {
    let index = 0
    try {
      for (; index < values.length; index++) {
        if (!packs) writer.uint32(tag)
        element.put(writer, element.check(values[index]), depth)
        if (end !== undefined) writer.uint32(end)
      }
    } catch (thrown) {
      throw problemOf(thrown, element.name).within(index)
    }
  }
  return packs
    ? (writer, value, depth) => {
      const values = items(value)
      if (values.length === 0) return
      writer.uint32(packedTag).fork()
      put(writer, values, depth)
      writer.ldelim()
    }
    : (writer, value, depth) => put(writer, items(value), depth)
}

/** Plain objects have text for keys; a `Map` can have what the key is. */
const keyCheck = (type: string, key: Element) => (given: unknown): unknown =>
  type === "bool" && (given === "true" || given === "false") ? given === "true" : key.check(given)

const readMap = (
  field: protobuf.MapField,
  key: Element,
  element: Element,
  names: FieldNames
): FieldPlan["readers"] => {
  const keyTag = tagOf(1, key.wireType)
  const valueTag = tagOf(2, element.wireType)
  const merges = field.resolvedType instanceof protobuf.Type
  return [[tagOf(field.id, 2), (reader, into, depth) => {
    let name: unknown = undefined
    let value: unknown = undefined
    let known = true
    try {
      const outer = narrow(reader)
      while (reader.pos < reader.len) {
        const tag = reader.tag()
        if (tag === keyTag) name = key.get(reader, depth, undefined)
        else if (tag === valueTag) {
          value = element.get(reader, depth, merges ? value : undefined)
          known = value !== undefined
        } else reader.skipType(tag & 7, depth, tag >>> 3)
      }
      reader.len = outer
    } catch (thrown) {
      throw problemOf(thrown, element.name).within(String(name ?? key.absent()))
    }
    const entries = into[names.key]
    if (known && isFields(entries)) assign(entries, String(name ?? key.absent()), value ?? element.absent())
  }]]
}

const writeMap = (field: protobuf.MapField, key: Element, element: Element): FieldPlan["write"] => {
  const tag = tagOf(field.id, 2)
  const keyTag = tagOf(1, key.wireType)
  const valueTag = tagOf(2, element.wireType)
  const checkKey = keyCheck(field.keyType, key)
  const put = (writer: protobuf.Writer, name: unknown, value: unknown, depth: number) => {
    if (value === undefined) return
    try {
      writer.uint32(tag).fork().uint32(keyTag)
      key.put(writer, checkKey(name), depth)
      writer.uint32(valueTag)
      element.put(writer, element.check(value), depth)
      writer.ldelim()
    } catch (thrown) {
      throw problemOf(thrown, element.name).within(String(name))
    }
  }
  return (writer, value, depth) => {
    if (value instanceof Map) { for (const [name, element] of value) put(writer, name, element, depth) }
    else if (isFields(value)) { for (const name of Object.keys(value)) put(writer, name, value[name], depth) }
    else throw wrong("an object or a Map", kindOf(value))
  }
}

/** `message` gives the element of a message type, length-delimited or, with the number of its field, as a group. */
export const plan = (
  field: protobuf.Field,
  names: FieldNames,
  message: (type: protobuf.Type, group: number | undefined) => Element
): FieldPlan => {
  const { resolvedType } = field
  const verify = featuresOf(field)["utf8_validation"] === "VERIFY"
  const element = resolvedType instanceof protobuf.Type
    ? message(resolvedType, field.delimited && !field.map ? field.id : undefined)
    : resolvedType instanceof protobuf.Enum
    ? enumElement(resolvedType, featuresOf(resolvedType)["enum_type"] === "CLOSED")
    : scalarElement(field.type, verify)
  const oneof = field.partOf ?? undefined
  const common = {
    // protobufjs has a name of its own for extensions
    name: field.declaringField === null ? field.name : names.key,
    key: names.key,
    index: names.index,
    type: element.name,
    required: field.required,
    takesNull: element.takesNull && !field.repeated && !field.map,
    oneof: oneof !== undefined && oneof.fieldsArray.length > 1 ? oneof : undefined
  }
  if (field instanceof protobuf.MapField) {
    const key = scalarElement(field.keyType, verify)
    return {
      ...common,
      write: writeMap(field, key, element),
      readers: readMap(field, key, element, names),
      absent: () => ({}),
      mutable: true
    }
  }
  return field.repeated
    ? {
      ...common,
      write: writeRepeated(field, element),
      readers: repeated(field, element, names),
      absent: () => [],
      mutable: true
    }
    : {
      ...common,
      write: writeSingular(field, element),
      readers: singular(field, element, names),
      absent: hasPresence(field) ? undefined : element.absent,
      mutable: false
    }
}
