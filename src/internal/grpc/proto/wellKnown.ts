import type protobuf from "protobufjs"
import { any, type Find } from "./wellKnown/any.ts"
import type { Form } from "./wellKnown/form.ts"
import * as Json from "./wellKnown/json.ts"
import { fieldMask, wrapper } from "./wellKnown/small.ts"
import * as Time from "./wellKnown/time.ts"

export type { Find } from "./wellKnown/any.ts"
export type { Form } from "./wellKnown/form.ts"

interface Known {
  /** Its fields: somebody may have a message of their own by this name. */
  readonly fields: string
  readonly form: (find: Find) => Form
}

const known = (fields: string, form: Form): Known => ({ fields, form: () => form })

const types = new Map<string, Known>([
  ["Any", { fields: "typeUrl value", form: any }],
  ["Duration", known("seconds nanos", Time.duration)],
  ["FieldMask", known("paths", fieldMask)],
  ["ListValue", known("values", Json.list)],
  ["Struct", known("fields", Json.struct)],
  ["Timestamp", known("seconds nanos", Time.timestamp)],
  ["Value", known("nullValue numberValue stringValue boolValue structValue listValue", Json.value)],
  ...["Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64"].map((name) =>
    [`${name}Value`, known("value", wrapper)] as const
  )
])

/** The form of a well-known type. Every other type has none: callers see the fields of its message. */
export const formOf = (type: protobuf.Type, find: Find): Form | undefined => {
  const [, name = ""] = /^\.google\.protobuf\.(\w+)$/.exec(type.fullName) ?? []
  const found = types.get(name)
  return found !== undefined && type.fieldsArray.map((field) => field.resolve().jsonName).join(" ") === found.fields
    ? found.form(find)
    : undefined
}
