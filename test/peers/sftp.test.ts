import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import * as Dialer from "../../src/services/Dialer.ts"
import type { Sftp } from "../../src/services/Sftp.ts"
import type { SshSession } from "../../src/services/SshSession.ts"
import { reasonOf } from "../support/reason.ts"
import { services } from "./support/peer.ts"
import { servers, sftpSession } from "./support/sftp.ts"

const MiB = 1024 * 1024

/** So many megabytes, no two of them alike. */
const megabytes = (count: number) =>
  Stream.range(0, count - 1).pipe(
    Stream.rechunk(4),
    Stream.map((i) => {
      const bytes = Buffer.alloc(MiB, i % 251)
      bytes.writeUInt32BE(i)
      return bytes
    })
  )

const sha256 = <E, R>(stream: Stream.Stream<Uint8Array, E, R>) =>
  Effect.map(
    Stream.runFold(stream, () => Crypto.createHash("sha256"), (hash, bytes) => hash.update(bytes)),
    (hash) => hash.digest("hex")
  )

const remoteSha256 = (session: SshSession, path: string) =>
  Effect.map(session.execute(`sha256sum ${path}`), ({ text }) => text.split(" ")[0])

const status = (sftp: Effect.Effect<unknown, { readonly reason: object }>) =>
  Effect.map(reasonOf(sftp), ({ code, status }) => `${String(code)} ${String(status)}`)

const peers = Layer.mergeAll(Dialer.layer, services)

