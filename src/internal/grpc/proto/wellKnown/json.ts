import { isPlainObject } from "../codec/fields.ts"
import { kindOf, wrong } from "../codec/problem.ts"
import type { Form } from "./form.ts"

const form = { isObject: false, showsFields: false, takesNull: false, merges: true }

export const struct: Form = {
  ...form,
  isObject: true,
  toFields: (given) => {
    if (!isPlainObject(given)) throw wrong("a plain object of JSON values", kindOf(given))
    return { fields: given }
  },
  fromFields: ({ fields }) => fields
}

export const list: Form = {
  ...form,
  toFields: (given) => {
    if (!Array.isArray(given)) throw wrong("an array of JSON values", kindOf(given))
    return { values: given }
  },
  fromFields: ({ values }) => values
}

export const value: Form = {
  ...form,
  takesNull: true,
  toFields: (given) => {
    if (given === null) return { nullValue: 0 }
    if (typeof given === "string") return { stringValue: given }
    if (typeof given === "boolean") return { boolValue: given }
    if (typeof given === "number" && Number.isFinite(given)) return { numberValue: given }
    if (Array.isArray(given)) return { listValue: given }
    if (isPlainObject(given)) return { structValue: given }
    throw wrong("a JSON value", kindOf(given))
  },
  // one member of a oneof, or nothing at all
  fromFields: (fields) => {
    for (const key of Object.keys(fields)) return key === "nullValue" ? null : fields[key]
    return null
  }
}
