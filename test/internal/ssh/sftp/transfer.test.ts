import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import type { Client } from "../../../../src/internal/ssh/sftp/client.ts"
import { type Cursor, Kind } from "../../../../src/internal/ssh/sftp/packet.ts"
import * as Transfer from "../../../../src/internal/ssh/sftp/transfer.ts"
import { Sizes } from "../../../support/fragments.ts"
import { scripted, type Sent, served } from "../../../support/sftp.ts"
import { until } from "../../../support/ssh.ts"
import { turns } from "../../../support/streams.ts"

const MiB = 1024 * 1024

/** Bytes that are not alike anywhere. */
const content = (size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  for (let i = 0, x = 1; i < size; i++) {
    x = (x * 48_271) % 0x7fffffff
    bytes[i] = x
  }
  return bytes
}

const limited = (client: Client, chunk: number): Client => ({
  ...client,
  limits: { ...client.limits, read: chunk, write: chunk }
})

const collect = <E>(stream: Stream.Stream<Uint8Array, E>) =>
  Effect.map(Stream.runCollect(stream), (pieces) => Buffer.concat(pieces))

/** Carries requests out in an order that the numbers say. */
const shuffled = (order: ReadonlyArray<number>) => {
  const held: Array<() => void> = []
  let turn = 0
  return (_kind: number, go: () => void) => {
    held.push(go)
    setImmediate(() => {
      const [next] = held.splice(order[turn++ % order.length]! % held.length, 1)
      next?.()
    })
  }
}

const size = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const Order = Schema.NonEmptyArray(size(50))

