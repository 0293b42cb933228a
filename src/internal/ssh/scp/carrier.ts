import * as Effect from "effect/Effect"
import { OutputTooLarge, SshError, Unsupported } from "../../../errors/SshError.ts"
import type { Carrier } from "../transfer/carrier.ts"
import { commandLine } from "../transfer/checksum.ts"
import { type Job, type Source, sourceOf } from "../transfer/file.ts"
import { local } from "../transfer/local.ts"
import { split } from "../transfer/names.ts"
import type { TransferOptions } from "../transfer/options.ts"
import { receiver } from "./receive.ts"
import { sender } from "./send.ts"
import * as Wire from "./wire.ts"

const refusal = (options: TransferOptions, direction: "upload" | "download"): string | undefined => {
  if (options.resume === true) return "resume"
  if (options.verify !== undefined) return "verify"
  if (options.symlinks === "copy") return "symlinks: \"copy\""
  if (direction === "download") return options.symlinks === "skip" ? "symlinks: \"skip\"" : undefined
  if (options.atomic === true) return "atomic"
  if (options.fsync === true) return "fsync"
  return options.overwrite === undefined || options.overwrite === "always" ? undefined : "overwrite"
}

/** A path that no server takes for an option. */
const plain = (path: string) => path.startsWith("-") ? `./${path}` : path

/** Carries files over SCP, which needs nothing of the server but that it runs `scp`. */
export const overScp = (server: string, exec: Wire.Exec): Carrier => {
  const start = Effect.fnUntraced(function*(...words: ReadonlyArray<string>) {
    const command = yield* Effect.mapError(
      commandLine("scp", ...words),
      (reason) => new SshError({ server, reason })
    )
    return yield* Wire.open(server, exec, command)
  })

  /** links are followed: that is all the other side can do */
  const follows = (job: Job): Job => ({
    ...job,
    settings: { ...job.settings, symlinks: job.settings.symlinks === "copy" ? "follow" : job.settings.symlinks }
  })

  /** Begins to send to a folder, so that the name is as it was given whatever is there. */
  const sending = (job: Job, folder: string, flags: ReadonlyArray<string>) =>
    Effect.map(
      start(...flags, ...job.settings.preserve ? ["-p"] : [], "-t", "-d", plain(folder)),
      (wire) => ({ wire, send: sender(wire, follows(job)) })
    )

  const sendFile = Effect.fnUntraced(function*<E, R>(job: Job, source: Source<E, R>, to: string) {
    const [folder, name] = split(to)
    const { send, wire } = yield* sending(job, folder, [])
    const ready = yield* wire.answer
    if (ready !== undefined) return yield* Effect.fail(wire.failure(ready))
    yield* send.file(source, { name, relative: "" })
  })

  const receiving = (job: Job, from: string) =>
    Effect.map(start("-r", "-p", "-f", plain(from)), (wire) => receiver(wire, job))

  return {
    refusal,
    upload: (job, fs, from, to) =>
      Effect.scoped(Effect.gen(function*() {
        const files = local(fs)
        const attributes = yield* files.stat(from)
        if (attributes.type !== "Directory") {
          job.meter.found(attributes.size)
          return yield* sendFile(job, sourceOf(files, from, attributes), to)
        }
        const [folder, name] = split(to)
        const isNamed = name !== "" && name !== "." && name !== ".."
        const { send, wire } = yield* sending(job, isNamed ? folder : to, ["-r"])
        const ready = yield* wire.answer
        if (ready !== undefined) return yield* Effect.fail(wire.failure(ready))
        yield* send.folder(files, from, name, attributes)
      })),
    uploadData: (job, source, to) =>
      Effect.scoped(Effect.suspend(() => {
        if (source.attributes.size < 0) {
          const detail = "SCP has to say how long a file is before it sends it; give the stream's `size`"
          return Effect.fail(new SshError({ server, reason: new Unsupported({ feature: "other", detail }) }))
        }
        job.meter.found(source.attributes.size)
        return sendFile(job, source, to)
      })),
    download: (job, fs, from, to) =>
      Effect.scoped(Effect.flatMap(receiving(job, from), (receive) => receive.into(local(fs), to))),
    bytes: (job, from, maxSize) =>
      Effect.scoped(
        Effect.flatMap(receiving(job, from), (receive) =>
          receive.bytes(maxSize, new SshError({ server, reason: new OutputTooLarge({ maxSize }) })))
      )
  }
}
