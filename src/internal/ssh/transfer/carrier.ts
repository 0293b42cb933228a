import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import { OutputTooLarge, SshError, type SshErrorReason } from "../../../errors/SshError.ts"
import type { Client } from "../sftp/client.ts"
import * as Content from "../sftp/transfer.ts"
import { type Execute, sha256 } from "./checksum.ts"
import { copy } from "./copy.ts"
import { copyFile, type Job, type Source } from "./file.ts"
import { find } from "./files.ts"
import { local } from "./local.ts"
import type { TransferOptions } from "./options.ts"
import { remote } from "./remote.ts"

type Carried = Effect.Effect<void, SshError | PlatformError.PlatformError>

/** A way to bring files to a server and to get them from there. */
export interface Carrier {
  /** Why it cannot do what is asked for. */
  readonly refusal: (options: TransferOptions, direction: "upload" | "download") => string | undefined
  readonly upload: (job: Job, fs: FileSystem.FileSystem, from: string, to: string) => Carried
  readonly uploadData: <E, R>(job: Job, source: Source<E, R>, to: string) => Effect.Effect<void, E | SshError, R>
  readonly download: (job: Job, fs: FileSystem.FileSystem, from: string, to: string) => Carried
  readonly bytes: (job: Job, from: string, maxSize: number) => Effect.Effect<Uint8Array, SshError>
}

/** Folders that are read, and what is open beside the files: some handles are for others. */
const sparedHandles = 16

/** Carries files over SFTP. */
export const overSftp = (server: string, client: Client, execute: Execute): Carrier => {
  const failed = (reason: SshErrorReason) => new SshError({ server, reason })
  const files = remote(client, failed, sha256(server, execute, client))

  const limited = (job: Job): Job & { readonly isOver: () => boolean } => {
    const { handles } = client.limits
    const { concurrency } = job.settings
    const most = handles === 0 ? concurrency : Math.max(1, Math.min(concurrency, handles - sparedHandles))
    return {
      ...job,
      settings: { ...job.settings, concurrency: most },
      isOver: () => client.requests.ended !== undefined
    }
  }

  return {
    refusal: () => undefined,
    upload: (job, fs, from, to) => copy({ ...limited(job), from: local(fs), to: files }, from, to),
    uploadData: Effect.fnUntraced(function*(job, source, path) {
      const there = yield* find(files, path)
      job.meter.found(source.attributes.size)
      yield* copyFile(job, source, { files, path, relative: "", there })
    }),
    download: (job, fs, from, to) => copy({ ...limited(job), from: files, to: local(fs) }, from, to),
    bytes: Effect.fnUntraced(function*(_job, path, maxSize) {
      // one byte more than is allowed is enough to know
      const bytes = yield* Effect.mapError(Content.readFile(client, path, { length: maxSize + 1 }, undefined), failed)
      return bytes.length <= maxSize ? bytes : yield* failed(new OutputTooLarge({ maxSize }))
    })
  }
}
