/**
 * Effect's `FileSystem` on another machine: programs that work with files work over SFTP unchanged.
 *
 * **Details**
 *
 * - What SFTP says about failures becomes the `PlatformError` that the same operation gives on this machine: `NotFound`,
 *   `PermissionDenied`, `AlreadyExists`, ...; the `SshError` is its cause. A lost connection is `Unknown`, as is what OpenSSH
 *   calls `Failure`: a disk that is full, a folder that is not empty.
 * - `stream` and `sink` keep many requests under way, as `Sftp.read` and `Sftp.write` do; so does `readFile`. The methods of an
 *   open `File` are one request each, and those with a position may run at the same time.
 * - Times are whole seconds. The server tells no device, inode, number of links or time of birth: `dev` is 0, the others are
 *   none.
 * - `watch` asks the server again every second (`watchInterval`); what comes and goes between two looks is not seen.
 *
 * **Gotchas**
 *
 * - `access` asks for what a file allows by opening it. Whether a folder can be written to is not known before it is done, so
 *   only its mode is looked at.
 * - `noFollow` is `BadArgument`, as are `link` and `sync` where the server lacks OpenSSH's extensions.
 * - Temporary files are made in `/tmp` unless `tempDirectory` says otherwise.
 *
 * **Example** (One program, two machines)
 *
 * ```ts
 * import { Effect, FileSystem, Layer } from "effect"
 * import { Dialer, SftpFileSystem, SshAuth } from "hawser"
 *
 * const hostname = Effect.gen(function*() {
 *   const fs = yield* FileSystem.FileSystem
 *   return (yield* fs.readFileString("/etc/hostname")).trim()
 * })
 *
 * const Remote = SftpFileSystem.layer({
 *   host: "web-1",
 *   username: "ops",
 *   auth: SshAuth.privateKey({ key: "~/.ssh/id_ed25519" })
 * }).pipe(Layer.provide(Dialer.layer))
 *
 * const program = hostname.pipe(Effect.provide(Remote))
 * ```
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Schedule from "effect/Schedule"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import type { DialError } from "../errors/DialError.ts"
import type { SshError } from "../errors/SshError.ts"
import { alreadyExists, badArgument, fromSsh, notWritable } from "../internal/ssh/sftp/platformError.ts"
import { Dialer } from "../services/Dialer.ts"
import type { Sftp, SftpAttributes, SftpFile } from "../services/Sftp.ts"
import * as Ssh from "../services/Ssh.ts"
import type { SshSettings } from "../services/SshSettings.ts"

/**
 * Settings of the file system.
 *
 * @category models
 * @since 0.1.0
 */
export interface SftpFileSystemOptions {
  /** Where temporary files and folders are made. Default `/tmp`. */
  readonly tempDirectory?: string | undefined
  /** How often `watch` looks. Default 1 second. */
  readonly watchInterval?: Duration.Input | undefined
}

const typeBits: Readonly<Record<FileSystem.File.Type, number>> = {
  FIFO: 0o010000,
  CharacterDevice: 0o020000,
  Directory: 0o040000,
  BlockDevice: 0o060000,
  File: 0o100000,
  SymbolicLink: 0o120000,
  Socket: 0o140000,
  Unknown: 0
}

const infoOf = (attributes: SftpAttributes): FileSystem.File.Info => ({
  type: attributes.type,
  mtime: attributes.mtime,
  atime: attributes.atime,
  birthtime: Option.none(),
  dev: 0n,
  ino: Option.none(),
  mode: typeBits[attributes.type] | Option.getOrElse(attributes.mode, () => 0),
  nlink: Option.none(),
  uid: attributes.uid,
  gid: attributes.gid,
  rdev: Option.none(),
  size: ByteSize.bytes(Option.getOrElse(attributes.size, () => 0n)),
  blksize: Option.none(),
  blocks: Option.none()
})

/** An open file with a place in it, as the kernel keeps one for a process. */
class RemoteFile implements FileSystem.File {
  readonly [FileSystem.FileTypeId]: typeof FileSystem.FileTypeId = FileSystem.FileTypeId
  private position = 0n
  private readonly file: SftpFile
  private readonly append: boolean

  constructor(file: SftpFile, append: boolean) {
    this.file = file
    this.append = append
  }

