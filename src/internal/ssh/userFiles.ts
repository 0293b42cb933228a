import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/**
 * A file cannot be read or written; `code` is the system's (`ENOENT`, `EACCES`, ...). No `Error` of its own: several files that
 * need not be there are looked for at every login, and a stack trace costs more than that.
 */
export class FileError extends Data.TaggedClass("FileError")<{ readonly code: string; readonly cause: unknown }> {}

const fileError = (cause: NodeJS.ErrnoException) => new FileError({ code: cause.code ?? cause.message, cause })

/** `~/.ssh/id_ed25519`, as people write it. */
export const expandHome = (path: string): string =>
  path.startsWith("~/") ? Path.join(Os.homedir(), path.slice(2)) : path

/** What the system does with files, by Node's callbacks: half the cost of its promises. */
export const called = <A>(
  start: (done: (cause: NodeJS.ErrnoException | null, value: A) => void) => void
): Effect.Effect<A, FileError> =>
  Effect.callback((resume) =>
    start((cause, value) => resume(cause === null ? Effect.succeed(value) : Effect.fail(fileError(cause))))
  )

/** The bytes of a file. */
export const read = (path: string): Effect.Effect<Buffer, FileError> =>
  called((done) => Fs.readFile(expandHome(path), done))

/** The bytes of a file; none where there is no file. */
export const readIfThere = (path: string): Effect.Effect<Buffer, FileError> =>
  Effect.catchIf(read(path), ({ code }) => code === "ENOENT", () => Effect.succeed(Buffer.alloc(0)))

/** Adds a line to a file that only the user may read, and makes the file and its folder where they are missing. */
export const appendLine = Effect.fnUntraced(function*(path: string, line: string) {
  const file = expandHome(path)
  yield* called<string | undefined>((done) => Fs.mkdir(Path.dirname(file), { recursive: true, mode: 0o700 }, done))
  const before = yield* readIfThere(file)
  const unfinished = before.length > 0 && before.at(-1) !== 0x0a
  // one write, so that programs which append at the same time do not mix their lines
  const text = `${unfinished ? "\n" : ""}${line}\n`
  yield* called<void>((done) => Fs.appendFile(file, text, { mode: 0o600 }, (cause) => done(cause, undefined)))
})
