/**
 * The files of a server, over SSH.
 *
 * `session.sftp` opens a channel on which any number of operations run at a time. Each is one request or a few; reading and
 * writing keep many under way, as many as the way to the server needs, so that a long way costs time only once.
 *
 * **Details**
 *
 * - Version 3 of SFTP (draft-ietf-secsh-filexfer-02), which is what OpenSSH speaks, with OpenSSH's extensions where the
 *   server says that it knows them. An operation that needs one fails with `SftpStatus` `OpUnsupported` where it does not.
 * - What a server refuses is `SftpStatus`, with the operation, the path and the server's words. A channel that ends, with or
 *   without its connection, is `ConnectionLost` for everything that is under way and everything that is asked afterwards:
 *   nothing waits for ever. A server that does not keep to the protocol is `TransferProtocol`, and the channel is closed.
 * - Paths are the server's: `/` between names, relative ones below the folder that the server begins in, which is mostly the
 *   user's home. `~` and wildcards mean nothing. Names are UTF-8.
 * - Sizes and offsets are 64 bits wide and given as `bigint`; a `number` is taken too. Times are whole seconds.
 * - Interrupting an operation does not undo it: the server may have done it, or be about to. A file that was being opened is
 *   closed.
 *
 * **Gotchas**
 *
 * - OpenSSH says `Failure` to much that has a name elsewhere: a file that exists, a folder that is not empty, a full disk.
 * - A file is read as it is in the moment of each request: one that changes meanwhile is read as a mixture.
 *
 * **Example** (Reading a file, and writing another)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import type { SshSession } from "hawser"
 *
 * const compact = (session: SshSession.SshSession) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const sftp = yield* session.sftp
 *     const { size } = yield* sftp.stat("data.json")
 *     yield* Effect.log(size)
 *     yield* sftp.read("data.json").pipe(
 *       Stream.decodeText,
 *       Stream.map((text) => text.replaceAll("\n", "")),
 *       Stream.encodeText,
 *       Stream.run(sftp.write("data.min.json", { flag: "wx", mode: 0o600 }))
 *     )
 *   }))
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { SshError, type SshErrorReason } from "../errors/SshError.ts"
import { traced } from "../internal/observe.ts"
import type * as Attributes from "../internal/ssh/sftp/attributes.ts"
import type { Client, Limits } from "../internal/ssh/sftp/client.ts"
import * as Copy from "../internal/ssh/sftp/copy.ts"
import type * as Directory from "../internal/ssh/sftp/directory.ts"
import * as Operations from "../internal/ssh/sftp/operations.ts"
import * as Transfer from "../internal/ssh/sftp/transfer.ts"
import * as Tree from "../internal/ssh/sftp/tree.ts"
import type { SshTransfers } from "./SshTransfer.ts"

/**
 * What a server says of a file: `type`, `size` in bytes, the twelve bits of its `mode`, `uid` and `gid`, and when it was last
 * read (`atime`) and changed (`mtime`). What it does not say is none; without a mode the type is `Unknown`.
 *
 * @category models
 * @since 0.1.0
 */
export type SftpAttributes = Attributes.Attributes

/**
 * What is to be changed of a file: `size` in bytes (cut off there, or filled up with zeros), `mode`, `owner` (both numbers, as
 * the protocol has it), `times` (as dates or as seconds since 1970). What is not given stays.
 *
 * @category models
 * @since 0.1.0
 */
export type SftpAttributeChanges = Attributes.AttributeChanges

/**
 * Something in a folder: its `name` there, its `path`, its `attributes` (a link's own), and the line that the server would
 * print for it, as `ls -l` does (`longname`).
 *
 * @category models
 * @since 0.1.0
 */
export type SftpEntry = Directory.Entry

/**
 * How much a server takes at a time, in bytes, and how many files it keeps open at a time (0: it does not say).
 *
 * @category models
 * @since 0.1.0
 */
export type SftpLimits = Limits

/**
 * A file system, as `statvfs(3)` describes it: counts of blocks of `fragmentSize` bytes and of files, and what is allowed.
 *
 * @category models
 * @since 0.1.0
 */
export type FileSystemStats = Operations.FileSystemStats