  private failed<A>(method: string, effect: Effect.Effect<A, SshError>): Effect.Effect<A, PlatformError> {
    return Effect.mapError(effect, fromSsh(method, this.file.path))
  }

  get stat() {
    return Effect.map(this.failed("stat", this.file.stat), infoOf)
  }

  get sync() {
    return this.failed("sync", this.file.sync)
  }

  seek(offset: bigint, from: FileSystem.SeekMode) {
    return Effect.suspend(() => {
      const position = from === "start" ? offset : this.position + offset
      if (position < 0n) return Effect.fail(badArgument("seek", "cannot seek before the start of the file"))
      this.position = position
      return Effect.succeed(position)
    })
  }

  private bytes(method: string, size: number, position: bigint | undefined) {
    return Effect.suspend(() => {
      if (!Number.isInteger(size) || size < 0) return Effect.fail(badArgument(method, "the size is not a whole number"))
      const at = position ?? this.position
      if (at < 0n) return Effect.fail(badArgument(method, "cannot read before the start of the file"))
      return Effect.map(this.failed(method, this.file.read(at, size)), (bytes) => {
        if (position === undefined) this.position = at + BigInt(bytes.length)
        return bytes
      })
    })
  }

  read(buffer: Uint8Array, options?: FileSystem.File.ReadOptions) {
    return Effect.map(this.bytes("read", buffer.length, options?.position), (bytes) => {
      buffer.set(bytes)
      return bytes.length
    })
  }

  readAlloc(size: number, options?: FileSystem.File.ReadOptions) {
    return Effect.map(
      this.bytes("readAlloc", size, options?.position),
      (bytes) => bytes.length === 0 ? Option.none() : Option.some(bytes)
    )
  }

  truncate(length = 0) {
    return Effect.map(this.failed("truncate", this.file.setAttributes({ size: length })), () => {
      const end = BigInt(length)
      if (!this.append && this.position > end) this.position = end
    })
  }

  write(buffer: Uint8Array) {
    return Effect.suspend(() => {
      const at = this.position
      return Effect.map(this.failed("write", this.file.write(at, buffer)), () => {
        if (!this.append) this.position = at + BigInt(buffer.length)
        return buffer.length
      })
    })
  }

  writeAll(buffer: Uint8Array) {
    return Effect.asVoid(this.write(buffer))
  }
}

/** What tells whether a file is another one than at the last look. */
const versionOf = ({ mtime, size, type }: SftpAttributes) =>
  `${type} ${Option.getOrElse(size, () => 0n)} ${Option.getOrElse(Option.map(mtime, Number), () => 0)}`

type Look = ReadonlyMap<string, string>

const changes = (before: Look, after: Look): Array<FileSystem.WatchEvent> => [
  ...[...after].flatMap(([path, version]): Array<FileSystem.WatchEvent> => {
    if (!before.has(path)) return [{ _tag: "Create", path }]
    return before.get(path) === version ? [] : [{ _tag: "Update", path }]
  }),
  ...[...before.keys()].filter((path) => !after.has(path)).map((path) => ({ _tag: "Remove", path }) as const)
]

const concurrency = 16

const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1)

/** The paths of what is below a folder, without the folder's own. */
const below = (folder: string) => {
  const prefix = folder === "" || folder === "." ? 0 : folder.endsWith("/") ? folder.length : folder.length + 1
  return (path: string) => path.slice(prefix)
}

const inPieces = (size: number) => (bytes: Uint8Array): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size))

