import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { SshError } from "../../src/errors/SshError.ts"
import type * as Sftp from "../../src/services/Sftp.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { connect } from "../support/ssh.ts"

/** A server with files, and a client's SFTP. */
const served = Effect.fnUntraced(function*(files: Readonly<Record<string, TestPeers.SshFile>>) {
  const server = yield* TestPeers.sshServer({ sftp: files })
  const session = yield* connect(server.settings)
  return { files: server.files, server, session, sftp: yield* session.sftp }
})

const statusOf = <A>(effect: Effect.Effect<A, SshError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag === "SftpStatus" ? reason.status : reason._tag)

const namesIn = (sftp: Sftp.Sftp, path: string) =>
  Effect.map(sftp.readDirectory(path), (entries) => entries.map(({ name }) => name).toSorted())

describeOnNetworks("TestPeers.sshFiles by SFTP", (test) => {
  test("are read, written, appended to and cut", () =>
    Effect.gen(function*() {
      const { files, sftp } = yield* served({ "/etc/motd": "welcome", "data": Uint8Array.of(1, 2, 3) })
      assert.strictEqual(yield* sftp.readText("/etc/motd"), "welcome")
      assert.deepStrictEqual([...(yield* sftp.readFile("/data"))], [1, 2, 3])
      yield* sftp.writeFile("/etc/new", "one")
      yield* Effect.scoped(Effect.gen(function*() {
        const file = yield* sftp.open("/etc/new", { flag: "a" })
        yield* file.write(0, Buffer.from(" two"))
      }))
      assert.strictEqual(yield* files.readString("/etc/new"), "one two")
      yield* sftp.truncate("/etc/new", 5)
      yield* sftp.writeFile("/etc/motd", "hi")
      yield* Stream.run(Stream.make(Buffer.from("a"), Buffer.from("b")), sftp.write("/stream"))
      assert.deepStrictEqual(yield* files.contents, {
        "/data": "\u0001\u0002\u0003",
        "/etc/motd": "hi",
        "/etc/new": "one t",
        "/stream": "ab"
      })
      assert.strictEqual(yield* statusOf(sftp.readText("/nothing")), "NoSuchFile")
      assert.strictEqual(yield* statusOf(sftp.readText("/data/below")), "NoSuchFile")
      assert.strictEqual(yield* statusOf(sftp.writeFile("/no/folder", "")), "NoSuchFile")
      assert.strictEqual(yield* statusOf(sftp.writeFile("/etc", "")), "Failure")
      assert.strictEqual(yield* statusOf(Effect.scoped(sftp.open("/data", { flag: "wx" }))), "Failure")
    }))

  test("are read and written at any place, through several handles, also when they are gone", () =>
    Effect.gen(function*() {
      const { files, sftp } = yield* served({ "/f": "0123456789" })
      const one = yield* sftp.open("/f", { flag: "r+" })
      const two = yield* sftp.open("/f")
      yield* one.write(12, Buffer.from("x"))
      assert.strictEqual(Buffer.from(yield* two.read(8, 100)).toString(), "89\0\0x")
      yield* sftp.rename("/f", "/g")
      yield* sftp.remove("/g")
      yield* one.write(0, Buffer.from("still"))
      assert.strictEqual(Buffer.from(yield* two.read(0, 5)).toString(), "still")
      assert.deepStrictEqual((yield* two.stat).size, Option.some(13n))
      assert.deepStrictEqual(yield* files.contents, {})
      assert.notStrictEqual(yield* statusOf(two.write(0, Buffer.from("no"))), "Ok")
      // far behind its end there is nothing but zeros, and no memory is used for them
      yield* one.setAttributes({ size: 2n ** 40n })
      assert.deepStrictEqual([...(yield* two.read(2n ** 40n - 2n, 10))], [0, 0])
      yield* one.setAttributes({ size: 2 })
      yield* one.setAttributes({ size: 4 })
      assert.strictEqual(Buffer.from(yield* two.read(0, 10)).toString(), "st\0\0")
    }))

  test("are in folders, which are made, listed, renamed and removed", () =>
    Effect.gen(function*() {
      const { files, sftp } = yield* served({ "/a/b/c": "1", "/a/d": "2", "/empty/": "" })
      assert.deepStrictEqual(yield* namesIn(sftp, "/"), ["a", "empty"])
      assert.deepStrictEqual(yield* namesIn(sftp, "/a"), ["b", "d"])
      yield* sftp.mkdir("/x/y/z", { recursive: true, mode: 0o700 })
      assert.deepInclude(yield* files.stat("/x/y/z"), { type: "Directory", mode: 0o700 })
      assert.strictEqual(yield* statusOf(sftp.mkdir("/a")), "Failure")
      assert.strictEqual(yield* statusOf(sftp.rmdir("/a")), "Failure")
      assert.strictEqual(yield* statusOf(sftp.rmdir("/a/d")), "NoSuchFile")
      assert.strictEqual(yield* statusOf(sftp.remove("/a")), "Failure")
      assert.strictEqual(yield* statusOf(sftp.rename("/a/d", "/a/b/c")), "Failure")
      yield* sftp.rename("/a/d", "/a/b/c", { overwrite: true })
      yield* sftp.rename("/a/b", "/x/y/z/b")
      assert.strictEqual(yield* statusOf(sftp.rename("/x", "/x/y/x")), "BadMessage")
      assert.strictEqual(yield* statusOf(sftp.readDirectory("/a/none")), "NoSuchFile")
      assert.deepStrictEqual(yield* files.contents, { "/x/y/z/b/c": "2" })
      yield* sftp.remove("/x", { recursive: true })
      yield* sftp.rmdir("/empty")
      assert.deepStrictEqual(yield* files.list(), ["a"])
    }))

  test("are led to by links", () =>
    Effect.gen(function*() {
      const { files, sftp } = yield* served({
        "/real/file": "content",
        "/real/up": { symlink: ".." },
        "/folder": { symlink: "/real" },
        "/dangling": { symlink: "nowhere" },
        "/loop": { symlink: "loop" }
      })
      assert.strictEqual(yield* sftp.readText("/folder/up/folder/file"), "content")
      assert.strictEqual(yield* sftp.realPath("/folder/up/folder/./file"), "/real/file")
      assert.strictEqual(yield* sftp.currentDirectory, "/")
      assert.strictEqual(yield* sftp.readLink("/folder"), "/real")
      assert.strictEqual((yield* sftp.lstat("/folder")).type, "SymbolicLink")
      assert.strictEqual((yield* sftp.stat("/folder")).type, "Directory")
      assert.strictEqual(yield* statusOf(sftp.stat("/dangling")), "NoSuchFile")
      assert.strictEqual(yield* statusOf(sftp.stat("/loop")), "NoSuchFile")
      assert.strictEqual(yield* statusOf(sftp.readLink("/real")), "BadMessage")
      yield* sftp.symlink("real/file", "/soft")
      yield* sftp.hardLink("/real/file", "/hard")
      yield* sftp.writeFile("/hard", "changed")
      assert.strictEqual(yield* sftp.readText("/soft"), "changed")
      yield* sftp.writeFile("/dangling", "found")
      assert.strictEqual(yield* files.readString("/nowhere"), "found")
      assert.strictEqual(yield* statusOf(sftp.symlink("x", "/soft")), "Failure")
    }))

  test("keep to their permissions for clients, and not for the test", () =>
    Effect.gen(function*() {
      const { files, sftp } = yield* served({
        "/fixed": { content: "as it is", mode: 0o444 },
        "/secret": { content: "nobody", mode: 0o000 },
        "/locked/file": "in here",
        "/locked/": { mode: 0o555 },
        "/closed/file": "in there",
        "/closed/": { mode: 0o600 }
      })
      assert.strictEqual(yield* sftp.readText("/fixed"), "as it is")
      for (
        const refused of [
          sftp.writeFile("/fixed", "other"),
          sftp.truncate("/fixed"),
          sftp.readText("/secret"),
          sftp.writeFile("/locked/new", ""),
          sftp.remove("/locked/file"),
          sftp.rename("/locked/file", "/file"),
          sftp.rename("/fixed", "/locked/fixed"),
          sftp.mkdir("/locked/folder"),
          sftp.readText("/closed/file")
        ]
      ) {
        assert.strictEqual(yield* statusOf<unknown>(refused), "PermissionDenied")
      }
      assert.strictEqual(yield* files.readString("/secret"), "nobody")
      yield* files.write("/fixed", { content: "changed", mode: 0o444 })
      yield* files.remove("/locked")
      yield* sftp.chmod("/secret", 0o600)
      assert.strictEqual(yield* sftp.readText("/secret"), "nobody")
      assert.deepStrictEqual((yield* sftp.stat("/fixed")).mode, Option.some(0o444))
    }))

  test("have owners, times and room", () =>
    Effect.gen(function*() {
      const mtime = new Date("2020-02-02T02:02:02Z")
      const { files, sftp } = yield* served({ "/old": { content: "x", mtime } })
      assert.deepInclude(yield* sftp.stat("/old"), {
        mtime: Option.some(mtime),
        uid: Option.some(1000),
        gid: Option.some(1000)
      })
      yield* sftp.chown("/old", 1, 2)
      yield* sftp.utimes("/old", 1, 2)
      assert.deepInclude(yield* sftp.stat("/old"), { mtime: Option.some(new Date(2000)), uid: Option.some(1) })
      assert.deepInclude(yield* files.stat("/old"), { mtime: new Date(2000), size: 1, type: "File" })
      const room = yield* sftp.statvfs("/")
      assert.isAbove(Number(room.freeBlocks), 0)
    }))

  test("are copied on the server, and by streams", () =>
    Effect.gen(function*() {
      const { files, session, sftp } = yield* served({ "/from": "0123456789".repeat(20_000) })
      yield* sftp.copy("/from", "/to")
      yield* Stream.run(Stream.take(sftp.read("/from"), 3), Sink.drain)
      assert.strictEqual(yield* files.readString("/to"), "0123456789".repeat(20_000))
      // several clients at once
      const others = yield* Effect.replicateEffect(session.sftp, 3)
      yield* Effect.forEach(others, (other, i) => other.writeFile(`/copy ${i}`, `${i}`), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* files.list(), ["copy 0", "copy 1", "copy 2", "from", "to"])
    }), 30_000)

  test("end a channel that speaks no SFTP, and its session goes on", () =>
    Effect.gen(function*() {
      const { server, session, sftp } = yield* served({ "/f": "x" })
      assert.strictEqual(yield* sftp.readText("/f"), "x")
      yield* Effect.scoped(session.sftp)
      yield* Effect.repeat(server.commands, {
        until: (commands) => commands.filter(({ status }) => status._tag === "Running").length === 1
      })
      assert.strictEqual(yield* sftp.readText("/f"), "x")
    }))
})

