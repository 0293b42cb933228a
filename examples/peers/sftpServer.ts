/**
 * A small SFTP server for demonstrations and tests: version 3 with OpenSSH's extensions, over a folder of this machine that
 * counts as the root. It works in step with the event loop and is not made for speed.
 */
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Duplex } from "node:stream"
import { AnswerReader } from "../../src/internal/ssh/sftp/answers.ts"
import * as Attributes from "../../src/internal/ssh/sftp/attributes.ts"
import { Cursor, encodeFields, type Field, Kind } from "../../src/internal/ssh/sftp/packet.ts"

/** Settings of the server. */
export interface SftpServerOptions {
  /** The folder that is `/`. */
  readonly root: string
  /** Whether it knows OpenSSH's extensions. Default true. */
  readonly extensions?: boolean
  /** The most that one read gives, whatever was asked for. Default: as much as was asked for. */
  readonly maxRead?: number
  /** What is printed before the first packet, as by a login script. Default: nothing. */
  readonly greeting?: string
  /** Its protocol version. Default 3. */
  readonly version?: number
  /** Sees each request before it is carried out, and may hold it back: it is carried out when `go` is called. */
  readonly onRequest?: (kind: number, go: () => void) => void
}

/** Kinds of requests, as `onRequest` gets them. */
export { Kind } from "../../src/internal/ssh/sftp/packet.ts"

const extensions = [
  ["posix-rename@openssh.com", "1"],
  ["statvfs@openssh.com", "2"],
  ["hardlink@openssh.com", "1"],
  ["fsync@openssh.com", "1"],
  ["limits@openssh.com", "1"],
  ["copy-data", "1"]
] as const

const codes: Readonly<Record<string, readonly [code: number, detail: string]>> = {
  ENOENT: [2, "No such file"],
  ENOTDIR: [2, "No such file"],
  ELOOP: [2, "No such file"],
  EACCES: [3, "Permission denied"],
  EPERM: [3, "Permission denied"],
  EINVAL: [5, "Bad message"]
}

/** A refusal with the number and words of OpenSSH. */
const refusalOf = (error: unknown): readonly [number, string] =>
  (error instanceof Error && "code" in error ? codes[String(error.code)] : undefined) ?? [4, "Failure"]

interface Open {
  readonly fd?: number
  readonly append?: boolean
  /** What is left of a folder. */
  readonly names?: Array<string>
  readonly path: string
}

const attributesOf = (stats: Fs.BigIntStats) => ({
  raw: encodeFields([
    15,
    stats.size,
    Number(stats.uid),
    Number(stats.gid),
    Number(stats.mode),
    Number(stats.atimeMs / 1000n),
    Number(stats.mtimeMs / 1000n)
  ])
})

/** What an answer consists of. */
type Answer = readonly [kind: number, fields: ReadonlyArray<Field>]

const ok: Answer = [Kind.Status, [0, "Success", ""]]

class Files {
  private readonly root: string
  private readonly maxRead: number
  private readonly open = new Map<string, Open>()
  private lastHandle = 0

  constructor({ maxRead, root }: SftpServerOptions) {
    this.root = Fs.realpathSync(root)
    this.maxRead = maxRead ?? Infinity
  }

  /** How many files and folders are open. */
  get size(): number {
    return this.open.size
  }

  closeAll(): void {
    for (const { fd } of this.open.values()) if (fd !== undefined) Fs.closeSync(fd)
    this.open.clear()
  }

  private real(path: string): string {
    return Path.join(this.root, Path.posix.resolve("/", path))
  }

  private handle(open: Open): Answer {
    const name = `${++this.lastHandle}`
    this.open.set(name, open)
    return [Kind.Handle, [name]]
  }

  private get(cursor: Cursor): Open {
    const open = this.open.get(cursor.text())
    if (open === undefined) throw new Error("no such handle")
    return open
  }

  private file(cursor: Cursor): Open & { readonly fd: number } {
    const { fd, ...open } = this.get(cursor)
    if (fd === undefined) throw new Error("not a file")
    return { ...open, fd }
  }