/**
 * A file system over an `Sftp` you have in hand.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (sftp: Sftp, options?: SftpFileSystemOptions): FileSystem.FileSystem => {
  const tempDirectory = options?.tempDirectory ?? "/tmp"
  const watchInterval = options?.watchInterval ?? Duration.seconds(1)

  const failed = <A, R>(method: string, path: string, effect: Effect.Effect<A, SshError, R>) =>
    Effect.mapError(effect, fromSsh(method, path))

  /** For what fails where something has the name already, for which SFTP has no number. */
  const making = <A, R>(method: string, path: string, effect: Effect.Effect<A, SshError, R>) =>
    Effect.catch(effect, (error) =>
      error.reason._tag !== "SftpStatus" || error.reason.status !== "Failure"
        ? Effect.fail(fromSsh(method, path)(error))
        : Effect.matchEffect(sftp.lstat(path), {
          onSuccess: () => Effect.fail(alreadyExists(method, path, error)),
          onFailure: () => Effect.fail(fromSsh(method, path)(error))
        }))

  const access: FileSystem.FileSystem["access"] = (path, options) => {
    const open = (flag: FileSystem.OpenFlag) => Effect.asVoid(Effect.scoped(sftp.open(path, { flag })))
    return Effect.gen(function*() {
      const { mode, type } = yield* failed("access", path, sftp.stat(path))
      if (type !== "Directory") {
        if (options?.readable === true) yield* failed("access", path, open("r"))
        if (options?.writable === true) yield* failed("access", path, open("r+"))
        return
      }
      if (options?.readable === true) yield* failed("access", path, Stream.runHead(sftp.list(path)))
      const closed = Option.exists(mode, (mode) => (mode & 0o222) === 0)
      yield* options?.writable === true && closed ? Effect.fail(notWritable(path)) : Effect.void
    })
  }

  const copyTree = (
    from: string,
    to: string,
    overwrite: boolean,
    preserveTimestamps: boolean
  ): Effect.Effect<void, PlatformError> =>
    Effect.gen(function*() {
      const attributes = yield* failed("copy", from, sftp.lstat(from))
      const there = yield* Effect.option(sftp.lstat(to))
      if (attributes.type === "Directory") {
        if (Option.isNone(there)) {
          const mode = Option.getOrUndefined(attributes.mode)
          yield* failed("copy", to, sftp.mkdir(to, { recursive: true, mode }))
        }
        const entries = yield* failed("copy", from, sftp.readDirectory(from))
        yield* Effect.forEach(
          entries,
          ({ name, path }) => copyTree(path, `${to}/${name}`, overwrite, preserveTimestamps),
          { concurrency, discard: true }
        )
      } else {
        if (Option.isSome(there) && !overwrite) return
        if (attributes.type === "SymbolicLink") {
          const target = yield* failed("copy", from, sftp.readLink(from))
          if (Option.isSome(there)) yield* failed("copy", to, sftp.remove(to))
          yield* failed("copy", to, sftp.symlink(target, to))
          return
        }
        yield* failed("copy", from, sftp.copy(from, to, { overwrite }))
      }
      if (preserveTimestamps && Option.isSome(attributes.atime) && Option.isSome(attributes.mtime)) {
        yield* failed("copy", to, sftp.utimes(to, attributes.atime.value, attributes.mtime.value))
      }
    })

  const makeTempDirectory = (method: string): FileSystem.FileSystem["makeTempDirectory"] => (options) =>
    Effect.suspend(() => {
      const folder = options?.directory ?? tempDirectory
      const path = `${folder}/${options?.prefix ?? ""}${Crypto.randomBytes(8).toString("hex")}`
      return Effect.as(making(method, path, sftp.mkdir(path, { mode: 0o700 })), path)
    })

  const makeTempFile = (method: string): FileSystem.FileSystem["makeTempFile"] =>
    Effect.fnUntraced(function*(options) {
      const folder = yield* makeTempDirectory(method)(options)
      const path = `${folder}/${Crypto.randomBytes(8).toString("hex")}${options?.suffix ?? ""}`
      yield* failed(method, path, sftp.writeFile(path, new Uint8Array(0), { flag: "wx", mode: 0o600 }))
      return path
    })

  /** A session that is gone takes nothing away any more, and that is no reason for a scope to fail. */
  const removed = (path: string) => Effect.ignore(sftp.remove(path, { recursive: true, force: true }))

  const look = (path: string, recursive: boolean): Effect.Effect<Look, PlatformError> =>
    Effect.gen(function*() {
      const info = yield* failed("watch", path, sftp.stat(path))
      if (info.type !== "Directory") return new Map([[nameOf(path), versionOf(info)]])
      const relative = below(path)
      const entries = yield* failed("watch", path, Stream.runCollect(sftp.list(path, { recursive })))
      return new Map(entries.map(({ attributes, path }) => [relative(path), versionOf(attributes)]))
    })

  const fileSystem = FileSystem.make({
    access,
    chmod: (path, mode) => failed("chmod", path, sftp.chmod(path, mode)),
    chown: (path, uid, gid) => failed("chown", path, sftp.chown(path, uid, gid)),
    copy: (from, to, options) => copyTree(from, to, options?.overwrite === true, options?.preserveTimestamps === true),
    copyFile: (from, to) => failed("copyFile", from, sftp.copy(from, to, { overwrite: true })),
    link: (from, to) => making("link", to, sftp.hardLink(from, to)),
    lstat: (path) => Effect.map(failed("lstat", path, sftp.lstat(path)), infoOf),
    makeDirectory: (path, options) => making("makeDirectory", path, sftp.mkdir(path, options)),
    makeTempDirectory: makeTempDirectory("makeTempDirectory"),
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeTempDirectory("makeTempDirectoryScoped")(options), removed),
    makeTempFile: makeTempFile("makeTempFile"),
    makeTempFileScoped: (options) =>
      Effect.acquireRelease(
        makeTempFile("makeTempFileScoped")(options),
        (path) => removed(path.slice(0, path.lastIndexOf("/")))
      ),
    open: (path, options) =>
      options?.noFollow === true
        ? Effect.fail(badArgument("open", "SFTP cannot leave links alone"))
        : Effect.map(
          making("open", path, sftp.open(path, options)),
          (file) => new RemoteFile(file, options?.flag?.startsWith("a") === true)
        ),
    readDirectory: (path, options) =>
      Effect.map(
        failed(
          "readDirectory",
          path,
          Stream.runCollect(sftp.list(path, { recursive: options?.recursive === true }))
        ),
        (entries) => {
          const relative = below(path)
          return entries.map((entry) => relative(entry.path))
        }
      ),
    readDirectoryEntries: (path) =>
      Effect.map(
        failed("readDirectoryEntries", path, sftp.readDirectory(path)),
        (entries) => entries.map(({ attributes, name }) => ({ name, type: attributes.type }))
      ),
    readFile: (path) => failed("readFile", path, sftp.readFile(path)),
    readLink: (path) => failed("readLink", path, sftp.readLink(path)),
    // servers give a path also to what is not there
    realPath: (path) => failed("realPath", path, Effect.andThen(sftp.stat(path), sftp.realPath(path))),
    remove: (path, options) => failed("remove", path, sftp.remove(path, options)),
    rename: (from, to) => failed("rename", from, sftp.rename(from, to, { overwrite: true })),
    stat: (path) => Effect.map(failed("stat", path, sftp.stat(path)), infoOf),
    symlink: (target, path) => making("symlink", path, sftp.symlink(target, path)),
    truncate: (path, length) => failed("truncate", path, sftp.truncate(path, length)),
    utimes: (path, atime, mtime) => failed("utimes", path, sftp.utimes(path, atime, mtime)),
    watch: (path, options) =>
      Stream.unwrap(Effect.gen(function*() {
        const looked = look(path, options?.recursive === true)
        let before = yield* looked
        options?.onReady?.()
        return Stream.fromSchedule(Schedule.spaced(watchInterval)).pipe(
          Stream.mapEffect(() => looked),
          Stream.map((after) => {
            const found = changes(before, after)
            before = after
            return found
          }),
          Stream.flattenIterable
        )
      })),
    writeFile: (path, data, options) => making("writeFile", path, sftp.writeFile(path, data, options))
  })

  return FileSystem.FileSystem.of({
    ...fileSystem,
    stream: (path, options) => {
      const range = {
        offset: options?.offset === undefined ? undefined : ByteSize.fromInputUnsafe(options.offset),
        length: options?.bytesToRead === undefined ? undefined : ByteSize.fromInputUnsafe(options.bytesToRead)
      }
      const bytes = Stream.mapError(sftp.read(path, range), fromSsh("stream", path))
      const size = options?.chunkSize
      return size === undefined ? bytes : Stream.flattenIterable(Stream.map(bytes, inPieces(Math.max(1, size))))
    },
    sink: (path, options) => Sink.mapError(sftp.write(path, options), fromSsh("sink", path))
  })
}

/**
 * Effect's `FileSystem` on an SSH server. The layer opens one session when it is built and closes it when it is released; it
 * fails to build as `Ssh.connect` and `session.sftp` fail. Each call makes a new layer with a session of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  settings: SshSettings,
  options?: SftpFileSystemOptions
): Layer.Layer<FileSystem.FileSystem, DialError | SshError, Dialer> =>
  Layer.fresh(Layer.effect(
    FileSystem.FileSystem,
    Effect.gen(function*() {
      const session = yield* Ssh.make(yield* Dialer).connect(settings)
      return make(yield* session.sftp, options)
    })
  ))
