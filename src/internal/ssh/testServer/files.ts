/** What an SFTP server serves files from. What does not work is thrown as a `FileError`, or as whatever has such a `code`. */
import type { AttributeChanges } from "../sftp/attributes.ts"

/** Why something does not work, by the names that the system's calls have for it. */
export type Code =
  | "EACCES"
  | "EBADF"
  | "EEXIST"
  | "EINVAL"
  | "EISDIR"
  | "ELOOP"
  | "ENOENT"
  | "ENOTDIR"
  | "ENOTEMPTY"
  | "EPERM"

const words: Readonly<Record<Code, string>> = {
  EACCES: "permission denied",
  EBADF: "it was not opened for that",
  EEXIST: "it exists already",
  EINVAL: "that cannot be done with it",
  EISDIR: "it is a folder",
  ELOOP: "too many symbolic links",
  ENOENT: "no such file or folder",
  ENOTDIR: "it is not a folder",
  ENOTEMPTY: "the folder is not empty",
  EPERM: "not permitted"
}

export class FileError extends Error {
  readonly code: Code

  constructor(code: Code) {
    super(words[code])
    this.code = code
  }
}

/** What is known of a file, a folder or a link; `mode` has its kind in the upper bits, and times are seconds. */
export interface Stat {
  readonly size: bigint
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly atime: number
  readonly mtime: number
}

/** How a file is opened. */
export interface OpenMode {
  readonly read: boolean
  readonly write: boolean
  readonly append: boolean
  readonly create: boolean
  readonly truncate: boolean
  readonly exclusive: boolean
}

/** A file that is open; it stays what it is when it is renamed or removed. */
export interface OpenFile {
  readonly stat: () => Stat
  /** At most so many bytes; none at the end of the file. */
  readonly read: (offset: bigint, size: number) => Uint8Array
  readonly write: (offset: bigint, bytes: Uint8Array) => void
  readonly change: (changes: AttributeChanges) => void
  readonly sync: () => void
  readonly close: () => void
}

/** How much room there is, as `statvfs` counts it: blocks and files, and those that are free. */
export interface Room {
  readonly blockSize: bigint
  readonly blocks: bigint
  readonly freeBlocks: bigint
  readonly files: bigint
  readonly freeFiles: bigint
}

/** Files and folders, by paths that begin at the root with or without a `/`. */
export interface Files {
  readonly open: (path: string, mode: OpenMode, permissions: number) => OpenFile
  readonly stat: (path: string, followLinks: boolean) => Stat
  readonly change: (path: string, changes: AttributeChanges) => void
  readonly list: (path: string) => ReadonlyArray<string>
  readonly makeFolder: (path: string, permissions: number) => void
  readonly removeFolder: (path: string) => void
  readonly remove: (path: string) => void
  readonly rename: (from: string, to: string, replace: boolean) => void
  readonly realPath: (path: string) => string
  readonly readLink: (path: string) => string
  readonly symlink: (target: string, path: string) => void
  readonly link: (existing: string, path: string) => void
  readonly room: (path: string) => Room
}
