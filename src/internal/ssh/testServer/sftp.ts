/** SFTP as a server speaks it: version 3 with OpenSSH's extensions (draft-ietf-secsh-filexfer-02). */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { AnswerReader } from "../sftp/answers.ts"
import * as Attributes from "../sftp/attributes.ts"
import { Cursor, encodeFields, type Field, Kind } from "../sftp/packet.ts"
import type { CommandHandler } from "./command.ts"
import type { Files, OpenFile, OpenMode, Stat } from "./files.ts"

/** How a server answers. */
export interface SftpOptions {
  readonly files: Files
  /** Whether it knows OpenSSH's extensions. Default true. */
  readonly extensions?: boolean | undefined
  /** The most that one read gives, whatever was asked for. Default: as much as was asked for. */
  readonly maxRead?: number | undefined
  /** What is printed before the first packet, as by a login script. Default: nothing. */
  readonly greeting?: string | undefined
  /** Its protocol version. Default 3. */
  readonly version?: number | undefined
  /** Sees each request before it is carried out, and may hold it back: it is carried out when `go` is called. */
  readonly onRequest?: ((kind: number, go: () => void) => void) | undefined
}

const extensions = [
  ["posix-rename@openssh.com", "1"],
  ["statvfs@openssh.com", "2"],
  ["hardlink@openssh.com", "1"],
  ["fsync@openssh.com", "1"],
  ["limits@openssh.com", "1"],
  ["copy-data", "1"]
] as const

/** The numbers and words that OpenSSH has for what its system refuses. */
const noSuchFile = [2, "No such file"] as const
const permissionDenied = [3, "Permission denied"] as const
const badMessage = [5, "Bad message"] as const

const codes: Readonly<Record<string, readonly [code: number, detail: string]>> = {
  ENOENT: noSuchFile,
  ENOTDIR: noSuchFile,
  EBADF: noSuchFile,
  ELOOP: noSuchFile,
  EACCES: permissionDenied,
  EPERM: permissionDenied,
  EINVAL: badMessage
}

const refusalOf = (error: unknown): readonly [number, string] =>
  (error instanceof Error && "code" in error ? codes[String(error.code)] : undefined) ?? [4, "Failure"]

const encodeStat = ({ atime, gid, mode, mtime, size, uid }: Stat) => ({
  raw: encodeFields([15, size, uid, gid, mode, atime, mtime])
})

/** What is known of a name alone: nothing. */
const noAttributes = { raw: encodeFields([0]) }

const letters = (mode: number) =>
  ["r", "w", "x", "r", "w", "x", "r", "w", "x"].map((letter, i) => (mode & (0o400 >> i)) === 0 ? "-" : letter).join("")

const kindLetters: Readonly<Record<number, string>> = { 0o04: "d", 0o12: "l" }

/** A line as `ls -l` prints it, which some clients show as it is. */
const longName = (name: string, { gid, mode, mtime, size, uid }: Stat) => {
  const [, month = "", day = "", , time = ""] = /^(?:\S+) (\S+) (\S+) (\S+) (\d+:\d+)/.exec(
    new Date(mtime * 1000).toString()
  ) ?? []
  return `${kindLetters[mode >>> 12] ?? "-"}${letters(mode)} 1 ${uid} ${gid} ${size} ${month} ${day} ${time} ${name}`
}

/** What a client asks to be changed. */
const changesOf = (cursor: Cursor): Attributes.AttributeChanges => {
  const { atime, gid, mode, mtime, size, uid } = Attributes.decode(cursor)
  return {
    size: Option.getOrUndefined(size),
    mode: Option.getOrUndefined(mode),
    owner: Option.getOrUndefined(Option.all({ uid, gid })),
    times: Option.getOrUndefined(Option.all({ atime, mtime }))
  }
}

const openModeOf = (asked: number): OpenMode => ({
  read: (asked & 1) !== 0 || (asked & 2) === 0,
  write: (asked & 2) !== 0,
  append: (asked & 4) !== 0,
  create: (asked & 8) !== 0,
  truncate: (asked & 16) !== 0,
  exclusive: (asked & 32) !== 0
})

/** A file that is open, or what is left of a folder that is being read: it was looked at when it was opened. */
type Open =
  | { readonly file: OpenFile }
  | { readonly entries: Array<readonly [name: string, stat: Stat]> }

