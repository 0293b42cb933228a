import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import { ConnectionLost } from "../../src/errors/SshError.ts"
import { Kind } from "../../src/internal/ssh/sftp/packet.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"
import { served } from "../support/sftp.ts"
import { connected, until } from "../support/ssh.ts"

const status = (code: number, operation: string, path: string) => ({ _tag: "SftpStatus", code, operation, path })

describe("Sftp", () => {
  it.live("says what a file is, with sizes beyond 4 GiB and times", () =>
    Effect.gen(function*() {
      const { root, sftp } = yield* served()
      Fs.writeFileSync(`${root}/large`, "")
      Fs.truncateSync(`${root}/large`, 5 * 2 ** 30)
      Fs.symlinkSync("large", `${root}/link`)
      yield* sftp.chmod("large", 0o640)
      yield* sftp.utimes("/large", new Date(1_000_000_000_000), 1_500_000_000.9)
      assert.deepInclude(yield* sftp.stat("link"), {
        type: "File",
        size: Option.some(5n * 2n ** 30n),
        mode: Option.some(0o640),
        atime: Option.some(new Date(1_000_000_000_000)),
        mtime: Option.some(new Date(1_500_000_000_000))
      })
      assert.strictEqual((yield* sftp.lstat("link")).type, "SymbolicLink")
      yield* sftp.truncate("large", 2n ** 33n + 1n)
      assert.strictEqual(Fs.statSync(`${root}/large`).size, 2 ** 33 + 1)
      yield* sftp.truncate("large")
      assert.strictEqual(Fs.statSync(`${root}/large`).size, 0)
      yield* sftp.setAttributes("large", { size: 3, mode: 0o600 })
      assert.strictEqual(Fs.statSync(`${root}/large`).size, 3)
      yield* sftp.chown("large", process.getuid!(), process.getgid!())
    }))

  it.live("knows what is there and what is not", () =>
    Effect.gen(function*() {
      const { root, sftp } = yield* served()
      Fs.writeFileSync(`${root}/file`, "")
      Fs.symlinkSync("nowhere", `${root}/dangling`)
      assert.deepEqual(
        yield* Effect.forEach(["file", "nothing", "dangling", "/", "file/below"], sftp.exists),
        [true, false, false, true, false]
      )
      assert.deepInclude(yield* reasonOf(sftp.stat("nothing")), status(2, "stat", "nothing"))
      const error = yield* Effect.flip(sftp.stat("nothing"))
      assert.strictEqual(error.message, `test: stat "nothing": No such file (2)`)
      assert.isFalse(error.isRetryable)
    }))

  it.live("follows and makes links of both kinds", () =>
    Effect.gen(function*() {
      const { root, sftp } = yield* served()
      yield* sftp.writeFile("a", "content")
      yield* sftp.symlink("a", "soft")
      yield* sftp.hardLink("a", "hard")
      assert.strictEqual(Fs.readlinkSync(`${root}/soft`), "a")
      assert.strictEqual(yield* sftp.readLink("soft"), "a")
      assert.strictEqual(yield* sftp.realPath("x/../soft"), "/a")
      assert.strictEqual(yield* sftp.currentDirectory, "/")
      assert.strictEqual(Fs.statSync(`${root}/hard`).ino, Fs.statSync(`${root}/a`).ino)
      assert.deepInclude(yield* reasonOf(sftp.readLink("a")), status(5, "readLink", "a"))
    }))

  it.live("makes folders, also with those above, and takes what is there already only when it is a folder", () =>
    Effect.gen(function*() {
      const { root, sftp } = yield* served()
      yield* sftp.mkdir("one", { mode: 0o700 })
      assert.strictEqual(Fs.statSync(`${root}/one`).mode & 0o777, 0o700)
      assert.deepInclude(yield* reasonOf(sftp.mkdir("one")), status(4, "mkdir", "one"))
      assert.deepInclude(yield* reasonOf(sftp.mkdir("two/three")), status(2, "mkdir", "two/three"))
      yield* sftp.mkdir("/two/three/four/", { recursive: true })
      yield* sftp.mkdir("two/three/four", { recursive: true })
      assert.isTrue(Fs.existsSync(`${root}/two/three/four`))
      yield* sftp.writeFile("file", "")
      assert.deepInclude(yield* reasonOf(sftp.mkdir("file", { recursive: true })), status(4, "mkdir", "file"))
      yield* sftp.rmdir("two/three/four")
      assert.deepInclude(yield* reasonOf(sftp.rmdir("two")), status(4, "rmdir", "two"))
    }))

  it.live("lists a folder with what the server says of each, a stream or an array", () =>
    Effect.gen(function*() {
      const { open, root, sftp } = yield* served()
      for (let i = 0; i < 1234; i++) Fs.writeFileSync(`${root}/${i}`, "")
      const entries = yield* sftp.readDirectory("/")
      assert.lengthOf(entries, 1234)
      assert.deepEqual(new Set(entries.map(({ path }) => path)), new Set(entries.map(({ name }) => `/${name}`)))
      assert.strictEqual(entries[0]?.attributes.type, "File")
      assert.include(entries[0]?.longname, entries[0]?.name)
      assert.lengthOf(yield* Stream.runCollect(Stream.take(sftp.list("."), 3)), 3)
      assert.strictEqual((yield* Stream.runCollect(Stream.take(sftp.list("."), 1)))[0]?.path.includes("/"), false)
      // whoever does not want all of it leaves nothing open
      yield* sftp.stat(".")
      assert.strictEqual(open(), 0)
      assert.deepInclude(yield* reasonOf(sftp.readDirectory("nothing")), status(2, "readDirectory", "nothing"))
    }))

  it.live("lists what is below a folder, links in circles once", () =>
    Effect.gen(function*() {
      const { root, sftp } = yield* served()
      for (const folder of ["a/b/c", "a/d", "e", "empty"]) Fs.mkdirSync(`${root}/top/${folder}`, { recursive: true })
      for (const file of ["1", "a/2", "a/b/c/3"]) Fs.writeFileSync(`${root}/top/${file}`, "")
      Fs.symlinkSync("..", `${root}/top/a/up`)
      Fs.symlinkSync("../a", `${root}/top/e/across`)
      Fs.symlinkSync("nowhere", `${root}/top/dangling`)
      const paths = (options: object) =>
        Effect.map(
          Stream.runCollect(sftp.list("top", { recursive: true, ...options })),
          (entries) => entries.map(({ attributes, path }) => `${path.slice(4)} ${attributes.type}`)
        )
      const own = ["1 F", "a D", "a/2 F", "a/b D", "a/b/c D", "a/b/c/3 F", "a/d D", "e D", "empty D"].map((line) =>
        line.replace("D", "Directory").replace("F", "File")
      )
      assert.sameMembers(yield* paths({}), [
        ...own,
        "a/up SymbolicLink",
        "e/across SymbolicLink",
        "dangling SymbolicLink"
      ])
      assert.sameMembers(yield* paths({ followSymlinks: true, concurrency: 1 }), [
        ...own,
        "a/up Directory",
        "e/across Directory",
        "dangling SymbolicLink"
      ])
      const order = yield* paths({})
      for (const [at, line] of order.entries()) {
        const folder = line.slice(0, line.lastIndexOf("/"))
        if (line.includes("/")) assert.isBelow(order.indexOf(`${folder} Directory`), at)
      }
    }))

  it.live("removes files, and whole trees when it is asked to, but not what links lead to", () =>
    Effect.gen(function*() {
      const { root, sftp } = yield* served()
      Fs.mkdirSync(`${root}/kept`)
      Fs.writeFileSync(`${root}/kept/file`, "")
      for (const folder of ["a/b", "c"]) Fs.mkdirSync(`${root}/tree/${folder}`, { recursive: true })
      for (const file of ["1", "a/2", "a/b/3"]) Fs.writeFileSync(`${root}/tree/${file}`, "")
      Fs.symlinkSync("../kept", `${root}/tree/link`)
      assert.strictEqual((yield* reasonOf(sftp.remove("tree")))._tag, "SftpStatus")
      yield* sftp.remove("tree/1")
      yield* sftp.remove("/tree/", { recursive: true })
      assert.deepEqual(Fs.readdirSync(root), ["kept"])
      assert.isTrue(Fs.existsSync(`${root}/kept/file`))
      assert.deepInclude(yield* reasonOf(sftp.remove("tree")), status(2, "remove", "tree"))
      yield* sftp.remove("tree", { force: true })
      yield* sftp.remove("tree", { force: true, recursive: true })
      yield* sftp.remove("kept/file", { recursive: true })
    }))

  for (const extensions of [true, false]) {
    it.live(`renames and copies, over what is there only when it may, ${extensions ? "with" : "without"} extensions`, () =>
      Effect.gen(function*() {
        const { open, root, sftp } = yield* served({ extensions })
        yield* sftp.writeFile("a", "a".repeat(100_000), { mode: 0o640 })
        yield* sftp.writeFile("b", "b")
        assert.deepInclude(yield* reasonOf(sftp.rename("a", "b")), status(4, "rename", "a"))
        assert.deepInclude(yield* reasonOf(sftp.copy("a", "b")), status(4, "open", "b"))
        yield* sftp.copy("a", "c")
        assert.strictEqual(Fs.statSync(`${root}/c`).mode & 0o777, 0o640)
        yield* sftp.copy("a", "b", { overwrite: true })
        assert.strictEqual(yield* sftp.readText("b"), "a".repeat(100_000))
        yield* sftp.writeFile("b", "b")
        yield* sftp.rename("b", "a", { overwrite: true })
        yield* sftp.rename("a", "new", { overwrite: true })
        assert.strictEqual(yield* sftp.readText("new"), "b")
        assert.strictEqual((yield* reasonOf(sftp.rename("nothing", "new", { overwrite: true })))._tag, "SftpStatus")
        assert.sameMembers(Fs.readdirSync(root), ["c", "new"])
        assert.strictEqual(open(), 0)
      }))
  }

  it.live("says which extension a server does not have", () =>
    Effect.gen(function*() {
      const { sftp } = yield* served({ extensions: false })
      assert.strictEqual(sftp.extensions.size, 0)
      yield* sftp.writeFile("a", "")
      const file = yield* sftp.open("a")
      for (const refused of [sftp.hardLink("a", "b"), sftp.statvfs("a"), file.sync]) {
        const reason = yield* reasonOf(refused)
        assert.deepInclude(reason, { _tag: "SftpStatus", status: "OpUnsupported", code: 8 })
        assert.match(String(reason["detail"]), /@openssh\.com$/)
      }
    }))

  it.live("tells of the file system and of the server's limits", () =>
    Effect.gen(function*() {
      const { sftp } = yield* served()
      const { availableBlocks, blockSize, maxNameLength, noSetuid, readOnly } = yield* sftp.statvfs("/")
      assert.isTrue(blockSize > 0n && availableBlocks > 0n)
      assert.deepEqual([maxNameLength, readOnly, noSetuid], [255n, false, true])
      assert.deepEqual(sftp.limits, { packet: 262_144, read: 261_120, write: 261_120, handles: 100 })
    }))

  it.live("opens a file in every way that C knows", () =>
    Effect.gen(function*() {
      const { root, sftp } = yield* served()
      const text = () => Fs.readFileSync(`${root}/f`, "utf8")
      yield* sftp.writeFile("f", "first", { flag: "wx", mode: 0o600 })
      assert.strictEqual((yield* reasonOf(sftp.writeFile("f", "x", { flag: "wx" })))["status"], "Failure")
      yield* sftp.writeFile("f", "12", { flag: "a" })
      assert.strictEqual(text(), "first12")
      yield* sftp.writeFile("f", "ST", { flag: "r+", offset: 3 })
      assert.strictEqual(text(), "firST12")
      yield* sftp.writeFile("f", "", {})
      assert.strictEqual(text(), "")
      // an existing file keeps its mode
      yield* sftp.writeFile("f", "again", { mode: 0o644 })
      assert.strictEqual(Fs.statSync(`${root}/f`).mode & 0o777, 0o600)
      assert.strictEqual((yield* reasonOf(sftp.open("g")))["status"], "NoSuchFile")
      assert.strictEqual((yield* reasonOf(sftp.open("g", { flag: "r+" })))["status"], "NoSuchFile")
      const file = yield* sftp.open("f", { flag: "w+" })
      yield* file.write(0, Buffer.from("hello, world"))
      yield* file.write(7n, new Uint8Array(0))
      assert.strictEqual(Buffer.from(yield* file.read(7, 100)).toString(), "world")
      assert.lengthOf(yield* file.read(1000, 10), 0)
      assert.deepEqual((yield* file.stat).size, Option.some(12n))
      yield* file.setAttributes({ size: 5n })
      yield* file.sync
      assert.strictEqual(Buffer.concat(yield* Stream.runCollect(file.reads({ offset: 1 }))).toString(), "ello")
      yield* Stream.run(Stream.make(Buffer.from("J"), Buffer.from("u")), file.writes(0))
      assert.strictEqual(text(), "Jullo")
      assert.strictEqual(file.path, "f")
    }))

  it.live("closes what was opened in a scope with it, and takes no requests for it afterwards", () =>
    Effect.gen(function*() {
      const { open, sftp } = yield* served()
      yield* sftp.writeFile("f", "text")
      const file = yield* Effect.scoped(
        Effect.tap(sftp.open("f"), () => Effect.sync(() => assert.strictEqual(open(), 1)))
      )
      assert.strictEqual((yield* reasonOf(file.read(0, 10)))["_tag"], "SftpStatus")
      assert.strictEqual(open(), 0)
    }))

  it.live("fails everything that is under way, and all that comes, when the channel ends", () =>
    Effect.gen(function*() {
      const { requests, sftp } = yield* served({
        onRequest: (kind, go) => kind === Kind.Extended ? go() : undefined
      })
      const fibers = yield* Effect.forEach([
        Effect.asVoid(sftp.stat("a")),
        Effect.asVoid(sftp.readDirectory("a")),
        Effect.asVoid(sftp.readFile("a")),
        Stream.runDrain(sftp.read("a")),
        sftp.writeFile("a", "b"),
        Stream.run(Stream.make(Buffer.from("c")), sftp.write("a")),
        sftp.remove("a", { recursive: true }),
        sftp.copy("a", "b")
      ], (effect) => Effect.forkChild(reasonOf(effect), { startImmediately: true }))
      requests.end(new ConnectionLost({ detail: "gone" }))
      for (const fiber of fibers) {
        assert.deepInclude(yield* Fiber.join(fiber), { _tag: "ConnectionLost", detail: "gone" })
      }
      assert.strictEqual((yield* reasonOf(sftp.stat("a")))._tag, "ConnectionLost")
    }))
})

