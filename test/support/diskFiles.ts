/** Files of this machine for an SFTP server: a folder that counts as the root. For tests that look at them with `node:fs`. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { AttributeChanges } from "../../src/internal/ssh/sftp/attributes.ts"
import type { Files, OpenFile, OpenMode, Stat } from "../../src/internal/ssh/testServer/files.ts"

const statOf = ({ atimeMs, gid, mode, mtimeMs, size, uid }: Fs.BigIntStats): Stat => ({
  size,
  mode: Number(mode),
  uid: Number(uid),
  gid: Number(gid),
  atime: Number(atimeMs / 1000n),
  mtime: Number(mtimeMs / 1000n)
})

const flagsOf = (mode: OpenMode): number => {
  const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = Fs.constants
  const access = !mode.write ? O_RDONLY : mode.read ? O_RDWR : O_WRONLY
  return access | (mode.append ? O_APPEND : 0) | (mode.create ? O_CREAT : 0) | (mode.truncate ? O_TRUNC : 0) |
    (mode.exclusive ? O_EXCL : 0)
}

const change = (path: string, { mode, owner, size, times }: AttributeChanges): void => {
  if (size !== undefined) Fs.truncateSync(path, Number(size))
  if (mode !== undefined) Fs.chmodSync(path, mode)
  if (owner !== undefined) Fs.chownSync(path, owner.uid, owner.gid)
  if (times !== undefined) Fs.utimesSync(path, times.atime, times.mtime)
}

const opened = (path: string, fd: number, { append }: OpenMode): OpenFile => ({
  stat: () => statOf(Fs.fstatSync(fd, { bigint: true })),
  read: (offset, size) => {
    const bytes = Buffer.alloc(size)
    return bytes.subarray(0, Fs.readSync(fd, bytes, 0, size, offset))
  },
  write: (offset, bytes) => void Fs.writeSync(fd, bytes, 0, null, append ? null : Number(offset)),
  change: (changes) => change(path, changes),
  sync: () => Fs.fsyncSync(fd),
  close: () => Fs.closeSync(fd)
})

/** The files of a folder. */
export const diskFiles = (folder: string): Files => {
  const root = Fs.realpathSync(folder)
  const real = (path: string) => Path.join(root, Path.posix.resolve("/", path))
  return {
    open: (path, mode, permissions) => opened(real(path), Fs.openSync(real(path), flagsOf(mode), permissions), mode),
    stat: (path, followLinks) =>
      statOf(followLinks ? Fs.statSync(real(path), { bigint: true }) : Fs.lstatSync(real(path), { bigint: true })),
    change: (path, changes) => change(real(path), changes),
    list: (path) => Fs.readdirSync(real(path)),
    makeFolder: (path, permissions) => Fs.mkdirSync(real(path), permissions),
    removeFolder: (path) => Fs.rmdirSync(real(path)),
    remove: (path) => Fs.unlinkSync(real(path)),
    rename: (from, to, replace) => {
      if (!replace && Fs.existsSync(real(to))) throw new Error("there is one")
      Fs.renameSync(real(from), real(to))
    },
    realPath: (path) => {
      const asked = real(path)
      return `/${Path.relative(root, Fs.existsSync(asked) ? Fs.realpathSync(asked) : asked)}`
    },
    readLink: (path) => Fs.readlinkSync(real(path)),
    symlink: (target, path) => Fs.symlinkSync(target, real(path)),
    link: (existing, path) => Fs.linkSync(real(existing), real(path)),
    room: (path) => {
      const { bfree, blocks, bsize, ffree, files } = Fs.statfsSync(real(path), { bigint: true })
      return { blockSize: bsize, blocks, freeBlocks: bfree, files, freeFiles: ffree }
    }
  }
}