/** What an answer consists of. */
type Answer = readonly [kind: number, fields: ReadonlyArray<Field>]

const ok: Answer = [Kind.Status, [0, "Success", ""]]
const endOfFile: Answer = [Kind.Status, [1, "End of file", ""]]
const unsupported: Answer = [Kind.Status, [8, "Operation unsupported", ""]]

/** How much is copied at a time. */
const copySize = 65_536

/** Carries out the requests of one client. */
class Service {
  private readonly files: Files
  private readonly maxRead: number
  private readonly open = new Map<string, Open>()
  private lastHandle = 0

  constructor({ files, maxRead }: SftpOptions) {
    this.files = files
    this.maxRead = maxRead ?? Infinity
  }

  /** How many files and folders are open. */
  get size(): number {
    return this.open.size
  }

  closeAll(): void {
    for (const open of this.open.values()) if ("file" in open) open.file.close()
    this.open.clear()
  }

  answer(kind: number, body: Buffer): Answer {
    try {
      return this.carryOut(kind, new Cursor(body))
    } catch (error) {
      return [Kind.Status, [...refusalOf(error), ""]]
    }
  }

  private handle(open: Open): Answer {
    const name = `${++this.lastHandle}`
    this.open.set(name, open)
    return [Kind.Handle, [name]]
  }

  private get(name: string): Open {
    const open = this.open.get(name)
    if (open === undefined) throw new Error("no such handle")
    return open
  }

  private file(cursor: Cursor): OpenFile {
    const open = this.get(cursor.text())
    if (!("file" in open)) throw new Error("not a file")
    return open.file
  }

  private read(cursor: Cursor): Answer {
    const file = this.file(cursor)
    const offset = cursor.bigint()
    const bytes = file.read(offset, Math.min(cursor.number(), this.maxRead))
    return bytes.length === 0 ? endOfFile : [Kind.Data, [bytes]]
  }

  private names(cursor: Cursor): Answer {
    const open = this.get(cursor.text())
    if ("file" in open) throw new Error("not a folder")
    const entries = open.entries.splice(0, 100)
    if (entries.length === 0) return endOfFile
    const fields = entries.flatMap(([name, stat]) => [name, longName(name, stat), encodeStat(stat)])
    return [Kind.Name, [entries.length, ...fields]]
  }

  private openFolder(path: string): Answer {
    const names = [".", "..", ...this.files.list(path)]
    return this.handle({ entries: names.map((name) => [name, this.files.stat(`${path}/${name}`, false)]) })
  }

  private stat(stat: Stat): Answer {
    return [Kind.Attrs, [encodeStat(stat)]]
  }

  private name(name: string): Answer {
    return [Kind.Name, [1, name, "", noAttributes]]
  }

  private close(name: string): void {
    const open = this.get(name)
    this.open.delete(name)
    if ("file" in open) open.file.close()
  }

  /** Copies a part of a file into another one; a size of 0 means all that is left. */
  private copy(cursor: Cursor): void {
    const from = this.file(cursor)
    const start = cursor.bigint()
    const size = cursor.bigint()
    const to = this.file(cursor)
    const offset = cursor.bigint()
    let copied = 0n
    for (let left = size === 0n ? 2n ** 63n : size; left > 0n;) {
      const bytes = from.read(start + copied, left > copySize ? copySize : Number(left))
      if (bytes.length === 0) return
      to.write(offset + copied, bytes)
      copied += BigInt(bytes.length)
      left -= BigInt(bytes.length)
    }
  }

  private extended(cursor: Cursor): Answer {
    switch (cursor.text()) {
      case "posix-rename@openssh.com":
        this.files.rename(cursor.text(), cursor.text(), true)
        return ok
      case "hardlink@openssh.com":
        this.files.link(cursor.text(), cursor.text())
        return ok
      case "fsync@openssh.com":
        this.file(cursor).sync()
        return ok
      case "limits@openssh.com":
        return [Kind.ExtendedReply, [262_144n, 261_120n, 261_120n, 100n]]
      case "statvfs@openssh.com": {
        const { blockSize, blocks, files, freeBlocks, freeFiles } = this.files.room(cursor.text())
        const counts = [blockSize, blockSize, blocks, freeBlocks, freeBlocks, files, freeFiles, freeFiles]
        return [Kind.ExtendedReply, [...counts, 7n, 2n, 255n]]
      }
      case "copy-data":
        this.copy(cursor)
        return ok
      default:
        return unsupported
    }
  }