describeOnNetworks("session.sftp", (test, network) => {
  test("opens a channel for as long as the scope lives", () =>
    Effect.gen(function*() {
      const root = yield* temporaryFolder
      const { session } = yield* connected({ sftp: { root } })
      const sftp = yield* Effect.scoped(Effect.gen(function*() {
        const sftp = yield* session.sftp
        yield* sftp.writeFile("hello", "hello over SSH")
        assert.strictEqual(yield* sftp.readText("hello"), "hello over SSH")
        assert.strictEqual(sftp.name, session.name)
        return sftp
      }))
      assert.deepInclude(yield* reasonOf(sftp.stat("hello")), {
        _tag: "ConnectionLost",
        detail: "the scope of the SFTP channel was closed"
      })
      // the session goes on
      assert.strictEqual((yield* session.execute("echo on")).text, "on\n")
      assert.strictEqual(
        yield* Effect.scoped(Effect.flatMap(session.sftp, (sftp) => sftp.readText("hello"))),
        "hello over SSH"
      )
    }))

  test("is refused where there is no SFTP, and says what is there instead of it", () =>
    Effect.gen(function*() {
      const root = yield* temporaryFolder
      const none = yield* connected()
      assert.strictEqual((yield* reasonOf(none.session.sftp))._tag, "ChannelRefused")
      const chatty = yield* connected({ sftp: { root, greeting: "Last login: today\n" } })
      const reason = yield* reasonOf(chatty.session.sftp)
      assert.strictEqual(reason._tag, "TransferProtocol")
      assert.include(String(reason["detail"]), "Last login: today")
      assert.strictEqual((yield* chatty.session.execute("echo on")).text, "on\n")
    }))

  test("leaves no channel behind when it is given up half-way", () =>
    Effect.gen(function*() {
      const root = yield* temporaryFolder
      const { server, session } = yield* connected({
        sftp: { root, onRequest: (kind, go) => kind === Kind.Extended ? undefined : go() }
      })
      const opening = yield* Effect.forkChild(session.sftp)
      yield* until(() => server.running() === 1)
      yield* Fiber.interrupt(opening)
      yield* until(() => server.running() === 0)
    }))

  if (network === "on loopback") {
    test("goes on with everything else while nobody takes what a file brings", () =>
      Effect.gen(function*() {
        const root = yield* temporaryFolder
        Fs.writeFileSync(`${root}/large`, "")
        Fs.truncateSync(`${root}/large`, 2 ** 30)
        const { session } = yield* connected({ sftp: { root } })
        const sftp = yield* session.sftp
        const pull = yield* Stream.toPull(sftp.read("large"))
        yield* pull
        for (let i = 0; i < 10; i++) yield* sftp.stat("large")
        assert.isAbove((yield* pull).length, 0)
      }))
  }

  test("ends with its connection, whatever is under way", () =>
    Effect.gen(function*() {
      const root = yield* temporaryFolder
      const { server, session } = yield* connected({
        sftp: { root, onRequest: (kind, go) => kind === Kind.Stat ? undefined : go() }
      })
      const sftp = yield* session.sftp
      const stat = yield* Effect.forkChild(reasonOf(sftp.stat("a")), { startImmediately: true })
      yield* sftp.realPath(".")
      yield* server.kill
      assert.strictEqual((yield* Fiber.join(stat))._tag, "ConnectionLost")
      assert.strictEqual((yield* reasonOf(sftp.realPath(".")))._tag, "ConnectionLost")
      assert.strictEqual((yield* reasonOf(session.sftp))._tag, "ConnectionLost")
    }))
})