/**
 * Which part of a file: `length` bytes from `offset`. Default: all of it.
 *
 * @category models
 * @since 0.1.0
 */
export type ReadRange = Transfer.ReadRange

/**
 * How a file is written: `flag` as in C's `fopen`, with `x` for a file that must not exist (default `"w"`: made where it is
 * missing, emptied where it is there), `mode` for one that is made (default: the server's, mostly 0644; that of a file that
 * exists never changes), and `offset`, where to begin (default 0; with `"r+"`, as `"w"` empties the file). With `"a"` all is
 * added to the end, wherever `offset` is.
 *
 * @category models
 * @since 0.1.0
 */
export type WriteOptions = Transfer.WriteTarget

/**
 * How a folder is listed: with all that is below it (`recursive`, default false), then `concurrency` folders at a time (default
 * 16), and with what links lead to in their place (`followSymlinks`, default false; each folder is listed once, so links that
 * lead in circles do no harm).
 *
 * @category models
 * @since 0.1.0
 */
export type ListOptions = Tree.ListOptions

/**
 * A file that is open. Any number of reads and writes may be under way at a time.
 *
 * @category models
 * @since 0.1.0
 */
export interface SftpFile {
  readonly path: string
  /** Reads up to `size` bytes in one request: fewer at the end of the file, none behind it, fewer too where the server likes. */
  readonly read: (offset: bigint | number, size: number) => Effect.Effect<Uint8Array, SshError>
  /** Reads the file, or a part of it, with many requests under way. */
  readonly reads: (range?: ReadRange) => Stream.Stream<Uint8Array, SshError>
  /** Writes all the bytes. */
  readonly write: (offset: bigint | number, bytes: Uint8Array) => Effect.Effect<void, SshError>
  /** Writes what comes, from `offset` on (default 0), with many requests under way. */
  readonly writes: (offset?: bigint | number) => Sink.Sink<void, Uint8Array, never, SshError>
  readonly stat: Effect.Effect<SftpAttributes, SshError>
  readonly setAttributes: (changes: SftpAttributeChanges) => Effect.Effect<void, SshError>
  /** Waits until the server's disk has it (`fsync@openssh.com`). */
  readonly sync: Effect.Effect<void, SshError>
}

/**
 * The files of a server.
 *
 * **Details**
 *
 * Every operation fails with `SftpStatus`, `ConnectionLost` or `TransferProtocol`. Those that need an extension of OpenSSH say
 * which.
 *
 * @category services
 * @since 0.1.0
 */
export interface Sftp extends SshTransfers {
  /** How errors call the server: `ssh ops@bastion:22`. */
  readonly name: string
  /** The extensions that the server says it knows, with their versions. */
  readonly extensions: ReadonlyMap<string, string>
  /** What the server says of itself (`limits@openssh.com`), or what every server must be able to do. */
  readonly limits: SftpLimits
  /** The folder that relative paths are below. */
  readonly currentDirectory: Effect.Effect<string, SshError>

  readonly stat: (path: string) => Effect.Effect<SftpAttributes, SshError>
  /** The attributes of a link itself. */
  readonly lstat: (path: string) => Effect.Effect<SftpAttributes, SshError>
  /** Whether there is something. A link that leads nowhere is nothing. */
  readonly exists: (path: string) => Effect.Effect<boolean, SshError>
  readonly setAttributes: (path: string, changes: SftpAttributeChanges) => Effect.Effect<void, SshError>
  readonly chmod: (path: string, mode: number) => Effect.Effect<void, SshError>
  readonly chown: (path: string, uid: number, gid: number) => Effect.Effect<void, SshError>
  /** Sets when a file was last read and changed: dates, or seconds since 1970. */
  readonly utimes: (path: string, atime: Date | number, mtime: Date | number) => Effect.Effect<void, SshError>
  /** Cuts a file off after `size` bytes (default 0), or fills it up with zeros. */
  readonly truncate: (path: string, size?: bigint | number) => Effect.Effect<void, SshError>
  /** The file system that a path is on (`statvfs@openssh.com`). */
  readonly statvfs: (path: string) => Effect.Effect<FileSystemStats, SshError>

