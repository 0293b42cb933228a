import { type Fields, isFields } from "../codec/fields.ts"
import { kindOf, unknownField, valueOf, wrong } from "../codec/problem.ts"
import type { Form } from "./form.ts"

/** A message of the schema, alone. */
export interface Packable {
  /** Whether callers see it as something that does not stand beside `@type`. */
  readonly isSpecial: boolean
  readonly pack: (value: unknown, depth: number) => Uint8Array
  /** Throws when the bytes are not this message. */
  readonly unpack: (bytes: Uint8Array, depth: number) => unknown
}

/** Where the types come from that an `Any` can hold. */
export type Find = (name: string) => Packable | undefined

const nameOf = (url: string) => url.slice(url.lastIndexOf("/") + 1)

const pack = (find: Find, given: Fields, depth: number) => {
  const { "@type": url, ...fields } = given
  const type = typeof url === "string" ? find(nameOf(url)) : undefined
  if (typeof url !== "string" || type === undefined) {
    throw wrong(`the name of a message that the schema has, as "type.googleapis.com/acme.Order"`, valueOf(url))
      .within("@type")
  }
  const typeUrl = url.includes("/") ? url : `type.googleapis.com/${url}`
  if (!type.isSpecial) return { typeUrl, value: type.pack(fields, depth + 1) }
  for (const key of Object.keys(fields)) if (key !== "value") throw unknownField(key, ["@type", "value"])
  return { typeUrl, value: type.pack(fields["value"], depth + 1) }
}

const unpack = (find: Find, fields: Fields, depth: number) => {
  const { typeUrl, value } = fields
  if (typeof typeUrl !== "string" || !(value instanceof Uint8Array)) return fields
  const type = find(nameOf(typeUrl))
  if (type === undefined) return fields
  try {
    const inner = type.unpack(value, depth + 1)
    return type.isSpecial || !isFields(inner) ? { "@type": typeUrl, value: inner } : { "@type": typeUrl, ...inner }
  } catch {
    // it says that it is what it is not; that is no reason to lose the message around it
    return fields
  }
}

/** A message with its type beside it when the schema has the type, else the bytes. */
export const any = (find: Find): Form => ({
  isObject: true,
  showsFields: true,
  takesNull: false,
  merges: false,
  toFields: (given, depth) => {
    if (!isFields(given)) throw wrong(`{ "@type", ...fields } or { typeUrl, value }`, kindOf(given))
    return Object.hasOwn(given, "@type") ? pack(find, given, depth) : given
  },
  fromFields: (fields, depth) => unpack(find, fields, depth)
})
