/** Files, folders and links in memory, and how a path leads to them. */
import { FileError, type Stat } from "./files.ts"

/** The kind of a thing, in the upper bits of its mode. */
export const kinds = { file: 0o100_000, folder: 0o040_000, link: 0o120_000 } as const

/** As many as Linux follows. */
const maxLinks = 40

/** What files, folders and links have in common; times are milliseconds. */
abstract class Thing {
  abstract readonly kind: number
  abstract readonly size: number
  permissions: number
  uid = 1000
  gid = 1000
  atime: number
  mtime: number

  constructor(permissions: number, now: number) {
    this.permissions = permissions & 0o7777
    this.atime = this.mtime = now
  }

  get stat(): Stat {
    const { atime, gid, mtime, uid } = this
    const seconds = (time: number) => Math.floor(time / 1000)
    return {
      size: BigInt(this.size),
      mode: this.kind | this.permissions,
      uid,
      gid,
      atime: seconds(atime),
      mtime: seconds(mtime)
    }
  }
}

export class File extends Thing {
  readonly kind = kinds.file
  /** Behind what was written there are zeros, and no memory is used for them. */
  size = 0
  private bytes = Buffer.alloc(0)

  read(offset: number, size: number): Uint8Array {
    const end = Math.min(this.size, offset + size)
    if (offset >= end) return Buffer.alloc(0)
    const read = Buffer.alloc(end - offset)
    if (offset < this.bytes.length) this.bytes.copy(read, 0, offset, end)
    return read
  }

  write(offset: number, written: Uint8Array): void {
    const end = offset + written.length
    if (end > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(end, 2 * this.bytes.length))
      this.bytes.copy(grown)
      this.bytes = grown
    }
    this.bytes.set(written, offset)
    this.size = Math.max(this.size, end)
  }

  resize(size: number): void {
    // what is beyond reads as zeros, also when the file grows again
    if (size < this.bytes.length) this.bytes.fill(0, size)
    this.size = size
  }
}

export class Folder extends Thing {
  readonly kind = kinds.folder
  readonly size = 4096
  readonly entries = new Map<string, Node>()
}

export class Link extends Thing {
  readonly kind = kinds.link
  readonly target: string

  constructor(target: string, now: number) {
    super(0o777, now)
    this.target = target
  }

  get size(): number {
    return Buffer.byteLength(this.target)
  }
}

export type Node = File | Folder | Link

/** Where a path leads: what is there, if anything, by which name in which folder. The root has neither. */
export interface Place {
  readonly path: string
  readonly parent: Folder | undefined
  readonly name: string
  readonly node: Node | undefined
}

const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".")

/** Follows a path through a tree. `enter` is asked for each folder on the way and throws where it may not be entered. */
export const resolve = (
  root: Folder,
  path: string,
  followLast: boolean,
  enter: (folder: Folder) => void
): Place => {
  const above: Array<readonly [name: string, folder: Folder]> = []
  const left = partsOf(path)
  let links = 0
  for (;;) {
    const folder = above.at(-1)?.[1] ?? root
    const names = above.map(([name]) => name)
    const part = left.shift()
    if (part === undefined) {
      const parent = above.at(-2)?.[1] ?? root
      return {
        path: `/${names.join("/")}`,
        parent: above.length === 0 ? undefined : parent,
        name: names.at(-1) ?? "",
        node: folder
      }
    }
    enter(folder)
    if (part === "..") {
      above.pop()
      continue
    }
    const node = folder.entries.get(part)
    if (node instanceof Link && (followLast || left.length > 0)) {
      if (++links > maxLinks) throw new FileError("ELOOP")
      if (node.target.startsWith("/")) above.length = 0
      left.unshift(...partsOf(node.target))
    } else if (left.length === 0 && !(node instanceof Folder)) {
      return { path: `/${[...names, part].join("/")}`, parent: folder, name: part, node }
    } else if (node instanceof Folder) above.push([part, node])
    else throw new FileError(node === undefined ? "ENOENT" : "ENOTDIR")
  }
}
