import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import type { SshError } from "../../../errors/SshError.ts"
import { type Chunks, type Files, find } from "./files.ts"
import type { Meter } from "./meter.ts"
import type { Attributes } from "./options.ts"
import { fill, placeOf } from "./place.ts"
import type { Settings } from "./settings.ts"

/** Files up to this size are read in one piece and written in one. */
const small = 64 * 1024

/** What is copied: a file, or bytes from elsewhere. */
export interface Source<E, R = never> {
  /** The size is -1 where it is not known. */
  readonly attributes: Attributes
  readonly readAll: Effect.Effect<Uint8Array, E, R>
  /** With `lend`, what is pulled may only be used until the next pull. */
  readonly read: (offset: number, lend: boolean) => Effect.Effect<Pull.Pull<Chunks, E, void, R>, E, Scope.Scope | R>
  readonly sha256: Effect.Effect<string, E, R>
  /** The permission bits that the copy is to have whatever else is so. */
  readonly mode?: number | undefined
}

export const sourceOf = <E>(files: Files<E>, path: string, attributes: Attributes): Source<E> => ({
  attributes,
  readAll: files.readAll(path, attributes.size),
  read: (offset, lend) => files.read(path, offset, lend),
  sha256: files.sha256(path)
})

/** Where a file goes. */
export interface Target<E> {
  readonly files: Files<E>
  readonly path: string
  /** Seen from the folder that is copied. */
  readonly relative: string
  /** What is there already. */
  readonly there: Attributes | undefined
}

/** What all files of a transfer have in common. */
export interface Job {
  readonly settings: Settings
  readonly meter: Meter
  readonly failure: (detail: string) => SshError
}

/** Whether what is there stays. */
export const stays = (overwrite: Settings["overwrite"], original: Attributes, there: Attributes): boolean => {
  if (overwrite === "never") return true
  if (overwrite === "newer") return there.mtime >= original.mtime
  return overwrite === "different" && there.mtime === original.mtime && there.size === original.size
}

/** Copies one file. */
export const copyFile = Effect.fnUntraced(function*<E1, E2, R>(
  { failure, meter, settings }: Job,
  source: Source<E1, R>,
  { files: to, path, relative, there }: Target<E2>
) {
  const { attributes } = source
  const { fsync, preserve, resume, verify } = settings
  const place = placeOf(path, settings.atomic, resume)

  const isSame = Effect.fnUntraced(function*(path: string) {
    if (verify === undefined) return true
    const [original, copy] = yield* Effect.all([source.sha256, to.sha256(path)], { concurrency: 2 })
    return original === copy
  })

  if (there?.type === "Directory") return yield* Effect.fail(to.failure("open", path, "there is a folder in its place"))
  const isWhole = there !== undefined && (
    stays(settings.overwrite, attributes, there) ||
    (resume && there.size === attributes.size && (yield* isSame(path)))
  )
  if (isWhole) return meter.left(attributes.size)

  const part = !resume ? undefined : place.final ? there : yield* find(to, place.path)
  const offset = part !== undefined && part.size <= attributes.size ? part.size : 0
  const mode = source.mode ?? there?.mode ?? attributes.mode & 0o777
  // the umask has its say when a file is made; about this one it had it before
  const kept = place.final ? undefined : there?.mode
  const exactMode = source.mode ?? (preserve ? attributes.mode : kept)

  const writeSmall = Effect.gen(function*() {
    const content = yield* source.readAll
    yield* to.writeAll(place.path, content, { mode, exclusive: !place.kept })
    meter.moved(relative, content.length)
  })

  const writeFrom = (offset: number) =>
    Effect.scoped(Effect.gen(function*() {
      const writer = yield* to.write(place.path, { mode, exclusive: !place.kept, offset })
      const pull = yield* source.read(offset, writer.copies)
      yield* pull.pipe(
        Effect.flatMap((chunks) =>
          Effect.map(writer.write(chunks), () =>
            meter.moved(relative, chunks.reduce((size, chunk) => size + chunk.length, 0)))
        ),
        Effect.forever({ disableYield: true }),
        Pull.catchDone(() =>
          Effect.void
        )
      )
      yield* writer.finish(fsync)
    }))

  const isSmall = attributes.size >= 0 && attributes.size <= small && offset === 0 && !fsync
  yield* fill(
    to,
    path,
    place,
    Effect.gen(function*() {
      meter.resumed(offset)
      yield* isSmall ? writeSmall : writeFrom(offset)
      if (!(yield* isSame(place.path))) {
        const different = failure(`the copy ${JSON.stringify(path)} has another SHA-256 than what it was made of`)
        if (offset === 0) return yield* different
        meter.resumed(-attributes.size)
        yield* writeFrom(0)
        if (!(yield* isSame(place.path))) return yield* different
      }
      const exact = { mode: exactMode, times: preserve ? attributes : undefined }
      return yield* exactMode === undefined ? Effect.void : to.change(place.path, exact)
    })
  )
  return meter.copied()
})
