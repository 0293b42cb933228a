import * as Effect from "effect/Effect"
import type { SshError } from "../../../errors/SshError.ts"
import { type Job, stays } from "../transfer/file.ts"
import { type Files, find, makeFolder } from "../transfer/files.ts"
import { join, refusal } from "../transfer/names.ts"
import type { Attributes, TransferFailure } from "../transfer/options.ts"
import { fill, placeOf } from "../transfer/place.ts"
import type { Wire } from "./wire.ts"

/** What the server announces: a file or a folder. */
interface Announced {
  readonly name: string
  readonly mode: number
  readonly size: number
}

const record = /^([0-7]{4,5}) (\d{1,15}) (.*)$/s
const timesRecord = /^(\d{1,11}) \d+ (\d{1,11}) \d+$/

const ok = new Uint8Array(1)

/** How many bytes of a file are taken at a time. */
const chunkSize = 1024 * 1024

/** Where received things go. `undefined` as a path drops them. */
interface Place {
  readonly path: string | undefined
  readonly relative: string
  readonly names: Set<string>
}

/** The side that receives (`scp -t` of the rcp protocol), from a server that runs `scp -f`. */
export const receiver = (wire: Wire, job: Job) => {
  const { meter, settings } = job
  const violated = (detail: string) => Effect.fail(wire.failure(detail))

  const parse = (line: string): Effect.Effect<Announced, SshError> => {
    const [, mode = "", size = "", name = ""] = record.exec(line) ?? []
    return name === ""
      ? violated(`the server sent ${JSON.stringify(line)}, which is not SCP`)
      : Effect.succeed({ mode: Number.parseInt(mode, 8), size: Number(size), name })
  }

  /** Hands a file's bytes on as they come. What comes with one more does not belong to it. */
  const content = <E>(size: number, use: (bytes: Uint8Array) => Effect.Effect<void, E>) =>
    Effect.suspend(() => {
      let left = size
      return Effect.whileLoop({
        while: () => left > 0,
        body: () =>
          Effect.flatMap(wire.bytes(Math.min(left, chunkSize)), (bytes) => {
            left -= bytes.length
            return use(bytes)
          }),
        step: () => {}
      })
    })

  const drop = () => Effect.void

  /** The server says whether what it sent is what it has. */
  const confirmed = Effect.flatMap(wire.answer, (words) => words === undefined ? Effect.void : violated(words))

  /** Goes on without something, where that was asked for. */
  const missed = <E extends TransferFailure["error"]>(path: string, error: E): Effect.Effect<void, E> => {
    if (!settings.collect) return Effect.fail(error)
    meter.failures.push({ path, error })
    return Effect.void
  }

  /** All that the server sends for one request, given to who wants it. */
  const all = <E extends TransferFailure["error"]>(handler: {
    readonly file: (
      place: Place,
      attributes: Attributes
    ) => Effect.Effect<void, E | SshError>
    readonly enter: (place: Place, attributes: Attributes, isRoot: boolean) => Effect.Effect<boolean, E | SshError>
    readonly leave: (place: Place, attributes: Attributes) => Effect.Effect<void, E | SshError>
    readonly root: string
  }) =>
    Effect.gen(function*() {
      const folders: Array<readonly [place: Place, attributes: Attributes]> = []
      let times = { atime: 0, mtime: 0 }
      let begun = false
      yield* wire.send(ok)

      const placeOf = ({ name }: Announced): Effect.Effect<Place, SshError> => {
        // the path of what was asked for is not the server's to choose
        if (folders.length === 0) {
          if (begun) return violated(`the server sent more than was asked for: ${JSON.stringify(name)}`)
          begun = true
          return Effect.succeed({ path: handler.root, relative: "", names: new Set() })
        }
        const [folder] = folders[folders.length - 1]!
        const refused = refusal(name)
        if (refused !== undefined) return violated(refused.detail)
        if (folder.names.has(name)) return violated(`the server sent two files named ${JSON.stringify(name)}`)
        folder.names.add(name)
        return Effect.succeed({
          path: folder.path === undefined ? undefined : join(folder.path, name),
          relative: join(folder.relative, name),
          names: new Set()
        })
      }

      let kind = yield* wire.byte
      for (; kind !== undefined; kind = yield* wire.byte) {
        const line = yield* wire.line
        const letter = String.fromCharCode(kind)
        if (letter === "T") {
          const [, mtime, atime] = timesRecord.exec(line) ?? []
          if (mtime === undefined) return yield* violated(`the server sent the times ${JSON.stringify(line)}`)
          times = { mtime: Number(mtime), atime: Number(atime) }
          yield* wire.send(ok)
        } else if (letter === "C" || letter === "D") {
          const announced = yield* parse(line)
          const place = yield* placeOf(announced)
          const type = letter === "C" ? "File" as const : "Directory" as const
          const attributes: Attributes = { type, mode: announced.mode & 0o7777, size: announced.size, ...times }
          const wanted = place.path !== undefined &&
            (place.relative === "" || settings.filter?.({ ...attributes, path: place.relative }) !== false)
          const at = wanted ? place : { ...place, path: undefined }
          if (type === "File") {
            yield* handler.file(at, attributes)
          } else {
            const entered = at.path !== undefined && (yield* handler.enter(at, attributes, folders.length === 0))
            if (at.path === undefined) meter.left(0)
            folders.push([entered ? at : { ...at, path: undefined }, attributes])
            yield* wire.send(ok)
          }
        } else if (letter === "E") {
          const left = folders.pop()
          if (left === undefined) return yield* violated("the server left a folder that it had not entered")
          if (left[0].path !== undefined) yield* handler.leave(...left)
          yield* wire.send(ok)
        } else if (kind === 1) {
          // it goes on without something; without what was asked for there is nothing to go on with
          const error = wire.failure(line)
          if (folders.length === 0) return yield* error
          yield* missed(folders[folders.length - 1]![0].relative, error)
        } else if (kind === 2) {
          return yield* violated(line)
        } else {
          return yield* violated(`the server does not speak SCP but sent ${JSON.stringify(`${letter}${line}`)}`)
        }
      }
      return begun && folders.length === 0 ? undefined : yield* wire.answer
    })

  const dropFile = ({ size }: Attributes) =>
    Effect.gen(function*() {
      yield* wire.send(ok)
      yield* content(size, drop)
      yield* confirmed
      meter.left(size)
      yield* wire.send(ok)
    })

  /** Writes what the server sends into a file system. */
  const into = <E extends TransferFailure["error"]>(files: Files<E>, root: string) =>
    all<E>({
      root,
      file: Effect.fnUntraced(function*({ path, relative }, attributes) {
        meter.found(attributes.size)
        if (path === undefined) return yield* dropFile(attributes)
        let there = yield* find(files, path, relative === "" ? "stat" : "lstat")
        if (there?.type === "SymbolicLink") {
          if (!settings.atomic) yield* files.remove(path)
          there = undefined
        }
        if (there !== undefined && stays(settings.overwrite, attributes, there)) return yield* dropFile(attributes)
        const mode = there?.mode ?? attributes.mode & 0o777
        const place = placeOf(path, settings.atomic, false)
        yield* fill(
          files,
          path,
          place,
          Effect.scoped(Effect.gen(function*() {
            const file = yield* files.write(place.path, { mode, exclusive: !place.final, offset: 0 })
            yield* wire.send(ok)
            yield* content(attributes.size, (bytes) => {
              meter.moved(relative, bytes.length)
              return file.write([bytes])
            })
            yield* confirmed
            yield* file.finish(settings.fsync)
            if (settings.preserve) yield* files.change(place.path, { mode: attributes.mode, times: attributes })
            else if (there !== undefined && !place.final) yield* files.change(place.path, { mode: there.mode })
          }))
        )
        meter.copied()
        return yield* wire.send(ok)
      }),
      enter: ({ path, relative }, { mode }, isRoot) =>
        makeFolder(files, path!, mode, isRoot).pipe(
          Effect.map(() => {
            meter.directories++
            return true
          }),
          Effect.catch((error) => Effect.as(missed(relative, error), false))
        ),
      leave: ({ path }, attributes) =>
        settings.preserve ? files.change(path!, { mode: attributes.mode, times: attributes }) : Effect.void
    })

  /** Gives the bytes of one file. */
  const bytes = (maxSize: number, tooLarge: SshError) =>
    Effect.suspend(() => {
      const pieces: Array<Uint8Array> = []
      return Effect.as(
        all<never>({
          root: "",
          file: Effect.fnUntraced(function*(_place, { size }) {
            if (size > maxSize) return yield* tooLarge
            yield* wire.send(ok)
            yield* content(size, (bytes) => Effect.sync(() => void pieces.push(bytes)))
            yield* confirmed
            return yield* wire.send(ok)
          }),
          enter: () => violated("it is a folder"),
          leave: () => Effect.void
        }),
        pieces
      ).pipe(Effect.map((pieces) => new Uint8Array(Buffer.concat(pieces))))
    })

  return { into, bytes }
}
