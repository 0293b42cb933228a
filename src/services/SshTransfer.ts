/**
 * Copying files and folders to a server and from there.
 *
 * `session.upload` and `session.download` copy a file, or a folder with all that is in it, over SFTP, and over SCP where the
 * server has no SFTP. An open `sftp` has the same two. The other side of the copy is Effect's `FileSystem`: that of this
 * machine with `NodeServices.layer`, or any other.
 *
 * **Details**
 *
 * - The second path is the name that the copy has, whatever is there: nothing is put *into* a folder because one happens to
 *   exist. The folder that the copy is to be in has to be there. A folder is copied into one that is there already: what is
 *   in it and not in the original stays.
 * - A file is written beside its target and renamed when it is whole (`atomic`), so that nobody ever sees half of it; what
 *   fails or is interrupted leaves nothing behind, unless `resume` is to go on with it.
 * - Permission bits go along as far as the umask of the other side lets them; a file that is replaced keeps those it has.
 *   `preserve` copies them exactly, and the times.
 * - Many small files are copied side by side, a large one with many requests under way: `concurrency` is about files.
 * - `uploadProgress` and `downloadProgress` do the same as a stream of how far they are, for as long as it is run.
 *
 * Errors: `SftpStatus` for what the server refuses, `PlatformError` for what this side does, `ConnectionLost`,
 * `ChannelRefused` where the server has neither SFTP nor commands, and `TransferProtocol` for a server that does not keep to
 * the rules: names with `/` in them, two files of one name, more than was asked for. No server can have anything written outside
 * of the target: such names are refused, links are made last and never written through.
 *
 * **SCP**
 *
 * What SCP cannot do is refused with `Unsupported` when it is asked for: `resume`, `verify`, `symlinks: "copy"`, and for uploads
 * `atomic`, `fsync` and `overwrite`. Uploads are not atomic there, links are followed, one file is sent after the other, and
 * what the server's `scp` refuses is a `TransferProtocol` with its words.
 *
 * **Gotchas**
 *
 * - A connection that is lost leaves the temporary file of an upload on the server; `resume` leaves a part on purpose.
 * - A link that was copied may point anywhere, also out of the copy. Where the server is not to be trusted use `"skip"`.
 *
 * **Example** (Deploying a folder, and showing how far it is)
 *
 * ```ts
 * import { Effect, Glob, Stream } from "effect"
 * import type { SshSession } from "hawser"
 *
 * const hidden = Glob.make("**\/.*", { dot: true })
 *
 * const deploy = (session: SshSession.SshSession) =>
 *   session.uploadProgress("dist", "/srv/site", {
 *     filter: ({ path }) => !Glob.match(hidden, path),
 *     preserve: true,
 *     overwrite: "different"
 *   }).pipe(
 *     Stream.runForEach(({ files, total, totalFiles, transferred }) =>
 *       Effect.log(`${files} of ${totalFiles} files, ${transferred} of ${total} bytes`))
 *   )
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { SshError, TransferProtocol, Unsupported } from "../errors/SshError.ts"
import { overScp } from "../internal/ssh/scp/carrier.ts"
import type { Client } from "../internal/ssh/sftp/client.ts"
import { type Carrier, overSftp } from "../internal/ssh/transfer/carrier.ts"
import { fromBytes, fromStream } from "../internal/ssh/transfer/data.ts"
import type { Job } from "../internal/ssh/transfer/file.ts"
import { Meter, watched } from "../internal/ssh/transfer/meter.ts"
import type {
  DataOptions,
  TransferOptions,
  TransferProgress,
  TransferSummary
} from "../internal/ssh/transfer/options.ts"
import { settingsOf } from "../internal/ssh/transfer/settings.ts"
import type { Programs } from "./SshProcess.ts"

export type {
  /**
   * Settings of an upload of bytes.
   *
   * @category models
   * @since 0.1.0
   */
  DataOptions,
  /**
   * Something that a transfer has come upon: its path, seen from the folder that is copied, and what is said of it.
   *
   * @category models
   * @since 0.1.0
   */
  TransferEntry,
  /**
   * A file that could not be copied.
   *
   * @category models
   * @since 0.1.0
   */
  TransferFailure,
  /**
   * Settings of an upload or a download.
   *
   * @category models
   * @since 0.1.0
   */
  TransferOptions,
  /**
   * How far a transfer is.
   *
   * @category models
   * @since 0.1.0
   */
  TransferProgress,
  /**
   * What a transfer has done.
   *
   * @category models
   * @since 0.1.0
   */
  TransferSummary
} from "../internal/ssh/transfer/options.ts"

