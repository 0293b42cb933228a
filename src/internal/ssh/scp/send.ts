import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import type { SshError } from "../../../errors/SshError.ts"
import type { Job, Source } from "../transfer/file.ts"
import { sourceOf } from "../transfer/file.ts"
import type { Files } from "../transfer/files.ts"
import { join } from "../transfer/names.ts"
import type { Attributes, TransferFailure } from "../transfer/options.ts"
import { step, type Trail, trailhead } from "../transfer/walk.ts"
import type { Wire } from "./wire.ts"

const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, "0")

/** Something that is sent: what the server calls it, and where it is seen from the folder that is copied. */
interface Sent {
  readonly name: string
  readonly relative: string
}

/** The side that sends (`scp -f` of the rcp protocol), to a server that runs `scp -t`. */
export const sender = (wire: Wire, job: Job) => {
  const { meter, settings } = job

  /** Sends a line. Gives the server's words if it goes on without. */
  const say = (line: string): Effect.Effect<string | undefined, SshError> =>
    Effect.andThen(wire.send(`${line}\n`), wire.answer)

  /** The server goes on without a file, and says why. */
  const refused = ({ relative }: Sent, words: string): Effect.Effect<void, SshError> =>
    Effect.suspend(() => {
      const error = wire.failure(words)
      if (!settings.collect) return Effect.fail(error)
      meter.failures.push({ path: relative, error })
      return Effect.void
    })

  const sayTimes = ({ atime, mtime }: Attributes) =>
    settings.preserve ? say(`T${mtime} 0 ${atime} 0`) : Effect.undefined

  const nameable = ({ name }: Sent) =>
    name.includes("\n")
      ? Effect.fail(wire.failure(`SCP cannot carry a name with a line break: ${JSON.stringify(name)}`))
      : Effect.void

  const sendFile = Effect.fnUntraced(function*<E, R>(source: Source<E, R>, sent: Sent) {
    const { attributes } = source
    yield* nameable(sent)
    const no = (yield* sayTimes(attributes)) ??
      (yield* say(`C${octal(attributes.mode)} ${attributes.size} ${sent.name}`))
    if (no !== undefined) return yield* refused(sent, no)
    let left = attributes.size
    yield* Effect.scoped(Effect.gen(function*() {
      const pull = yield* source.read(0, false)
      const next = Effect.flatMap(pull, (chunks) =>
        Effect.forEach(chunks, (chunk) => {
          const bytes = chunk.subarray(0, left)
          left -= bytes.length
          meter.moved(sent.relative, bytes.length)
          return bytes.length === 0 ? Effect.void : wire.send(bytes)
        }, { discard: true }))
      yield* Effect.whileLoop({ while: () => left > 0, body: () => next, step: () => {} }).pipe(
        Pull.catchDone(() => Effect.void)
      )
    }))
    // the size was said before, and there is no way to take it back
    if (left > 0) {
      return yield* wire.failure(`${JSON.stringify(sent.name)} became shorter while it was copied`)
    }
    yield* wire.send(new Uint8Array(1))
    const late = yield* wire.answer
    if (late !== undefined) return yield* refused(sent, late)
    return meter.copied()
  })

  const sendContent = <E extends TransferFailure["error"]>(
    files: Files<E>,
    path: string,
    relative: string,
    trail: Trail
  ): Effect.Effect<void, E | SshError> =>
    Effect.gen(function*() {
      for (const entry of yield* files.list(path)) {
        const sent: Sent = { name: entry.name, relative: join(relative, entry.name) }
        const next = yield* step(files, path, trail, entry, sent.relative, settings)
        const at = join(path, entry.name)
        if (next._tag === "Directory") {
          yield* sendFolder(files, at, sent, next.attributes, next.trail)
        } else if (next._tag === "File") {
          meter.found(next.attributes.size)
          yield* sendFile(sourceOf(files, at, next.attributes), sent)
        } else {
          meter.left(0)
        }
      }
    })

  const sendFolder = <E extends TransferFailure["error"]>(
    files: Files<E>,
    path: string,
    sent: Sent,
    attributes: Attributes,
    trail: Trail
  ): Effect.Effect<void, E | SshError> =>
    Effect.gen(function*() {
      yield* nameable(sent)
      const no = (yield* sayTimes(attributes)) ?? (yield* say(`D${octal(attributes.mode)} 0 ${sent.name}`))
      if (no !== undefined) return yield* refused(sent, no)
      meter.directories++
      yield* sendContent(files, path, sent.relative, trail)
      const late = yield* say("E")
      return yield* late === undefined ? Effect.void : refused(sent, late)
    })

  return {
    file: sendFile,
    folder: Effect.fnUntraced(function*<E extends TransferFailure["error"]>(
      files: Files<E>,
      path: string,
      name: string,
      attributes: Attributes
    ) {
      const trail = yield* trailhead(files, path)
      if (name !== "." && name !== ".." && name !== "") {
        return yield* sendFolder(files, path, { name, relative: "" }, attributes, trail)
      }
      // such a name stands for a folder that is there, and only its content can be sent
      meter.directories++
      return yield* sendContent(files, path, "", trail)
    })
  }
}
