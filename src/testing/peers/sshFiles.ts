/**
 * Files in memory, for SSH servers to serve by SFTP.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import { MemoryFiles } from "../../internal/ssh/testServer/memoryFiles.ts"
import { kinds } from "../../internal/ssh/testServer/memoryTree.ts"

/**
 * What there is at a path to begin with: the content of a file, which gets mode `0o644` and the time of now; the same with
 * another mode or time; or a symbolic link. At a path that ends with `/` there is a folder, of which only the mode counts.
 *
 * @category models
 * @since 0.1.0
 */
export type SshFile =
  | string
  | Uint8Array
  | {
    /** What is in it. Default: nothing. */
    readonly content?: string | Uint8Array | undefined
    /** Its permissions, such as `0o444` for a file that cannot be written to. Default `0o644`, for a folder `0o755`. */
    readonly mode?: number | undefined
    /** When it was changed last. Default: now. */
    readonly mtime?: Date | undefined
  }
  | {
    /** Where the link leads, from the folder that it is in. */
    readonly symlink: string
  }

/**
 * What is known of a file.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshFileInfo {
  /** A file, a folder, or a symbolic link. */
  readonly type: FileSystem.File.Type
  /** Its size in bytes. */
  readonly size: number
  /** Its permissions, such as `0o644`. */
  readonly mode: number
  /** When it was changed last, to the second. */
  readonly mtime: Date
}

/**
 * Files in memory. A test puts in them what clients find, and looks at what they leave.
 *
 * **Details**
 *
 * - Paths begin at `/`, also where they do not begin with one. Symbolic links are followed.
 * - What is changed gets the time of Effect's clock.
 * - Permissions hold for clients, who own everything, and not here.
 * - What does not work fails with `PlatformError`: `NotFound`, `AlreadyExists`, `BadResource` (a folder where a file is needed,
 *   or the other way round).
 *
 * @category models
 * @since 0.1.0
 */
export interface SshFiles {
  /** The content of a file. */
  readonly read: (path: string) => Effect.Effect<Uint8Array, PlatformError.PlatformError>
  /** The content of a file as UTF-8 text. */
  readonly readString: (path: string) => Effect.Effect<string, PlatformError.PlatformError>
  /** Puts something at a path, with the folders that it needs, in place of what was there. */
  readonly write: (path: string, file: SshFile) => Effect.Effect<void, PlatformError.PlatformError>
  /** The names in a folder, in order. Default: the root. */
  readonly list: (path?: string) => Effect.Effect<ReadonlyArray<string>, PlatformError.PlatformError>
  /** What is known of what is at a path; of a link itself. */
  readonly stat: (path: string) => Effect.Effect<SshFileInfo, PlatformError.PlatformError>
  /** Whether there is something at a path, be it a link that leads nowhere. */
  readonly exists: (path: string) => Effect.Effect<boolean>
  /** Removes a file, a link, or a folder with all that is in it. */
  readonly remove: (path: string) => Effect.Effect<void, PlatformError.PlatformError>
  /** Every file by its path (`"/etc/motd"`), as UTF-8 text: to compare with what is expected. Folders and links are left out. */
  readonly contents: Effect.Effect<Readonly<Record<string, string>>>
}

const tags: Readonly<Record<string, PlatformError.SystemErrorTag>> = {
  ENOENT: "NotFound",
  ELOOP: "NotFound",
  EEXIST: "AlreadyExists",
  EISDIR: "BadResource",
  ENOTDIR: "BadResource"
}

const attempt = <A>(method: string, path: string, run: () => A): Effect.Effect<A, PlatformError.PlatformError> =>
  Effect.try({
    try: run,
    catch: (cause) => {
      const { code = "", message } = cause instanceof Error && "code" in cause
        ? { code: String(cause.code), message: cause.message }
        : { message: String(cause) }
      return PlatformError.systemError({
        _tag: tags[code] ?? "Unknown",
        module: "SshFiles",
        method,
        pathOrDescriptor: path,
        description: message,
        cause
      })
    }
  })

const types = new Map<number, FileSystem.File.Type>([
  [kinds.file, "File"],
  [kinds.folder, "Directory"],
  [kinds.link, "SymbolicLink"]
])

const kindOf = (memory: MemoryFiles, path: string) => memory.stat(path, false).mode & ~0o7777

const exists = (memory: MemoryFiles, path: string): boolean => {
  try {
    memory.stat(path, false)
    return true
  } catch {
    return false
  }
}

