import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import { SshError, TransferProtocol } from "../../../../src/errors/SshError.ts"
import { copy } from "../../../../src/internal/ssh/transfer/copy.ts"
import type { Files } from "../../../../src/internal/ssh/transfer/files.ts"
import { local } from "../../../../src/internal/ssh/transfer/local.ts"
import { Meter } from "../../../../src/internal/ssh/transfer/meter.ts"
import type { TransferOptions } from "../../../../src/internal/ssh/transfer/options.ts"
import { settingsOf } from "../../../../src/internal/ssh/transfer/settings.ts"
import { emptyFolder, harvest, holds, modeAndTime, plant } from "../../../support/trees.ts"

type Side = Files<PlatformError.PlatformError>

/** Copies between two folders of this machine, which the copying cannot tell from one of another. */
const copied = Effect.fnUntraced(function*(
  source: string,
  target: string,
  options?: TransferOptions,
  sides?: { readonly from?: (files: Side) => Side; readonly to?: (files: Side) => Side }
) {
  const files = local(yield* FileSystem.FileSystem)
  return yield* copy(
    {
      from: sides?.from?.(files) ?? files,
      to: sides?.to?.(files) ?? files,
      settings: settingsOf(options),
      meter: new Meter(),
      failure: (detail) => new SshError({ server: "test", reason: new TransferProtocol({ detail }) }),
      isOver: () => false
    },
    source,
    target
  )
})

const test = (name: string, body: Effect.Effect<void, unknown, FileSystem.FileSystem | Scope.Scope>) =>
  it.live(name, () => Effect.provide(body, NodeFileSystem.layer))

/** A folder with something of each kind, and an empty one beside it for the copy. */
const planted = Effect.fnUntraced(function*(tree: Parameters<typeof plant>[1]) {
  const root = yield* emptyFolder
  yield* plant(`${root}/a`, tree)
  return { a: `${root}/a`, b: `${root}/b`, root }
})

const secondsAgo = (seconds: number) => Math.floor(Date.now() / 1000) - seconds

