import * as Result from "effect/Result"
import { fromParsed } from "./compile.ts"
import { parse } from "./parse.ts"
import { type GrpcSchema, make } from "./schema.ts"

const known = new Map<string, GrpcSchema>()

/**
 * A definition that comes with this library: one file with no imports, known to be right. It is read when it is first
 * asked for.
 */
export const builtIn = (name: string, text: string): GrpcSchema => {
  const before = known.get(name)
  if (before !== undefined) return before
  const parsed = Result.getOrThrow(parse(name, name, text))
  const schema = make(Result.getOrThrow(fromParsed([{ parsed, shown: name }])))
  known.set(name, schema)
  return schema
}
