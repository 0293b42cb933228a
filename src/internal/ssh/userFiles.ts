import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"

/** A file cannot be read or written; `code` is the system's (`ENOENT`, `EACCES`, ...). */
export class FileError extends Schema.TaggedError<FileError>("hawser/internal/FileError")("FileError", {
  code: Schema.String,
  cause: Schema.Defect()
}) {}

const fileError = (cause: unknown) =>
  new FileError({
    code: cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : String(cause),
    cause
  })

/** `~/.ssh/id_ed25519`, as people write it. */
export const expandHome = (path: string): string => path.startsWith("~/") ? Path.join(Os.homedir(), path.slice(2)) : path

const attempt = <A>(operation: () => PromiseLike<A>): Effect.Effect<A, FileError> =>
  Effect.tryPromise({ try: operation, catch: fileError })

/** The bytes of a file. */
export const read = (path: string): Effect.Effect<Buffer, FileError> => attempt(() => Fs.readFile(expandHome(path)))

/** The bytes of a file; none where there is no file. */
export const readIfThere = (path: string): Effect.Effect<Buffer, FileError> =>
  Effect.catchIf(read(path), ({ code }) => code === "ENOENT", () => Effect.succeed(Buffer.alloc(0)))

/** Adds a line to a file that only the user may read, and makes the file and its folder where they are missing. */
export const appendLine = Effect.fnUntraced(function*(path: string, line: string) {
  const file = expandHome(path)
  yield* attempt(() => Fs.mkdir(Path.dirname(file), { recursive: true, mode: 0o700 }))
  const before = yield* readIfThere(file)
  const unfinished = before.length > 0 && before.at(-1) !== 0x0a
  // one write, so that programs which append at the same time do not mix their lines
  yield* attempt(() => Fs.appendFile(file, `${unfinished ? "\n" : ""}${line}\n`, { mode: 0o600 }))
})
