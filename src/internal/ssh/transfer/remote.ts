import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Pull from "effect/Pull"
import { SftpStatus, type SshError, type SshErrorReason } from "../../../errors/SshError.ts"
import type * as Sftp from "../sftp/attributes.ts"
import type { Client } from "../sftp/client.ts"
import * as Operations from "../sftp/operations.ts"
import * as Content from "../sftp/transfer.ts"
import * as Tree from "../sftp/tree.ts"
import { Writer } from "../sftp/writer.ts"
import type { Chunks, Entry, Files } from "./files.ts"
import { join, temporaryBeside } from "./names.ts"
import type { Attributes } from "./options.ts"

const seconds = (date: Option.Option<Date>): number =>
  Option.match(date, { onNone: () => 0, onSome: (date) => date.getTime() / 1000 })

const typeOf = (type: Sftp.Attributes["type"]): Attributes["type"] =>
  type === "File" || type === "Directory" || type === "SymbolicLink" ? type : "Other"

const attributesOf = ({ atime, mode, mtime, size, type }: Sftp.Attributes): Attributes => ({
  type: typeOf(type),
  size: Number(Option.getOrElse(size, () => 0n)),
  mode: Option.getOrElse(mode, () => type === "Directory" ? 0o755 : 0o644),
  atime: seconds(atime),
  mtime: seconds(mtime)
})

/** The file system of a server that speaks SFTP. */
export const remote = (
  client: Client,
  failed: (reason: SshErrorReason) => SshError,
  sha256: (path: string) => Effect.Effect<string, SshError>
): Files<SshError> => {
  const labelled = Effect.mapError(failed)
  const stat = (path: string) => labelled(Effect.map(Operations.stat(client, path), attributesOf))
  const lstat = (path: string) => labelled(Effect.map(Operations.lstat(client, path), attributesOf))

  const list = (path: string): Effect.Effect<ReadonlyArray<Entry>, SshError> =>
    labelled(Effect.map(Tree.readDirectory(client, path), (entries) =>
      entries.map(({ attributes, name }) => {
        const known = attributes.type === "Unknown" ? undefined : attributesOf(attributes)
        return { name, type: known?.type ?? "Other", attributes: known }
      })))

  const write: Files<SshError>["write"] = Effect.fnUntraced(function*(path, { exclusive, mode, offset }) {
    const flag = exclusive ? "wx" : offset > 0 ? "r+" : "w"
    let closed = false
    const handle = yield* labelled(Effect.acquireRelease(
      Operations.openFile(client, path, flag, mode),
      ({ id }) => Effect.sync(() => closed ? undefined : client.requests.closeHandle(id)),
      { interruptible: true }
    ))
    const about = { operation: "write", path }
    const writer = new Writer(client.requests, handle.id, about, BigInt(offset), client.limits.write)
    return {
      copies: false,
      write: (chunks) => labelled(writer.write(chunks)),
      finish: Effect.fnUntraced(function*(fsync) {
        yield* labelled(writer.flush)
        if (fsync) yield* labelled(Operations.fsync(client, handle))
        closed = true
        yield* labelled(Operations.close(client, handle))
      })
    }
  })

  return {
    stat,
    lstat,
    isMissing: ({ reason }) => Operations.isMissing(reason),
    list: Effect.fnUntraced(function*(path) {
      const entries = yield* list(path)
      // not every server says in its listing what things are
      return entries.every(({ attributes }) => attributes !== undefined) ? entries : yield* Effect.forEach(
        entries,
        ({ name }) =>
          Effect.map(lstat(join(path, name)), (attributes) => ({ name, type: attributes.type, attributes })),
        { concurrency: 16 }
      )
    }),
    realPath: (path) => labelled(Operations.realPath(client, path)),
    readLink: (path) => labelled(Operations.readLink(client, path)),
    makeLink: (path, text) => {
      const temporary = temporaryBeside(path)
      return Operations.symlink(client, text, temporary).pipe(
        Effect.andThen(Operations.replace(client, temporary, path)),
        Effect.onError(() => Effect.ignore(Operations.unlink(client, temporary))),
        labelled
      )
    },
    makeDirectory: (path, mode) => labelled(Operations.mkdir(client, path, mode)),
    rename: (from, to) => labelled(Operations.replace(client, from, to)),
    remove: (path) => labelled(Operations.unlink(client, path)),
    change: (path, changes) => labelled(Operations.setAttributes(client, path, changes)),
    readAll: (path, size) => labelled(Content.readFile(client, path, undefined, size)),
    writeAll: (path, content, { exclusive, mode }) =>
      labelled(Content.writeFile(client, path, content, { flag: exclusive ? "wx" : "w", mode })),
    read: Effect.fnUntraced(function*(path, offset, lend) {
      const handle = yield* labelled(Operations.scoped(client, Operations.openFile(client, path, "r", undefined)))
      const reads = yield* Content.reads(client, handle, { offset }, lend)
      const pull: Pull.Pull<Chunks, SshError> = Effect.mapError(
        reads,
        (error) => Cause.isDone(error) ? error : failed(error)
      )
      return pull
    }),
    write,
    sha256,
    failure: (operation, path, detail) =>
      failed(new SftpStatus({ operation, path, code: 4, status: "Failure", detail }))
  }
}
