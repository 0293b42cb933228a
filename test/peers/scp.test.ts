import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import type { SshError } from "../../src/errors/SshError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Ssh from "../../src/services/Ssh.ts"
import { holds, modeAndTime, plant } from "../support/trees.ts"
import { OpenSsh } from "./support/openssh.ts"
import { services } from "./support/peer.ts"
import { sshdWith } from "./support/sshdWith.ts"
import { onlyNames, places, randomFile, servedBy, sha256 } from "./support/transfers.ts"

const peers = Layer.mergeAll(OpenSsh.layer, Ssh.layer.pipe(Layer.provide(Dialer.layer)), services)

const reasonOf = <A, R>(effect: Effect.Effect<A, SshError | PlatformError.PlatformError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const hostileName = "a b'c\"d$(touch pwned)`touch pwned`;touch pwned\\ü*"

const tree = {
  [hostileName]: "one",
  "-r": "option?",
  empty: "",
  folder: { deep: { er: "two" }, none: {} },
  large: "A".repeat(3_000_000)
}

const scp = { protocol: "scp" } as const

layer(peers, { excludeTestServices: true, timeout: "120 seconds" })("SCP with OpenSSH", (it) => {
  it.effect("is used where the server has no SFTP", () =>
    Effect.gen(function*() {
      const { settings } = yield* sshdWith("Subsystem none /bin/false")
      const { here, session, there } = yield* places(settings)
      assert.strictEqual((yield* reasonOf(session.sftp))._tag, "ChannelRefused")
      yield* plant(`${here}/a`, tree)
      assert.include(yield* session.upload(`${here}/a`, `${there}/b`), { files: 5, directories: 4, bytes: 3_000_013 })
      yield* holds(`${there}/b`, tree)
      assert.include(yield* session.download(`${there}/b`, `${here}/c`), { files: 5, directories: 4, bytes: 3_000_013 })
      yield* holds(`${here}/c`, tree)
      assert.strictEqual(Buffer.from(yield* session.downloadBytes(`${there}/b/-r`)).toString(), "option?")
      const refused = yield* reasonOf(session.upload(`${here}/a`, `${there}/c`, { protocol: "sftp" }))
      assert.strictEqual(refused._tag, "ChannelRefused")
    }))

  it.effect("copies into folders that are there, and gives the name that was asked for", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, { file: "new", folder: { file: "new" } })
      yield* plant(`${here}/b`, { file: "old", other: "kept" })
      yield* session.upload(`${here}/b`, `${there}/b`, scp)
      yield* session.upload(`${here}/a`, `${there}/b`, scp)
      const merged = { file: "new", other: "kept", folder: { file: "new" } }
      yield* holds(there, { b: merged })
      yield* session.download(`${there}/b`, `${here}/a`, scp)
      yield* holds(`${here}/a`, merged)
      yield* session.upload(`${here}/a/file`, `${there}/${hostileName}`, scp)
      yield* session.download(`${there}/${hostileName}`, `${here}/file`, scp)
      yield* holds(there, { b: merged, [hostileName]: "new" })
      // a folder that has no name of its own
      yield* session.upload(`${here}/b`, `${there}/b/folder/..`, scp)
      yield* holds(`${there}/b`, { ...merged, file: "old" })
    }))

  it.effect("keeps permission bits and times where that is asked for", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, { tool: "#!", closed: { file: "f" } })
      yield* fs.chmod(`${here}/a/tool`, 0o751)
      yield* fs.utimes(`${here}/a/tool`, 1000, 2000)
      yield* fs.chmod(`${here}/a/closed`, 0o750)
      yield* fs.utimes(`${here}/a/closed`, 3000, 4000)
      yield* session.upload(`${here}/a`, `${there}/a`, { ...scp, preserve: true })
      yield* session.download(`${there}/a`, `${here}/b`, { ...scp, preserve: true })
      for (const copy of [`${there}/a`, `${here}/b`]) {
        assert.deepStrictEqual(yield* modeAndTime(`${copy}/tool`), ["751", 2000])
        assert.deepStrictEqual(yield* modeAndTime(`${copy}/closed`), ["750", 4000])
      }
      assert.include(yield* session.download(`${there}/a`, `${here}/b`, { ...scp, overwrite: "different" }), {
        files: 0,
        skipped: 2
      })
    }))

  it.effect("copies bytes, streams that say how long they are, and what is large", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* session.upload(Buffer.from("bytes"), `${there}/bytes`, { ...scp, mode: 0o640 })
      assert.strictEqual((yield* modeAndTime(`${there}/bytes`))[0], "640")
      const pieces = Stream.range(1, 1000).pipe(Stream.map((n) => Buffer.alloc(n, n)))
      assert.strictEqual((yield* reasonOf(session.upload(pieces, `${there}/stream`, scp)))._tag, "Unsupported")
      yield* session.upload(pieces, `${there}/stream`, { ...scp, size: 500_500 })
      assert.strictEqual((yield* session.downloadBytes(`${there}/stream`, scp)).length, 500_500)
      const original = yield* randomFile(`${here}/a`, 64 * 1024 * 1024)
      yield* session.upload(`${here}/a`, `${there}/a`, scp)
      assert.strictEqual(yield* sha256(`${there}/a`), original)
      yield* session.download(`${there}/a`, `${here}/b`, scp)
      assert.strictEqual(yield* sha256(`${here}/b`), original)
    }))

  it.effect("says what the server refuses, and goes on without it where that is asked for", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { here, session, there } = yield* places()
      yield* plant(`${here}/a`, { open: "o", closed: "c", folder: { file: "f" } })
      yield* session.upload(`${here}/a`, `${there}/a`, scp)
      yield* fs.chmod(`${there}/a/closed`, 0)
      const refused = yield* reasonOf(session.download(`${there}/a`, `${here}/b`, scp))
      assert.strictEqual(refused._tag, "TransferProtocol")
      assert.include(refused.message, "Permission denied")
      const down = yield* session.download(`${there}/a`, `${here}/b`, { ...scp, onError: "collect" })
      assert.strictEqual(down.failures.length, 1)
      yield* holds(`${here}/b`, { open: "o", folder: { file: "f" } })
      yield* fs.chmod(`${there}/a/closed`, 0o444)
      yield* fs.chmod(`${there}/a`, 0o555)
      const up = yield* session.upload(`${here}/a`, `${there}/a`, { ...scp, onError: "collect" })
      assert.deepStrictEqual(up.failures.map(({ path }) => path), ["closed"])
      yield* fs.chmod(`${there}/a`, 0o755)
      for (
        const [attempt, words] of [
          [session.download(`${there}/none`, `${here}/x`, scp), "No such file"],
          [session.upload(`${here}/a/open`, `${there}/none/x`, scp), "No such file"],
          [session.upload(`${here}/a/open`, "/etc/x", scp), "Permission denied"]
        ] as const
      ) {
        const reason = yield* reasonOf(attempt)
        assert.strictEqual(reason._tag, "TransferProtocol")
        assert.include(reason.message, words)
      }
      assert.include((yield* reasonOf(session.downloadBytes(`${there}/none`, scp))).message, "No such file")
      yield* onlyNames(here, "a", "b")
    }))

  it.effect("refuses to do less than it is asked for", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* plant(here, { file: "f" })
      const options = [{ resume: true }, { verify: "sha256" }, { symlinks: "copy" }] as const
      for (const option of options) {
        const up = yield* reasonOf(session.upload(`${here}/file`, `${there}/x`, { ...scp, ...option }))
        const down = yield* reasonOf(session.download(`${there}/x`, `${here}/x`, { ...scp, ...option }))
        assert.deepStrictEqual([up._tag, down._tag], ["Unsupported", "Unsupported"])
      }
      for (const option of [{ atomic: true }, { fsync: true }, { overwrite: "never" }] as const) {
        const up = yield* reasonOf(session.upload(`${here}/file`, `${there}/x`, { ...scp, ...option }))
        assert.strictEqual(up._tag, "Unsupported")
      }
      yield* onlyNames(there)
    }))

  it.effect("fails with the connection, and leaves no half of a file here", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      const size = 32 * 1024 * 1024
      yield* randomFile(`${here}/a`, size)
      yield* session.upload(`${here}/a`, `${there}/a`, scp)
      const pid = yield* servedBy(session)
      const reason = yield* reasonOf(
        Stream.runForEach(session.downloadProgress(`${there}/a`, `${here}/b`, scp), ({ transferred }) =>
          Effect.sync(() => {
            if (transferred > size / 3) {
              process.kill(pid, "SIGKILL")
            }
          }).pipe(Effect.ignoreCause))
      )
      assert.strictEqual(reason._tag, "ConnectionLost")
      yield* onlyNames(here, "a")
    }))

  it.effect("leaves no half of a file here when it is interrupted", () =>
    Effect.gen(function*() {
      const { here, session, there } = yield* places()
      yield* randomFile(`${here}/a`, 16 * 1024 * 1024)
      yield* session.upload(`${here}/a`, `${there}/a`, scp)
      for (let reports = 1; reports < 6; reports++) {
        yield* session.downloadProgress(`${there}/a`, `${here}/b`, scp).pipe(
          Stream.takeWhile(({ done }) => !done),
          Stream.take(reports),
          Stream.runDrain
        )
        yield* session.uploadProgress(`${here}/a`, `${there}/b`, scp).pipe(Stream.take(reports), Stream.runDrain)
      }
      const fs = yield* FileSystem.FileSystem
      yield* fs.remove(`${here}/b`, { force: true })
      yield* onlyNames(here, "a")
      assert.strictEqual((yield* session.execute("true")).succeeded, true)
    }))
})
