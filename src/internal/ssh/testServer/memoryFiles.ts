import type { AttributeChanges } from "../sftp/attributes.ts"
import { FileError, type Files, type OpenFile, type OpenMode, type Room } from "./files.ts"
import { File, Folder, Link, type Node, type Place, resolve } from "./memoryTree.ts"

const permission = { read: 0o400, write: 0o200, enter: 0o100 } as const

const milliseconds = (time: Date | number) => typeof time === "number" ? time * 1000 : time.getTime()

/**
 * A file system in memory, with the rules of POSIX: what is open stays when it is removed, links lead on, and what its owner
 * may not read or write is refused. Everything belongs to the one who asks, or to nobody for whom the rules do not hold.
 */
export class MemoryFiles implements Files {
  private readonly root: Folder
  private readonly now: () => number
  private readonly mayAll: boolean

  private constructor(root: Folder, now: () => number, mayAll: boolean) {
    this.root = root
    this.now = now
    this.mayAll = mayAll
  }

  /** An empty one, for which permissions do not count. `now` is the time in milliseconds. */
  static make(now: () => number): MemoryFiles {
    return new MemoryFiles(new Folder(0o755, now()), now, true)
  }

  /** The same files, for somebody who is bound to their permissions. */
  get forUser(): MemoryFiles {
    return new MemoryFiles(this.root, this.now, false)
  }

  private demand(node: Node, wanted: number): void {
    if (!this.mayAll && (node.permissions & wanted) === 0) throw new FileError("EACCES")
  }

  private at(path: string, followLast: boolean): Place {
    return resolve(this.root, path, followLast, (folder) => this.demand(folder, permission.enter))
  }

  private existing(path: string, followLast: boolean): Node {
    const { node } = this.at(path, followLast)
    if (node === undefined) throw new FileError("ENOENT")
    return node
  }

  private folder(path: string): Folder {
    const node = this.existing(path, true)
    if (!(node instanceof Folder)) throw new FileError("ENOTDIR")
    return node
  }

  /** The folder that a place is in, for a change of its entries. */
  private parentOf({ parent }: Place): Folder {
    if (parent === undefined) throw new FileError("EPERM")
    this.demand(parent, permission.write)
    parent.mtime = this.now()
    return parent
  }

  private add(place: Place, node: Node): void {
    if (place.node !== undefined) throw new FileError("EEXIST")
    this.parentOf(place).entries.set(place.name, node)
  }

  private changeNode(node: Node, { mode, owner, size, times }: AttributeChanges): void {
    if (size !== undefined) {
      if (!(node instanceof File)) throw new FileError(node instanceof Folder ? "EISDIR" : "EINVAL")
      node.resize(Number(size))
      node.mtime = this.now()
    }
    if (mode !== undefined) node.permissions = mode & 0o7777
    if (owner !== undefined) {
      node.uid = owner.uid
      node.gid = owner.gid
    }
    if (times !== undefined) {
      node.atime = milliseconds(times.atime)
      node.mtime = milliseconds(times.mtime)
    }
  }

  private created(path: string, mode: OpenMode, permissions: number): Node {
    const place = this.at(path, !mode.exclusive)
    if (place.node !== undefined && mode.create && mode.exclusive) throw new FileError("EEXIST")
    if (place.node !== undefined) return place.node
    if (!mode.create) throw new FileError("ENOENT")
    const file = new File(permissions, this.now())
    this.add(place, file)
    return file
  }

  open(path: string, mode: OpenMode, permissions: number): OpenFile {
    const existed = this.at(path, true).node !== undefined
    const file = this.created(path, mode, permissions)
    if (file instanceof Link) throw new FileError("ELOOP")
    if (file instanceof Folder) throw new FileError("EISDIR")
    // who makes a file may write to it, whatever its permissions are from then on
    if (mode.read && existed) this.demand(file, permission.read)
    if (mode.write && existed) this.demand(file, permission.write)
    if (mode.truncate && mode.write) this.changeNode(file, { size: 0 })
    return this.opened(file, mode)
  }

  private opened(file: File, mode: OpenMode): OpenFile {
    return {
      stat: () => file.stat,
      read: (offset, size) => {
        if (!mode.read) throw new FileError("EBADF")
        file.atime = this.now()
        return file.read(Number(offset), size)
      },
      write: (offset, bytes) => {
        if (!mode.write) throw new FileError("EBADF")
        file.write(mode.append ? file.size : Number(offset), bytes)
        file.mtime = this.now()
      },
      change: (changes) => {
        if (changes.size !== undefined && !mode.write) throw new FileError("EINVAL")
        this.changeNode(file, changes)
      },
      sync: () => {},
      close: () => {}
    }
  }

  stat(path: string, followLinks: boolean) {
    return this.existing(path, followLinks).stat
  }

  change(path: string, changes: AttributeChanges): void {
    const node = this.existing(path, true)
    if (changes.size !== undefined) this.demand(node, permission.write)
    this.changeNode(node, changes)
  }

  list(path: string): ReadonlyArray<string> {
    const folder = this.folder(path)
    this.demand(folder, permission.read)
    return [...folder.entries.keys()].toSorted()
  }

  makeFolder(path: string, permissions: number): void {
    this.add(this.at(path, false), new Folder(permissions, this.now()))
  }

  removeFolder(path: string): void {
    const place = this.at(path, false)
    if (place.node === undefined) throw new FileError("ENOENT")
    if (!(place.node instanceof Folder)) throw new FileError("ENOTDIR")
    if (place.node.entries.size > 0) throw new FileError("ENOTEMPTY")
    this.parentOf(place).entries.delete(place.name)
  }

  remove(path: string): void {
    const place = this.at(path, false)
    if (place.node === undefined) throw new FileError("ENOENT")
    if (place.node instanceof Folder) throw new FileError("EISDIR")
    this.parentOf(place).entries.delete(place.name)
  }

  rename(from: string, to: string, replace: boolean): void {
    const source = this.at(from, false)
    const target = this.at(to, false)
    const { node } = source
    if (node === undefined) throw new FileError("ENOENT")
    if (target.node !== undefined) {
      if (!replace) throw new FileError("EEXIST")
      if (node instanceof Folder && !(target.node instanceof Folder)) throw new FileError("ENOTDIR")
      if (target.node instanceof Folder && !(node instanceof Folder)) throw new FileError("EISDIR")
      if (target.node === node) return
      if (target.node instanceof Folder && target.node.entries.size > 0) throw new FileError("ENOTEMPTY")
    }
    // a folder cannot become a part of itself
    if (node instanceof Folder && target.path.startsWith(`${source.path}/`)) throw new FileError("EINVAL")
    const [left, entered] = [this.parentOf(source), this.parentOf(target)]
    left.entries.delete(source.name)
    entered.entries.set(target.name, node)
  }

  /** The last part of the path need not exist, as OpenSSH has it. */
  realPath(path: string): string {
    return this.at(path, true).path
  }

  readLink(path: string): string {
    const node = this.existing(path, false)
    if (!(node instanceof Link)) throw new FileError("EINVAL")
    return node.target
  }

  symlink(target: string, path: string): void {
    this.add(this.at(path, false), new Link(target, this.now()))
  }

  link(existing: string, path: string): void {
    const node = this.existing(existing, false)
    if (node instanceof Folder) throw new FileError("EPERM")
    this.add(this.at(path, false), node)
  }

  /** A terabyte that is never used up. */
  room(): Room {
    const blocks = 2n ** 28n
    return { blockSize: 4096n, blocks, freeBlocks: blocks, files: blocks, freeFiles: blocks }
  }
}
