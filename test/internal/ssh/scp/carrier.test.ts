import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { SshError, TransferProtocol } from "../../../../src/errors/SshError.ts"
import { overScp } from "../../../../src/internal/ssh/scp/carrier.ts"
import type * as Wire from "../../../../src/internal/ssh/scp/wire.ts"
import { fromBytes } from "../../../../src/internal/ssh/transfer/data.ts"
import { Meter } from "../../../../src/internal/ssh/transfer/meter.ts"
import type { TransferOptions } from "../../../../src/internal/ssh/transfer/options.ts"
import { settingsOf } from "../../../../src/internal/ssh/transfer/settings.ts"
import { emptyFolder, holds, modeAndTime, plant } from "../../../support/trees.ts"

/** A server whose `scp` says what the test wants, whatever it hears; it keeps what it heard. */
const saying = (output: string | Stream.Stream<Uint8Array>, complaint = "") => {
  const heard: Array<string> = []
  const commands: Array<string> = []
  const exec: Wire.Exec = (command) =>
    Effect.sync(() => {
      commands.push(command)
      return {
        stdin: Sink.forEach((bytes: Uint8Array) => Effect.sync(() => void heard.push(Buffer.from(bytes).toString()))),
        stdout: typeof output === "string" ? Stream.succeed(Buffer.from(output)) : output,
        stderr: Stream.succeed(Buffer.from(complaint))
      }
    })
  return { carrier: overScp("test", exec), heard, commands }
}

const jobOf = (options?: TransferOptions) => ({
  settings: settingsOf(options),
  meter: new Meter(),
  failure: (detail: string) => new SshError({ server: "test", reason: new TransferProtocol({ detail }) })
})

const test = (name: string, body: Effect.Effect<void, unknown, FileSystem.FileSystem | Scope.Scope>) =>
  it.live(name, () => Effect.provide(body, NodeFileSystem.layer))

const received = Effect.fnUntraced(function*(
  output: string | Stream.Stream<Uint8Array>,
  to: string,
  options?: TransferOptions
) {
  const fs = yield* FileSystem.FileSystem
  const job = jobOf(options)
  const { carrier, commands, heard } = saying(output)
  yield* carrier.download(job, fs, "from", to)
  return { summary: job.meter.summary(), commands, heard: heard.join("") }
})

const refused = <R>(effect: Effect.Effect<unknown, unknown, R>) =>
  Effect.map(Effect.flip(effect), (error) => error instanceof SshError ? error.reason.message : String(error))

describe("receiving over SCP", () => {
  const tree =
    "T1000 0 2000 0\nD0750 0 from\nC0640 3 a\nabc\0T3000 0 4000 0\nC0600 0 b\n\0D0700 0 c\nC0644 1 d\nx\0E\nE\n"

  test(
    "makes a folder of what the server sends, in pieces of any size",
    Effect.gen(function*() {
      const root = yield* emptyFolder
      const bytes = Stream.fromIterable([...Buffer.from(tree)]).pipe(Stream.map((byte) => Uint8Array.of(byte)))
      for (const [name, output] of Object.entries({ whole: tree, single: bytes })) {
        const { commands, heard, summary } = yield* received(output, `${root}/${name}`, { preserve: true })
        assert.deepStrictEqual(commands, ["scp -r -p -f from"])
        assert.strictEqual(heard, "\0".repeat(13))
        assert.include(summary, { files: 3, directories: 2, bytes: 4, skipped: 0 })
        yield* holds(`${root}/${name}`, { a: "abc", b: "", c: { d: "x" } })
        assert.deepStrictEqual(yield* modeAndTime(`${root}/${name}`), ["750", 1000])
        assert.deepStrictEqual(yield* modeAndTime(`${root}/${name}/b`), ["600", 3000])
      }
    })
  )

  test(
    "drops what the filter does not want",
    Effect.gen(function*() {
      const root = yield* emptyFolder
      const { summary } = yield* received(tree, `${root}/x`, { filter: ({ path }) => path !== "a" && path !== "c" })
      assert.include(summary, { files: 1, directories: 1, skipped: 3 })
      yield* holds(`${root}/x`, { b: "" })
    })
  )

  for (
    const [what, output] of Object.entries({
      "a name that leads up": "D0755 0 from\nC0644 1 ../up\nx\0E\n",
      "the folder above": "D0755 0 from\nD0755 0 ..\nC0644 1 up\nx\0E\nE\n",
      "the folder itself": "D0755 0 from\nD0755 0 .\nC0644 1 up\nx\0E\nE\n",
      "an absolute name": "D0755 0 from\nC0644 1 /tmp/up\nx\0E\n",
      "a name with a folder": "D0755 0 from\nC0644 1 a/b\nx\0E\n",
      "two files of one name": "D0755 0 from\nC0644 1 a\nx\0C0644 1 a\nx\0E\n",
      "one more file than was asked for": "C0644 1 from\nx\0C0644 1 up\nx\0",
      "more after the folder": "D0755 0 from\nE\nC0644 1 up\nx\0",
      "the end of a folder that was not entered": "C0644 1 from\nx\0E\n",
      "a size that is no number": "C0644 -1 from\nx\0",
      "a mode that is no number": "Cabcd 1 from\nx\0",
      "no name": "C0644 1 \nx\0",
      "times that are none": "Tnow\nC0644 1 from\nx\0",
      "words of a login script": "Welcome!\n",
      "a line without an end": "C".repeat(20_000),
      "less than it said": "C0644 5 from\nabc",
      "nothing of a folder but its beginning": "D0755 0 from\n",
      "nothing": ""
    })
  ) {
    test(
      `refuses ${what}, and writes nothing outside of the target`,
      Effect.gen(function*() {
        const root = yield* emptyFolder
        yield* plant(`${root}/in`, {})
        const exit = yield* Effect.flip(received(output, `${root}/in/x`, { onError: "collect" }))
        assert.strictEqual(exit._tag === "SshError" && exit.reason._tag, "TransferProtocol")
        const fs = yield* FileSystem.FileSystem
        assert.deepStrictEqual(yield* fs.readDirectory(root), ["in"])
        const inside = yield* fs.readDirectory(`${root}/in`)
        assert.deepStrictEqual(inside.filter((name) => name !== "x"), [])
      })
    )
  }

  test(
    "fails with the server's words, or goes on without what it cannot read",
    Effect.gen(function*() {
      const root = yield* emptyFolder
      assert.include(yield* refused(received("\x01scp: from: No such file\n", `${root}/x`)), "scp: from: No such file")
      assert.include(yield* refused(received("\x02scp: gone\n", `${root}/x`)), "scp: gone")
      const partly = "D0755 0 from\n\x01scp: from/a: Permission denied\nC0644 1 b\nx\0E\n"
      assert.include(yield* refused(received(partly, `${root}/x`)), "Permission denied")
      const { summary } = yield* received(partly, `${root}/y`, { onError: "collect" })
      assert.strictEqual(summary.failures.length, 1)
      assert.strictEqual(summary.files, 1)
      yield* holds(`${root}/y`, { b: "x" })
    })
  )

  test(
    "gives the bytes of one file, no more than are allowed",
    Effect.gen(function*() {
      const bytes = (output: string, maxSize: number) => saying(output).carrier.bytes(jobOf(), "from", maxSize)
      assert.deepStrictEqual([...yield* bytes("C0644 3 from\nabc\0", 3)], [...Buffer.from("abc")])
      assert.strictEqual((yield* bytes("C0644 0 from\n\0", 3)).length, 0)
      const tooLarge = yield* Effect.flip(bytes("C0644 4 from\nabcd\0", 3))
      assert.strictEqual(tooLarge.reason._tag, "OutputTooLarge")
      assert.include(yield* refused(bytes("D0755 0 from\nE\n", 3)), "folder")
    })
  )
})

