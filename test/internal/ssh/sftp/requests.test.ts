import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { ConnectionLost } from "../../../../src/errors/SshError.ts"
import { greet } from "../../../../src/internal/ssh/sftp/open.ts"
import * as Operations from "../../../../src/internal/ssh/sftp/operations.ts"
import { type Field, Kind } from "../../../../src/internal/ssh/sftp/packet.ts"
import { scripted } from "../../../support/sftp.ts"

const lost = new ConnectionLost({ detail: "gone" })

describe("the greeting", () => {
  it.effect("asks for version 3 and learns what the server knows", () =>
    Effect.gen(function*() {
      const { greeted, sent } = yield* scripted(3, ["a", "1", "b", "2"])
      const { extensions, limits } = yield* greeted
      assert.deepEqual([...extensions], [["a", "1"], ["b", "2"]])
      assert.deepEqual(limits, { packet: 34_000, read: 32_768, write: 32_768, handles: 0 })
      assert.lengthOf(sent, 1)
      assert.strictEqual(sent[0]?.kind, Kind.Init)
    }))

  it.effect("learns the limits of a server that tells them, and takes none that make no sense", () =>
    Effect.gen(function*() {
      const told = Effect.fnUntraced(function*(...numbers: ReadonlyArray<bigint>) {
        const { arrive, greeted, next } = yield* scripted(3, ["limits@openssh.com", "1"])
        const greeting = yield* Effect.forkChild(greeted)
        const { body, id } = yield* next(Kind.Extended)
        assert.strictEqual(body.text(), "limits@openssh.com")
        arrive(Kind.ExtendedReply, [id, ...numbers])
        return (yield* Fiber.join(greeting)).limits
      })
      const max = 2n ** 64n - 1n
      assert.deepEqual(yield* told(0n, 0n, 65_536n, 7n), { packet: 34_000, read: 32_768, write: 65_536, handles: 7 })
      assert.deepEqual(yield* told(max, max, 1n, max), {
        packet: 0x7fffffff,
        read: 261_120,
        write: 1024,
        handles: 0x7fffffff
      })
    }))

  it.effect("shows what a login script printed instead", () =>
    Effect.gen(function*() {
      const { arriveRaw, closed, requests } = yield* scripted()
      const greeting = yield* Effect.forkChild(Effect.flip(greet(requests)), { startImmediately: true })
      arriveRaw(Buffer.from("Welcome to web-1!\n"))
      const reason = yield* Fiber.join(greeting)
      assert.strictEqual(reason._tag, "TransferProtocol")
      assert.include(reason.message, `"Welcome to web-1!\\n"`)
      assert.isTrue(closed())
    }))

  it.effect("goes no further with another version or another packet", () =>
    Effect.gen(function*() {
      const other = yield* scripted(2)
      assert.include((yield* Effect.flip(other.greeted)).message, "version 2")
      for (const kind of [Kind.Status, Kind.Data]) {
        const { arrive, closed, requests } = yield* scripted()
        const greeting = yield* Effect.forkChild(Effect.flip(greet(requests)), { startImmediately: true })
        arrive(kind, [1, Buffer.alloc(4)])
        assert.strictEqual((yield* Fiber.join(greeting))._tag, "TransferProtocol")
        assert.isTrue(closed())
      }
      const cut = yield* scripted(3, ["half of a pair"])
      assert.strictEqual((yield* Effect.flip(cut.greeted))._tag, "TransferProtocol")
    }))

  it.effect("ends with the channel, before and after", () =>
    Effect.gen(function*() {
      const { requests } = yield* scripted()
      const greeting = yield* Effect.forkChild(Effect.flip(greet(requests)), { startImmediately: true })
      requests.end(lost)
      assert.strictEqual(yield* Fiber.join(greeting), lost)
      assert.strictEqual(yield* Effect.flip(greet(requests)), lost)
    }))
})