  private names(open: Open): Answer {
    const names = open.names?.splice(0, 100) ?? []
    if (names.length === 0) return [Kind.Status, [1, "End of file", ""]]
    return [
      Kind.Name,
      [
        names.length,
        ...names.flatMap((name) => {
          const path = Path.join(open.path, name)
          return [name, `?????????? ${name}`, attributesOf(Fs.lstatSync(path, { bigint: true }))]
        })
      ]
    ]
  }

  private change(cursor: Cursor, path: string): Answer {
    const { atime, gid, mode, mtime, size, uid } = Attributes.decode(cursor)
    if (Option.isSome(size)) Fs.truncateSync(path, Number(size.value))
    if (Option.isSome(mode)) Fs.chmodSync(path, mode.value)
    if (Option.isSome(uid) && Option.isSome(gid)) Fs.chownSync(path, uid.value, gid.value)
    if (Option.isSome(atime) && Option.isSome(mtime)) Fs.utimesSync(path, atime.value, mtime.value)
    return ok
  }

  private openFile(cursor: Cursor): Answer {
    const path = this.real(cursor.text())
    const asked = cursor.number()
    const mode = Option.getOrElse(Attributes.decode(cursor).mode, () => 0o666)
    const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = Fs.constants
    const access = (asked & 3) === 3 ? O_RDWR : (asked & 2) === 2 ? O_WRONLY : O_RDONLY
    const flags = [[4, O_APPEND], [8, O_CREAT], [16, O_TRUNC], [32, O_EXCL]] as const
    const all = flags.reduce((flags, [bit, flag]) => (asked & bit) === 0 ? flags : flags | flag, access)
    return this.handle({ fd: Fs.openSync(path, all, mode), append: (asked & 4) !== 0, path })
  }

  private read(cursor: Cursor): Answer {
    const { fd } = this.file(cursor)
    const offset = cursor.bigint()
    const bytes = Buffer.alloc(Math.min(cursor.number(), this.maxRead))
    const size = Fs.readSync(fd, bytes, 0, bytes.length, offset)
    return size === 0 ? [Kind.Status, [1, "End of file", ""]] : [Kind.Data, [bytes.subarray(0, size)]]
  }

  private extended(cursor: Cursor): Answer {
    switch (cursor.text()) {
      case "posix-rename@openssh.com":
        Fs.renameSync(this.real(cursor.text()), this.real(cursor.text()))
        return ok
      case "hardlink@openssh.com":
        Fs.linkSync(this.real(cursor.text()), this.real(cursor.text()))
        return ok
      case "fsync@openssh.com":
        Fs.fsyncSync(this.file(cursor).fd)
        return ok
      case "limits@openssh.com":
        return [Kind.ExtendedReply, [262_144n, 261_120n, 261_120n, 100n]]
      case "statvfs@openssh.com": {
        const { bavail, bfree, blocks, bsize, ffree, files } = Fs.statfsSync(this.real(cursor.text()), { bigint: true })
        return [Kind.ExtendedReply, [bsize, bsize, blocks, bfree, bavail, files, ffree, ffree, 7n, 2n, 255n]]
      }
      case "copy-data": {
        const from = this.file(cursor)
        cursor.bigint()
        cursor.bigint()
        Fs.writeSync(this.file(cursor).fd, Fs.readFileSync(from.path))
        return ok
      }
      default:
        return [Kind.Status, [8, "Operation unsupported", ""]]
    }
  }