describe("TestPeers.sshFiles", () => {
  it.effect("get the time of the test's clock", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_000_000)
      const files = yield* TestPeers.sshFiles({ "/f": "x" })
      yield* TestClock.adjust("1 minute")
      yield* files.write("/g", "y")
      assert.deepStrictEqual((yield* files.stat("/f")).mtime, new Date(1_000_000))
      assert.deepStrictEqual((yield* files.stat("/g")).mtime, new Date(1_060_000))
    }))

  it.effect("say what is wrong", () =>
    Effect.gen(function*() {
      const files = yield* TestPeers.sshFiles({ "/folder/file": "x", "/link": { symlink: "/folder" } })
      const wrong = [
        [files.read("/none"), "NotFound", "read"],
        [files.read("/folder"), "BadResource", "read"],
        [files.list("/folder/file"), "BadResource", "list"],
        [files.write("/folder/file/below", ""), "BadResource", "write"],
        [files.stat("/none"), "NotFound", "stat"],
        [files.remove("/none"), "NotFound", "remove"]
      ] as const
      for (const [effect, _tag, method] of wrong) {
        assert.deepInclude(yield* reasonOf<unknown, never>(effect), { _tag, method, module: "SshFiles" })
      }
      assert.isTrue(yield* files.exists("/link"))
      assert.isFalse(yield* files.exists("/link/none"))
      assert.strictEqual((yield* files.stat("/link")).type, "SymbolicLink")
      yield* files.write("/link", { symlink: "other" })
      yield* files.remove("/link")
      assert.deepStrictEqual(yield* files.contents, { "/folder/file": "x" })
    }))

  it.effect("can be shared by servers, and by their commands", () =>
    Effect.gen(function*() {
      const files = yield* TestPeers.sshFiles()
      const exec: TestPeers.SshCommands = { touch: () => files.write("/touched", "by a command") }
      yield* Effect.gen(function*() {
        const one = yield* TestPeers.sshServer({ sftp: files, exec })
        const two = yield* TestPeers.sshServer({ sftp: files })
        yield* (yield* connect(one.settings)).execute("touch")
        const sftp = yield* (yield* connect(two.settings)).sftp
        assert.strictEqual(yield* sftp.readText("/touched"), "by a command")
        assert.strictEqual(one.files, two.files)
      }).pipe(Effect.scoped, Effect.provide(TestNetwork.layer()))
    }))
})
