import protobuf from "protobufjs"
import * as Descriptor from "./descriptor.ts"
import { find } from "./find.ts"
import * as Options from "./options.ts"

/** What is said of a file beside its definitions. */
export interface Head {
  readonly syntax: string
  /** Defaults that a number of JavaScript cannot hold, by what it makes of them. */
  readonly longs: ReadonlyMap<number, string>
}

const editions: Readonly<Record<string, number>> = { 2023: 1000, 2024: 1001, 2026: 1002 }

const capital = (name: string) => name.charAt(0).toUpperCase() + name.slice(1)

/** protoc's way from a name in a .proto to a name in JSON. */
const jsonNameOf = (name: string) => name.replace(/_+(.?)/g, (_, next: string) => next.toUpperCase())

/** A default as descriptors have it: text, and for bytes what a C program would write. */
const defaultOf = (field: protobuf.FieldBase, { longs }: Head): string | undefined => {
  const value: unknown = field.options?.["default"]
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") return undefined
  if (value === Infinity) return "inf"
  if (value === -Infinity) return "-inf"
  if (typeof value === "number" && field.type.endsWith("64")) return longs.get(value) ?? String(value)
  if (field.type !== "bytes") return String(value).replace("NaN", "nan")
  return [...Buffer.from(String(value), "latin1")].map((byte) =>
    byte < 0x20 || byte > 0x7e || byte === 0x5c || byte === 0x22 || byte === 0x27
      ? `\\${byte.toString(8).padStart(3, "0")}`
      : String.fromCharCode(byte)
  ).join("")
}

/** What the parser lets pass, and no compiler does. */
const checkNumber = ({ id, name }: protobuf.FieldBase) => {
  if (id < 1 || id > 536_870_911 || (id >= 19_000 && id <= 19_999)) {
    throw new Error(`"${name}" has the number ${id}: they go from 1 to 536870911, without 19000 to 19999`)
  }
}

const checkEnum = ({ name, values }: protobuf.Enum, syntax: string) => {
  const [first] = Object.values(values)
  if (first === undefined) throw new Error(`the enum "${name}" has no values`)
  if (syntax === "proto3" && first !== 0) throw new Error(`the first value of the enum "${name}" is not 0`)
}

/** Makes the descriptor of a file out of what protobufjs parsed. */
class Writer {
  readonly locations: Array<Descriptor.Location> = []
  readonly custom: Array<Options.Custom> = []
  private readonly head: Head

  constructor(head: Head) {
    this.head = head
  }

  private comment(path: ReadonlyArray<number>, text: string | null | undefined) {
    if (text === null || text === undefined || text === "") return
    // as protoc leaves it: each line with the blank behind its slashes. The parser does not tell lines, but some are required
    const leadingComments = text.split("\n").map((line) => ` ${line}\n`).join("")
    this.locations.push({ path, span: [0, 0, 0], leadingComments })
  }

  private options(on: string, given: ReadonlyArray<Options.Given>): { options?: Descriptor.Options } {
    const { custom, options } = Options.split(on, given)
    if (options === undefined) return {}
    if (custom.length > 0) this.custom.push({ on, options, given: custom })
    return { options }
  }

  private optionsOf(on: string, object: { readonly parsedOptions?: Array<object> | null }) {
    return this.options(on, (object.parsedOptions ?? []).flatMap(Object.entries))
  }

  private field(field: protobuf.FieldBase, oneofs: ReadonlyArray<protobuf.OneOf>): Descriptor.Field {
    checkNumber(field)
    const type = Descriptor.scalarTypes[field.type]
    const { parent } = field
    const target = parent instanceof protobuf.Namespace ? parent.get(field.type) : undefined
    const isGroup = target instanceof protobuf.Type && Reflect.get(target, "group") === true
    const defaultValue = defaultOf(field, this.head)
    const given: unknown = field.options?.["json_name"]
    return {
      name: field.name,
      number: field.id,
      label: field.repeated
        ? Descriptor.labels.repeated
        : field.rule === "required"
        ? Descriptor.labels.required
        : Descriptor.labels.optional,
      type: isGroup ? Descriptor.groupType : type ?? 0,
      ...(type === undefined ? { typeName: field.type } : {}),
      ...(field.extend === undefined ? {} : { extendee: field.extend }),
      ...(defaultValue === undefined ? {} : { defaultValue }),
      ...(field.partOf === null || field.extend !== undefined ? {} : { oneofIndex: oneofs.indexOf(field.partOf) }),
      jsonName: typeof given === "string" ? given : jsonNameOf(field.name),
      ...(field.options?.["proto3_optional"] === true ? { proto3Optional: true } : {}),
      ...this.optionsOf("FieldOptions", field)
    }
  }

  private mapField(field: protobuf.MapField): { readonly field: Descriptor.Field; readonly entry: Descriptor.Message } {
    const name = `${capital(jsonNameOf(field.name))}Entry`
    const member = (name: string, number: number, type: string): Descriptor.Field => {
      const scalar = Descriptor.scalarTypes[type]
      return {
        name,
        number,
        label: Descriptor.labels.optional,
        type: scalar ?? 0,
        ...(scalar === undefined ? { typeName: type } : {}),
        jsonName: name
      }
    }
    return {
      field: {
        ...this.field(field, []),
        label: Descriptor.labels.repeated,
        type: Descriptor.messageType,
        typeName: name
      },
      entry: {
        ...emptyMessage(name),
        field: [member("key", 1, field.keyType), member("value", 2, field.type)],
        options: { mapEntry: true }
      }
    }
  }

