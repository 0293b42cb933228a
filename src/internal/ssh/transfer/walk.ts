import * as Effect from "effect/Effect"
import type { Entry, Files } from "./files.ts"
import { join } from "./names.ts"
import type { Attributes, TransferEntry } from "./options.ts"

/** Where a walk is: the real paths of the folders on the way down, so that a link cannot lead around for ever. */
export interface Trail {
  readonly realPath: string
  readonly above: Trail | undefined
}

const isOn = (trail: Trail | undefined, realPath: string): boolean => {
  for (let at = trail; at !== undefined; at = at.above) if (at.realPath === realPath) return true
  return false
}

/** What there is to do with an entry of a folder. */
export type Step =
  | { readonly _tag: "Skip" }
  | { readonly _tag: "Link"; readonly attributes: Attributes }
  | { readonly _tag: "File"; readonly attributes: Attributes }
  | { readonly _tag: "Directory"; readonly attributes: Attributes; readonly trail: Trail }

/** What of a folder is wanted. */
export interface Wanted {
  readonly filter: ((entry: TransferEntry) => boolean) | undefined
  readonly symlinks: "copy" | "follow" | "skip"
}

const skip: Step = { _tag: "Skip" }

/** Where a walk begins. */
export const trailhead = <E>(files: Files<E>, path: string): Effect.Effect<Trail, E> =>
  Effect.map(files.realPath(path), (realPath) => ({ realPath, above: undefined }))

/** Decides about an entry of a folder. `relative` is where the entry is, seen from where the walk began. */
export const step = Effect.fnUntraced(function*<E>(
  files: Files<E>,
  folder: string,
  trail: Trail,
  entry: Entry,
  relative: string,
  wanted: Wanted
): Effect.fn.Return<Step, E> {
  const path = join(folder, entry.name)
  if (entry.type === "SymbolicLink" && wanted.symlinks === "skip") return skip
  const follows = entry.type === "SymbolicLink" && wanted.symlinks === "follow"
  const attributes = follows ? yield* files.stat(path) : entry.attributes ?? (yield* files.lstat(path))
  if (attributes.type === "Other") return skip
  if (wanted.filter !== undefined && !wanted.filter({ ...attributes, path: relative })) return skip
  if (attributes.type === "File") return { _tag: "File", attributes }
  if (attributes.type === "SymbolicLink") return { _tag: "Link", attributes }
  const realPath = follows ? yield* files.realPath(path) : join(trail.realPath, entry.name)
  return isOn(trail, realPath) ? skip : { _tag: "Directory", attributes, trail: { realPath, above: trail } }
})