const parentOf = (path: string) => path.replace(/\/*[^/]*\/*$/, "")

const makeFolders = (memory: MemoryFiles, path: string): void => {
  if (path === "" || exists(memory, path)) return
  makeFolders(memory, parentOf(path))
  memory.makeFolder(path, 0o755)
}

const remove = (memory: MemoryFiles, path: string): void => {
  if (kindOf(memory, path) !== kinds.folder) return memory.remove(path)
  for (const name of memory.list(path)) remove(memory, `${path}/${name}`)
  memory.removeFolder(path)
}

const contentOf = (memory: MemoryFiles, path: string): Uint8Array => {
  const mode = { read: true, write: false, append: false, create: false, truncate: false, exclusive: false }
  const file = memory.open(path, mode, 0)
  return file.read(0n, Number(file.stat().size))
}

const put = (memory: MemoryFiles, path: string, file: SshFile): void => {
  makeFolders(memory, parentOf(path))
  if (typeof file === "object" && "symlink" in file) {
    if (exists(memory, path)) memory.remove(path)
    return memory.symlink(file.symlink, path)
  }
  const { content = "", mode, mtime } = typeof file === "string" || file instanceof Uint8Array
    ? { content: file }
    : file
  if (path.endsWith("/")) {
    makeFolders(memory, path)
    return memory.change(path, { mode: mode ?? 0o755 })
  }
  const how = { read: false, write: true, append: false, create: true, truncate: true, exclusive: false }
  memory.open(path, how, 0o644).write(0n, typeof content === "string" ? Buffer.from(content) : content)
  memory.change(path, { mode, times: mtime === undefined ? undefined : { atime: mtime, mtime } })
}

const collect = (memory: MemoryFiles, folder: string, into: Record<string, string>): Record<string, string> => {
  for (const name of memory.list(folder)) {
    const path = `${folder}/${name}`
    const kind = kindOf(memory, path)
    if (kind === kinds.folder) collect(memory, path, into)
    else if (kind === kinds.file) into[path] = Buffer.from(contentOf(memory, path)).toString("utf8")
  }
  return into
}

const memories = new WeakMap<SshFiles, MemoryFiles>()

/**
 * Makes files in memory, with these to begin with; the folders that they need come by themselves. Several servers can serve the
 * same, and commands can work on them.
 *
 * **Example** (A server whose command reads what was uploaded)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TestPeers } from "hawser/testing"
 *
 * const server = Effect.gen(function*() {
 *   const files = yield* TestPeers.sshFiles({ "/etc/motd": { content: "welcome\n", mode: 0o444 }, "/uploads/": "" })
 *   return yield* TestPeers.sshServer({
 *     sftp: files,
 *     exec: { "cat /uploads/report": () => files.readString("/uploads/report") }
 *   })
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const sshFiles: (files?: Readonly<Record<string, SshFile>>) => Effect.Effect<SshFiles> = Effect.fn(
  "TestPeers.sshFiles"
)(function*(initial: Readonly<Record<string, SshFile>> = {}) {
  const clock = yield* Clock.Clock
  const memory = MemoryFiles.make(() => clock.currentTimeMillisUnsafe())
  const files: SshFiles = {
    read: (path) => attempt("read", path, () => contentOf(memory, path)),
    readString: (path) => attempt("readString", path, () => Buffer.from(contentOf(memory, path)).toString("utf8")),
    write: (path, file) => attempt("write", path, () => put(memory, path, file)),
    list: (path = "/") => attempt("list", path, () => memory.list(path)),
    stat: (path) =>
      attempt("stat", path, () => {
        const { mode, mtime, size } = memory.stat(path, false)
        return {
          type: types.get(mode & ~0o7777) ?? "Unknown",
          size: Number(size),
          mode: mode & 0o7777,
          mtime: new Date(mtime * 1000)
        }
      }),
    exists: (path) => Effect.sync(() => exists(memory, path)),
    remove: (path) => attempt("remove", path, () => remove(memory, path)),
    contents: Effect.sync(() => collect(memory, "", {}))
  }
  memories.set(files, memory)
  for (const [path, file] of Object.entries(initial)) yield* Effect.orDie(files.write(path, file))
  return files
})

/**
 * The files as a server's clients have them, bound to their permissions.
 *
 * @internal
 */
export const servedTo = (files: SshFiles): MemoryFiles => {
  const memory = memories.get(files)
  if (memory === undefined) throw new Error("these files are not of TestPeers.sshFiles")
  return memory.forUser
}

/**
 * Whether something is files, and not what there is in them to begin with.
 *
 * @internal
 */
export const isSshFiles = (value: SshFiles | Readonly<Record<string, SshFile>>): value is SshFiles =>
  Effect.isEffect(Reflect.get(value, "contents"))
