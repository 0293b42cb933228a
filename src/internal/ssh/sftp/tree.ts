import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import type { Client } from "./client.ts"
import { type Entry, join, names } from "./directory.ts"
import * as Operations from "./operations.ts"

/** How a folder is listed. */
export interface ListOptions {
  readonly recursive?: boolean | undefined
  readonly followSymlinks?: boolean | undefined
  readonly concurrency?: number | undefined
}

const defaultConcurrency = 16

const opened = (client: Client, path: string) =>
  Operations.scoped(client, Operations.openDirectory(client, path === "" ? "." : path))

const flat = (client: Client, path: string): Stream.Stream<Entry, SshErrorReason> =>
  Stream.scoped(Stream.fromPull(
    Effect.map(opened(client, path), (handle) => names(client, { ...handle, path }))
  ))

/** All that is in a folder. */
export const readDirectory = (client: Client, path: string): Effect.Effect<Array<Entry>, SshErrorReason> =>
  Stream.runCollect(flat(client, path))

/** A folder that is still to be listed. */
interface Folder {
  readonly path: string
}

/** What is below a folder: as many folders at a time as is said, and what they have in them before what is below that. */
class Walk {
  private readonly client: Client
  private readonly concurrency: number
  private readonly follow: boolean
  private readonly folders: Array<Folder>
  /** The real paths of folders that were listed, where links could lead to them a second time. */
  private readonly seen = new Set<string>()
  private started = false

  constructor(client: Client, path: string, options: ListOptions) {
    this.client = client
    this.concurrency = options.concurrency ?? defaultConcurrency
    this.follow = options.followSymlinks === true
    this.folders = [{ path }]
  }

  /** Whether a folder has not been listed yet. */
  private isNew(path: string): Effect.Effect<boolean, SshErrorReason> {
    return Effect.map(Operations.realPath(this.client, path), (real) => {
      if (this.seen.has(real)) return false
      this.seen.add(real)
      return true
    })
  }

  /** Where a link leads, or the link itself where that leads nowhere. */
  private followed(entry: Entry): Effect.Effect<Entry, SshErrorReason> {
    return entry.attributes.type === "SymbolicLink"
      ? Operations.stat(this.client, entry.path).pipe(
        Effect.map((attributes) => ({ ...entry, attributes })),
        Effect.catchIf(({ _tag }) => _tag === "SftpStatus", () => Effect.succeed(entry))
      )
      : Effect.succeed(entry)
  }

  private list({ path }: Folder): Effect.Effect<ReadonlyArray<Entry>, SshErrorReason> {
    const found = readDirectory(this.client, path)
    if (!this.follow) return found
    return Effect.flatMap(this.isNew(path === "" ? "." : path), (isNew) =>
      isNew
        ? Effect.flatMap(found, Effect.forEach((entry) => this.followed(entry), { concurrency: this.concurrency }))
        : Effect.succeed([]))
  }

  readonly pull: Pull.Pull<Arr.NonEmptyReadonlyArray<Entry>, SshErrorReason> = Effect.suspend(() => {
    const folders = this.folders.splice(0, this.concurrency)
    if (folders.length === 0) return Cause.done()
    const lists = Effect.forEach(folders, (folder) => {
      // what is not the first may have gone since it was seen
      const list = this.list(folder)
      return this.started ? Effect.catchIf(list, Operations.isMissing, () => Effect.succeed([])) : list
    }, { concurrency: this.concurrency })
    return Effect.flatMap(lists, (lists) => {
      this.started = true
      const found = lists.flat()
      for (const entry of found) {
        if (entry.attributes.type === "Directory") this.folders.push({ path: entry.path })
      }
      return Arr.isReadonlyArrayNonEmpty(found) ? Effect.succeed(found) : this.pull
    })
  })
}

/** What is in a folder, or below it. */
export const list = (
  client: Client,
  path: string,
  options: ListOptions | undefined
): Stream.Stream<Entry, SshErrorReason> =>
  options?.recursive === true
    ? Stream.fromPull(Effect.sync(() => new Walk(client, path, options).pull))
    : flat(client, path)

/** Removes a folder with all that is in it, links but not what they lead to. */
const removeTree = Effect.fnUntraced(function*(client: Client, path: string) {
  const folders: Array<Array<string>> = [[path]]
  const depthOf = (path: string) => path.split("/").length
  const top = depthOf(join(path, ""))
  const each = { concurrency: defaultConcurrency, discard: true } as const
  yield* Stream.runForEachArray(
    list(client, path, { recursive: true }),
    (entries) =>
      Effect.forEach(entries, ({ attributes, path }) => {
        if (attributes.type !== "Directory") return Operations.unlink(client, path)
        const depth = depthOf(path) - top + 1
        ;(folders[depth] ??= []).push(path)
        return Effect.void
      }, each)
  )
  // from the bottom up
  for (const level of folders.toReversed()) {
    yield* Effect.forEach(level, (path) => Operations.rmdir(client, path), each)
  }
})

/** Removes a file, or, when it is asked for, a folder with all that is in it. */
export const remove = (
  client: Client,
  path: string,
  { force, recursive }: { readonly recursive?: boolean | undefined; readonly force?: boolean | undefined }
): Effect.Effect<void, SshErrorReason> => {
  const removed = recursive === true
    ? Effect.flatMap(
      Operations.lstat(client, path),
      ({ type }) => type === "Directory" ? removeTree(client, path) : Operations.unlink(client, path)
    )
    : Operations.unlink(client, path)
  return force === true ? Effect.catchIf(removed, Operations.isMissing, () => Effect.void) : removed
}
