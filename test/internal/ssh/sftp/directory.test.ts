import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import { type Field, Kind } from "../../../../src/internal/ssh/sftp/packet.ts"
import * as Tree from "../../../../src/internal/ssh/sftp/tree.ts"
import { scripted, served } from "../../../support/sftp.ts"
import { until } from "../../../support/ssh.ts"

const named = (id: number, ...names: ReadonlyArray<string>): ReadonlyArray<Field> => [
  id,
  names.length,
  ...names.flatMap((name) => [name, `long ${name}`, 0])
]

/** A listing that has asked for names twice. */
const listing = Effect.gen(function*() {
  const script = yield* scripted()
  const client = yield* script.greeted
  const names = yield* Effect.forkChild(
    Effect.result(Effect.map(Tree.readDirectory(client, "f"), (entries) => entries.map(({ path }) => path)))
  )
  script.arrive(Kind.Handle, [(yield* script.next(Kind.Opendir)).id, "h"])
  const first = yield* script.next(Kind.Readdir)
  const second = yield* script.next(Kind.Readdir)
  return { ...script, client, names, first: first.id, second: second.id }
})

describe("listing a folder", () => {
  it.live("takes names that come after the end was found", () =>
    Effect.gen(function*() {
      const { arrive, first, names, next, second } = yield* listing
      arrive(Kind.Status, [second, 1, "", ""])
      arrive(Kind.Name, named(first, ".", "a", "..", "b"))
      assert.deepInclude(yield* Fiber.join(names), { success: ["f/a", "f/b"] })
      assert.strictEqual((yield* next(Kind.Close)).body.text(), "h")
    }))

  it.live("asks for more names while more come, and ends with the first end", () =>
    Effect.gen(function*() {
      const { arrive, first, names, next, second, sent } = yield* listing
      arrive(Kind.Name, named(first, "."))
      arrive(Kind.Name, named(second, "a"))
      const ids = [yield* next(Kind.Readdir), yield* next(Kind.Readdir)].map(({ id }) => id)
      yield* until(() => sent.filter(({ kind }) => kind === Kind.Readdir).length >= 2)
      for (const { id } of sent.splice(0).filter(({ kind }) => kind === Kind.Readdir)) ids.push(id)
      // what a server says behind the end does not matter
      for (const [at, id] of ids.entries()) arrive(Kind.Status, [id, at === 0 ? 1 : 4, "", ""])
      assert.deepInclude(yield* Fiber.join(names), { success: ["f/a"] })
    }))

  it.live("fails with what the server says, and with what is no answer", () =>
    Effect.gen(function*() {
      const answers: ReadonlyArray<readonly [string, number, ReadonlyArray<Field>]> = [
        ["SftpStatus", Kind.Status, [3, "no", ""]],
        ["TransferProtocol", Kind.Attrs, [0]],
        ["TransferProtocol", Kind.Name, [1_000_000, "a", "a", 0]]
      ]
      for (const [tag, kind, fields] of answers) {
        const { arrive, closed, first, names } = yield* listing
        arrive(kind, [first, ...fields])
        const reason = yield* Effect.flip(Effect.fromResult(yield* Fiber.join(names)))
        assert.strictEqual(reason._tag, tag)
        assert.strictEqual(closed(), tag === "TransferProtocol")
      }
    }))

  it.live("closes the folder when nobody wants more of it", () =>
    Effect.gen(function*() {
      const { client, open, root } = yield* served()
      for (let i = 0; i < 300; i++) Fs.writeFileSync(`${root}/${i}`, "")
      assert.lengthOf(yield* Stream.runCollect(Stream.take(Tree.list(client, "/", undefined), 1)), 1)
      const stuck = yield* Effect.forkChild(
        Stream.runForEach(Tree.list(client, "/", undefined), () => Effect.never)
      )
      yield* until(() => open() > 0)
      yield* Fiber.interrupt(stuck)
      yield* until(() => client.requests.size === 0)
      assert.strictEqual(open(), 0)
    }))
})