/**
 * What carries a transfer: `"sftp"`, `"scp"`, or `"auto"` (the default): SFTP, and SCP where the server has no SFTP.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProtocolOption {
  readonly protocol?: "auto" | "sftp" | "scp" | undefined
}

type TransferError = SshError | PlatformError.PlatformError

/**
 * Copies to a server and from there.
 *
 * @category models
 * @since 0.1.0
 */
export interface SshTransfers<Extra = unknown> {
  /** Copies a file or a folder to the server, or bytes, or a stream of them, into a file there. */
  readonly upload: {
    (
      local: string,
      remote: string,
      options?: TransferOptions & Extra
    ): Effect.Effect<TransferSummary, TransferError, FileSystem.FileSystem>
    <E = never, R = never>(
      data: Uint8Array | Stream.Stream<Uint8Array, E, R>,
      remote: string,
      options?: DataOptions & Extra
    ): Effect.Effect<TransferSummary, SshError | E, R>
  }
  /** The same as a stream of how far it is. The last report says `done`. */
  readonly uploadProgress: {
    (
      local: string,
      remote: string,
      options?: TransferOptions & Extra
    ): Stream.Stream<TransferProgress, TransferError, FileSystem.FileSystem>
    <E = never, R = never>(
      data: Uint8Array | Stream.Stream<Uint8Array, E, R>,
      remote: string,
      options?: DataOptions & Extra
    ): Stream.Stream<TransferProgress, SshError | E, R>
  }
  /** Copies a file or a folder from the server. */
  readonly download: (
    remote: string,
    local: string,
    options?: TransferOptions & Extra
  ) => Effect.Effect<TransferSummary, TransferError, FileSystem.FileSystem>
  /** The same as a stream of how far it is. The last report says `done`. */
  readonly downloadProgress: (
    remote: string,
    local: string,
    options?: TransferOptions & Extra
  ) => Stream.Stream<TransferProgress, TransferError, FileSystem.FileSystem>
}

/**
 * The transfers of a session, which finds out by itself what the server speaks.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionTransfers extends SshTransfers<ProtocolOption> {
  /**
   * The bytes of a file on the server. Fails with `OutputTooLarge` where they are more than `maxSize` (default 64 MiB); use
   * `download`, or `read` of `sftp`, for what is large.
   */
  readonly downloadBytes: (
    remote: string,
    options?: ProtocolOption & { readonly maxSize?: number | undefined }
  ) => Effect.Effect<Uint8Array, SshError>
}

const defaultMaxSize = 64 * 1024 * 1024

/** How a service that copies gets at what carries the files. */
interface Means<Extra> {
  /** How errors call the server. */
  readonly server: string
  /** What spans are called after. */
  readonly service: string
  readonly carrier: (options: Extra | undefined) => Effect.Effect<Carrier, SshError, Scope.Scope>
}

const jobOf = (server: string, options: TransferOptions | undefined, meter: Meter): Job => ({
  settings: settingsOf(options),
  meter,
  failure: (detail) => new SshError({ server, reason: new TransferProtocol({ detail }) })
})

/**
 * Copies by what carries the files.
 *
 * @internal
 */
