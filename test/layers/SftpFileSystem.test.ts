import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as SftpFileSystem from "../../src/layers/SftpFileSystem.ts"
import { fileSystemSuite } from "../support/fileSystemSuite.ts"
import { leavesNothing } from "../support/leaks.ts"
import { networks } from "../support/network.ts"
import { temporaryFolder } from "../support/servers.ts"
import { connected } from "../support/ssh.ts"

const onLoopback = Effect.provide(networks["on loopback"]())

/** The file system of a server whose root is a folder of its own. */
const remote = Effect.gen(function*() {
  const root = yield* temporaryFolder
  const { server, session } = yield* connected({ sftp: { root } })
  return { root, server, fs: SftpFileSystem.make(yield* session.sftp, { tempDirectory: "/" }) }
})

const refused = (error: { readonly reason: { readonly _tag: string } }) => error.reason._tag

describe("SftpFileSystem", () => {
  for (const [name, body] of Object.entries(fileSystemSuite)) {
    it.live(`${name}, on another machine`, () =>
      Effect.gen(function*() {
        const { fs } = yield* remote
        yield* fs.makeDirectory("/folder")
        return yield* body(fs, "/folder")
      }).pipe(Effect.scoped, onLoopback, leavesNothing))
    it.live(`${name}, as on this one`, () =>
      Effect.gen(function*() {
        return yield* body(yield* FileSystem.FileSystem, yield* temporaryFolder)
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))
  }

  it.live("makes temporary files where it is told to", () =>
    Effect.gen(function*() {
      const { fs } = yield* remote
      assert.match(yield* fs.makeTempDirectory(), /^\/\/?[0-9a-f]{16}$/)
    }).pipe(Effect.scoped, onLoopback))

  it.live("does not do what SFTP cannot do", () =>
    Effect.gen(function*() {
      const { server, session } = yield* connected({ sftp: { root: yield* temporaryFolder, extensions: false } })
      const fs = SftpFileSystem.make(yield* session.sftp)
      assert.strictEqual(server.connections(), 1)
      yield* fs.writeFileString("file", "a")
      const file = yield* fs.open("file")
      assert.strictEqual(refused(yield* Effect.flip(fs.open("file", { noFollow: true }))), "BadArgument")
      assert.strictEqual(refused(yield* Effect.flip(fs.link("file", "second"))), "BadArgument")
      assert.strictEqual(refused(yield* Effect.flip(file.sync)), "BadArgument")
    }).pipe(Effect.scoped, onLoopback))

  it.live("sees what a file allows", () =>
    Effect.gen(function*() {
      const { fs } = yield* remote
      yield* fs.makeDirectory("folder", { mode: 0o755 })
      yield* fs.writeFileString("file", "a")
      for (const path of ["folder", "file"]) yield* fs.access(path, { ok: true, readable: true, writable: true })
      yield* fs.chmod("folder", 0o555)
      assert.strictEqual(refused(yield* Effect.flip(fs.access("folder", { writable: true }))), "PermissionDenied")
    }).pipe(Effect.scoped, onLoopback))

  it.live("fails when the connection is lost", () =>
    Effect.gen(function*() {
      const { fs, server } = yield* remote
      const file = yield* fs.open("file", { flag: "w" })
      yield* server.kill
      for (const effect of [fs.stat("file"), file.writeAll(Buffer.of(1)), Stream.runDrain(fs.stream("file"))]) {
        const error = yield* Effect.flip(Effect.asVoid(effect))
        assert.strictEqual(error.reason._tag, "Unknown")
        assert.include(error.message, "the SSH connection is gone")
      }
    }).pipe(Effect.scoped, onLoopback))

  it.effect("watches a folder", () =>
    Effect.gen(function*() {
      const { fs } = yield* remote
      const ready = yield* Latch.make()
      yield* fs.makeDirectory("folder/sub", { recursive: true })
      yield* fs.writeFileString("folder/gone", "a")
      yield* fs.writeFileString("folder/changed", "a")
      const events = yield* fs.watch("folder", { recursive: true, onReady: () => ready.openUnsafe() }).pipe(
        Stream.take(3),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* ready.await
      yield* fs.writeFileString("folder/changed", "more")
      yield* fs.writeFileString("folder/sub/new", "a")
      yield* fs.remove("folder/gone")
      yield* TestClock.adjust("1 second")
      assert.sameDeepMembers(yield* Fiber.join(events), [
        { _tag: "Update", path: "changed" },
        { _tag: "Create", path: "sub/new" },
        { _tag: "Remove", path: "gone" }
      ])
    }).pipe(Effect.scoped, onLoopback))
})
