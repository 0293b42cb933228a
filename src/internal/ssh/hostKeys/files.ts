import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { type SshErrorReason, Unknown } from "../../../errors/SshError.ts"
import * as UserFiles from "../userFiles.ts"
import { type Line, parse, type Source } from "./knownHosts.ts"
import * as Revocations from "./revocations.ts"

/** Lines, and in words where was looked for them and how that went. */
export interface KnownHosts {
  readonly lines: ReadonlyArray<Line>
  readonly looked: string
}

/** `~/.ssh/known_hosts2` and the like are still read by ssh, if hardly ever there. */
export const defaultFiles: readonly [string, ...ReadonlyArray<string>] = [
  "~/.ssh/known_hosts",
  "~/.ssh/known_hosts2",
  "/etc/ssh/ssh_known_hosts",
  "/etc/ssh/ssh_known_hosts2"
]

const sourceOf = (file: string): Source => ({ name: UserFiles.expandHome(file), isFile: true })

const read = (file: string) => Effect.map(UserFiles.readIfThere(file), (bytes) => parse(bytes, sourceOf(file)))

/** Reads files; those that cannot be read know nothing, as for ssh, but are named. */
export const load = (files: ReadonlyArray<string>): Effect.Effect<KnownHosts> =>
  Effect.map(
    Effect.forEach(files, (file) =>
      Effect.match(read(file), {
        onSuccess: (lines) => ({ lines, unreadable: [] }),
        onFailure: ({ code }) => ({ lines: [], unreadable: [`${file} (${code})`] })
      }), { concurrency: "unbounded" }),
    (all) => {
      const unreadable = all.flatMap((one) => one.unreadable)
      const failed = unreadable.length === 0 ? "" : `; cannot read ${unreadable.join(", ")}`
      return {
        lines: all.flatMap(({ lines }) => lines),
        looked: `no line for it in ${files.join(", ")}${failed}`
      }
    }
  )

const cannot = (what: string, file: string) => (cause: UserFiles.FileError) =>
  new Unknown({ detail: `cannot ${what} "${file}" (${cause.code})`, cause })

/** As `load`, but fails when the first file, which is to be written to, cannot be read. */
export const loadForWriting = (
  [file, ...others]: readonly [string, ...ReadonlyArray<string>]
): Effect.Effect<KnownHosts, SshErrorReason> =>
  Effect.andThen(
    Effect.mapError(UserFiles.readIfThere(file), cannot("read known hosts from", file)),
    load([file, ...others])
  )

// one at a time, so that who looks into a file before it adds to it sees what others of this process have added
const writing = Semaphore.makeUnsafe(1)

/** Runs what reads files and adds to them, alone in this process. */
export const exclusively = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  writing.withPermit(effect)

/** Adds a line to a file. */
export const append = (file: string, line: string): Effect.Effect<void, SshErrorReason> =>
  Effect.mapError(UserFiles.appendLine(file, line), cannot("add the host key to", file))

/** Reads a file of revoked keys, which has to be there and to be understood. */
export const revocations = (file: string): Effect.Effect<Revocations.Revocations, SshErrorReason> =>
  Effect.flatMap(
    Effect.mapError(UserFiles.read(file), cannot("read revoked keys from", file)),
    (bytes) =>
      Effect.mapError(
        Effect.fromResult(Revocations.parse(bytes)),
        (detail) => new Unknown({ detail: `cannot read revoked keys from "${file}": ${detail}` })
      )
  )