  private carryOut(kind: number, cursor: Cursor): Answer {
    switch (kind) {
      case Kind.Open:
        return this.openFile(cursor)
      case Kind.Close: {
        const name = cursor.text()
        const { fd } = this.open.get(name) ?? {}
        if (!this.open.delete(name)) throw new Error("no such handle")
        if (fd !== undefined) Fs.closeSync(fd)
        return ok
      }
      case Kind.Read:
        return this.read(cursor)
      case Kind.Write: {
        const { append, fd } = this.file(cursor)
        const offset = cursor.bigint()
        Fs.writeSync(fd, cursor.copy(), 0, null, append === true ? null : Number(offset))
        return ok
      }
      case Kind.Lstat:
        return [Kind.Attrs, [attributesOf(Fs.lstatSync(this.real(cursor.text()), { bigint: true }))]]
      case Kind.Stat:
        return [Kind.Attrs, [attributesOf(Fs.statSync(this.real(cursor.text()), { bigint: true }))]]
      case Kind.Fstat:
        return [Kind.Attrs, [attributesOf(Fs.fstatSync(this.file(cursor).fd, { bigint: true }))]]
      case Kind.Setstat:
        return this.change(cursor, this.real(cursor.text()))
      case Kind.Fsetstat:
        return this.change(cursor, this.file(cursor).path)
      case Kind.Opendir: {
        const path = this.real(cursor.text())
        return this.handle({ names: [".", "..", ...Fs.readdirSync(path)], path })
      }
      case Kind.Readdir:
        return this.names(this.get(cursor))
      case Kind.Remove:
        Fs.unlinkSync(this.real(cursor.text()))
        return ok
      case Kind.Mkdir: {
        const path = this.real(cursor.text())
        Fs.mkdirSync(path, Option.getOrElse(Attributes.decode(cursor).mode, () => 0o777))
        return ok
      }
      case Kind.Rmdir:
        Fs.rmdirSync(this.real(cursor.text()))
        return ok
      case Kind.Realpath: {
        const path = this.real(cursor.text())
        const real = Fs.existsSync(path) ? Fs.realpathSync(path) : path
        return [Kind.Name, [1, `/${Path.relative(this.root, real)}`, "", { raw: encodeFields([0]) }]]
      }
      case Kind.Rename: {
        const from = this.real(cursor.text())
        const to = this.real(cursor.text())
        if (Fs.existsSync(to)) throw new Error("there is one")
        Fs.renameSync(from, to)
        return ok
      }
      case Kind.Readlink:
        return [Kind.Name, [1, Fs.readlinkSync(this.real(cursor.text())), "", { raw: encodeFields([0]) }]]
      case Kind.Symlink: {
        const target = cursor.text()
        Fs.symlinkSync(target, this.real(cursor.text()))
        return ok
      }
      case Kind.Extended:
        return this.extended(cursor)
      default:
        return [Kind.Status, [8, "Operation unsupported", ""]]
    }
  }

  answer(kind: number, body: Buffer): Answer {
    try {
      return this.carryOut(kind, new Cursor(body))
    } catch (error) {
      const [code, detail] = refusalOf(error)
      return [Kind.Status, [code, detail, ""]]
    }
  }
}

/** A packet from its kind and fields. */
export const packet = (kind: number, fields: ReadonlyArray<Field>): Buffer => {
  const body = encodeFields(fields)
  return Buffer.concat([encodeFields([body.length + 1]), Buffer.of(kind), body])
}

/** What serves one channel. */
export interface Serving {
  readonly receive: (bytes: Buffer) => void
  /** How many files and folders are open. */
  readonly open: () => number
  readonly close: () => void
}

/** Serves what comes in by `receive`, and gives the answers to `send`. */
export const serve = (options: SftpServerOptions, send: (bytes: Buffer) => void): Serving => {
  const files = new Files(options)
  const onRequest = options.onRequest ?? ((_kind, go) => go())
  const reader = new AnswerReader({
    onPacket: (kind, body) => {
      if (kind === Kind.Init) {
        const known = options.extensions === false ? [] : extensions.flat()
        return send(packet(Kind.Version, [options.version ?? 3, ...known]))
      }
      const id = body.readUInt32BE(0)
      // the bytes may be gone by the time that it is carried out
      const rest = Buffer.from(body.subarray(4))
      onRequest(kind, () => {
        const [answer, fields] = files.answer(kind, rest)
        send(packet(answer, [id, ...fields]))
      })
    },
    onDataStart: () => {},
    onData: () => {},
    onDataEnd: () => {},
    onNonsense: () => {}
  })
  if (options.greeting !== undefined) send(Buffer.from(options.greeting))
  return { receive: (bytes) => reader.read(bytes), open: () => files.size, close: () => files.closeAll() }
}

/** Serves a channel of an SSH server. */
export const serveChannel = (options: SftpServerOptions, channel: Duplex & { close: () => void }): Serving => {
  const serving = serve(options, (bytes) => void channel.write(bytes))
  channel.on("data", serving.receive).on("error", () => {}).on("end", () => channel.close()).on("close", serving.close)
  return serving
}