  /** The absolute path without links. OpenSSH gives one also where only the last name is missing. */
  readonly realPath: (path: string) => Effect.Effect<string, SshError>
  /** Where a link leads. */
  readonly readLink: (path: string) => Effect.Effect<string, SshError>
  /** Makes a link at `path` that leads to `target`. */
  readonly symlink: (target: string, path: string) => Effect.Effect<void, SshError>
  /** Gives a file a second name (`hardlink@openssh.com`). */
  readonly hardLink: (existing: string, path: string) => Effect.Effect<void, SshError>

  /** What is in a folder, as it comes. With `recursive`, what is in a folder comes before what is below it. */
  readonly list: (path: string, options?: ListOptions) => Stream.Stream<SftpEntry, SshError>
  /** What is in a folder, in the server's order. */
  readonly readDirectory: (path: string) => Effect.Effect<ReadonlyArray<SftpEntry>, SshError>
  /** Makes a folder. With `recursive` those that it is in too, and one that is there already will do. */
  readonly mkdir: (
    path: string,
    options?: { readonly recursive?: boolean | undefined; readonly mode?: number | undefined }
  ) => Effect.Effect<void, SshError>
  /** Removes an empty folder. */
  readonly rmdir: (path: string) => Effect.Effect<void, SshError>
  /** Removes a file or a link. With `recursive` a folder too, with all that is in it; with `force` nothing will do as well. */
  readonly remove: (
    path: string,
    options?: { readonly recursive?: boolean | undefined; readonly force?: boolean | undefined }
  ) => Effect.Effect<void, SshError>
  /**
   * Gives a file or folder another name. Fails where that is taken, unless `overwrite` (default false) is set: then the file
   * takes its place in one step (`posix-rename@openssh.com`), or, where the server has no such step, after it was removed.
   */
  readonly rename: (
    from: string,
    to: string,
    options?: { readonly overwrite?: boolean | undefined }
  ) => Effect.Effect<void, SshError>
  /**
   * Copies a file, on the server where it can (`copy-data`), else through here. Fails where `to` exists, unless `overwrite`
   * (default false) is set. The copy gets the mode of the source, less what the server's umask takes away.
   */
  readonly copy: (
    from: string,
    to: string,
    options?: { readonly overwrite?: boolean | undefined }
  ) => Effect.Effect<void, SshError>

  /** Opens a file for as long as the scope lives. `flag` is `"r"` by default; `mode` is for a file that is made. */
  readonly open: (
    path: string,
    options?: { readonly flag?: FileSystem.OpenFlag | undefined; readonly mode?: number | undefined }
  ) => Effect.Effect<SftpFile, SshError, Scope.Scope>
  /**
   * The bytes of a file, as they arrive. No more is asked for while nobody takes them: 2 MiB are under way on a short way, up to
   * 32 MiB on a long one.
   */
  readonly read: (path: string, range?: ReadRange) => Stream.Stream<Uint8Array, SshError>
  /**
   * All the bytes of a file. `expectedSize`, where it is known from a list or from `stat` and not large, saves a round trip;
   * the file is read whole also where it is wrong.
   */
  readonly readFile: (
    path: string,
    options?: ReadRange & { readonly expectedSize?: bigint | number | undefined }
  ) => Effect.Effect<Uint8Array<ArrayBuffer>, SshError>
  /** All of a file as UTF-8 text. */
  readonly readText: (path: string) => Effect.Effect<string, SshError>
  /** Takes the bytes of a file. Done when the server has written and closed it. */
  readonly write: (path: string, options?: WriteOptions) => Sink.Sink<void, Uint8Array, never, SshError>
  /** Writes a file: bytes, or text as UTF-8. Done when the server has written and closed it. */
  readonly writeFile: (
    path: string,
    content: Uint8Array | string,
    options?: WriteOptions
  ) => Effect.Effect<void, SshError>
}

/**
 * The files of the server that a client has greeted.
 *
 * @internal
 */
