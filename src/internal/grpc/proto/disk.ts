import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { GrpcSchemaError, UnreadableFile } from "../../../errors/GrpcSchemaError.ts"
import type { Find, Source } from "./load.ts"

const isMissing = (cause: unknown) =>
  cause instanceof Error && "code" in cause && (cause.code === "ENOENT" || cause.code === "ENOTDIR")

const read = (path: string) =>
  Effect.tryPromise({
    try: () => Fs.readFile(path, "utf8"),
    catch: (cause) => new UnreadableFile({ path, cause })
  })

const fail = (reason: UnreadableFile) => new GrpcSchemaError({ reason })

const readIfThere = (path: string) =>
  read(path).pipe(
    Effect.catchIf((error) => isMissing(error.cause), () => Effect.undefined),
    Effect.mapError(fail)
  )

/** Looks for imports in folders, in their order. */
const inFolders = (folders: ReadonlyArray<string>): Find => {
  const find: Find = Effect.fnUntraced(function*(name) {
    for (const folder of folders) {
      const path = Path.join(folder, name)
      const text = yield* readIfThere(path)
      if (text !== undefined) return { name, shown: path, text, find }
    }
    return undefined
  })
  return find
}

/** The name by which others import what lies at `path`: its way from the first folder that it lies in. */
const nameOf = (path: string, includeDirs: ReadonlyArray<string>): string => {
  const ways = includeDirs.map((folder) => Path.relative(folder, path))
  const way = ways.find((way) =>
    way !== "" && way !== ".." && !way.startsWith(`..${Path.sep}`) && !Path.isAbsolute(way)
  )
  return (way ?? Path.basename(path)).split(Path.sep).join("/")
}

/**
 * A file whose imports come from `includeDirs` and then from its own folder. When it is not there itself, it is looked for in
 * `includeDirs`.
 */
export const readSource = Effect.fnUntraced(function*(
  path: string,
  includeDirs: ReadonlyArray<string>,
  name?: string
): Effect.fn.Return<Source, GrpcSchemaError> {
  const find = inFolders([...includeDirs, Path.dirname(path)])
  const own = yield* Effect.result(read(path))
  if (Result.isSuccess(own)) {
    return { name: name ?? nameOf(path, includeDirs), shown: path, text: own.success, find }
  }
  const found = isMissing(own.failure.cause) && !Path.isAbsolute(path) ? yield* inFolders(includeDirs)(path) : undefined
  if (found === undefined) return yield* fail(own.failure)
  return { ...found, name: name ?? found.name, find }
})

/** Files of one name in several folders, none of which is an `includeDirs`, go by their paths. */
export const distinct = (sources: ReadonlyArray<Source>): ReadonlyArray<Source> => {
  const paths = new Map<string, string>()
  return sources.flatMap((source) => {
    const path = Path.resolve(source.shown)
    const before = paths.get(source.name)
    if (before === path) return []
    const name = before === undefined ? source.name : path
    paths.set(name, path)
    return [{ ...source, name }]
  })
}