describe("sending over SCP", () => {
  const sent = Effect.fnUntraced(
    function*(output: string, tree: Parameters<typeof plant>[1], options?: TransferOptions) {
      const root = yield* emptyFolder
      yield* plant(`${root}/a`, tree)
      const fs = yield* FileSystem.FileSystem
      yield* fs.chmod(`${root}/a`, 0o755)
      const job = jobOf(options)
      const { carrier, commands, heard } = saying(output)
      yield* carrier.upload(job, fs, `${root}/a`, "/to/name")
      return { summary: job.meter.summary(), commands, heard: heard.join("") }
    }
  )

  test(
    "says what comes and waits for each answer",
    Effect.gen(function*() {
      const { commands, heard, summary } = yield* sent("\0".repeat(8), { file: "abc", link: "-> file" })
      assert.deepStrictEqual(commands, ["scp -r -d -t /to"])
      assert.match(heard, /^D0755 0 name\n(C0644 3 (file|link)\nabc\0){2}E\n$/)
      assert.include(summary, { files: 2, directories: 1, bytes: 6 })
    })
  )

  test(
    "does not send the bytes of a file that the server refuses",
    Effect.gen(function*() {
      const output = "\0\0\x01scp: no\n\0"
      assert.include(yield* refused(sent(output, { file: "secret" })), "scp: no")
      const { heard, summary } = yield* sent(output, { file: "secret" }, { onError: "collect" })
      assert.strictEqual(heard, "D0755 0 name\nC0644 6 file\nE\n")
      assert.strictEqual(summary.failures[0]?.path, "file")
    })
  )

  test(
    "quotes paths for the server's shell, and none is taken for an option",
    Effect.gen(function*() {
      const name = "a b'c\"$(id)`id`\\;*ü"
      const { carrier, commands, heard } = saying("\0\0\0")
      yield* carrier.uploadData(jobOf(), fromBytes(Buffer.from("x"), {}), `-r ${name}/${name}`)
      assert.strictEqual(heard.join(""), `C0644 1 ${name}\nx\0`)
      assert.deepStrictEqual(commands, [
        `scp -d -t './-r a b'\\''c"$(id)\`id\`'\\\\';*ü'`
      ])
    })
  )

  test(
    "refuses a name that SCP cannot carry, a stream of unknown length, and a server that ends",
    Effect.gen(function*() {
      assert.include(yield* refused(sent("\0\0\0\0\0", { "a\nC0644 1 b": "x" })), "line break")
      assert.include(yield* refused(sent("", { file: "x" })), "before its time")
      assert.include(yield* refused(sent("Hello\n", { file: "x" })), "Hello")
      const { carrier } = saying("", "bash: scp: command not found\n")
      const bytes = fromBytes(Buffer.from("x"), {})
      assert.include(yield* refused(carrier.uploadData(jobOf(), bytes, "/x")), "scp: command not found")
      const unknown = { ...bytes, attributes: { ...bytes.attributes, size: -1 } }
      assert.include(yield* refused(carrier.uploadData(jobOf(), unknown, "/x")), "how long")
    })
  )
})