describe("reading a file", () => {
  it.live.prop(
    "gives its bytes in order, however the answers are cut, ordered and shortened",
    {
      total: size(5000),
      chunk: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })),
      maxRead: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })),
      offset: size(6000),
      length: Schema.UndefinedOr(size(6000)),
      sizes: Sizes,
      order: Order
    },
    ({ chunk, length, maxRead, offset, order, sizes, total }) =>
      Effect.scoped(Effect.gen(function*() {
        const { client, open, root } = yield* served({ maxRead, onRequest: shuffled(order) }, { sizes })
        const bytes = content(total)
        Fs.writeFileSync(`${root}/f`, bytes)
        const read = yield* collect(Transfer.read(limited(client, chunk), "f", { offset, length }))
        assert.deepEqual(read, bytes.subarray(offset, length === undefined ? undefined : offset + length))
        yield* until(() => client.requests.size === 0)
        assert.strictEqual(open(), 0)
        assert.strictEqual(client.requests.pace.readers, 0)
      })),
    { arbitrary: { runs: 60 } }
  )

  it.live("reads what has no size, and what it grows by meanwhile; ends where it shrinks to", () =>
    Effect.gen(function*() {
      let change = () => {}
      const { client, root } = yield* served({
        onRequest: (kind, go) => {
          go()
          if (kind === Kind.Fstat) change()
        }
      })
      const small = limited(client, 1000)
      Fs.writeFileSync(`${root}/f`, content(3000))
      assert.isAbove((yield* collect(Transfer.read(small, "f", undefined))).length, 0)
      change = () => Fs.appendFileSync(`${root}/f`, "more")
      assert.strictEqual((yield* collect(Transfer.read(small, "f", undefined))).length, 3004)
      change = () => Fs.truncateSync(`${root}/f`, 1234)
      Fs.writeFileSync(`${root}/f`, content(10_000))
      assert.deepEqual(yield* collect(Transfer.read(small, "f", undefined)), content(1234))
      Fs.symlinkSync("/proc/self/status", `${root}/status`)
      change = () => {}
      assert.match((yield* collect(Transfer.read(small, "status", undefined))).toString(), /^Name:.*\n/)
    }))

  it.live("asks for no more while nobody takes what has come", () =>
    Effect.gen(function*() {
      let asked = 0
      const { client, open, root } = yield* served({
        onRequest: (kind, go) => {
          if (kind === Kind.Read) asked++
          go()
        }
      })
      const chunk = client.limits.read
      Fs.writeFileSync(`${root}/f`, "")
      Fs.truncateSync(`${root}/f`, 64 * MiB)
      const most = Math.floor(2 * MiB / chunk)
      yield* Effect.scoped(Effect.gen(function*() {
        const pull = yield* Stream.toPull(Transfer.read(client, "f", undefined))
        const first = (yield* pull).reduce((sum, bytes) => sum + bytes.length, 0)
        yield* until(() => client.requests.size === 0)
        const reads = asked
        assert.isAtMost(reads, most + Math.ceil(first / chunk))
        const second = (yield* pull).reduce((sum, bytes) => sum + bytes.length, 0)
        assert.isAbove(second, 0)
        yield* until(() => client.requests.size === 0)
        assert.isAbove(asked, reads)
        assert.isAtMost(asked, most + Math.ceil((first + second) / chunk))
      }))
      yield* until(() => client.requests.size === 0)
      assert.strictEqual(open(), 0)
    }))

  it.live("hands bytes on while the rest of their answer is still to come", () =>
    Effect.gen(function*() {
      const { arriveRaw, arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const first = yield* Effect.forkChild(Stream.runCollect(Stream.take(Transfer.read(client, "f", undefined), 1)))
      arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "h"])
      const { id } = yield* next(Kind.Read)
      arriveRaw(Buffer.of(0, 0, 0, 109, Kind.Data, 0, 0, 0, id, 0, 0, 0, 100, 1, 2, 3))
      assert.deepEqual([...(yield* Fiber.join(first))[0]!], [1, 2, 3])
      assert.strictEqual((yield* next(Kind.Close)).body.text(), "h")
    }))

  it.live("fails with what the server says, after the bytes that came before", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const pieces: Array<number> = []
      const reading = yield* Effect.forkChild(
        Effect.flip(Stream.runForEach(Transfer.read(client, "f", undefined), (bytes) =>
          Effect.sync(() =>
            void pieces.push(bytes.length)
          )))
      )
      arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "h"])
      arrive(Kind.Attrs, [(yield* next(Kind.Fstat)).id, 1, 100_000n])
      const reads = yield* Effect.forEach([1, 2, 3, 4], () =>
        next(Kind.Read))
      arrive(Kind.Data, [reads[0]!.id, Buffer.alloc(32_768)])
      arrive(Kind.Status, [reads[1]!.id, 4, "Input/output error", ""])
      assert.deepInclude(yield* Fiber.join(reading), {
        _tag: "SftpStatus",
        operation: "read",
        path: "f",
        detail: "Input/output error"
      })
      assert.deepEqual(pieces, [32_768])
      yield* next(Kind.Close)
    }))

  it.live("asks for bytes behind what a number can count", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const offset = 2n ** 63n + 1n
      const reading = yield* Effect.forkChild(collect(Transfer.read(client, "f", { offset, length: 2n ** 53n })))
      arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "h"])
      arrive(Kind.Attrs, [(yield* next(Kind.Fstat)).id, 1, offset + 3n])
      const { body, id } = yield* next(Kind.Read)
      assert.deepEqual([body.text(), body.bigint(), body.number()], ["h", offset, 32_768])
      arrive(Kind.Data, [id, Buffer.from("end")])
      assert.strictEqual((yield* Fiber.join(reading)).toString(), "end")
    }))

  it.live("takes no more from a server than it asked for", () =>
    Effect.gen(function*() {
      for (const answer of [[Kind.Data, Buffer.alloc(40_000)], [Kind.Attrs, 0]] as const) {
        const { arrive, closed, greeted, next } = yield* scripted()
        const client = yield* greeted
        const reading = yield* Effect.forkChild(Effect.flip(collect(Transfer.read(client, "f", undefined))))
        arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "h"])
        arrive(answer[0], [(yield* next(Kind.Read)).id, answer[1]])
        assert.strictEqual((yield* Fiber.join(reading))._tag, "TransferProtocol")
        assert.isTrue(closed())
      }
    }))

  it.live("asks a server for no more at a time than it ever gives", () =>
    Effect.gen(function*() {
      let asked = 0
      const { client, root } = yield* served({
        maxRead: 10_000,
        onRequest: (kind, go) => {
          if (kind === Kind.Read) asked++
          go()
        }
      })
      Fs.writeFileSync(`${root}/f`, content(1_000_000))
      assert.deepEqual(yield* collect(Transfer.read(client, "f", undefined)), content(1_000_000))
      assert.isAtMost(asked, 110)
    }))

  it.live("reads a small file of a known size with one request, and another one that it turns out to be", () =>
    Effect.gen(function*() {
      const kinds: Array<number> = []
      const { client, open, root } = yield* served({
        onRequest: (kind, go) => {
          kinds.push(kind)
          go()
        }
      })
      Fs.writeFileSync(`${root}/f`, content(1000))
      kinds.length = 0
      assert.deepEqual(Buffer.from(yield* Transfer.readFile(client, "f", undefined, 1000)), content(1000))
      assert.deepEqual(kinds, [Kind.Open, Kind.Read, Kind.Close])
      for (const wrong of [0, 1, 999, 1001, 300_000]) {
        assert.deepEqual(Buffer.from(yield* Transfer.readFile(client, "f", undefined, wrong)), content(1000))
      }
      assert.strictEqual((yield* Transfer.readFile(client, "f", { offset: 10, length: 5 }, 1000)).length, 5)
      yield* until(() => client.requests.size === 0)
      assert.strictEqual(open(), 0)
    }))
})