  private carryOut(kind: number, cursor: Cursor): Answer {
    const { files } = this
    switch (kind) {
      case Kind.Open: {
        const path = cursor.text()
        const mode = openModeOf(cursor.number())
        return this.handle({ file: files.open(path, mode, changesOf(cursor).mode ?? 0o666) })
      }
      case Kind.Close:
        this.close(cursor.text())
        return ok
      case Kind.Read:
        return this.read(cursor)
      case Kind.Write:
        this.file(cursor).write(cursor.bigint(), cursor.copy())
        return ok
      case Kind.Lstat:
        return this.stat(files.stat(cursor.text(), false))
      case Kind.Stat:
        return this.stat(files.stat(cursor.text(), true))
      case Kind.Fstat:
        return this.stat(this.file(cursor).stat())
      case Kind.Setstat:
        files.change(cursor.text(), changesOf(cursor))
        return ok
      case Kind.Fsetstat:
        this.file(cursor).change(changesOf(cursor))
        return ok
      case Kind.Opendir:
        return this.openFolder(cursor.text())
      case Kind.Readdir:
        return this.names(cursor)
      case Kind.Remove:
        files.remove(cursor.text())
        return ok
      case Kind.Mkdir:
        files.makeFolder(cursor.text(), changesOf(cursor).mode ?? 0o777)
        return ok
      case Kind.Rmdir:
        files.removeFolder(cursor.text())
        return ok
      case Kind.Realpath:
        return this.name(files.realPath(cursor.text()))
      case Kind.Rename:
        files.rename(cursor.text(), cursor.text(), false)
        return ok
      case Kind.Readlink:
        return this.name(files.readLink(cursor.text()))
      case Kind.Symlink:
        // OpenSSH has them the other way round than the draft
        files.symlink(cursor.text(), cursor.text())
        return ok
      case Kind.Extended:
        return this.extended(cursor)
      default:
        return unsupported
    }
  }
}

/** A packet from its kind and fields. */
export const packet = (kind: number, fields: ReadonlyArray<Field>): Buffer => {
  const body = encodeFields(fields)
  return Buffer.concat([encodeFields([body.length + 1]), Buffer.of(kind), body])
}

/** What serves one client. */
export interface Serving {
  readonly receive: (bytes: Buffer) => void
  /** How many files and folders are open. */
  readonly open: () => number
  readonly close: () => void
}

/** Serves what comes in by `receive`, and gives the answers to `send`. Calls `giveUp` when what comes in is no SFTP. */
export const serve = (options: SftpOptions, send: (bytes: Buffer) => void, giveUp = () => {}): Serving => {
  const service = new Service(options)
  const onRequest = options.onRequest ?? ((_kind, go) => go())
  const reader = new AnswerReader({
    onPacket: (kind, body) => {
      if (kind === Kind.Init) {
        const known = options.extensions === false ? [] : extensions.flat()
        return send(packet(Kind.Version, [options.version ?? 3, ...known]))
      }
      const id = new Cursor(body).number()
      onRequest(kind, () => {
        const [answer, fields] = service.answer(kind, body.subarray(4))
        send(packet(answer, [id, ...fields]))
      })
    },
    onDataStart: () => {},
    onData: () => {},
    onDataEnd: () => {},
    onNonsense: giveUp
  })
  if (options.greeting !== undefined) send(Buffer.from(options.greeting))
  return { receive: (bytes) => reader.read(bytes), open: () => service.size, close: () => service.closeAll() }
}

/** Serves files to the client of a channel, until it has no more requests. */
export const serveFiles = (options: SftpOptions): CommandHandler => (_command, stream) => {
  // behind the answers
  const end = () => void stream.write("", ended)
  let ended = () => {}
  const serving = serve(options, (bytes) => {
    // a client that takes no answers has no more of its requests read
    if (!stream.write(bytes)) stream.pause()
  }, end)
  const served = Effect.callback<number>((resume) => {
    ended = () => resume(Effect.succeed(0))
    stream.on("data", serving.receive).on("drain", () => stream.resume()).on("end", end)
  })
  return Effect.ensuring(served, Effect.sync(serving.close))
}
