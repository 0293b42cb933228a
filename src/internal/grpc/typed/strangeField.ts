import * as Result from "effect/Result"
import * as SchemaAST from "effect/SchemaAST"
import type { Field, GrpcSchema, Message } from "../proto/schema.ts"
import type { Part } from "./typedMethod.ts"

/** A field that a schema has and the message does not. */
export interface StrangeField {
  /** `"size.widht"`. */
  readonly path: string
  readonly message: Message
}

/**
 * The first field of a schema, as it encodes, that the message does not have, at any depth. Left to the calls, a wrong name
 * would be refused in each request, and never be there in a response. Google's own types have forms of their own, and are
 * left alone.
 */
export const strangeField = (
  ast: SchemaAST.AST,
  message: Message,
  part: Part,
  loaded: GrpcSchema
): StrangeField | undefined => {
  // both schemas and messages can contain themselves
  const seen = new Map<string, Set<SchemaAST.AST>>()

  const inMessage = (ast: SchemaAST.AST, message: Message, path: string): StrangeField | undefined => {
    const seenAs = seen.get(message.name) ?? new Set()
    if (seenAs.has(ast) || message.name.startsWith("google.protobuf.")) return undefined
    seen.set(message.name, seenAs.add(ast))
    switch (ast._tag) {
      case "Suspend":
        return inMessage(ast.thunk(), message, path)
      case "Union":
        return first(ast.types, (type) => inMessage(type, message, path))
      case "Objects":
        return first(ast.propertySignatures, ({ name, type }) => {
          const key = String(name)
          const at = path === "" ? key : `${path}.${key}`
          // requests take the name of the .proto as well
          const field = message.fields.find((field) =>
            field.jsonName === key || (part === "request" && field.name === key)
          )
          return field === undefined ? { path: at, message } : inField(type, field, at)
        })
      default:
        return undefined
    }
  }

  const inField = (ast: SchemaAST.AST, field: Field, path: string): StrangeField | undefined => {
    const type = field.kind === "message" ? Result.getOrUndefined(loaded.message(field.type)) : undefined
    if (type === undefined) return undefined
    const inValue = (value: SchemaAST.AST) => inMessage(value, type, path)
    const inMany = (many: SchemaAST.AST): StrangeField | undefined => {
      switch (many._tag) {
        case "Union":
          return first(many.types, inMany)
        case "Arrays":
          return first([...many.elements, ...many.rest], inValue)
        case "Objects":
          return first(many.indexSignatures, ({ type }) => inValue(type))
        default:
          return undefined
      }
    }
    return field.repeated || field.mapKey !== undefined ? inMany(ast) : inValue(ast)
  }

  return inMessage(SchemaAST.toEncoded(ast), message, "")
}

const first = <A>(
  items: ReadonlyArray<A>,
  find: (item: A) => StrangeField | undefined
): StrangeField | undefined => {
  for (const item of items) {
    const found = find(item)
    if (found !== undefined) return found
  }
  return undefined
}
