import type * as PlatformError from "effect/PlatformError"
import type { SshError } from "../../../errors/SshError.ts"

/** What kind of thing a name stands for. */
export type EntryType = "File" | "Directory" | "SymbolicLink" | "Other"

/** What a file system says of a file. */
export interface Attributes {
  readonly type: EntryType
  /** In bytes. */
  readonly size: number
  /** The permission bits (`0o644`). */
  readonly mode: number
  /** When it was last read, in whole seconds since 1970. */
  readonly atime: number
  /** When it was last written, in whole seconds since 1970. */
  readonly mtime: number
}

/** Something that a transfer has come upon. */
export interface TransferEntry extends Attributes {
  /** Where it is, seen from the folder that is copied: `css/site.css`, with `/` on every system. */
  readonly path: string
}

/** Settings of an upload or a download. */
export interface TransferOptions {
  /** Which entries of a folder to copy. A folder that is left out is not entered. Default: all. */
  readonly filter?: ((entry: TransferEntry) => boolean) | undefined
  /**
   * What becomes of symbolic links in a folder: `"copy"` makes a link with the same text, `"follow"` copies what it points
   * to, wherever that is (a loop is entered once), `"skip"` leaves it out. What is named to be copied is always followed.
   * Default `"copy"`; over SCP `"follow"`, as the server's `scp` does.
   */
  readonly symlinks?: "copy" | "follow" | "skip" | undefined
  /**
   * Give the copy the exact permission bits and times of the original. Default false: permission bits go along as far as
   * the other side's umask lets them, as with `cp`; times do not.
   */
  readonly preserve?: boolean | undefined
  /**
   * What becomes of files that are there already: `"always"` replaces them, `"never"` leaves them, `"newer"` replaces those
   * that were written before the original was, `"different"` those of another size or time (the times of an earlier copy
   * are the same only with `preserve`). Those that are left count as `skipped`. Default `"always"`.
   */
  readonly overwrite?: "always" | "never" | "newer" | "different" | undefined
  /**
   * Go on where an earlier transfer was cut off: a shorter file at the target is taken for the beginning and continued, one
   * of the same size for the whole, a longer one is replaced. What a transfer with this option could not finish is left for
   * the next one. Only sizes are compared unless `verify` is set. Default false.
   */
  readonly resume?: boolean | undefined
  /**
   * Write to a temporary file beside the target and rename it when all is there, so that nobody sees half a file, and a
   * failure leaves nothing behind. Default true, and false with `resume`, where the target grows in place; both together
   * keep the part that is there as `<target>.part`. Uploads over SCP never are.
   */
  readonly atomic?: boolean | undefined
  /** Have files on the disk before they count as copied. The server has to be OpenSSH, or to know its `fsync`. Default false. */
  readonly fsync?: boolean | undefined
  /**
   * Compare checksums when a file is there. The server computes its own with the extension `check-file` where it has it, and
   * with `sha256sum` or `shasum` in its shell otherwise. A file that was resumed and differs is copied anew. Default: no.
   */
  readonly verify?: "sha256" | undefined
  /** How many files of a folder are on their way at once. Default 32, and fewer where the server cannot open as many. */
  readonly concurrency?: number | undefined
  /**
   * What a file that cannot be copied means: `"fail"` ends the transfer, `"collect"` puts it into `failures` of the summary
   * and goes on. What ends the connection, or comes of a server that does not keep to the rules, always ends the transfer.
   * Default `"fail"`.
   */
  readonly onError?: "fail" | "collect" | undefined
}

/** Settings of an upload of bytes. */
export interface DataOptions extends Pick<TransferOptions, "atomic" | "fsync" | "verify"> {
  /** The permission bits of the file, exactly. Default: those of the file that is replaced, or 0644 less the server's umask. */
  readonly mode?: number | undefined
  /** `"never"` leaves a file that is there already, which counts as `skipped`. Default `"always"`. */
  readonly overwrite?: "always" | "never" | undefined
  /** How many bytes a stream has: for those who watch, and for SCP, which has to know. */
  readonly size?: number | undefined
}

/** A file that could not be copied. */
export interface TransferFailure {
  /** Seen from the folder that is copied. */
  readonly path: string
  readonly error: SshError | PlatformError.PlatformError
}

/** What a transfer has done. */
export interface TransferSummary {
  /** How many files were copied. */
  readonly files: number
  /** How many folders there are in the copy, the outermost included. */
  readonly directories: number
  /** How many symbolic links were made. */
  readonly links: number
  /** How many entries were left out: by `overwrite`, by `symlinks`, as whole already, or as neither file, folder nor link. */
  readonly skipped: number
  /** How many bytes were copied; those that `resume` found are not among them. */
  readonly bytes: number
  /** What could not be copied; empty unless `onError` is `"collect"`. */
  readonly failures: ReadonlyArray<TransferFailure>
}

/** How far a transfer is. */
export interface TransferProgress extends TransferSummary {
  /** The file that went on last, seen from the folder that is copied; `""` where a single file is copied. */
  readonly path: string
  /** How many bytes are there, those included that `resume` found. */
  readonly transferred: number
  /** How many bytes there are in all. It grows for as long as folders are read, and with a stream of unknown length. */
  readonly total: number
  /** How many files have been found. It grows for as long as folders are read. */
  readonly totalFiles: number
  /** Whether this is the last report, of a transfer that has ended well. */
  readonly done: boolean
}
