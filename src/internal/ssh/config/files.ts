import * as Effect from "effect/Effect"
import * as FsCallbacks from "node:fs"
import * as Fs from "node:fs/promises"
import { FileError } from "../userFiles.ts"

const fileError = (cause: unknown) =>
  new FileError({
    code: cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : String(cause),
    cause
  })

const attempt = <A>(operation: () => PromiseLike<A>): Effect.Effect<A, FileError> =>
  Effect.tryPromise({ try: operation, catch: fileError })

/** The text of a file; that of a folder is empty, as for ssh. */
export const read = (path: string): Effect.Effect<string, FileError> =>
  Effect.catchIf(
    attempt(() => Fs.readFile(path, "utf8")),
    ({ code }) => code === "EISDIR",
    () => Effect.succeed("")
  )

/** Whether somebody else than the user and root could have written to a file. */
export const isOpenToOthers = (path: string, uid: number): Effect.Effect<boolean, FileError> =>
  Effect.map(
    attempt(() => Fs.stat(path)),
    (stat) => process.platform !== "win32" && ((stat.uid !== 0 && stat.uid !== uid) || (stat.mode & 0o022) !== 0)
  )

/** Whether there is such a file, be it one that cannot be read. */
export const isThere = (path: string): Effect.Effect<boolean> =>
  Effect.match(attempt(() => Fs.stat(path)), {
    onSuccess: () => true,
    onFailure: ({ code }) => code !== "ENOENT" && code !== "ENOTDIR"
  })

/** The files that a pattern names, in alphabetical order. */
export const glob = (pattern: string): Effect.Effect<ReadonlyArray<string>, FileError> =>
  /[*?[]/.test(pattern)
    ? Effect.callback((resume) =>
      FsCallbacks.glob(pattern, (error, paths) =>
        resume(error === null ? Effect.succeed(paths.toSorted()) : Effect.fail(fileError(error))))
    )
    : Effect.succeed([pattern])
