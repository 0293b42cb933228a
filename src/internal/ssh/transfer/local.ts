import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"
import * as Pull from "effect/Pull"
import * as Crypto from "node:crypto"
import type { Chunks, Files, Writer } from "./files.ts"
import { join, temporaryBeside } from "./names.ts"
import type { Attributes, EntryType } from "./options.ts"

/** How much is read at once. */
const chunkSize = 1024 * 1024
/** How much is written at once. */
const blockSize = 512 * 1024

const typeOf = (type: FileSystem.File.Type): EntryType =>
  type === "File" || type === "Directory" || type === "SymbolicLink" ? type : "Other"

const seconds = (date: Option.Option<Date>): number =>
  Option.match(date, { onNone: () => 0, onSome: (date) => Math.floor(date.getTime() / 1000) })

const attributesOf = (info: FileSystem.File.Info): Attributes => ({
  type: typeOf(info.type),
  size: Number(info.size),
  mode: info.mode & 0o7777,
  atime: seconds(info.atime),
  mtime: seconds(info.mtime)
})

/** A file's bytes from here on, the next of them read while those before are used. */
const readAhead = Effect.fnUntraced(function*(file: FileSystem.File) {
  const scope = yield* Effect.scope
  const next = Effect.forkIn(file.readAlloc(chunkSize), scope, { startImmediately: true })
  let reading = yield* next
  const pull: Pull.Pull<Chunks, PlatformError.PlatformError> = Effect.gen(function*() {
    const chunk = yield* Fiber.join(reading)
    if (Option.isNone(chunk)) return yield* Cause.done()
    reading = yield* next
    return Arr.of(chunk.value)
  })
  return pull
})

/**
 * Writes a file in large blocks, one of them while the next fills up. The two are used again and again: what comes from the
 * network is in many small pieces, and calling the system for each, or joining them, costs more than to copy them.
 */
const inBlocks = Effect.fnUntraced(function*(file: FileSystem.File) {
  const scope = yield* Effect.scope
  let block: Uint8Array = Buffer.allocUnsafeSlow(blockSize)
  let filled = 0
  let spare: Uint8Array | undefined
  let writing: Fiber.Fiber<void, PlatformError.PlatformError> | undefined

  const written = Effect.suspend(() => writing === undefined ? Effect.void : Fiber.join(writing))

  const flush = Effect.gen(function*() {
    yield* written
    // the system may still be at it when an interrupted effect has gone on
    const write = Effect.uninterruptible(file.writeAll(block.subarray(0, filled)))
    writing = yield* Effect.forkIn(write, scope, { startImmediately: true })
    const free = spare ?? Buffer.allocUnsafeSlow(blockSize)
    spare = block
    block = free
    filled = 0
  })

  const put = (chunks: Chunks, index: number, from: number): Effect.Effect<void, PlatformError.PlatformError> =>
    Effect.suspend(() => {
      for (let at = from; index < chunks.length; index++, at = 0) {
        const chunk = chunks[index]!
        while (at < chunk.length) {
          const size = Math.min(chunk.length - at, blockSize - filled)
          block.set(chunk.subarray(at, at + size), filled)
          at += size
          filled += size
          if (filled === blockSize) return Effect.andThen(flush, put(chunks, index, at))
        }
      }
      return Effect.void
    })

  const writer: Writer<PlatformError.PlatformError> = {
    copies: true,
    write: (chunks) => put(chunks, 0, 0),
    finish: (fsync) =>
      Effect.suspend(() => filled > 0 ? flush : Effect.void).pipe(
        Effect.andThen(written),
        Effect.andThen(fsync ? file.sync : Effect.void)
      )
  }
  return writer
})

/** The file system of this machine, or whichever takes its place. */
export const local = (fs: FileSystem.FileSystem): Files<PlatformError.PlatformError> => {
  const failure = (operation: string, path: string, description: string) =>
    PlatformError.systemError({
      _tag: "Unknown",
      module: "FileSystem",
      method: operation,
      pathOrDescriptor: path,
      description
    })

  const lstat = (path: string) => Effect.map(fs.lstat(path), attributesOf)

  return {
    stat: (path) => Effect.map(fs.stat(path), attributesOf),
    lstat,
    isMissing: ({ reason }) => reason._tag === "NotFound",
    list: (path) =>
      Effect.flatMap(
        fs.readDirectoryEntries(path),
        (entries) =>
          Effect.forEach(entries, ({ name, type }) =>
            type === "Unknown"
              ? Effect.map(lstat(join(path, name)), (attributes) => ({ name, type: attributes.type, attributes }))
              : Effect.succeed({ name, type: typeOf(type) }))
      ),
    realPath: fs.realPath,
    readLink: fs.readLink,
    makeLink: Effect.fnUntraced(function*(path, text) {
      const temporary = temporaryBeside(path)
      yield* fs.symlink(text, temporary)
      yield* Effect.onError(fs.rename(temporary, path), () => Effect.ignore(fs.remove(temporary)))
    }),
    makeDirectory: (path, mode) => fs.makeDirectory(path, { mode }),
    rename: fs.rename,
    remove: fs.remove,
    change: (path, { mode, times }) =>
      Effect.andThen(
        mode === undefined ? Effect.void : fs.chmod(path, mode),
        times === undefined ? Effect.void : fs.utimes(path, times.atime, times.mtime)
      ),
    readAll: fs.readFile,
    // the system may still be at it when an interrupted effect has gone on
    writeAll: (path, content, { exclusive, mode }) =>
      Effect.uninterruptible(fs.writeFile(path, content, { flag: exclusive ? "wx" : "w", mode })),
    read: Effect.fnUntraced(function*(path, offset) {
      const file = yield* fs.open(path)
      yield* file.seek(BigInt(offset), "start")
      return yield* readAhead(file)
    }),
    write: Effect.fnUntraced(function*(path, { exclusive, mode, offset }) {
      const file = yield* fs.open(path, { flag: exclusive ? "wx" : offset > 0 ? "r+" : "w", mode })
      yield* file.seek(BigInt(offset), "start")
      return yield* inBlocks(file)
    }),
    sha256: (path) =>
      Effect.scoped(Effect.gen(function*() {
        const hash = Crypto.createHash("sha256")
        const pull = yield* readAhead(yield* fs.open(path))
        yield* Effect.map(pull, (chunks) => chunks.forEach((chunk) => hash.update(chunk))).pipe(
          Effect.forever({ disableYield: true }),
          Pull.catchDone(() => Effect.void)
        )
        return hash.digest("hex")
      })),
    failure
  }
}
