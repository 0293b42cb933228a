import { assert, layer } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as PlatformError from "effect/PlatformError"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SshError } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import type { TransferOptions, TransferProgress, TransferSummary } from "../../src/services/SshTransfer.ts"
import { harvest, holds, modeAndTime, plant } from "../support/trees.ts"
import { OpenSsh } from "./support/openssh.ts"
import { services } from "./support/peer.ts"
import { sshdWith } from "./support/sshdWith.ts"
import { connect, onlyNames, places, randomFile, servedBy, sha256 } from "./support/transfers.ts"

const peers = Layer.mergeAll(OpenSsh.layer, Ssh.layer.pipe(Layer.provide(Dialer.layer)), services)

const tree = {
  "ünï cödé 文 $(id) 'q\".txt": "one",
  empty: "",
  folder: { deep: { er: "two" }, none: {} },
  large: new Uint8Array(3_000_000).fill(65),
  link: "-> folder",
  dangling: "-> nowhere"
}

const texts = { ...tree, large: "A".repeat(3_000_000) }

const done: TransferSummary = { files: 4, directories: 4, links: 2, skipped: 0, bytes: 3_000_006, failures: [] }

const reasonOf = <A, R>(effect: Effect.Effect<A, SshError | PlatformError.PlatformError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

// every megabyte the two sides agree on new keys
layer(peers, { excludeTestServices: true, timeout: "120 seconds" })("transfers with OpenSSH", (it) => {
  it.effect("copy folders there and back, with all that is in them", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, tree)
      assert.deepStrictEqual(yield* session.upload(`${here}/a`, `${there}/b`), done)
      yield* holds(`${there}/b`, texts)
      assert.deepStrictEqual(yield* session.download(`${there}/b`, `${here}/c`), done)
      yield* holds(`${here}/c`, texts)
      // into what is there, over one channel
      const sftp = yield* session.sftp
      assert.deepStrictEqual(yield* sftp.upload(`${here}/a`, `${there}/b`), done)
      assert.deepStrictEqual(yield* sftp.download(`${there}/b`, `${here}/c`), done)
      yield* holds(`${there}/b`, texts)
      yield* holds(`${here}/c`, texts)
    }))

  it.effect("keep permission bits and times where that is asked for", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, { tool: "#!", closed: { file: "f" } })
      yield* fs.chmod(`${here}/a/tool`, 0o751)
      yield* fs.utimes(`${here}/a/tool`, 1000, 2000)
      yield* fs.chmod(`${here}/a/closed`, 0o550)
      yield* fs.utimes(`${here}/a/closed`, 3000, 4000)
      yield* session.upload(`${here}/a`, `${there}/exact`, { preserve: true })
      yield* session.download(`${there}/exact`, `${here}/exact`, { preserve: true })
      for (const copy of [`${there}/exact`, `${here}/exact`]) {
        assert.deepStrictEqual(yield* modeAndTime(`${copy}/tool`), ["751", 2000])
        assert.deepStrictEqual(yield* modeAndTime(`${copy}/closed`), ["550", 4000])
      }
      yield* session.upload(`${here}/a/tool`, `${there}/tool`)
      assert.strictEqual((yield* modeAndTime(`${there}/tool`))[0], "751")
      // a secret stays one when it is replaced
      yield* session.upload(Buffer.from("old"), `${there}/secret`, { mode: 0o600 })
      yield* fs.chmod(`${here}/a/tool`, 0o644)
      yield* session.upload(`${here}/a/tool`, `${there}/secret`)
      assert.strictEqual((yield* modeAndTime(`${there}/secret`))[0], "600")
      yield* fs.chmod(`${there}/exact/closed`, 0o750)
    }))

  it.effect("follow links, or leave them out, in both directions", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      const linked = { folder: { file: "f", up: "-> .." }, to: "-> folder" }
      yield* plant(`${here}/a`, linked)
      yield* session.upload(`${here}/a`, `${there}/copy`)
      const follow = { symlinks: "follow" } as const
      const followed = { folder: { file: "f" }, to: { file: "f" } }
      assert.include(yield* session.upload(`${here}/a`, `${there}/follow`, follow), { skipped: 2, links: 0 })
      yield* holds(`${there}/follow`, followed)
      assert.include(yield* session.download(`${there}/copy`, `${here}/follow`, follow), { skipped: 2, links: 0 })
      yield* holds(`${here}/follow`, followed)
      yield* session.download(`${there}/copy`, `${here}/skip`, { symlinks: "skip" })
      yield* holds(`${here}/skip`, { folder: { file: "f" } })
    }))

  it.effect("leave out what is not wanted, and what is there", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, { "a.css": "new", "b.js": "new", deep: { "c.css": "new" } })
      yield* plant(`${here}/old`, { "a.css": "old!" })
      yield* session.upload(`${here}/old`, `${there}/b`)
      const options: TransferOptions = {
        filter: ({ path, type }) => type === "Directory" || path.endsWith(".css"),
        overwrite: "never"
      }
      assert.include(yield* session.upload(`${here}/a`, `${there}/b`, options), { files: 1, skipped: 2 })
      yield* holds(`${there}/b`, { "a.css": "old!", deep: { "c.css": "new" } })
      const again: TransferOptions = { overwrite: "different", preserve: true }
      yield* session.upload(`${here}/a`, `${there}/b`, again)
      assert.include(yield* session.upload(`${here}/a`, `${there}/b`, again), { files: 0, skipped: 3 })
      yield* session.download(`${there}/b`, `${here}/c`, again)
      assert.include(yield* session.download(`${there}/b`, `${here}/c`, again), { files: 0, skipped: 3 })
      yield* holds(`${here}/c`, { "a.css": "new", "b.js": "new", deep: { "c.css": "new" } })
    }))

  it.effect("make files of bytes and of streams, and bytes of files", () =>
    Effect.gen(function*() {
      const { session, there } = yield* places()
      assert.include(yield* session.upload(Buffer.from("bytes"), `${there}/bytes`), { files: 1, bytes: 5 })
      const pieces = Stream.range(1, 1000).pipe(Stream.map((n) => Buffer.alloc(n, n)))
      assert.include(yield* session.upload(pieces, `${there}/stream`, { verify: "sha256", fsync: true, mode: 0o666 }), {
        bytes: 500_500
      })
      assert.deepStrictEqual((yield* modeAndTime(`${there}/stream`))[0], "666")
      assert.strictEqual((yield* session.downloadBytes(`${there}/stream`)).length, 500_500)
      assert.strictEqual(Buffer.from(yield* session.downloadBytes(`${there}/bytes`)).toString(), "bytes")
      assert.strictEqual(
        (yield* reasonOf(session.downloadBytes(`${there}/stream`, { maxSize: 500_499 })))._tag,
        "OutputTooLarge"
      )
      assert.strictEqual((yield* session.downloadBytes("/proc/self/status", { maxSize: 10_000 })).length > 0, true)
      const broken = Stream.concat(Stream.succeed(Buffer.from("x")), Stream.fail("my own" as const))
      assert.strictEqual(yield* Effect.flip(session.upload(broken, `${there}/broken`)), "my own")
      yield* onlyNames(there, "bytes", "stream")
    }))

  it.effect("read files to their end that do not say how long they are", () =>
    Effect.gen(function*() {
      const { here, session } = yield* places()
      yield* session.download("/proc/version", `${here}/version`)
      const fs = yield* FileSystem.FileSystem
      assert.include(yield* fs.readFileString(`${here}/version`), "Linux")
    }))

  it.effect("say what the server refuses, and go on without it where that is asked for", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, { open: "o", closed: "c", folder: { file: "f" } })
      yield* session.upload(`${here}/a`, `${there}/a`)
      yield* fs.chmod(`${there}/a/closed`, 0)
      yield* fs.chmod(`${there}/a/folder`, 0)
      assert.deepInclude(yield* reasonOf(session.download(`${there}/a`, `${here}/b`)), {
        _tag: "SftpStatus",
        status: "PermissionDenied"
      })
      const { failures } = yield* session.download(`${there}/a`, `${here}/b`, { onError: "collect" })
      assert.deepStrictEqual(failures.map(({ path }) => path).toSorted(), ["closed", "folder"])
      yield* holds(`${here}/b`, { open: "o", folder: {} })
      assert.deepInclude(yield* reasonOf(session.download(`${there}/none`, `${here}/x`)), { status: "NoSuchFile" })
      assert.deepInclude(yield* reasonOf(session.upload(`${here}/a`, "/etc/x")), { status: "PermissionDenied" })
      assert.strictEqual((yield* Effect.flip(session.upload(`${here}/none`, `${there}/x`))).reason._tag, "NotFound")
      assert.strictEqual((yield* reasonOf(session.upload(`${here}/a/open`, `${there}/a`)))._tag, "SftpStatus")
      yield* onlyNames(here, "a", "b")
      yield* onlyNames(there, "a")
    }))

  it.effect("find out a copy that is not one", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* plant(here, { file: "some text" })
      assert.include(yield* session.upload(`${here}/file`, `${there}/file`, { verify: "sha256" }), { files: 1 })
      // of the same length, so that only the checksum tells
      yield* session.upload(Buffer.from("same text"), `${there}/file`)
      assert.include(yield* session.download(`${there}/file`, `${here}/file`, { resume: true }), { skipped: 1 })
      assert.include(
        yield* session.download(`${there}/file`, `${here}/file`, { resume: true, verify: "sha256" }),
        { files: 1 }
      )
      yield* holds(here, { file: "same text" })
      const name = "-b $(id) ; 'x'\n\\"
      yield* session.upload(`${here}/file`, `${there}/${name}`, { verify: "sha256" })
      yield* holds(there, { file: "same text", [name]: "same text" })
    }))

  it.effect("copy a gibibyte there and back", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("")
      const { here, session, there } = yield* places(settings)
      const size = 1024 ** 3
      const original = yield* randomFile(`${here}/a`, size)
      assert.include(yield* session.upload(`${here}/a`, `${there}/a`), { files: 1, bytes: size })
      assert.strictEqual(yield* sha256(`${there}/a`), original)
      assert.include(yield* session.download(`${there}/a`, `${here}/b`), { files: 1, bytes: size })
      assert.strictEqual(yield* sha256(`${here}/b`), original)
    }), 300_000)

  it.effect("copy ten thousand small files there and back", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("")
      const { here, session, there } = yield* places(settings)
      const files = (folder: number) =>
        Object.fromEntries(Arr.range(1, 500).map((file) => [`${file}.txt`, `${folder}/${file}`]))
      const many = Object.fromEntries(Arr.range(1, 20).map((folder) => [`d${folder}`, files(folder)]))
      yield* plant(`${here}/a`, many)
      const summary = { files: 10_000, directories: 21, skipped: 0 }
      assert.include(yield* session.upload(`${here}/a`, `${there}/a`), summary)
      assert.include(yield* session.download(`${there}/a`, `${here}/b`), summary)
      yield* holds(`${here}/b`, many)
    }), 300_000)

  it.effect("go on where the server was killed", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      const size = 48 * 1024 * 1024
      const original = yield* randomFile(`${here}/a`, size)
      yield* session.upload(`${here}/a`, `${there}/a`)

      /** Kills the server when a third is there. */
      const cutOff = Effect.fnUntraced(function*(direction: "upload" | "download", from: string, to: string) {
        const session = yield* connect()
        const pid = yield* servedBy(session)
        const progress = direction === "upload"
          ? session.uploadProgress(from, to, { resume: true })
          : session.downloadProgress(from, to, { resume: true })
        const reason = yield* reasonOf(Stream.runForEach(progress, ({ transferred }) =>
          Effect.sync(() => {
            if (transferred > size / 3) process.kill(pid, "SIGKILL")
          }).pipe(Effect.ignoreCause)))
        assert.strictEqual(reason._tag, "ConnectionLost")
      })

      const fs = yield* FileSystem.FileSystem
      const sizeOf = (path: string) => Effect.map(fs.stat(path), ({ size }) => Number(size))
      for (const direction of ["upload", "download"] as const) {
        const [from, to] = direction === "upload" ? [`${here}/a`, `${there}/b`] : [`${there}/a`, `${here}/b`]
        yield* cutOff(direction, from, to)
        const part = yield* sizeOf(to)
        assert.isAbove(part, 0)
        assert.isBelow(part, size)
        const again = yield* connect()
        assert.include(yield* again[direction](from, to, { resume: true }), { files: 1, bytes: size - part })
        assert.strictEqual(yield* sha256(to), original)
      }
      yield* onlyNames(here, "a", "b")
      yield* onlyNames(there, "a", "b")
    }))

  it.effect("show whole files only, of those that are replaced while somebody looks", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { here, session, there } = yield* places()
      const versions = ["a", "b", "c", "d"].map((letter) => Buffer.alloc(2_000_000, letter))
      yield* session.upload(versions[0]!, `${there}/file`)
      const seen = new Set<string>()
      const look = Effect.map(fs.readFile(`${there}/file`), (bytes) => {
        assert.isTrue(versions.some((version) => version.equals(bytes)), `${bytes.length} bytes`)
        seen.add(String.fromCharCode(bytes[0]!))
      })
      const watching = yield* Effect.forkChild(Effect.forever(look))
      for (const version of versions) yield* session.upload(version, `${there}/file`)
      for (const version of versions) {
        yield* fs.writeFile(`${here}/file`, version)
        yield* session.upload(`${here}/file`, `${there}/file`)
      }
      yield* look
      assert.isUndefined(watching.pollUnsafe())
      yield* Fiber.interrupt(watching)
      assert.isAbove(seen.size, 1)
    }))

  it.effect("leave nothing behind when they are interrupted", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { here, session, there } = yield* places()
      yield* randomFile(`${here}/a`, 16 * 1024 * 1024)
      yield* session.upload(`${here}/a`, `${there}/a`)
      const sftp = yield* session.sftp
      const pid = yield* servedBy(session)
      const handles = Effect.map(fs.readDirectory(`/proc/${pid}/fd`), ({ length }) => length)
      const before = yield* handles
      // at many points, from before the first byte until after the last
      for (let reports = 1; reports < 12; reports += 2) {
        const up = sftp.uploadProgress(`${here}/a`, `${there}/b`)
        const down = sftp.downloadProgress(`${there}/a`, `${here}/b`)
        for (const progress of [up, down]) {
          yield* progress.pipe(Stream.takeWhile(({ done }) => !done), Stream.take(reports), Stream.runDrain)
        }
        const scope = yield* Scope.make()
        yield* Effect.forkIn(sftp.upload(`${here}/a`, `${there}/b`), scope)
        yield* Effect.forkIn(sftp.download(`${there}/a`, `${here}/b`), scope)
        for (let turn = 0; turn < reports; turn++) yield* sftp.stat(there)
        yield* Scope.close(scope, Exit.void)
      }
      yield* sftp.remove(`${there}/b`, { force: true })
      yield* fs.remove(`${here}/b`, { force: true })
      yield* onlyNames(here, "a")
      yield* onlyNames(there, "a")
      assert.strictEqual(yield* handles, before)
    }))

  it.effect("tell how far they are, and are held up by nobody who looks", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, tree)
      const all = yield* Stream.runCollect(session.uploadProgress(`${here}/a`, `${there}/a`))
      const last = all[all.length - 1]!
      assert.include(last, { done: true, transferred: 3_000_006, total: 3_000_006, files: 4, totalFiles: 4, links: 2 })
      assert.isTrue(all.slice(0, -1).every(({ done }) => !done))
      assert.isTrue(all.every(({ total, transferred }) => transferred <= total))
      const slow: Array<TransferProgress> = []
      yield* session.downloadProgress(`${there}/a`, `${here}/b`).pipe(
        Stream.runForEach((progress) =>
          Effect.andThen(Effect.sleep("100 millis"), Effect.sync(() => slow.push(progress)))
        )
      )
      assert.isBelow(slow.length, 10)
      assert.include(slow[slow.length - 1], { done: true, files: 4 })
      assert.deepInclude(yield* harvest(`${here}/b`), { empty: "" })
    }))
})
