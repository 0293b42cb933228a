import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import { ChannelRefused, ConnectionLost, SshError, Unknown } from "../../src/errors/SshError.ts"
import { Kind } from "../../src/internal/ssh/sftp/packet.ts"
import * as Sftp from "../../src/services/Sftp.ts"
import * as SshTransfer from "../../src/services/SshTransfer.ts"
import { reasonOf } from "../support/reason.ts"
import { scripted, served } from "../support/sftp.ts"
import { emptyFolder, harvest, holds, modeAndTime, plant, type Tree } from "../support/trees.ts"

const test = (name: string, body: Effect.Effect<void, unknown, FileSystem.FileSystem | Scope.Scope>) =>
  it.live(name, () => Effect.provide(body, NodeFileSystem.layer), 60_000)

const tree = { large: "0123456789".repeat(30_000), small: "s", empty: "", deep: { er: "d" }, link: "-> small" }

const refused = <A>(reason: ConstructorParameters<typeof SshError>[0]["reason"]): Effect.Effect<A, SshError> =>
  Effect.fail(new SshError({ server: "test", reason }))

/** Makes what it is told to happen at the n-th request; what comes behind that request waits with it. */
const happening = () => {
  let requests = 0
  let at = 0
  let event = () => {}
  let held: Array<() => void> | undefined
  return {
    onRequest: (_kind: number, go: () => void) => {
      if (held !== undefined) return void held.push(go)
      if (++requests !== at) return go()
      held = [go]
      event()
    },
    /** Counts from here on, and calls once so many have come. */
    arm: (count: number, happens: () => void) => {
      requests = 0
      at = count
      event = happens
    },
    release: () => {
      const waiting = held ?? []
      held = undefined
      for (const go of waiting) go()
    },
    requests: () => requests
  }
}

const isFolder = (node: Tree[string]): node is Tree => typeof node !== "string" && !(node instanceof Uint8Array)

/** Hidden names anywhere in a folder: those of files that are not whole. */
const hiddenIn = (tree: Tree): ReadonlyArray<string> =>
  Object.entries(tree).flatMap(([name, node]) => name.startsWith(".") ? [name] : isFolder(node) ? hiddenIn(node) : [])

const withoutHidden = (tree: Tree): Tree =>
  Object.fromEntries(
    Object.entries(tree)
      .filter(([name]) => !name.startsWith("."))
      .map(([name, node]) => [name, isFolder(node) ? withoutHidden(node) : node])
  )

