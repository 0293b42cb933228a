import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { SftpStatus, type SshErrorReason } from "../../../errors/SshError.ts"
import * as Attributes from "./attributes.ts"
import type { Client } from "./client.ts"
import { type Cursor, type Field, Kind } from "./packet.ts"
import type { About } from "./requests.ts"

type Answer<A> = Effect.Effect<A, SshErrorReason>

const nothing = () => {}

/** Asks for something that is done or refused. */
const command = ({ requests }: Client, about: About, kind: number, fields: ReadonlyArray<Field>): Answer<void> =>
  requests.ask(about, kind, fields, Kind.Status, nothing)

/** What a server without an extension would answer. */
const unsupported = ({ operation, path }: About, extension: string) =>
  new SftpStatus({ operation, path, code: 8, status: "OpUnsupported", detail: `the server does not know ${extension}` })

const extended = (
  client: Client,
  about: About,
  extension: string,
  fields: ReadonlyArray<Field>
): Answer<void> =>
  client.extensions.has(extension)
    ? command(client, about, Kind.Extended, [extension, ...fields])
    : Effect.fail(unsupported(about, extension))

export const stat = ({ requests }: Client, path: string): Answer<Attributes.Attributes> =>
  requests.ask({ operation: "stat", path }, Kind.Stat, [path], Kind.Attrs, Attributes.decode)

export const lstat = ({ requests }: Client, path: string): Answer<Attributes.Attributes> =>
  requests.ask({ operation: "lstat", path }, Kind.Lstat, [path], Kind.Attrs, Attributes.decode)

const onePath = (cursor: Cursor): string => cursor.number() === 0 ? "" : cursor.text()

export const realPath = ({ requests }: Client, path: string): Answer<string> =>
  requests.ask({ operation: "realPath", path }, Kind.Realpath, [path], Kind.Name, onePath)

export const readLink = ({ requests }: Client, path: string): Answer<string> =>
  requests.ask({ operation: "readLink", path }, Kind.Readlink, [path], Kind.Name, onePath)

/** OpenSSH has the arguments the other way round than the draft, and so has everybody who wants to work with it. */
export const symlink = (client: Client, target: string, path: string): Answer<void> =>
  command(client, { operation: "symlink", path }, Kind.Symlink, [target, path])

export const hardLink = (client: Client, existing: string, path: string): Answer<void> =>
  extended(client, { operation: "hardLink", path }, "hardlink@openssh.com", [existing, path])

export const mkdir = (client: Client, path: string, mode: number | undefined): Answer<void> =>
  command(client, { operation: "mkdir", path }, Kind.Mkdir, [
    path,
    mode === undefined ? Attributes.none : Attributes.encode({ mode })
  ])

export const rmdir = (client: Client, path: string): Answer<void> =>
  command(client, { operation: "rmdir", path }, Kind.Rmdir, [path])

export const unlink = (client: Client, path: string): Answer<void> =>
  command(client, { operation: "remove", path }, Kind.Remove, [path])

export const rename = (client: Client, from: string, to: string): Answer<void> =>
  command(client, { operation: "rename", path: from }, Kind.Rename, [from, to])

export const posixRename = (client: Client, from: string, to: string): Answer<void> =>
  extended(client, { operation: "rename", path: from }, "posix-rename@openssh.com", [from, to])

export const setAttributes = (
  client: Client,
  path: string,
  changes: Attributes.AttributeChanges,
  operation = "setAttributes"
): Answer<void> => command(client, { operation, path }, Kind.Setstat, [path, Attributes.encode(changes)])

/** What a server says of the file system that a path is on. */
export interface FileSystemStats {
  readonly blockSize: bigint
  readonly fragmentSize: bigint
  readonly blocks: bigint
  readonly freeBlocks: bigint
  readonly availableBlocks: bigint
  readonly files: bigint
  readonly freeFiles: bigint
  readonly availableFiles: bigint
  readonly id: bigint
  readonly readOnly: boolean
  readonly noSetuid: boolean
  readonly maxNameLength: bigint
}

const decodeStats = (cursor: Cursor): FileSystemStats => {
  const blockSize = cursor.bigint()
  const fragmentSize = cursor.bigint()
  const blocks = cursor.bigint()
  const freeBlocks = cursor.bigint()
  const availableBlocks = cursor.bigint()
  const files = cursor.bigint()
  const freeFiles = cursor.bigint()
  const availableFiles = cursor.bigint()
  const id = cursor.bigint()
  const flags = cursor.bigint()
  return {
    blockSize,
    fragmentSize,
    blocks,
    freeBlocks,
    availableBlocks,
    files,
    freeFiles,
    availableFiles,
    id,
    readOnly: (flags & 1n) !== 0n,
    noSetuid: (flags & 2n) !== 0n,
    maxNameLength: cursor.bigint()
  }
}

export const statvfs = (client: Client, path: string): Answer<FileSystemStats> => {
  const about = { operation: "statvfs", path }
  const extension = "statvfs@openssh.com"
  return client.extensions.has(extension)
    ? client.requests.ask(about, Kind.Extended, [extension, path], Kind.ExtendedReply, decodeStats)
    : Effect.fail(unsupported(about, extension))
}