/** The bytes of a WRITE. */
const writeOf = ({ body }: Sent) => {
  body.text()
  return { offset: Number(body.bigint()), bytes: body.copy() }
}

const skipTo = (cursor: Cursor) => cursor.text()

describe("writing a file", () => {
  it.live.prop(
    "writes all bytes where they belong, however they come and in whatever order it is answered",
    {
      pieces: Schema.Array(size(1000)),
      chunk: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 700 })),
      offset: size(100),
      order: Order
    },
    ({ chunk, offset, order, pieces }) =>
      Effect.scoped(Effect.gen(function*() {
        const { client, open, root } = yield* served({ onRequest: shuffled(order) })
        const all = content(pieces.reduce((sum, size) => sum + size, 0))
        let at = 0
        const bytes = pieces.map((size) => all.subarray(at, at += size))
        const writing = Stream.fromIterable(bytes).pipe(
          Stream.rechunk(3),
          Stream.run(Transfer.write(limited(client, chunk), "f", { offset }))
        )
        yield* writing
        const written = Fs.readFileSync(`${root}/f`)
        assert.deepEqual(written.subarray(written.length - all.length), all)
        assert.strictEqual(written.length, all.length === 0 ? 0 : offset + all.length)
        assert.strictEqual(open(), 0)
      })),
    { arbitrary: { runs: 60 } }
  )

  it.live("gathers small pieces while it waits for an answer", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const writing = yield* Effect.forkChild(
        Stream.range(0, 99).pipe(
          Stream.rechunk(1),
          Stream.map((i) => Buffer.of(i)),
          Stream.run(Transfer.write(client, "f", undefined))
        )
      )
      arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "h"])
      const first = yield* next(Kind.Write)
      assert.deepEqual(writeOf(first), { offset: 0, bytes: Buffer.of(0) })
      const second = yield* next(Kind.Write)
      const rest = writeOf(second)
      assert.strictEqual(rest.offset, 1)
      assert.lengthOf(rest.bytes, 99)
      arrive(Kind.Status, [second.id, 0, "", ""])
      arrive(Kind.Status, [first.id, 0, "", ""])
      arrive(Kind.Status, [(yield* next(Kind.Close)).id, 0, "", ""])
      yield* Fiber.join(writing)
    }))

  it.live("takes no more from its source than a server has answered for", () =>
    Effect.gen(function*() {
      const { client } = yield* served({ onRequest: (kind, go) => kind === Kind.Write ? undefined : go() })
      let taken = 0
      const source = Stream.range(0, 1000).pipe(
        Stream.rechunk(1),
        Stream.map(() => {
          taken += 65_536
          return Buffer.alloc(65_536)
        })
      )
      const writing = yield* Effect.forkChild(Stream.run(source, Transfer.write(client, "f", undefined)))
      yield* until(() => taken >= 4 * MiB)
      yield* turns(100)
      assert.isAtMost(taken, 4 * MiB + 65_536)
      yield* Fiber.interrupt(writing)
    }))

  it.live("fails with what the server says of a write or of the end, and closes the file", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const attempt = () =>
        Effect.forkChild(
          Effect.flip(Stream.run(Stream.make(content(70_000), content(70_000)), Transfer.write(client, "f", undefined)))
        )
      const refused = yield* attempt()
      arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "h"])
      arrive(Kind.Status, [(yield* next(Kind.Write)).id, 4, "No space left on device", ""])
      const reason = yield* Fiber.join(refused)
      assert.deepInclude(reason, { operation: "write", path: "f", detail: "No space left on device" })
      assert.strictEqual(skipTo((yield* next(Kind.Close)).body), "h")
      for (let i = 0; i < 4; i++) arrive(Kind.Status, [(yield* next(Kind.Write)).id, 0, "", ""])

      const atTheEnd = yield* attempt()
      arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "i"])
      for (let i = 0; i < 5; i++) arrive(Kind.Status, [(yield* next(Kind.Write)).id, 0, "", ""])
      arrive(Kind.Status, [(yield* next(Kind.Close)).id, 4, "Disk quota exceeded", ""])
      assert.deepInclude(yield* Fiber.join(atTheEnd), { operation: "close", detail: "Disk quota exceeded" })
    }))

  it.live("closes the file when its source fails, when it is interrupted, and when it was opened too late", () =>
    Effect.gen(function*() {
      const { client, open } = yield* served()
      const failing = Stream.concat(Stream.make(content(1000)), Stream.fail("no more"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Stream.run(failing, Transfer.write(client, "f", undefined)))))
      const endless = Stream.concat(Stream.make(content(1000)), Stream.never)
      const writing = yield* Effect.forkChild(Stream.run(endless, Transfer.write(client, "f", undefined)))
      yield* until(() => open() === 1)
      yield* Fiber.interrupt(writing)
      const opening = yield* Effect.forkChild(Transfer.writeFile(client, "f", content(10), undefined), {
        startImmediately: true
      })
      yield* Fiber.interrupt(opening)
      yield* until(() => client.requests.size === 0)
      assert.strictEqual(open(), 0)
    }))

  it.live("writes a small file with one request and closes it without waiting in between", () =>
    Effect.gen(function*() {
      const { arrive, greeted, next } = yield* scripted()
      const client = yield* greeted
      const outcome = Effect.fnUntraced(function*(written: number, closed: number) {
        const writing = yield* Effect.forkChild(Effect.result(Transfer.writeFile(client, "f", content(100), undefined)))
        arrive(Kind.Handle, [(yield* next(Kind.Open)).id, "h"])
        const write = yield* next(Kind.Write)
        const close = yield* next(Kind.Close)
        arrive(Kind.Status, [close.id, closed, "", ""])
        arrive(Kind.Status, [write.id, written, "", ""])
        return yield* Fiber.join(writing)
      })
      assert.strictEqual((yield* outcome(0, 0))._tag, "Success")
      assert.deepInclude(yield* Effect.flip(Effect.fromResult(yield* outcome(4, 4))), { operation: "write" })
      assert.deepInclude(yield* Effect.flip(Effect.fromResult(yield* outcome(0, 4))), { operation: "close" })
    }))
})
