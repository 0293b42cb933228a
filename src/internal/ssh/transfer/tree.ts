import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Semaphore from "effect/Semaphore"
import type { SshError } from "../../../errors/SshError.ts"
import { copyFile, type Job, sourceOf } from "./file.ts"
import { type Entry, type Files, find, makeFolder } from "./files.ts"
import { join, refusal } from "./names.ts"
import type { Attributes, TransferFailure } from "./options.ts"
import { step, type Trail, trailhead } from "./walk.ts"

/** How many folders are read at once. */
const foldersAtOnce = 8
/** How many entries of a folder are looked at at once. */
const entriesAtOnce = 16
/** How many files may have been found and not been copied; walking waits there. */
const foundAhead = 16_384

/** A copy of a folder from one file system to another. */
export interface TreeJob<E1, E2> extends Job {
  readonly from: Files<E1>
  readonly to: Files<E2>
  /** Whether the two can no longer speak with each other, so that no other file would fare better. */
  readonly isOver: () => boolean
}

interface Folder {
  readonly source: string
  readonly target: string
  /** Seen from the outermost folder. */
  readonly relative: string
  readonly attributes: Attributes
  readonly trail: Trail
  /** Whether nothing can be in its copy that was not put there by this transfer. */
  readonly fresh: boolean
}

/** Something in a folder that is not one itself. */
interface Found {
  readonly folder: Folder
  readonly name: string
  /** Seen from the outermost folder. */
  readonly relative: string
  readonly attributes: Attributes
}

/** Copies a folder with all that is in it. */
export const copyTree = Effect.fnUntraced(
  function*<E1 extends TransferFailure["error"], E2 extends TransferFailure["error"]>(
    job: TreeJob<E1, E2>,
    root: Pick<Folder, "source" | "target" | "attributes">
  ) {
    const { failure, from, isOver, meter, settings, to } = job
    const found = yield* Queue.bounded<Found, Cause.Done>(foundAhead)
    const reading = yield* Semaphore.make(foldersAtOnce)
    /** Made when all files are there: nothing is ever written through them. */
    const links: Array<Found> = []
    /** Given their times when nothing more is put into them. */
    const folders: Array<Folder> = []

    /** Whether the other side does not keep to the rules. */
    let violated = false

    const guarded = <R>(
      relative: string,
      effect: Effect.Effect<void, E1 | E2 | SshError, R>
    ): Effect.Effect<void, E1 | E2 | SshError, R> =>
      settings.collect
        ? Effect.catchIf(effect, () => !violated && !isOver(), (error) =>
          Effect.sync(() => {
            meter.failures.push({ path: relative, error })
            meter.changed()
          }))
        : effect

    /** What is wrong with the names in a folder, which are the other side's choice. */
    const wrongWith = (entries: ReadonlyArray<Entry>): string | undefined => {
      const names = new Set<string>()
      for (const { name } of entries) {
        const refused = refusal(name)
        if (refused !== undefined) return refused.detail
        if (names.has(name)) return `there are two files named ${JSON.stringify(name)}`
        names.add(name)
      }
      return undefined
    }

    const copyFolder = (parent: Folder): Effect.Effect<void, E1 | E2 | SshError> =>
      Effect.gen(function*() {
        const { relative, source, target, trail } = parent
        const [folder, entries] = yield* reading.withPermit(Effect.gen(function*() {
          const fresh = yield* makeFolder(to, target, parent.attributes.mode, relative === "")
          return [{ ...parent, fresh }, yield* from.list(source)] as const
        }))
        const wrong = wrongWith(entries)
        if (wrong !== undefined) {
          violated = true
          return yield* failure(wrong)
        }
        folders.push(folder)
        meter.directories++
        meter.changed()
        const below: Array<Folder> = []
        const look = Effect.fnUntraced(function*(entry: Entry) {
          const { name } = entry
          const path = join(relative, name)
          const next = yield* step(from, source, trail, entry, path, settings)
          if (next._tag === "Skip") {
            meter.left(0)
          } else if (next._tag === "Link") {
            links.push({ folder, name, relative: path, attributes: next.attributes })
          } else if (next._tag === "File") {
            meter.found(next.attributes.size)
            yield* Queue.offer(found, { folder, name, relative: path, attributes: next.attributes })
          } else {
            below.push({
              source: join(source, name),
              target: join(target, name),
              relative: path,
              attributes: next.attributes,
              trail: next.trail,
              fresh: false
            })
          }
        })
        yield* Effect.forEach(entries, (entry) => guarded(join(relative, entry.name), look(entry)), {
          concurrency: entriesAtOnce,
          discard: true
        })
        return yield* Effect.forEach(below, (folder) => guarded(folder.relative, copyFolder(folder)), {
          concurrency: foldersAtOnce,
          discard: true
        })
      })

    const copyFound = Effect.fnUntraced(function*({ attributes, folder, name, relative }: Found) {
      const path = join(folder.target, name)
      let there = folder.fresh ? undefined : yield* find(to, path, "lstat")
      if (there?.type === "SymbolicLink") {
        // whoever put it there, it is not to decide where the file goes
        if (!settings.atomic) yield* to.remove(path)
        there = undefined
      }
      const source = sourceOf(from, join(folder.source, name), attributes)
      yield* copyFile(job, source, { files: to, path, relative, there })
    })

    const copyLink = Effect.fnUntraced(function*({ folder, name }: Found) {
      const path = join(folder.target, name)
      const there = folder.fresh || settings.overwrite === "always" ? undefined : yield* find(to, path, "lstat")
      if (there !== undefined && settings.overwrite !== "different") return meter.left(0)
      const text = yield* from.readLink(join(folder.source, name))
      if (there?.type === "SymbolicLink" && (yield* to.readLink(path)) === text) return meter.left(0)
      yield* to.makeLink(path, text)
      return meter.linked()
    })

    const worker = Effect.forever(
      Effect.flatMap(Queue.take(found), (file) => guarded(file.relative, copyFound(file))),
      { disableYield: true }
    ).pipe(Effect.catchIf(Cause.isDone, () => Effect.void))

    const trail = yield* trailhead(from, root.source)
    const walker = Effect.ensuring(copyFolder({ ...root, relative: "", trail, fresh: false }), Queue.end(found))
    const workers = Array.from({ length: settings.concurrency }, () => worker)
    yield* Effect.all([walker, ...workers], { concurrency: "unbounded", discard: true })
    yield* Effect.forEach(links, (link) => guarded(link.relative, copyLink(link)), {
      concurrency: settings.concurrency,
      discard: true
    })
    // from the inside out: what is put into a folder changes its times
    const kept = settings.preserve ? folders.toReversed() : []
    yield* Effect.forEach(
      kept,
      ({ attributes, relative, target }) =>
        guarded(relative, to.change(target, { mode: attributes.mode, times: attributes })),
      { discard: true }
    )
  }
)
