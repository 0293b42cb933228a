import { isFields } from "../codec/fields.ts"
import { kindOf, wrong } from "../codec/problem.ts"
import type { Form } from "./form.ts"

const form = { isObject: false, showsFields: false, takesNull: false, merges: true }

/** `Int64Value` and the like: the value alone. */
export const wrapper: Form = {
  ...form,
  toFields: (given) => {
    if (isFields(given)) return given
    // as the value of a field, null would be nothing
    if (given === null || given === undefined) throw wrong("a value", kindOf(given))
    return { value: given }
  },
  fromFields: ({ value }) => value
}

export const fieldMask: Form = {
  ...form,
  toFields: (given) => {
    if (typeof given === "string") return { paths: given === "" ? [] : given.split(",") }
    if (Array.isArray(given)) return { paths: given }
    if (!isFields(given)) throw wrong("an array of paths, or text with commas between them", kindOf(given))
    return given
  },
  fromFields: ({ paths }) => paths
}