for (const [name, program] of Object.entries(servers)) {
  layer(peers, { excludeTestServices: true, timeout: "60 seconds" })(`OpenSSH's ${name}`, (it) => {
    const opened = Effect.fnUntraced(function*(config?: string) {
      const server = yield* sftpSession(program, config)
      return { ...server, sftp: yield* server.session.sftp }
    })

    it.effect("does everything that can be asked of it", () =>
      Effect.gen(function*() {
        const { home, session, sftp } = yield* opened()
        const sh = (command: string) => Effect.map(session.execute(command), ({ text }) => text.trim())
        assert.strictEqual(yield* sftp.currentDirectory, home)
        assert.deepEqual(sftp.limits, { packet: 262_144, read: 261_120, write: 261_120, handles: sftp.limits.handles })
        assert.isAbove(sftp.limits.handles, 100)
        yield* sftp.mkdir("a/b/c", { recursive: true, mode: 0o750 })
        yield* sftp.mkdir("a/b/c", { recursive: true })
        assert.strictEqual(yield* sh("stat -c %a a/b/c"), "750")
        yield* sftp.writeFile("a/fileä", "contents\n", { mode: 0o600 })
        assert.strictEqual(yield* sh("cat a/fileä"), "contents")
        assert.strictEqual(yield* sftp.readText("a/fileä"), "contents\n")
        yield* sftp.writeFile("a/fileä", "more\n", { flag: "a", mode: 0o666 })
        assert.strictEqual(yield* sh("stat -c '%a %s' a/fileä"), "600 14")
        yield* sftp.chmod("a/fileä", 0o4755)
        yield* sftp.utimes("a/fileä", new Date("2001-02-03T04:05:06Z"), 1_000_000_000)
        assert.strictEqual(yield* sh("stat -c '%a %X %Y' a/fileä"), "4755 981173106 1000000000")
        const attributes = yield* sftp.stat("a/fileä")
        assert.deepInclude(attributes, { type: "File", size: Option.some(14n), mode: Option.some(0o4755) })
        assert.deepEqual(attributes.mtime, Option.some(new Date(1_000_000_000_000)))
        assert.strictEqual(String(Option.getOrThrow(attributes.uid)), yield* sh("id -u"))
        yield* sftp.chown("a/fileä", Option.getOrThrow(attributes.uid), Option.getOrThrow(attributes.gid))
        yield* sftp.symlink("fileä", "a/link")
        assert.strictEqual(yield* sh("readlink a/link"), "fileä")
        assert.strictEqual(yield* sftp.readLink("a/link"), "fileä")
        assert.strictEqual((yield* sftp.lstat("a/link")).type, "SymbolicLink")
        assert.strictEqual(yield* sftp.realPath("a/link"), `${home}/a/fileä`)
        yield* sftp.hardLink("a/fileä", "a/hard")
        assert.strictEqual(yield* sh("stat -c %h a/hard"), "2")
        yield* sftp.copy("a/fileä", "a/copy")
        yield* sftp.copy("a/hard", "a/copy", { overwrite: true })
        assert.strictEqual(yield* sh("cat a/copy"), "contents\nmore")
        yield* sftp.truncate("a/copy", 3)
        assert.strictEqual(yield* sh("cat a/copy"), "con")
        yield* sftp.rename("a/copy", "a/new")
        assert.strictEqual(yield* status(sftp.rename("a/new", "a/hard")), "4 Failure")
        yield* sftp.rename("a/new", "a/hard", { overwrite: true })
        assert.strictEqual(yield* sh("cat a/hard"), "con")
        const file = yield* sftp.open("a/hard", { flag: "r+" })
        yield* file.write(1, Buffer.from("0"))
        yield* file.sync
        assert.strictEqual(Buffer.from(yield* file.read(0, 100)).toString(), "c0n")
        yield* file.setAttributes({ size: 2, mode: 0o640 })
        assert.deepInclude(yield* file.stat, { size: Option.some(2n), mode: Option.some(0o640) })
        const { blocks, fragmentSize, maxNameLength } = yield* sftp.statvfs("/")
        assert.strictEqual(`${blocks} ${fragmentSize} ${maxNameLength}`, yield* sh("stat -f -c '%b %S %l' /"))
        const found = yield* Stream.runCollect(sftp.list("a", { recursive: true }))
        assert.sameMembers(found.map(({ path }) => path), ["a/b", "a/b/c", "a/fileä", "a/hard", "a/link"])
        yield* sftp.rmdir("a/b/c")
        yield* sftp.remove("a/link")
        assert.isFalse(yield* sftp.exists("a/link"))
        yield* sftp.remove("a", { recursive: true })
        assert.strictEqual(yield* sh("ls -A"), "")
        // what has no size is read all the same
        assert.match(yield* sftp.readText("/proc/version"), /^Linux/)
      }))

    it.effect("refuses with the numbers that it has", () =>
      Effect.gen(function*() {
        const { session, sftp } = yield* opened()
        yield* sftp.mkdir("folder")
        yield* sftp.writeFile("folder/file", "")
        yield* session.execute("mkdir closed && touch closed/file && chmod 0 closed")
        const refusals = {
          missing: sftp.stat("nothing"),
          "missing to open": sftp.open("nothing"),
          "no folder": sftp.readDirectory("folder/file"),
          "not allowed": sftp.stat("closed/file"),
          "not allowed to list": sftp.readDirectory("closed"),
          "not allowed to write": sftp.writeFile("/etc/passwd", "", { flag: "a" }),
          exists: sftp.mkdir("folder"),
          "exists, exclusively": sftp.writeFile("folder/file", "", { flag: "wx" }),
          "not empty": sftp.rmdir("folder"),
          full: sftp.writeFile("/dev/full", "x", { flag: "r+" }),
          "no link": sftp.readLink("folder"),
          "read a folder": sftp.readFile("folder")
        }
        const codes: Record<string, string> = {}
        for (const [what, refusal] of Object.entries(refusals)) codes[what] = yield* status(Effect.scoped(refusal))
        assert.deepEqual(codes, {
          missing: "2 NoSuchFile",
          "missing to open": "2 NoSuchFile",
          "no folder": "2 NoSuchFile",
          "not allowed": "3 PermissionDenied",
          "not allowed to list": "3 PermissionDenied",
          "not allowed to write": "3 PermissionDenied",
          exists: "4 Failure",
          "exists, exclusively": "4 Failure",
          "not empty": "4 Failure",
          full: "4 Failure",
          "no link": "5 BadMessage",
          "read a folder": "4 Failure"
        })
        yield* session.execute("chmod 700 closed")
      }))

    it.effect("carries a gigabyte there and back", () =>
      Effect.gen(function*() {
        const { session, sftp } = yield* opened()
        const expected = yield* sha256(megabytes(1024))
        yield* Stream.run(megabytes(1024), sftp.write("large"))
        assert.strictEqual(yield* remoteSha256(session, "large"), expected)
        assert.strictEqual(yield* sha256(sftp.read("large")), expected)
      }), 300_000)

    it.effect("keeps on while both sides agree on new keys", () =>
      Effect.gen(function*() {
        const { session, sftp } = yield* opened("RekeyLimit 1M")
        const expected = yield* sha256(megabytes(48))
        yield* Stream.run(megabytes(48), sftp.write("large"))
        assert.strictEqual(yield* remoteSha256(session, "large"), expected)
        assert.strictEqual(yield* sha256(sftp.read("large")), expected)
      }), 120_000)

    it.effect("reads and writes beyond 4 GiB", () =>
      Effect.gen(function*() {
        const { session, sftp } = yield* opened()
        const at = 5n * 2n ** 30n + 3n
        yield* sftp.writeFile("sparse", "far away", { offset: at })
        assert.strictEqual((yield* session.execute("stat -c %s sparse; tail -c 8 sparse")).text, `${at + 8n}\nfar away`)
        assert.deepEqual((yield* sftp.stat("sparse")).size, Option.some(at + 8n))
        const end = yield* Stream.runCollect(sftp.read("sparse", { offset: at - 2n }))
        assert.strictEqual(Buffer.concat(end).toString(), "\0\0far away")
        const part = yield* sftp.readFile("sparse", { offset: at + 4n, length: 2 })
        assert.strictEqual(Buffer.from(part).toString(), "aw")
        const far = yield* sftp.open("sparse")
        assert.lengthOf(yield* far.read(2n ** 43n + 1n, 10), 0)
      }))

    it.effect("lists a folder of 20,000 files, and does a thousand things at once", () =>
      Effect.gen(function*() {
        const { session, sftp } = yield* opened()
        yield* session.execute("mkdir many && cd many && seq 20000 | xargs touch")
        const entries = yield* sftp.readDirectory("many")
        assert.strictEqual(new Set(entries.map(({ name }) => name)).size, 20_000)
        const some = entries.slice(0, 1000)
        yield* Effect.forEach(some, ({ path }) => sftp.writeFile(path, path), { concurrency: "unbounded" })
        const texts = yield* Effect.forEach(some, ({ path }) => sftp.readText(path), { concurrency: 100 })
        assert.deepEqual(texts, some.map(({ path }) => path))
        yield* sftp.remove("many", { recursive: true })
        assert.isFalse(yield* sftp.exists("many"))
      }))

    const meanwhile = (sftp: Sftp) =>
      Effect.forEach([
        Stream.runDrain(sftp.read("/dev/zero")),
        Stream.run(Stream.forever(megabytes(8)), sftp.write("/dev/null", { flag: "r+" })),
        Effect.forever(sftp.stat("/")),
        Effect.forever(sftp.readDirectory("/"))
      ], (effect) => Effect.forkChild(reasonOf(effect)))

    it.effect("is missed at once by all who wait when its connection is killed", () =>
      Effect.gen(function*() {
        const { kill, session, sftp } = yield* opened()
        const fibers = yield* meanwhile(sftp)
        yield* sftp.readFile("/dev/zero", { length: 8 * MiB })
        yield* kill("sshd")
        for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber))._tag, "ConnectionLost")
        assert.strictEqual((yield* reasonOf(sftp.stat("/")))._tag, "ConnectionLost")
        assert.strictEqual((yield* reasonOf(session.sftp))._tag, "ConnectionLost")
      }), 60_000)

    if (name === "sftp-server") {
      it.effect("is missed at once when it is killed itself, and the session starts another", () =>
        Effect.gen(function*() {
          const { kill, session, sftp } = yield* opened()
          const fibers = yield* meanwhile(sftp)
          yield* sftp.readFile("/dev/zero", { length: 8 * MiB })
          yield* kill("sftp-server")
          for (const fiber of fibers) {
            assert.deepInclude(yield* Fiber.join(fiber), { _tag: "ConnectionLost" })
          }
          const again = yield* session.sftp
          assert.isTrue(yield* again.exists("/"))
        }))
    }

    it.effect("does only what its settings allow", () =>
      Effect.gen(function*() {
        const { session } = yield* sftpSession(`${program} -R -P hardlink,statvfs`)
        const sftp = yield* session.sftp
        assert.strictEqual(yield* status(sftp.writeFile("a", "b")), "3 PermissionDenied")
        assert.strictEqual(yield* status(sftp.mkdir("a")), "3 PermissionDenied")
        assert.strictEqual(yield* status(sftp.hardLink("a", "b")), "8 OpUnsupported")
        assert.strictEqual(yield* status(sftp.statvfs("/")), "8 OpUnsupported")
      }))
  })
}

layer(peers, { excludeTestServices: true, timeout: "60 seconds" })("an sshd without SFTP", (it) => {
  it.effect("refuses the subsystem", () =>
    Effect.gen(function*() {
      const { session } = yield* sftpSession("")
      assert.strictEqual((yield* reasonOf(session.sftp))._tag, "ChannelRefused")
      const missing = yield* sftpSession("/nowhere/sftp-server")
      assert.strictEqual((yield* reasonOf(missing.session.sftp))._tag, "ChannelRefused")
      assert.strictEqual((yield* missing.session.execute("echo on")).text, "on\n")
    }))

  it.effect("shows what a login script says", () =>
    Effect.gen(function*() {
      const { home, session } = yield* sftpSession(servers["sftp-server"])
      yield* session.execute(`echo 'echo "Welcome, operator"' > ${home}/.bashrc`)
      const reason = yield* reasonOf(session.sftp)
      assert.strictEqual(reason._tag, "TransferProtocol")
      assert.include(String(reason["detail"]), "Welcome, operator")
    }))
})
