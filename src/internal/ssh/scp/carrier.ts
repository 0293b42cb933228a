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
  /** Uses the server's `scp` to its end. */
  const using = <A, E, R>(words: ReadonlyArray<string>, use: (wire: Wire.Wire) => Effect.Effect<A, E, R>) =>
    Effect.scoped(Effect.gen(function*() {
      const command = yield* Effect.mapError(
        commandLine("scp", ...words),
        (reason) => new SshError({ server, reason })
      )
      const wire = yield* Wire.open(server, exec, command)
      const result = yield* use(wire)
      yield* wire.end
      return result
    }))

  /** Links are followed: that is all the other side can do. */
  const follows = (job: Job): Job => ({
    ...job,
    settings: { ...job.settings, symlinks: job.settings.symlinks === "copy" ? "follow" : job.settings.symlinks }
  })

  /** Sends to a folder, so that what is sent has the name that it was given, whatever is there. */
  const sending = <A, E, R>(
    job: Job,
    folder: string,
    flags: ReadonlyArray<string>,
    use: (send: ReturnType<typeof sender>) => Effect.Effect<A, E, R>
  ) =>
    using(
      [...flags, ...job.settings.preserve ? ["-p"] : [], "-d", "-t", plain(folder)],
      (wire) =>
        Effect.flatMap(wire.answer, (refused): Effect.Effect<A, E | SshError, R> =>
          refused === undefined ? use(sender(wire, follows(job))) : Effect.fail(wire.failure(refused)))
    )

  const sendFile = <E, R>(job: Job, source: Source<E, R>, to: string) => {
    const [folder, name] = split(to)
    job.meter.found(source.attributes.size)
    return sending(job, folder, [], (send) => send.file(source, { name, relative: "" }))
  }

  const receiving = <A, E>(
    job: Job,
    from: string,
    use: (receive: ReturnType<typeof receiver>) => Effect.Effect<A, E>
  ) => using(["-r", "-p", "-f", plain(from)], (wire) => use(receiver(wire, job)))

  return {
    refusal,
    upload: Effect.fnUntraced(function*(job, fs, from, to) {
      const files = local(fs)
      const attributes = yield* files.stat(from)
      if (attributes.type !== "Directory") {
        yield* sendFile(job, sourceOf(files, from, attributes), to)
        return
      }
      const [folder, name] = split(to)
      const isNamed = name !== "" && name !== "." && name !== ".."
      yield* sending(job, isNamed ? folder : to, ["-r"], (send) => send.folder(files, from, name, attributes))
    }),
    uploadData: (job, source, to) => {
      if (source.attributes.size >= 0) return sendFile(job, source, to)
      const detail = "SCP has to say how long a file is before it sends it; give the stream's `size`"
      return Effect.fail(new SshError({ server, reason: new Unsupported({ feature: "other", detail }) }))
    },
    download: (job, fs, from, to) => receiving(job, from, (receive) => receive.into(local(fs), to)),
    bytes: (job, from, maxSize) =>
      receiving(
        job,
        from,
        (receive) => receive.bytes(maxSize, new SshError({ server, reason: new OutputTooLarge({ maxSize }) }))
      )
  }
}
