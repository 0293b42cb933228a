import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { called, type FileError } from "../userFiles.ts"

const stat = (path: string) => called<Fs.Stats>((done) => Fs.stat(path, done))

/** The text of a file; that of a folder is empty, as for ssh. */
export const read = (path: string): Effect.Effect<string, FileError> =>
  Effect.catchIf(
    called<string>((done) => Fs.readFile(path, "utf8", done)),
    ({ code }) => code === "EISDIR",
    () => Effect.succeed("")
  )

/** Whether somebody else than the user and root could have written to a file. */
export const isOpenToOthers = (path: string, uid: number): Effect.Effect<boolean, FileError> =>
  Effect.map(
    stat(path),
    (stat) => process.platform !== "win32" && ((stat.uid !== 0 && stat.uid !== uid) || (stat.mode & 0o022) !== 0)
  )

/** Whether there is such a file, be it one that cannot be read. */
export const isThere = (path: string): Effect.Effect<boolean> =>
  Effect.match(stat(path), {
    onSuccess: () => true,
    onFailure: ({ code }) => code !== "ENOENT" && code !== "ENOTDIR"
  })

/** The files that a pattern names, in alphabetical order. */
export const glob = (pattern: string): Effect.Effect<ReadonlyArray<string>, FileError> =>
  /[*?[]/.test(pattern)
    ? Effect.map(called<Array<string>>((done) => Fs.glob(pattern, done)), (paths) => paths.toSorted())
    : Effect.succeed([pattern])
