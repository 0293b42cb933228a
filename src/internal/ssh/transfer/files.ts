import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import type { Attributes, EntryType } from "./options.ts"

/** A name in a folder, with what the listing says of it. */
export interface Entry {
  readonly name: string
  readonly type: EntryType
  /** Of the entry itself, not of what it points to. Not every listing says. */
  readonly attributes?: Attributes | undefined
}

export type Chunks = Arr.NonEmptyReadonlyArray<Uint8Array>

/** How a file is opened to be written. */
export interface WriteOptions {
  readonly mode: number
  /** It must not be there yet. */
  readonly exclusive: boolean
  /** Where to begin: what is there before stays. At 0 the file is emptied. */
  readonly offset: number
}

/** A file that is being written. */
export interface Writer<E> {
  /** Whether it copies the bytes that it takes, so that they may be lent. */
  readonly copies: boolean
  /** Takes bytes; they may still be on their way when this returns. */
  readonly write: (chunks: Chunks) => Effect.Effect<void, E>
  /** Waits until all bytes are there, and has them put on the disk if need be. */
  readonly finish: (fsync: boolean) => Effect.Effect<void, E>
}

/** What is set of a file. */
export interface Changes {
  readonly mode?: number | undefined
  readonly times?: Pick<Attributes, "atime" | "mtime"> | undefined
}

/** One of the two file systems that a transfer is between: that of this machine, or the server's. */
export interface Files<E> {
  /** What a path stands for, links followed. */
  readonly stat: (path: string) => Effect.Effect<Attributes, E>
  /** The same of a link itself. */
  readonly lstat: (path: string) => Effect.Effect<Attributes, E>
  /** Whether an error says that there is nothing at a path. */
  readonly isMissing: (error: E) => boolean
  readonly list: (path: string) => Effect.Effect<ReadonlyArray<Entry>, E>
  readonly realPath: (path: string) => Effect.Effect<string, E>
  readonly readLink: (path: string) => Effect.Effect<string, E>
  /** Makes a link, in place of a file or a link. */
  readonly makeLink: (path: string, text: string) => Effect.Effect<void, E>
  /** Makes a folder; fails where something is. */
  readonly makeDirectory: (path: string, mode: number) => Effect.Effect<void, E>
  /** Replaces what is at the new path. */
  readonly rename: (from: string, to: string) => Effect.Effect<void, E>
  readonly remove: (path: string) => Effect.Effect<void, E>
  readonly change: (path: string, changes: Changes) => Effect.Effect<void, E>
  /** A whole file that is small. */
  readonly readAll: (path: string, size: number) => Effect.Effect<Uint8Array, E>
  /** Writes a whole file that is small. */
  readonly writeAll: (
    path: string,
    content: Uint8Array,
    options: Pick<WriteOptions, "mode" | "exclusive">
  ) => Effect.Effect<void, E>
  /** The bytes of a file from an offset on. With `lend`, what is pulled may only be used until the next pull. */
  readonly read: (path: string, offset: number, lend: boolean) => Effect.Effect<Pull.Pull<Chunks, E>, E, Scope.Scope>
  readonly write: (path: string, options: WriteOptions) => Effect.Effect<Writer<E>, E, Scope.Scope>
  /** The SHA-256 of a file, in hexadecimal digits. */
  readonly sha256: (path: string) => Effect.Effect<string, E>
  /** What fails for a reason that no call gives. */
  readonly failure: (operation: string, path: string, detail: string) => E
}

/** What a path stands for, if anything. */
export const find = <E>(
  files: Files<E>,
  path: string,
  how: "stat" | "lstat" = "stat"
): Effect.Effect<Attributes | undefined, E> => Effect.catchIf(files[how](path), files.isMissing, () => Effect.undefined)

/**
 * Makes a folder, unless there is one, and says whether it is new. A link in its place will do for the outermost folder only:
 * in a copy one may lead out of it, and the names below are the other side's choice.
 */
export const makeFolder = <E>(
  files: Files<E>,
  path: string,
  mode: number,
  isRoot: boolean
): Effect.Effect<boolean, E> =>
  // its owner has to be able to put something into it
  Effect.as(files.makeDirectory(path, (mode & 0o777) | 0o700), true).pipe(
    Effect.catch((error) =>
      Effect.flatMap(
        find(files, path, isRoot ? "stat" : "lstat"),
        (there) => there?.type === "Directory" ? Effect.succeed(false) : Effect.fail(error)
      )
    )
  )
