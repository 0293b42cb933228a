import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { GrpcSchemaError, type GrpcSchemaErrorReason, MissingImport } from "../../../errors/GrpcSchemaError.ts"
import * as Compile from "./compile.ts"
import { parse } from "./parse.ts"
import * as Standard from "./standard.ts"

/** The text of one .proto, and where it comes from. */
export interface Source<E = GrpcSchemaError, R = never> {
  /** What others import it by. */
  readonly name: string
  /** How errors call it: the name, a path or a URL. */
  readonly shown: string
  readonly text: string
  /** Gives what this one imports, or `undefined` when it is not there. */
  readonly find: Find<E, R>
}

export type Find<E = GrpcSchemaError, R = never> = (name: string) => Effect.Effect<Source<E, R> | undefined, E, R>

/** For texts that import nothing but what is given with them. */
export const findNothing: Find = () => Effect.undefined

const fail = (reason: GrpcSchemaErrorReason) => new GrpcSchemaError({ reason })

/**
 * Parses definitions and whatever they import, in any order. protobufjs's own loader is not used: it never ends when a
 * type cannot be resolved.
 */
export const load = Effect.fnUntraced(function*<E, R>(
  first: ReadonlyArray<Source<E, R>>
): Effect.fn.Return<Compile.Definitions, E | GrpcSchemaError, R> {
  const files: Array<Compile.ParsedFile & { readonly find: Find<E, R> }> = []
  const add = Effect.fnUntraced(function*({ find, name, shown, text }: Source<E, R>) {
    const parsed = yield* Effect.mapError(Effect.fromResult(parse(name, shown, text)), fail)
    files.push({ parsed, shown, find })
  })
  yield* Effect.forEach(first, add, { discard: true })
  const known = new Set(first.map(({ name }) => name))
  // an array gives what is added on the way, too
  for (const { find, parsed, shown } of files) {
    for (const { kind, name } of parsed.imports) {
      if (known.has(name)) continue
      const found = yield* find(name)
      const standard = found === undefined ? Standard.find(name) : undefined
      if (found !== undefined) yield* add(found)
      else if (standard !== undefined) files.push({ parsed: standard, shown: name, find })
      else if (kind === "weak") continue
      else return yield* fail(new MissingImport({ file: shown, import: name }))
      known.add(name)
    }
  }
  return yield* Effect.fromResult(Result.mapError(Compile.fromParsed(files), fail))
})

/** Definitions that have been compiled already, see `Compile.fromDescriptors`. */
export const loadDescriptors = (
  descriptors: ReadonlyArray<Uint8Array>
): Effect.Effect<Compile.Definitions, GrpcSchemaError> =>
  Effect.suspend(() => Effect.fromResult(Result.mapError(Compile.fromDescriptors(descriptors), fail)))