export const make = <Extra>({ carrier, server, service }: Means<Extra>): SshTransfers<Extra> => {
  const able = Effect.fnUntraced(function*(
    options: (TransferOptions & Extra) | undefined,
    direction: "upload" | "download"
  ) {
    const carries = yield* carrier(options)
    const refusal = options === undefined ? undefined : carries.refusal(options, direction)
    if (refusal === undefined) return carries
    const reason = new Unsupported({ feature: "other", detail: `${refusal} cannot be had over SCP` })
    return yield* new SshError({ server, reason })
  })

  type Uploaded = string | Uint8Array | Stream.Stream<Uint8Array, unknown, unknown>
  type UploadOptions = TransferOptions & Pick<DataOptions, "mode" | "size"> & Extra

  const uploading = (source: Uploaded, remote: string, options?: UploadOptions) => (meter: Meter) =>
    Effect.scoped(
      Effect.gen(function*() {
        const carries = yield* able(options, "upload")
        const job = jobOf(server, options, meter)
        if (typeof source === "string") yield* carries.upload(job, yield* FileSystem.FileSystem, source, remote)
        else if (Stream.isStream(source)) yield* carries.uploadData(job, fromStream(source, options ?? {}), remote)
        else yield* carries.uploadData(job, fromBytes(source, options ?? {}), remote)
        return meter.summary()
      }).pipe(Effect.withSpan(`${service}.upload`, { attributes: { server, remote } }))
    )

  const downloading =
    (remote: string, local: string, options: (TransferOptions & Extra) | undefined) => (meter: Meter) =>
      Effect.scoped(
        Effect.gen(function*() {
          const carries = yield* able(options, "download")
          yield* carries.download(jobOf(server, options, meter), yield* FileSystem.FileSystem, remote, local)
          return meter.summary()
        }).pipe(Effect.withSpan(`${service}.download`, { attributes: { server, remote } }))
      )

  // what is needed and what can go wrong depends on what is uploaded

  function upload(
    local: string,
    remote: string,
    options?: TransferOptions & Extra
  ): Effect.Effect<TransferSummary, TransferError, FileSystem.FileSystem>
  function upload<E = never, R = never>(
    data: Uint8Array | Stream.Stream<Uint8Array, E, R>,
    remote: string,
    options?: DataOptions & Extra
  ): Effect.Effect<TransferSummary, SshError | E, R>
  function upload(
    source: Uploaded,
    remote: string,
    options?: UploadOptions
  ): Effect.Effect<TransferSummary, unknown, unknown> {
    return Effect.suspend(() => uploading(source, remote, options)(new Meter()))
  }

  function uploadProgress(
    local: string,
    remote: string,
    options?: TransferOptions & Extra
  ): Stream.Stream<TransferProgress, TransferError, FileSystem.FileSystem>
  function uploadProgress<E = never, R = never>(
    data: Uint8Array | Stream.Stream<Uint8Array, E, R>,
    remote: string,
    options?: DataOptions & Extra
  ): Stream.Stream<TransferProgress, SshError | E, R>
  function uploadProgress(
    source: Uploaded,
    remote: string,
    options?: UploadOptions
  ): Stream.Stream<TransferProgress, unknown, unknown> {
    return watched(uploading(source, remote, options))
  }

  return {
    upload,
    uploadProgress,
    download: (...args) => Effect.suspend(() => downloading(...args)(new Meter())),
    downloadProgress: (...args) => watched(downloading(...args))
  }
}

/** How commands run on the server: for `scp`, and for checksums. */
type Commands = Pick<Programs, "exec" | "execute">

/**
 * The transfers of a channel for SFTP.
 *
 * @internal
 */
export const ofSftp = (server: string, client: Client, commands: Commands): SshTransfers => {
  const carrier = Effect.succeed(overSftp(server, client, commands.execute))
  return make({ server, service: "Sftp", carrier: () => carrier })
}

/**
 * The transfers of a session, over SFTP or SCP.
 *
 * @internal
 */
export const ofSession = (
  server: string,
  client: Effect.Effect<Client, SshError, Scope.Scope>,
  commands: Commands
): SessionTransfers => {
  const scp = Effect.succeed(overScp(server, commands.exec))
  const sftp = Effect.map(client, (client) => overSftp(server, client, commands.execute))
  const carrier = (options: ProtocolOption | undefined): Effect.Effect<Carrier, SshError, Scope.Scope> => {
    if (options?.protocol === "scp") return scp
    if (options?.protocol === "sftp") return sftp
    return Effect.catchIf(sftp, ({ reason }) => reason._tag === "ChannelRefused", () => scp)
  }
  return {
    ...make({ server, service: "SshSession", carrier }),
    downloadBytes: Effect.fn("SshSession.downloadBytes")((remote, options) =>
      Effect.scoped(
        Effect.flatMap(carrier(options), (carries) =>
          carries.bytes(jobOf(server, undefined, new Meter()), remote, options?.maxSize ?? defaultMaxSize))
      )
    )
  }
}