/** Something that a server has open. */
export interface Handle {
  readonly path: string
  readonly id: Buffer
}

const readHandle = (path: string) => (cursor: Cursor): Handle => ({ path, id: cursor.copy() })

const flagBits = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 }

/** As they are called in C. */
const flagsOf = (flag: FileSystem.OpenFlag): number => {
  const { append, create, exclusive, read, truncate, write } = flagBits
  const access = flag.endsWith("+") ? read | write : flag === "r" ? read : write
  const only = flag.includes("x") ? exclusive : 0
  if (flag.startsWith("w")) return access | create | truncate | only
  if (flag.startsWith("a")) return access | create | append | only
  return access
}

/** Opens a file. Who calls has to close it; when nobody waits for it any more, it closes itself. */
export const openFile = (
  { requests }: Client,
  path: string,
  flag: FileSystem.OpenFlag,
  mode: number | undefined
): Answer<Handle> =>
  requests.ask(
    { operation: "open", path },
    Kind.Open,
    [path, flagsOf(flag), mode === undefined ? Attributes.none : Attributes.encode({ mode })],
    Kind.Handle,
    readHandle(path)
  )

export const openDirectory = ({ requests }: Client, path: string): Answer<Handle> =>
  requests.ask({ operation: "readDirectory", path }, Kind.Opendir, [path], Kind.Handle, readHandle(path))

/** Closes what is open, and says whether that went well. */
export const close = (client: Client, { id, path }: Handle): Answer<void> =>
  command(client, { operation: "close", path }, Kind.Close, [id])

/** Opens something for as long as the scope lives. */
export const scoped = (
  { requests }: Client,
  open: Answer<Handle>
): Effect.Effect<Handle, SshErrorReason, Scope.Scope> =>
  Effect.acquireRelease(open, ({ id }) => Effect.sync(() => requests.closeHandle(id)), { interruptible: true })

const dataOf = (cursor: Cursor): Buffer => cursor.copy()

/** What one request reads: less than asked for at the end of the file, or where the server likes it so. */
export const readOnce = (
  { requests }: Client,
  { id, path }: Handle,
  offset: bigint,
  size: number
): Answer<Uint8Array> =>
  requests.ask({ operation: "read", path }, Kind.Read, [id, offset, size], Kind.Data, dataOf).pipe(
    Effect.catchIf(
      (reason) => reason._tag === "SftpStatus" && reason.status === "EndOfFile",
      () => Effect.succeed(new Uint8Array(0))
    )
  )

export const fstat = ({ requests }: Client, { id, path }: Handle): Answer<Attributes.Attributes> =>
  requests.ask({ operation: "stat", path }, Kind.Fstat, [id], Kind.Attrs, Attributes.decode)

export const fsetstat = (client: Client, { id, path }: Handle, changes: Attributes.AttributeChanges): Answer<void> =>
  command(client, { operation: "setAttributes", path }, Kind.Fsetstat, [id, Attributes.encode(changes)])

export const fsync = (client: Client, { id, path }: Handle): Answer<void> =>
  extended(client, { operation: "sync", path }, "fsync@openssh.com", [id])

/** Copies the rest of one file into another on the server. */
export const copyData = (client: Client, from: Handle, to: Handle): Answer<void> =>
  extended(client, { operation: "copy", path: from.path }, "copy-data", [from.id, 0n, 0n, to.id, 0n])

/** Whether an answer says that there is no such file. */
export const isMissing = (reason: SshErrorReason): boolean =>
  reason._tag === "SftpStatus" && reason.status === "NoSuchFile"

export const exists = (client: Client, path: string): Answer<boolean> =>
  stat(client, path).pipe(
    Effect.as(true),
    Effect.catchIf(isMissing, () => Effect.succeed(false))
  )

/** The folder that something is in, or none where it is at the top. */
const parentOf = (path: string): Option.Option<string> => {
  const trimmed = path.replace(/\/+$/, "")
  const slash = trimmed.lastIndexOf("/")
  const parent = slash < 0 ? "" : trimmed.slice(0, slash)
  return parent === "" ? Option.none() : Option.some(parent)
}

/** Makes a folder and those that it is in; one that is there already will do. */
export const mkdirs = (client: Client, path: string, mode: number | undefined): Answer<void> =>
  Effect.catch(mkdir(client, path, mode), (reason) => {
    if (reason._tag !== "SftpStatus") return Effect.fail(reason)
    const parent = parentOf(path)
    if (reason.status === "NoSuchFile" && Option.isSome(parent)) {
      return Effect.andThen(mkdirs(client, parent.value, mode), mkdir(client, path, mode))
    }
    // version 3 has no number for what exists
    return stat(client, path).pipe(
      Effect.mapError(() => reason),
      Effect.flatMap(({ type }) => type === "Directory" ? Effect.void : Effect.fail(reason))
    )
  })

/** Renames, and takes the place of what is there. */
export const replace = (client: Client, from: string, to: string): Answer<void> =>
  client.extensions.has("posix-rename@openssh.com")
    ? posixRename(client, from, to)
    : Effect.gen(function*() {
      // not to end with neither of them
      yield* lstat(client, from)
      yield* Effect.catchIf(unlink(client, to), isMissing, () => Effect.void)
      yield* rename(client, from, to)
    })
