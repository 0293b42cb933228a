/** What every file system does alike, here and on another machine. */
import { assert } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

type Body = (
  fs: FileSystem.FileSystem,
  /** A folder of the test's own. */
  folder: string
) => Effect.Effect<unknown, unknown, Scope.Scope>

/** Each name is a sentence about a file system. */
export const fileSystemSuite: Readonly<Record<string, Body>> = {
  "writes and reads files": (fs, folder) =>
    Effect.gen(function*() {
      const path = `${folder}/a file`
      yield* fs.writeFileString(path, "täxt")
      assert.strictEqual(yield* fs.readFileString(path), "täxt")
      yield* fs.writeFile(path, new Uint8Array(0))
      assert.strictEqual((yield* fs.readFile(path)).length, 0)
      yield* fs.writeFileString(path, "1", { flag: "a" })
      yield* fs.writeFileString(path, "2", { flag: "a" })
      assert.strictEqual(yield* fs.readFileString(path), "12")
      const large = new Uint8Array(3_000_000).map((_, index) => index % 251)
      yield* fs.writeFile(path, large)
      assert.deepStrictEqual(Buffer.compare(yield* fs.readFile(path), large), 0)
    }),

  "makes a file with the mode it is given, and keeps that of one that is there": (fs, folder) =>
    Effect.gen(function*() {
      const path = `${folder}/secret`
      yield* fs.writeFileString(path, "a", { mode: 0o600 })
      yield* fs.writeFileString(path, "b", { mode: 0o644 })
      const info = yield* fs.stat(path)
      assert.strictEqual(info.mode, 0o100600)
      assert.strictEqual(info.type, "File")
      assert.strictEqual(info.size, ByteSize.bytes(1))
      yield* fs.chmod(path, 0o640)
      assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o640)
    }),

  "says what is not there, what exists, and what is not a folder": (fs, folder) =>
    Effect.gen(function*() {
      const tag = <A>(effect: Effect.Effect<A, PlatformError, Scope.Scope>) =>
        Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)
      const missing = `${folder}/missing`
      const file = `${folder}/file`
      yield* fs.writeFileString(file, "")
      assert.strictEqual(yield* tag(fs.readFile(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.stat(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.lstat(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.open(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.remove(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.rename(missing, file)), "NotFound")
      assert.strictEqual(yield* tag(fs.realPath(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.readDirectory(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.access(missing)), "NotFound")
      assert.strictEqual(yield* tag(fs.copyFile(missing, `${folder}/copy`)), "NotFound")
      assert.strictEqual(yield* tag(Stream.runDrain(fs.stream(missing))), "NotFound")
      assert.strictEqual(yield* tag(Stream.run(Stream.make(Buffer.of(1)), fs.sink(`${missing}/a`))), "NotFound")
      assert.strictEqual(yield* tag(fs.makeDirectory(`${missing}/a`)), "NotFound")
      assert.strictEqual(yield* tag(fs.makeDirectory(folder)), "AlreadyExists")
      assert.strictEqual(yield* tag(fs.open(file, { flag: "wx" })), "AlreadyExists")
      assert.strictEqual(yield* tag(fs.symlink("x", file)), "AlreadyExists")
      assert.strictEqual(yield* tag(fs.link(file, file)), "AlreadyExists")
      assert.isFalse(yield* fs.exists(missing))
      assert.isTrue(yield* fs.exists(file))
    }),

  "makes and removes folders": (fs, folder) =>
    Effect.gen(function*() {
      yield* fs.makeDirectory(`${folder}/a/b/c`, { recursive: true })
      yield* fs.makeDirectory(`${folder}/a/b/c`, { recursive: true })
      yield* fs.writeFileString(`${folder}/a/b/file`, "x")
      yield* fs.symlink("nowhere", `${folder}/a/link`)
      assert.sameMembers(yield* fs.readDirectory(`${folder}/a`), ["b", "link"])
      assert.sameMembers(yield* fs.readDirectory(`${folder}/a`, { recursive: true }), ["b", "b/c", "b/file", "link"])
      assert.sameDeepMembers([...(yield* fs.readDirectoryEntries(`${folder}/a`))], [
        { name: "b", type: "Directory" },
        { name: "link", type: "SymbolicLink" }
      ])
      yield* Effect.flip(fs.remove(`${folder}/a`))
      yield* fs.remove(`${folder}/a`, { recursive: true })
      assert.isFalse(yield* fs.exists(`${folder}/a`))
      yield* fs.remove(`${folder}/a`, { recursive: true, force: true })
    }),

  "finds files by pattern": (fs, folder) =>
    Effect.gen(function*() {
      yield* fs.makeDirectory(`${folder}/deep/er`, { recursive: true })
      yield* Effect.forEach(["a.txt", "b.md", "deep/c.txt", "deep/er/d.txt"], (name) =>
        fs.writeFileString(`${folder}/${name}`, name))
      const found = yield* fs.glob("**/*.txt", { root: folder })
      assert.sameMembers(
        found.map((path) =>
          path.replace(`${folder}/`, "")
        ),
        ["a.txt", "deep/c.txt", "deep/er/d.txt"]
      )
    }),

  "follows links, and looks at them": (fs, folder) =>
    Effect.gen(function*() {
      const [file, link, second] = ["file", "link", "second"].map((name) => `${folder}/${name}`)
      yield* fs.writeFileString(file!, "content")
      yield* fs.symlink("file", link!)
      yield* fs.link(file!, second!)
      assert.strictEqual(yield* fs.readLink(link!), "file")
      assert.strictEqual((yield* fs.lstat(link!)).type, "SymbolicLink")
      assert.strictEqual((yield* fs.stat(link!)).type, "File")
      assert.strictEqual(yield* fs.realPath(link!), yield* fs.realPath(file!))
      assert.strictEqual(yield* fs.readFileString(second!), "content")
    }),

  "renames, in the place of what is there too": (fs, folder) =>
    Effect.gen(function*() {
      yield* fs.writeFileString(`${folder}/a`, "a")
      yield* fs.writeFileString(`${folder}/b`, "b")
      yield* fs.rename(`${folder}/a`, `${folder}/b`)
      assert.strictEqual(yield* fs.readFileString(`${folder}/b`), "a")
      assert.isFalse(yield* fs.exists(`${folder}/a`))
    }),

  "copies files and trees": (fs, folder) =>
    Effect.gen(function*() {
      const [from, to] = [`${folder}/from`, `${folder}/to`]
      yield* fs.makeDirectory(`${from}/sub`, { recursive: true })
      yield* fs.writeFileString(`${from}/a`, "new a")
      yield* fs.writeFileString(`${from}/sub/b`, "new b")
      yield* fs.makeDirectory(to)
      yield* fs.writeFileString(`${to}/a`, "old a")
      yield* fs.utimes(`${from}/a`, 1_000_000, 2_000_000)
      yield* fs.copy(from, to)
      assert.strictEqual(yield* fs.readFileString(`${to}/a`), "old a")
      assert.strictEqual(yield* fs.readFileString(`${to}/sub/b`), "new b")
      yield* fs.copy(from, to, { overwrite: true, preserveTimestamps: true })
      assert.strictEqual(yield* fs.readFileString(`${to}/a`), "new a")
      assert.deepStrictEqual((yield* fs.stat(`${to}/a`)).mtime, Option.some(new Date(2_000_000_000)))
      yield* fs.copyFile(`${from}/sub/b`, `${to}/a`)
      assert.strictEqual(yield* fs.readFileString(`${to}/a`), "new b")
    }),

  "has a place in an open file": (fs, folder) =>
    Effect.gen(function*() {
      const file = yield* fs.open(`${folder}/file`, { flag: "w+" })
      yield* file.writeAll(Buffer.from("0123456789"))
      assert.strictEqual(yield* file.seek(2n, "start"), 2n)
      assert.strictEqual(yield* file.write(Buffer.from("ab")), 2)
      assert.strictEqual(yield* file.seek(1n, "current"), 5n)
      const text = (bytes: Option.Option<Uint8Array>) => Option.map(bytes, (bytes) => Buffer.from(bytes).toString())
      assert.deepStrictEqual(text(yield* file.readAlloc(3)), Option.some("567"))
      assert.deepStrictEqual(text(yield* file.readAlloc(2, { position: 2n })), Option.some("ab"))
      const buffer = Buffer.alloc(10)
      assert.strictEqual(yield* file.read(buffer), 2)
      assert.strictEqual(buffer.toString("latin1", 0, 2), "89")
      assert.deepStrictEqual(yield* file.readAlloc(1), Option.none())
      yield* file.truncate(4)
      assert.strictEqual((yield* file.stat).size, ByteSize.bytes(4))
      assert.strictEqual(yield* file.seek(0n, "current"), 4n)
      yield* file.sync
      for (const wrong of [file.seek(-1n, "start"), file.readAlloc(-1), file.readAlloc(1, { position: -1n })]) {
        assert.strictEqual(
          (yield* Effect.flip(Effect.asVoid<unknown, PlatformError, never>(wrong))).reason._tag,
          "BadArgument"
        )
      }
    }),

  "adds to the end of a file, wherever its place is": (fs, folder) =>
    Effect.gen(function*() {
      yield* fs.writeFileString(`${folder}/file`, "begin")
      const file = yield* fs.open(`${folder}/file`, { flag: "a+" })
      yield* file.seek(0n, "start")
      yield* file.writeAll(Buffer.from(" end"))
      assert.strictEqual(yield* fs.readFileString(`${folder}/file`), "begin end")
    }),

  "streams a part of a file, and takes a stream": (fs, folder) =>
    Effect.gen(function*() {
      const path = `${folder}/file`
      yield* Stream.run(Stream.make("abc", "defg", "hij").pipe(Stream.encodeText), fs.sink(path))
      const part = fs.stream(path, { offset: ByteSize.bytes(2), bytesToRead: ByteSize.bytes(5), chunkSize: 2 })
      const pieces = yield* Stream.runCollect(Stream.decodeText(part))
      assert.deepStrictEqual(pieces, ["cd", "ef", "g"])
      assert.strictEqual(yield* Stream.mkString(Stream.decodeText(fs.stream(path))), "abcdefghij")
    }),

  "cuts files off and fills them up": (fs, folder) =>
    Effect.gen(function*() {
      const path = `${folder}/file`
      yield* fs.writeFileString(path, "abcdef")
      yield* fs.truncate(path, 3)
      assert.strictEqual(yield* fs.readFileString(path), "abc")
      yield* fs.truncate(path, 5)
      assert.strictEqual(yield* fs.readFileString(path), "abc\0\0")
      yield* fs.truncate(path)
      assert.strictEqual((yield* fs.stat(path)).size, ByteSize.bytes(0))
    }),

  "makes temporary files and folders that end with their scope": (fs, folder) =>
    Effect.gen(function*() {
      const [file, inner] = yield* Effect.scoped(Effect.gen(function*() {
        const file = yield* fs.makeTempFileScoped({ directory: folder, prefix: "p-", suffix: ".txt" })
        const inner = yield* fs.makeTempDirectoryScoped({ directory: folder, prefix: "d-" })
        assert.match(file, /\.txt$/)
        assert.include(inner, `${folder}/d-`)
        assert.strictEqual((yield* fs.stat(inner)).mode & 0o777, 0o700)
        yield* fs.writeFileString(`${inner}/a`, "a")
        return [file, inner]
      }))
      assert.isFalse(yield* fs.exists(file!))
      assert.isFalse(yield* fs.exists(inner!))
      const kept = yield* fs.makeTempFile({ directory: folder })
      assert.isTrue(yield* fs.exists(kept))
      assert.notStrictEqual(yield* fs.makeTempDirectory({ directory: folder }), folder)
    })
}