describe("copying", () => {
  test(
    "a folder takes all that is in it, and says what that was",
    Effect.gen(function*() {
      const tree = { "ünï cödé 文.txt": "one", empty: "", folder: { deep: { er: "two" } }, none: {}, link: "-> folder" }
      const { a, b } = yield* planted(tree)
      assert.deepStrictEqual(yield* copied(a, b), {
        files: 3,
        directories: 4,
        links: 1,
        skipped: 0,
        bytes: 6,
        failures: []
      })
      yield* holds(b, tree)
    })
  )

  test(
    "a folder into one that is there replaces what has the same name, and leaves the rest",
    Effect.gen(function*() {
      const { a, b } = yield* planted({ same: "new", folder: { same: "new" }, link: "-> same" })
      yield* plant(b, { same: "old and longer", folder: { same: "old", other: "kept" }, link: "-> elsewhere" })
      yield* copied(a, b)
      yield* holds(b, { same: "new", folder: { same: "new", other: "kept" }, link: "-> same" })
    })
  )

  test(
    "one file takes the name that it is given",
    Effect.gen(function*() {
      const { a, root } = yield* planted({ file: "text" })
      assert.include(yield* copied(`${a}/file`, `${root}/other name`), { files: 1, bytes: 4, directories: 0 })
      assert.deepInclude(yield* harvest(root), { "other name": "text" })
    })
  )

  test(
    "a file where a folder is fails, and leaves the folder",
    Effect.gen(function*() {
      const { a, root } = yield* planted({ file: "text", folder: { kept: "k" } })
      assert.include((yield* Effect.flip(copied(`${a}/file`, `${a}/folder`))).message, "there is a folder")
      assert.include((yield* Effect.flip(copied(`${root}/none`, `${a}/x`))).message, "NotFound")
      yield* holds(a, { file: "text", folder: { kept: "k" } })
    })
  )

  test(
    "takes permission bits along, and exactly, with the times, where that is asked for",
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { a, root } = yield* planted({ tool: "#!", secret: "s", closed: { file: "f" } })
      yield* fs.chmod(`${a}/tool`, 0o755)
      yield* fs.chmod(`${a}/secret`, 0o666)
      yield* fs.utimes(`${a}/tool`, 1000, 2000)
      yield* fs.chmod(`${a}/closed`, 0o555)
      yield* fs.utimes(`${a}/closed`, 3000, 4000)
      yield* copied(a, `${root}/plain`)
      assert.strictEqual((yield* modeAndTime(`${root}/plain/tool`))[0], "755")
      assert.strictEqual((yield* modeAndTime(`${root}/plain/secret`))[0], (0o666 & ~process.umask()).toString(8))
      assert.notStrictEqual((yield* modeAndTime(`${root}/plain/tool`))[1], 2000)
      yield* copied(a, `${root}/exact`, { preserve: true })
      assert.deepStrictEqual(yield* modeAndTime(`${root}/exact/tool`), ["755", 2000])
      assert.deepStrictEqual(yield* modeAndTime(`${root}/exact/closed`), ["555", 4000])
      assert.strictEqual((yield* modeAndTime(`${root}/exact/secret`))[0], "666")
    })
  )

  test(
    "a file that is replaced keeps the permission bits that it had",
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { a, b } = yield* planted({ secret: "new" })
      yield* plant(b, { secret: "old" })
      for (const mode of [0o600, 0o666]) {
        yield* fs.chmod(`${b}/secret`, mode)
        yield* copied(a, b)
        assert.strictEqual((yield* modeAndTime(`${b}/secret`))[0], mode.toString(8))
        yield* copied(a, b, { atomic: false })
        assert.strictEqual((yield* modeAndTime(`${b}/secret`))[0], mode.toString(8))
      }
      yield* holds(b, { secret: "new" })
    })
  )

  test(
    "follows, copies or skips links",
    Effect.gen(function*() {
      const { a, root } = yield* planted({
        folder: { file: "f" },
        file: "t",
        toFolder: "-> folder",
        toFile: "-> file",
        toNothing: "-> nothing"
      })
      assert.include(yield* copied(a, `${root}/copy`), { links: 3, skipped: 0 })
      assert.deepInclude(yield* harvest(`${root}/copy`), { toFolder: "-> folder", toNothing: "-> nothing" })
      assert.include(yield* copied(a, `${root}/skip`, { symlinks: "skip" }), { links: 0, skipped: 3, files: 2 })
      yield* holds(`${root}/skip`, { folder: { file: "f" }, file: "t" })
      const broken = yield* Effect.flip(copied(a, `${root}/follow`, { symlinks: "follow" }))
      assert.include(broken.message, "toNothing")
      yield* copied(a, `${root}/follow`, { symlinks: "follow", onError: "collect" })
      yield* holds(`${root}/follow`, { folder: { file: "f" }, file: "t", toFolder: { file: "f" }, toFile: "t" })
    })
  )

  test(
    "links that lead in circles are entered once",
    Effect.gen(function*() {
      const { a, b, root } = yield* planted({ in: { up: "-> ..", self: "-> .", file: "f" } })
      yield* plant(`${root}/other`, { back: `-> ${a}`, deep: { o: "o" } })
      yield* plant(a, { out: `-> ${root}/other` })
      assert.include(yield* copied(a, b, { symlinks: "follow" }), { skipped: 3 })
      yield* holds(b, { in: { file: "f" }, out: { deep: { o: "o" } } })
    })
  )

  test(
    "leaves out what the filter does not want, and does not look into such folders",
    Effect.gen(function*() {
      const { a, b } = yield* planted({
        keep: { "a.css": "1", "b.js": "2" },
        skip: { "c.css": "3" },
        "big.css": "12345"
      })
      const seen: Array<string> = []
      const summary = yield* copied(a, b, {
        filter: ({ path, size, type }) => {
          seen.push(path)
          return path !== "skip" && (type === "Directory" || (path.endsWith(".css") && size < 5))
        }
      })
      assert.include(summary, { files: 1, skipped: 3 })
      assert.sameMembers(seen, ["keep", "skip", "big.css", "keep/a.css", "keep/b.js"])
      yield* holds(b, { keep: { "a.css": "1" } })
    })
  )

  test(
    "replaces files that are there always, never, where they are older, or where they differ",
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { a, b } = yield* planted({ older: "new", newer: "new", same: "new" })
      const times = { older: [200, 100], newer: [100, 200], same: [100, 100] } as const
      const reset = Effect.gen(function*() {
        yield* plant(b, { older: "was", newer: "was", same: "was" })
        for (const [name, [original, there]] of Object.entries(times)) {
          yield* fs.utimes(`${a}/${name}`, secondsAgo(0), original)
          yield* fs.utimes(`${b}/${name}`, secondsAgo(0), there)
        }
      })
      const result = Effect.fnUntraced(function*(overwrite: "always" | "never" | "newer" | "different") {
        yield* reset
        const { files, skipped } = yield* copied(a, b, { overwrite })
        assert.strictEqual(files + skipped, 3)
        return Object.entries(yield* harvest(b)).flatMap(([name, text]) => text === "new" ? [name] : []).toSorted()
      })
      assert.deepStrictEqual(yield* result("always"), ["newer", "older", "same"])
      assert.deepStrictEqual(yield* result("never"), [])
      assert.deepStrictEqual(yield* result("newer"), ["older"])
      assert.deepStrictEqual(yield* result("different"), ["newer", "older"])
    })
  )

  test(
    "goes on where an earlier copy was cut off, and copies what is longer anew",
    Effect.gen(function*() {
      const content = "0123456789".repeat(30_000)
      const { a, b } = yield* planted({ cut: content, whole: content, longer: content, none: content })
      const wrong = "x".repeat(content.length)
      yield* plant(b, { cut: content.slice(0, 123_456), whole: wrong, longer: `${content}more` })
      const summary = yield* copied(a, b, { resume: true })
      assert.include(summary, { files: 3, skipped: 1, bytes: 3 * content.length - 123_456 })
      yield* holds(b, { cut: content, whole: wrong, longer: content, none: content })
      assert.include(yield* copied(a, b, { resume: true, verify: "sha256" }), { files: 1, skipped: 3 })
      yield* holds(b, { cut: content, whole: content, longer: content, none: content })
    })
  )

  test(
    "a part that is not the beginning is found out by its checksum, and copied anew",
    Effect.gen(function*() {
      const content = "0123456789".repeat(30_000)
      const { a, b } = yield* planted({ cut: content })
      yield* plant(b, { cut: "wrong" })
      yield* copied(a, b, { resume: true, verify: "sha256" })
      yield* holds(b, { cut: content })
    })
  )

  test(
    "keeps a part beside the target where the copy is to be resumed and atomic",
    Effect.gen(function*() {
      const content = "0123456789".repeat(30_000)
      const { a, b } = yield* planted({ file: content })
      yield* plant(b, { file: "old", "file.part": content.slice(0, 200_000) })
      assert.include(yield* copied(a, b, { resume: true, atomic: true }), { bytes: content.length - 200_000 })
      yield* holds(b, { file: content })
    })
  )

  test(
    "a copy that differs from what it was made of is no copy",
    Effect.gen(function*() {
      const { a, b } = yield* planted({ file: "text" })
      const error = yield* Effect.flip(
        copied(a, b, { verify: "sha256" }, { to: (files) => ({ ...files, sha256: () => Effect.succeed("0") }) })
      )
      assert.include(error.message, "another SHA-256")
      yield* holds(b, {})
    })
  )

  test(
    "fails at the first file that cannot be copied, or goes on and says which",
    Effect.gen(function*() {
      const { a, b } = yield* planted({ one: "1", two: "2", folder: { three: "3" }, closed: { four: "4" } })
      const refuses = (files: Side): Side => ({
        ...files,
        readAll: (path, size) =>
          path.endsWith("two") ? Effect.fail(files.failure("read", path, "no")) : files.readAll(path, size),
        list: (path) => path.endsWith("closed") ? Effect.fail(files.failure("list", path, "no")) : files.list(path)
      })
      assert.strictEqual((yield* Effect.flip(copied(a, b, {}, { from: refuses })))._tag, "PlatformError")
      const summary = yield* copied(a, b, { onError: "collect" }, { from: refuses })
      assert.deepStrictEqual(summary.failures.map(({ path }) => path).toSorted(), ["closed", "two"])
      yield* holds(b, { one: "1", folder: { three: "3" }, closed: {} })
    })
  )

  for (const atomic of [true, false]) {
    test(
      `has ${atomic ? "nothing but whole files" : "the files themselves"} at the target while it copies`,
      Effect.gen(function*() {
        const content = "0123456789".repeat(100_000)
        const { a, b } = yield* planted({ file: content })
        yield* plant(b, { file: "old" })
        const seen = new Set<string>()
        yield* copied(a, b, { atomic }, {
          to: (files) => ({
            ...files,
            write: (path, options) =>
              Effect.map(files.write(path, options), (writer) => ({
                ...writer,
                write: (chunks) =>
                  Effect.tap(writer.write(chunks), () =>
                    Effect.map(harvest(b).pipe(Effect.provide(NodeFileSystem.layer)), ({ file }) =>
                      seen.add(file === "old" ? "old" : file === content ? "new" : "part")))
              }))
          })
        })
        assert.deepStrictEqual([...seen], atomic ? ["old"] : ["part", "new"].filter((state) => seen.has(state)))
        assert.strictEqual(seen.has("part"), !atomic)
        yield* holds(b, { file: content })
      })
    )
  }

  const large = new Uint8Array(1_000_000).fill(7)

  /** Stops a copy as it does something for the first time. */
  const interruptedAt = (operation: keyof Side) =>
    Effect.gen(function*() {
      const { a, b } = yield* planted({ large, small: "s", folder: { other: "o" }, link: "-> small" })
      const reached = { now: () => {} }
      const there = Effect.callback<void>((resume) => {
        reached.now = () => resume(Effect.void)
      })
      const stalls = (files: Side): Side => ({
        ...files,
        [operation]: () => Effect.andThen(Effect.sync(() => reached.now()), Effect.never)
      })
      const waiting = yield* Effect.forkChild(there, { startImmediately: true })
      const fiber = yield* Effect.forkChild(copied(a, b, { preserve: true }, { to: stalls, from: stalls }))
      yield* Fiber.join(waiting)
      yield* Fiber.interrupt(fiber)
      return yield* FileSystem.FileSystem.use((fs) => fs.exists(b)).pipe(
        Effect.flatMap((exists) => exists ? harvest(b) : Effect.succeed({}))
      )
    })

  for (const operation of ["list", "lstat", "read", "readAll", "write", "writeAll", "rename", "change"] as const) {
    test(
      `leaves no temporary file when it is interrupted in ${operation}`,
      Effect.gen(function*() {
        const left = JSON.stringify(yield* interruptedAt(operation))
        assert.notMatch(left, /"\.\w/)
      })
    )
  }

  test(
    "no name that the other side gives leads out of the target",
    Effect.gen(function*() {
      const { a, b, root } = yield* planted({ file: "text" })
      for (const name of ["../escaped", "..", ".", "", "/tmp/escaped", "a/b", "nul\0"]) {
        const hostile = (files: Side): Side => ({
          ...files,
          list: (path) =>
            Effect.succeed(path === a ? [{ name: "folder", type: "Directory" }] : [{ name, type: "File" }]),
          lstat: (path) => files.lstat(path.endsWith("folder") ? a : `${a}/file`),
          readAll: () => Effect.succeed(new Uint8Array(3))
        })
        const error = yield* Effect.flip(copied(a, b, { onError: "collect" }, { from: hostile }))
        assert.strictEqual(error._tag === "SshError" ? error.reason._tag : error._tag, "TransferProtocol")
      }
      yield* holds(root, { a: { file: "text" }, b: { folder: {} } })
    })
  )

  test(
    "nothing is written through a link that the other side has made",
    Effect.gen(function*() {
      const { a, b, root } = yield* planted({ file: "text" })
      yield* plant(`${root}/victim`, { file: "kept" })
      const twice = (files: Side): Side => ({
        ...files,
        list: (path) =>
          path === a
            ? Effect.succeed([{ name: "x", type: "SymbolicLink" }, { name: "x", type: "Directory" }])
            : Effect.succeed([{ name: "file", type: "File" }])
      })
      assert.include((yield* Effect.flip(copied(a, b, {}, { from: twice }))).message, "two files named")
      // nor through one of an earlier copy
      yield* plant(a, { x: { file: "bad" }, y: "bad" })
      yield* plant(b, { x: "-> ../victim", y: "-> ../victim/file" })
      assert.strictEqual((yield* Effect.flip(copied(a, b)))._tag, "PlatformError")
      yield* copied(a, b, { filter: ({ path }) => path !== "x", atomic: false })
      yield* copied(a, b, { filter: ({ path }) => path !== "x" })
      yield* holds(b, { file: "text", x: "-> ../victim", y: "bad" })
      yield* holds(`${root}/victim`, { file: "kept" })
    })
  )
})