export const make = (client: Client, name: string, transfers: SshTransfers): Sftp => {
  const failed = (reason: SshErrorReason) => new SshError({ server: name, reason })
  const run = <A, R = never>(
    operation: string,
    path: string,
    effect: Effect.Effect<A, SshErrorReason, R>
  ): Effect.Effect<A, SshError, R> =>
    traced(`Sftp.${operation}`, () => ({ server: name, path }))(Effect.mapError(effect, failed)) as Effect.Effect<
      A,
      SshError,
      R
    >

  const file = (handle: Operations.Handle): SftpFile => ({
    path: handle.path,
    read: (offset, size) =>
      Effect.mapError(
        Operations.readOnce(client, handle, BigInt(offset), Math.min(size, client.limits.read)),
        failed
      ),
    reads: (range) => Stream.mapError(Stream.scoped(Stream.fromPull(Transfer.reads(client, handle, range))), failed),
    write: (offset, bytes) => Effect.mapError(Transfer.writeTo(client, handle, BigInt(offset), bytes), failed),
    writes: (offset) => Sink.mapError(Transfer.writesTo(client, handle, offset), failed),
    stat: Effect.mapError(Operations.fstat(client, handle), failed),
    setAttributes: (changes) => Effect.mapError(Operations.fsetstat(client, handle, changes), failed),
    sync: Effect.mapError(Operations.fsync(client, handle), failed)
  })

  const set = (operation: string, path: string, changes: SftpAttributeChanges) =>
    run(operation, path, Operations.setAttributes(client, path, changes, operation))

  const readFile: Sftp["readFile"] = (path, options) =>
    run(
      "readFile",
      path,
      Transfer.readFile(
        client,
        path,
        options,
        options?.expectedSize === undefined ? undefined : Number(options.expectedSize)
      )
    )

  return {
    ...transfers,
    name,
    extensions: client.extensions,
    limits: client.limits,
    currentDirectory: run("realPath", ".", Operations.realPath(client, ".")),
    stat: (path) => run("stat", path, Operations.stat(client, path)),
    lstat: (path) => run("lstat", path, Operations.lstat(client, path)),
    exists: (path) => run("exists", path, Operations.exists(client, path)),
    setAttributes: (path, changes) => set("setAttributes", path, changes),
    chmod: (path, mode) => set("chmod", path, { mode }),
    chown: (path, uid, gid) => set("chown", path, { owner: { uid, gid } }),
    utimes: (path, atime, mtime) => set("utimes", path, { times: { atime, mtime } }),
    truncate: (path, size) => set("truncate", path, { size: size ?? 0 }),
    statvfs: (path) => run("statvfs", path, Operations.statvfs(client, path)),
    realPath: (path) => run("realPath", path, Operations.realPath(client, path)),
    readLink: (path) => run("readLink", path, Operations.readLink(client, path)),
    symlink: (target, path) => run("symlink", path, Operations.symlink(client, target, path)),
    hardLink: (existing, path) => run("hardLink", path, Operations.hardLink(client, existing, path)),
    list: (path, options) => Stream.mapError(Tree.list(client, path, options), failed),
    readDirectory: (path) => run("readDirectory", path, Tree.readDirectory(client, path)),
    mkdir: (path, options) =>
      run(
        "mkdir",
        path,
        (options?.recursive === true ? Operations.mkdirs : Operations.mkdir)(client, path, options?.mode)
      ),
    rmdir: (path) => run("rmdir", path, Operations.rmdir(client, path)),
    remove: (path, options) => run("remove", path, Tree.remove(client, path, options ?? {})),
    rename: (from, to, options) =>
      run("rename", from, (options?.overwrite === true ? Operations.replace : Operations.rename)(client, from, to)),
    copy: (from, to, options) =>
      run("copy", from, Copy.copy(client, from, to, options?.overwrite === true ? "w" : "wx")),
    open: (path, options) =>
      run(
        "open",
        path,
        Effect.map(
          Operations.scoped(client, Operations.openFile(client, path, options?.flag ?? "r", options?.mode)),
          file
        )
      ),
    read: (path, range) => Stream.mapError(Transfer.read(client, path, range), failed),
    readFile,
    readText: (path) => Effect.map(readFile(path), (bytes) => new TextDecoder().decode(bytes)),
    write: (path, options) => Sink.mapError(Transfer.write(client, path, options), failed),
    writeFile: (path, content, options) =>
      run(
        "writeFile",
        path,
        Transfer.writeFile(client, path, typeof content === "string" ? Buffer.from(content) : content, options)
      )
  }
}