  private message(type: protobuf.Type, path: ReadonlyArray<number>): Descriptor.Message {
    this.comment(path, type.comment)
    const out = emptyMessage(type.name)
    const { message: step } = Descriptor.steps
    const at = (step: number, list: ReadonlyArray<unknown>) => [...path, step, list.length]
    // those that `optional` makes come behind those that are written, as protoc has it
    const isWritten = ({ fieldsArray }: protobuf.OneOf) =>
      fieldsArray.some((field) => field.options?.["proto3_optional"] !== true)
    const all = type.oneofsArray
    const oneofs = [...all.filter(isWritten), ...all.filter((oneof) => !isWritten(oneof))]
    for (const oneof of oneofs) {
      this.comment(at(step.oneofDecl, out.oneofDecl), oneof.comment)
      out.oneofDecl.push({ name: oneof.name, ...this.optionsOf("OneofOptions", oneof) })
    }
    for (const field of type.fieldsArray) {
      // what an extension left in the message that it extends
      if (field.declaringField !== null) continue
      this.comment(at(step.field, out.field), field.comment)
      if (field instanceof protobuf.MapField) {
        const map = this.mapField(field)
        out.field.push(map.field)
        out.nestedType.push(map.entry)
      } else {
        out.field.push(this.field(field, oneofs))
      }
    }
    for (const nested of type.nestedArray) {
      if (nested instanceof protobuf.Type) {
        out.nestedType.push(this.message(nested, at(step.nestedType, out.nestedType)))
      } else if (nested instanceof protobuf.Enum) {
        out.enumType.push(this.enum(nested, at(step.enumType, out.enumType)))
      } else if (nested instanceof protobuf.Field) {
        out.extension.push(this.extension(nested, at(step.extension, out.extension)))
      }
    }
    for (const [start = 0, end = 0] of type.extensions ?? []) out.extensionRange.push({ start, end: end + 1 })
    for (const reserved of type.reserved ?? []) {
      if (typeof reserved === "string") out.reservedName.push(reserved)
      else out.reservedRange.push({ start: reserved[0] ?? 0, end: (reserved[1] ?? 0) + 1 })
    }
    return { ...out, ...this.optionsOf("MessageOptions", type) }
  }

  private extension(field: protobuf.Field, path: ReadonlyArray<number>): Descriptor.Field {
    this.comment(path, field.comment)
    return this.field(field, [])
  }

  private enum(type: protobuf.Enum, path: ReadonlyArray<number>): Descriptor.Enum {
    checkEnum(type, this.head.syntax)
    this.comment(path, type.comment)
    const out: Descriptor.Enum = { name: type.name, value: [], reservedRange: [], reservedName: [] }
    for (const [name, number] of Object.entries(type.values)) {
      this.comment([...path, Descriptor.steps.enum.value, out.value.length], type.comments[name])
      const options = this.options("EnumValueOptions", Object.entries(type.valuesOptions?.[name] ?? {}))
      out.value.push({ name, number, ...options })
    }
    for (const reserved of type.reserved ?? []) {
      if (typeof reserved === "string") out.reservedName.push(reserved)
      else out.reservedRange.push({ start: reserved[0] ?? 0, end: reserved[1] ?? 0 })
    }
    return { ...out, ...this.optionsOf("EnumOptions", type) }
  }

  private service(service: protobuf.Service, path: ReadonlyArray<number>): Descriptor.Service {
    this.comment(path, service.comment)
    const method = service.methodsArray.map((method, index): Descriptor.Method => {
      this.comment([...path, Descriptor.steps.service.method, index], method.comment)
      return {
        name: method.name,
        inputType: method.requestType,
        outputType: method.responseType,
        ...(method.requestStream === true ? { clientStreaming: true } : {}),
        ...(method.responseStream === true ? { serverStreaming: true } : {}),
        ...this.optionsOf("MethodOptions", method)
      }
    })
    return { name: service.name, method, ...this.optionsOf("ServiceOptions", service) }
  }

  file(scope: protobuf.NamespaceBase, name: string, packageName: string | undefined): Descriptor.File {
    const { syntax } = this.head
    const edition = editions[syntax]
    const out: Descriptor.File = {
      name,
      ...(packageName === undefined ? {} : { package: packageName }),
      dependency: [],
      publicDependency: [],
      weakDependency: [],
      messageType: [],
      enumType: [],
      service: [],
      extension: [],
      sourceCodeInfo: { location: this.locations },
      // proto2 goes without saying
      ...(edition !== undefined ? { syntax: "editions", edition } : syntax === "proto2" ? {} : { syntax })
    }
    const { file: step } = Descriptor.steps
    for (const nested of scope.nestedArray) {
      if (nested instanceof protobuf.Type) {
        out.messageType.push(this.message(nested, [step.messageType, out.messageType.length]))
      } else if (nested instanceof protobuf.Enum) {
        out.enumType.push(this.enum(nested, [step.enumType, out.enumType.length]))
      } else if (nested instanceof protobuf.Service) {
        out.service.push(this.service(nested, [step.service, out.service.length]))
      } else if (nested instanceof protobuf.Field) {
        out.extension.push(this.extension(nested, [step.extension, out.extension.length]))
      }
    }
    return Object.assign(out, this.optionsOf("FileOptions", scope))
  }
}

const emptyMessage = (name: string): Descriptor.Message => ({
  name,
  field: [],
  extension: [],
  nestedType: [],
  enumType: [],
  extensionRange: [],
  oneofDecl: [],
  reservedRange: [],
  reservedName: []
})

/** What protobufjs has parsed, as a descriptor. */
export const write = (
  root: protobuf.Root,
  name: string,
  packageName: string | undefined,
  head: Head
) => {
  const writer = new Writer(head)
  const scope = packageName === undefined ? root : find(root, packageName)
  const file = writer.file(scope instanceof protobuf.Namespace ? scope : root, name, packageName)
  return { file, custom: writer.custom }
}
