import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"

/** A folder as a value: folders are records, files are texts or bytes, links say where they lead (`-> there`). */
export interface Tree {
  readonly [name: string]: string | Uint8Array | Tree
}

const isTree = (node: string | Uint8Array | Tree): node is Tree =>
  typeof node !== "string" && !(node instanceof Uint8Array)

/** Makes a folder with what is in it. */
export const plant = (path: string, tree: Tree): Effect.Effect<void, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    yield* fs.makeDirectory(path, { recursive: true })
    for (const [name, node] of Object.entries(tree)) {
      const at = `${path}/${name}`
      if (isTree(node)) yield* plant(at, node)
      else if (typeof node !== "string") yield* fs.writeFile(at, node)
      else if (node.startsWith("-> ")) yield* fs.symlink(node.slice(3), at)
      else yield* fs.writeFileString(at, node)
    }
  }).pipe(Effect.orDie)

/** Reads a folder with what is in it. Texts are texts again. */
export const harvest = (path: string): Effect.Effect<Tree, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const tree: Record<string, Tree[string]> = {}
    for (const { name, type } of yield* fs.readDirectoryEntries(path)) {
      const at = `${path}/${name}`
      tree[name] = type === "Directory"
        ? yield* harvest(at)
        : type === "SymbolicLink"
        ? `-> ${yield* fs.readLink(at)}`
        : yield* fs.readFileString(at)
    }
    return tree
  }).pipe(Effect.orDie)

/** Permission bits and time of something, a link followed. */
export const modeAndTime = (path: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { mode, mtime } = yield* fs.stat(path)
    return [
      (mode & 0o7777).toString(8),
      Option.match(mtime, { onNone: () => 0, onSome: (date) => Math.floor(date.getTime() / 1000) })
    ] as const
  }).pipe(Effect.orDie)

/** An empty folder, removed with the scope. */
export const emptyFolder = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.makeTempDirectoryScoped({ prefix: "hawser-tree-" })
}).pipe(Effect.orDie)

/** Asserts that a folder holds just this. */
export const holds = (path: string, tree: Tree) =>
  Effect.map(harvest(path), (there) => assert.deepStrictEqual(there, tree))
