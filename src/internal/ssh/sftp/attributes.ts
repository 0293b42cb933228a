import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import { type Cursor, encodeFields, type Field, type Raw } from "./packet.ts"

const flags = { size: 1, owner: 2, mode: 4, times: 8, extended: 0x80000000 } as const

/** What an SFTP server says of a file; none is what it does not say. */
export interface Attributes {
  readonly type: FileSystem.File.Type
  readonly size: Option.Option<bigint>
  readonly mode: Option.Option<number>
  readonly uid: Option.Option<number>
  readonly gid: Option.Option<number>
  readonly atime: Option.Option<Date>
  readonly mtime: Option.Option<Date>
}

/** What can be changed of a file. */
export interface AttributeChanges {
  readonly size?: bigint | number | undefined
  readonly mode?: number | undefined
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
  readonly times?: { readonly atime: Date | number; readonly mtime: Date | number } | undefined
}

const types: Readonly<Record<number, FileSystem.File.Type>> = {
  0o01: "FIFO",
  0o02: "CharacterDevice",
  0o04: "Directory",
  0o06: "BlockDevice",
  0o10: "File",
  0o12: "SymbolicLink",
  0o14: "Socket"
}

const date = (seconds: number): Option.Option<Date> => Option.some(new Date(seconds * 1000))

/** Reads what version 3 of the protocol calls ATTRS. */
export const decode = (cursor: Cursor): Attributes => {
  const present = cursor.number()
  const size = (present & flags.size) === 0 ? Option.none() : Option.some(cursor.bigint())
  const owned = (present & flags.owner) !== 0
  const uid = owned ? Option.some(cursor.number()) : Option.none()
  const gid = owned ? Option.some(cursor.number()) : Option.none()
  const hasMode = (present & flags.mode) !== 0
  const mode = hasMode ? cursor.number() : 0
  const timed = (present & flags.times) !== 0
  const atime = timed ? date(cursor.number()) : Option.none()
  const mtime = timed ? date(cursor.number()) : Option.none()
  if ((present & flags.extended) !== 0) {
    for (let pairs = cursor.number(); pairs > 0 && !cursor.short; pairs--) {
      cursor.text()
      cursor.text()
    }
  }
  return {
    type: types[mode >>> 12] ?? "Unknown",
    size,
    mode: hasMode ? Option.some(mode & 0o7777) : Option.none(),
    uid,
    gid,
    atime,
    mtime
  }
}

/** Whole seconds, as many as the protocol can carry: 1970 to 2106. */
const seconds = (time: Date | number): number =>
  Math.min(0xffffffff, Math.max(0, Math.floor(typeof time === "number" ? time : time.getTime() / 1000)))

/** What changes nothing. */
export const none: Raw = { raw: encodeFields([0]) }

/** Writes what is to be changed. */
export const encode = ({ mode, owner, size, times }: AttributeChanges): Raw => {
  let present = 0
  const fields: Array<Field> = []
  if (size !== undefined) {
    present |= flags.size
    fields.push(BigInt(size))
  }
  if (owner !== undefined) {
    present |= flags.owner
    fields.push(owner.uid, owner.gid)
  }
  if (mode !== undefined) {
    present |= flags.mode
    fields.push(mode & 0o7777)
  }
  if (times !== undefined) {
    present |= flags.times
    fields.push(seconds(times.atime), seconds(times.mtime))
  }
  return { raw: encodeFields([present, ...fields]) }
}