describe("Requests", () => {
  it.effect("gives answers to who asked, in whatever order they come", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const paths = ["a", "b", "c", "d"]
      const links = yield* Effect.forkChild(
        Effect.forEach(paths, (path) => Operations.readLink(client, path), { concurrency: "unbounded" })
      )
      const asked = yield* Effect.forEach(paths, () => next(Kind.Readlink))
      for (const { body, id } of asked.toReversed()) arrive(Kind.Name, [id, 1, `to ${body.text()}`, "", 0])
      assert.deepEqual(yield* Fiber.join(links), paths.map((path) => `to ${path}`))
      assert.strictEqual(client.requests.size, 0)
    }))

  it.effect("tells of a refusal with its number, its name and the server's words", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const refused = Effect.fnUntraced(function*(fields: ReadonlyArray<number | string>) {
        const stat = yield* Effect.forkChild(Effect.flip(Operations.stat(client, "/a b")))
        const { id } = yield* next(Kind.Stat)
        arrive(Kind.Status, [id, ...fields])
        return yield* Fiber.join(stat)
      })
      assert.deepInclude(yield* refused([3, "no!", "en"]), {
        _tag: "SftpStatus",
        operation: "stat",
        path: "/a b",
        code: 3,
        status: "PermissionDenied",
        detail: "no!"
      })
      const names: Array<string> = []
      for (let code = 1; code <= 9; code++) {
        const reason = yield* refused([code])
        // servers of old send no words
        if (reason._tag === "SftpStatus" && reason.detail === "") names.push(reason.status)
      }
      assert.deepEqual(names, [
        "EndOfFile",
        "NoSuchFile",
        "PermissionDenied",
        "Failure",
        "BadMessage",
        "NoConnection",
        "ConnectionLost",
        "OpUnsupported",
        "Other"
      ])
    }))

  it.effect("closes the channel over answers that are none, and fails all that wait", () =>
    Effect.gen(function*() {
      const answers: ReadonlyArray<(id: number) => readonly [kind: number, fields: ReadonlyArray<Field>]> = [
        (id) => [Kind.Status, [id + 100, 0]],
        (id) => [Kind.Attrs, [id, 15]],
        (id) => [Kind.Handle, [id, "h"]],
        (id) => [Kind.Data, [id + 100, Buffer.alloc(3)]],
        (id) => [Kind.Data, [id, Buffer.alloc(3)]],
        () => [Kind.Status, [{ raw: Buffer.alloc(2) }]]
      ]
      for (const answer of answers) {
        const { arrive, closed, greeted, next } = yield* scripted()
        const client = yield* greeted
        const both = yield* Effect.forkChild(
          Effect.all([Effect.flip(Operations.stat(client, "a")), Effect.flip(Operations.readLink(client, "b"))], {
            concurrency: 2
          })
        )
        const { id } = yield* next(Kind.Stat)
        yield* next(Kind.Readlink)
        arrive(...answer(id))
        assert.deepEqual((yield* Fiber.join(both)).map(({ _tag }) => _tag), ["TransferProtocol", "TransferProtocol"])
        assert.isTrue(closed())
        assert.strictEqual((yield* Effect.flip(Operations.stat(client, "c")))._tag, "TransferProtocol")
      }
    }))

  it.effect("answers everything when the channel ends, also in the middle of file data", () =>
    Effect.gen(function*() {
      const { arriveRaw, greeted, next, requests } = yield* scripted()
      const client = yield* greeted
      const handle = { path: "a", id: Buffer.from("h") }
      const all = yield* Effect.forkChild(
        Effect.all([
          Effect.flip(Operations.readOnce(client, handle, 0n, 100)),
          Effect.flip(Operations.stat(client, "a")),
          Effect.flip(Operations.openFile(client, "a", "r", undefined))
        ], { concurrency: "unbounded" })
      )
      const { id } = yield* next(Kind.Read)
      yield* next(Kind.Open)
      const head = Buffer.from([0, 0, 0, 109, Kind.Data, 0, 0, 0, id, 0, 0, 0, 100, 1, 2, 3])
      arriveRaw(head)
      requests.end(lost)
      assert.deepEqual(yield* Fiber.join(all), [lost, lost, lost])
      assert.strictEqual(yield* Effect.flip(Operations.stat(client, "a")), lost)
      assert.strictEqual(requests.size, 0)
    }))

  it.effect("drops an answer that nobody waits for any more, and goes on", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next, requests } = yield* scripted()
      const client = yield* greeted
      const stat = yield* Effect.forkChild(Operations.stat(client, "a"))
      const first = yield* next(Kind.Stat)
      yield* Fiber.interrupt(stat)
      assert.strictEqual(requests.size, 1)
      arrive(Kind.Status, [first.id, 2, "", ""])
      assert.strictEqual(requests.size, 0)
      const read = yield* Effect.forkChild(Operations.readOnce(client, { path: "a", id: Buffer.from("h") }, 0n, 10))
      const second = yield* next(Kind.Read)
      yield* Fiber.interrupt(read)
      arrive(Kind.Data, [second.id, Buffer.alloc(10)])
      assert.strictEqual(requests.size, 0)
      const again = yield* Effect.forkChild(Operations.readLink(client, "a"))
      const third = yield* next(Kind.Readlink)
      arrive(Kind.Name, [third.id, 1, "b", "", 0])
      assert.strictEqual(yield* Fiber.join(again), "b")
    }))

  it.effect("closes a file that was opened for nobody", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const open = yield* Effect.forkChild(Operations.openFile(client, "a", "r", undefined))
      const { id } = yield* next(Kind.Open)
      yield* Fiber.interrupt(open)
      arrive(Kind.Handle, [id, "late"])
      assert.strictEqual((yield* next(Kind.Close)).body.text(), "late")
    }))
})