describe("SshTransfer", () => {
  for (const extensions of [true, false]) {
    test(
      `copies folders there and back ${extensions ? "with" : "without"} the extensions of OpenSSH`,
      Effect.gen(function*() {
        const here = yield* emptyFolder
        const { open, root, sftp } = yield* served({ extensions })
        yield* plant(`${here}/a`, tree)
        for (let times = 0; times < 2; times++) {
          assert.include(yield* sftp.upload(`${here}/a`, "/b"), { files: 4, directories: 2, links: 1, bytes: 300_002 })
          yield* holds(`${root}/b`, tree)
          assert.include(yield* sftp.download("/b", `${here}/c`), {
            files: 4,
            directories: 2,
            links: 1,
            bytes: 300_002
          })
          yield* holds(`${here}/c`, tree)
        }
        assert.strictEqual(open(), 0)
      })
    )
  }

  test(
    "takes what comes byte by byte, and reads that bring less than was asked for",
    Effect.gen(function*() {
      const here = yield* emptyFolder
      const { root, sftp } = yield* served({ maxRead: 1000 }, { sizes: [1] })
      yield* plant(`${root}/a`, { ...tree, large: "0123456789".repeat(500) })
      yield* sftp.download("/a", `${here}/b`)
      yield* holds(`${here}/b`, { ...tree, large: "0123456789".repeat(500) })
    })
  )

  test(
    "makes files of bytes and of streams, with the permission bits that they are to have",
    Effect.gen(function*() {
      const { open, root, sftp } = yield* served()
      yield* sftp.upload(Buffer.from("bytes"), "/bytes", { mode: 0o666 })
      assert.strictEqual((yield* modeAndTime(`${root}/bytes`))[0], "666")
      assert.include(yield* sftp.upload(Buffer.from("other"), "/bytes", { overwrite: "never" }), { skipped: 1 })
      assert.include(yield* sftp.upload(Buffer.from("same mode"), "/bytes"), { files: 1, bytes: 9 })
      assert.strictEqual((yield* modeAndTime(`${root}/bytes`))[0], "666")
      const stream = Stream.make("a", "b", "c").pipe(Stream.encodeText)
      assert.include(yield* sftp.upload(stream, "/stream", { size: 3 }), { files: 1, bytes: 3 })
      assert.include(yield* sftp.upload(Stream.empty, "/empty"), { files: 1, bytes: 0 })
      const broken = Stream.concat(stream, Stream.fail("mine" as const))
      assert.strictEqual(yield* Effect.flip(sftp.upload(broken, "/broken")), "mine")
      const progress = yield* Stream.runCollect(sftp.uploadProgress(stream, "/stream"))
      assert.include(progress[progress.length - 1], { done: true, total: 3, transferred: 3 })
      yield* holds(root, { bytes: "same mode", stream: "abc", empty: "" })
      assert.strictEqual(open(), 0)
    })
  )

  it.effect("waits five seconds for a server that no longer answers to remove what is left, and no longer", () =>
    Effect.gen(function*() {
      const events = happening()
      const { sftp } = yield* served({ onRequest: events.onRequest })
      const reached = yield* Deferred.make<void>()
      events.arm(3, () => Deferred.doneUnsafe(reached, Effect.void))
      const uploading = yield* Effect.forkChild(sftp.upload(Buffer.from("bytes"), "/file"))
      yield* Deferred.await(reached)
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(uploading), { startImmediately: true })
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(interrupting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interrupting)
    }))

  test(
    "opens no more files at once than it is told",
    Effect.gen(function*() {
      const here = yield* emptyFolder
      let most = 0
      let opened = () => 0
      const server = yield* served({
        onRequest: (_kind, go) => {
          go()
          most = Math.max(most, opened())
        }
      })
      opened = server.open
      yield* plant(
        `${server.root}/a`,
        Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`${n}`, "x".repeat(70_000)]))
      )
      yield* server.sftp.download("/a", `${here}/b`, { concurrency: 3 })
      assert.isAtMost(most, 3)
      most = 0
      yield* server.sftp.upload(`${here}/b`, "/c")
      assert.isAbove(most, 3)
      assert.isAtMost(most, 32)
    })
  )

  for (const direction of ["upload", "download"] as const) {
    const prepared = Effect.gen(function*() {
      const here = yield* emptyFolder
      const events = happening()
      const server = yield* served({ onRequest: events.onRequest })
      yield* plant(`${here}/a`, tree)
      yield* plant(`${server.root}/a`, tree)
      const target = direction === "upload" ? server.root : here
      const [from, to] = direction === "upload" ? [`${here}/a`, "/b"] as const : ["/a", `${here}/b`] as const
      const transfer = (options?: SshTransfer.TransferOptions) =>
        server.sftp[direction](from, to, { preserve: true, ...options })
      events.arm(0, () => {})
      yield* transfer()
      const total = events.requests()
      assert.isAbove(total, 15)
      yield* server.sftp.remove("/b", { recursive: true, force: true })
      return { ...server, events, total, target, here, transfer }
    })

    test(
      `leaves nothing behind wherever ${direction}s are interrupted`,
      Effect.gen(function*() {
        const { events, open, target, total, transfer } = yield* prepared
        for (let count = 1; count <= total; count++) {
          const reached = yield* Deferred.make<void>()
          events.arm(count, () => Deferred.doneUnsafe(reached, Effect.void))
          const fiber = yield* Effect.forkChild(transfer({ concurrency: 2 }))
          yield* Deferred.await(reached)
          const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
          events.release()
          yield* Fiber.join(interrupting)
          assert.deepStrictEqual(hiddenIn(yield* harvest(target)), [], `at request ${count}`)
        }
        yield* transfer()
        yield* holds(`${target}/b`, tree)
        assert.strictEqual(open(), 0)
      })
    )

    test(
      `fails with the connection wherever ${direction}s are, and the next one completes them`,
      Effect.gen(function*() {
        const { total } = yield* prepared
        let lost = 0
        for (let count = 1; count <= total; count += 3) {
          const { events, here, requests, root, target, transfer } = yield* prepared
          events.arm(count, () => requests.end(new ConnectionLost({ detail: "cut" })))
          const result = yield* Effect.result(transfer({ resume: true, onError: "collect" }))
          // nobody waits for the answers to the last requests, which close what was read
          if (result._tag === "Success") yield* holds(`${target}/b`, tree)
          else assert.strictEqual(result.failure.reason._tag, "ConnectionLost")
          lost += result._tag === "Failure" ? 1 : 0
          events.release()
          const again = yield* served()
          if (direction === "upload") {
            // a link is made under another name first, and nobody was left to remove it
            yield* plant(again.root, withoutHidden(yield* harvest(root)))
            yield* again.sftp.upload(`${here}/a`, "/b", { resume: true })
            yield* holds(`${again.root}/b`, tree)
          } else {
            assert.deepStrictEqual(hiddenIn(yield* harvest(target)), [])
            yield* plant(`${again.root}/a`, tree)
            yield* again.sftp.download("/a", `${here}/b`, { resume: true })
            yield* holds(`${here}/b`, tree)
          }
        }
        assert.isAbove(lost, 3)
      })
    )
  }

  test(
    "has a server compute checksums that can, also one that runs no commands and does not say that it can",
    Effect.gen(function*() {
      for (const extensions of [["check-file", ""], []]) {
        const { arrive, greeted, next } = yield* scripted(3, extensions)
        const client = yield* greeted
        const never = () => refused<never>(new ChannelRefused({ code: 0, detail: "no commands" }))
        const transfers = SshTransfer.ofSftp("test", client, { exec: never, execute: never })
        const { upload } = Sftp.make(client, "test", transfers)
        const digest = Crypto.createHash("sha256").update("text").digest()
        for (
          const [answer, ends] of [[["sha256"], "well"], [["check-file", "sha256"], "well"], [
            ["sha256"],
            "badly"
          ]] as const
        ) {
          const uploading = yield* Effect.forkChild(
            Effect.result(upload(Buffer.from("text"), "/to", { verify: "sha256", atomic: false })),
            { startImmediately: true }
          )
          arrive(Kind.Status, [(yield* next(Kind.Stat)).id, 2, "No such file", ""])
          arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "handle"])
          arrive(Kind.Status, [(yield* next(Kind.Write)).id, 0, "", ""])
          arrive(Kind.Status, [(yield* next(Kind.Close)).id, 0, "", ""])
          const { body, id } = yield* next(Kind.Extended)
          assert.deepStrictEqual([body.text(), body.text(), body.text()], ["check-file-name", "/to", "sha256"])
          assert.deepStrictEqual([body.bigint(), body.bigint(), body.number(), body.left], [0n, 0n, 0, 0])
          arrive(Kind.ExtendedReply, [id, ...answer, { raw: ends === "well" ? digest : Buffer.alloc(32) }])
          const result = yield* Fiber.join(uploading)
          assert.strictEqual(result._tag, ends === "well" ? "Success" : "Failure")
        }
      }
    })
  )

  test(
    "falls back to SCP where the server has no SFTP, and only there",
    Effect.gen(function*() {
      const commands: Array<string> = []
      const exec = (command: string) => {
        commands.push(command)
        return Effect.succeed({
          stdin: Sink.drain,
          stdout: Stream.succeed(Buffer.from("C0644 3 x\nabc\0")),
          stderr: Stream.empty,
          exit: Effect.never,
          closed: Effect.never,
          signal: () => Effect.void,
          resize: () => Effect.void
        })
      }
      const session = (reason: ChannelRefused | ConnectionLost) =>
        SshTransfer.ofSession("test", refused(reason), {
          exec,
          execute: () => refused(new Unknown({ detail: "no commands" }))
        })
      const without = session(new ChannelRefused({ code: 0, detail: "no subsystem" }))
      assert.strictEqual(Buffer.from(yield* without.downloadBytes("/x")).toString(), "abc")
      const here = yield* emptyFolder
      yield* without.download("/x", `${here}/x`)
      yield* holds(here, { x: "abc" })
      assert.strictEqual(commands.length, 2)
      const sftp = { protocol: "sftp" } as const
      assert.strictEqual((yield* reasonOf(without.downloadBytes("/x", sftp)))["_tag"], "ChannelRefused")
      assert.strictEqual((yield* reasonOf(without.download("/x", here, sftp)))["_tag"], "ChannelRefused")
      assert.strictEqual((yield* reasonOf(without.download("/x", here, { resume: true })))["_tag"], "Unsupported")
      const lost = session(new ConnectionLost({ detail: "cut" }))
      assert.strictEqual((yield* reasonOf(lost.downloadBytes("/x")))["_tag"], "ConnectionLost")
      assert.strictEqual(commands.length, 2)
      assert.strictEqual((yield* lost.downloadBytes("/x", { protocol: "scp" })).length, 3)
    })
  )
})
