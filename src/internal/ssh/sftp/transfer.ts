import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { SshErrorReason } from "../../../errors/SshError.ts"
import * as Attributes from "./attributes.ts"
import type { Client } from "./client.ts"
import * as Operations from "./operations.ts"
import { Cursor, type Field, Kind } from "./packet.ts"
import { Reader } from "./reader.ts"
import type { Receiver } from "./requests.ts"
import { Writer } from "./writer.ts"

/** Which part of a file. */
export interface ReadRange {
  readonly offset?: bigint | number | undefined
  readonly length?: bigint | number | undefined
}

const ignored = () => {}

/** The bytes of a file that is open. With `lend`, what is pulled may only be used until the next pull. */
export const reads = (client: Client, handle: Operations.Handle, range: ReadRange | undefined, lend = false) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const offset = BigInt(range?.offset ?? 0)
      const reader = new Reader(client.requests, handle.id, { operation: "read", path: handle.path }, {
        offset,
        end: range?.length === undefined ? undefined : offset + BigInt(range.length),
        chunk: client.limits.read,
        lend
      })
      // the answer comes with those to the first reads, and lets the others go ahead
      const sized: Receiver = {
        askedAt: client.requests.now(),
        answer: (kind, body) => {
          if (kind !== Kind.Attrs) return
          const cursor = new Cursor(body)
          const { size } = Attributes.decode(cursor)
          if (!cursor.short && Option.isSome(size)) reader.expect(size.value)
        },
        fail: ignored
      }
      client.requests.send(Kind.Fstat, [handle.id], sized)
      return reader
    }),
    (reader) => Effect.sync(reader.stop)
  ).pipe(Effect.map((reader) => reader.pull))

/** A file as a stream. */
export const read = (
  client: Client,
  path: string,
  range: ReadRange | undefined
): Stream.Stream<Uint8Array, SshErrorReason> =>
  Stream.scoped(Stream.fromPull(
    Effect.flatMap(
      Operations.scoped(client, Operations.openFile(client, path, "r", undefined)),
      (handle) => reads(client, handle, range)
    )
  ))

/** All the bytes of a stream in one piece. */
export const joined = (pieces: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  let size = 0
  for (const piece of pieces) size += piece.length
  const all = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}

/** How a file is written to. */
export interface WriteTarget {
  readonly flag?: FileSystem.OpenFlag | undefined
  readonly mode?: number | undefined
  readonly offset?: bigint | number | undefined
}

const openForWriting = (client: Client, path: string, target: WriteTarget | undefined) =>
  Operations.openFile(client, path, target?.flag ?? "w", target?.mode)

const writerOf = (client: Client, { id, path }: Operations.Handle, offset: bigint | number | undefined) =>
  new Writer(client.requests, id, { operation: "write", path }, BigInt(offset ?? 0), client.limits.write)

type Upstream = Pull.Pull<Arr.NonEmptyReadonlyArray<Uint8Array>>

const drain = (writer: Writer, upstream: Upstream): Effect.Effect<void, SshErrorReason> =>
  upstream.pipe(
    Effect.flatMap(writer.write),
    Effect.forever({ disableYield: true }),
    Pull.catchDone(() => writer.flush)
  )

/** Writes what comes into a file that is open. */
export const writesTo = (
  client: Client,
  handle: Operations.Handle,
  offset: bigint | number | undefined
): Sink.Sink<void, Uint8Array, never, SshErrorReason> =>
  Sink.fromTransform((upstream: Upstream) =>
    Effect.as(drain(writerOf(client, handle, offset), upstream), [undefined] satisfies Sink.End<void>)
  )

/** Writes all of some bytes into a file that is open. */
export const writeTo = (client: Client, handle: Operations.Handle, offset: bigint, bytes: Uint8Array) =>
  Effect.suspend(() => {
    const writer = writerOf(client, handle, offset)
    return Effect.andThen(writer.write([bytes]), writer.flush)
  })

/** Uses a file that is opened for it. It is closed, and whether that went well is known when this is done. */
const usingFile = <A>(
  client: Client,
  open: Effect.Effect<Operations.Handle, SshErrorReason>,
  use: (handle: Operations.Handle) => Effect.Effect<A, SshErrorReason>
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(open), (handle) =>
      Effect.matchCauseEffect(restore(use(handle)), {
        onSuccess: (value) => Effect.as(restore(Operations.close(client, handle)), value),
        onFailure: (cause) => {
          client.requests.closeHandle(handle.id)
          return Effect.failCause(cause)
        }
      }))
  )

/** Writes what comes into a file. */
export const write = (
  client: Client,
  path: string,
  target: WriteTarget | undefined
): Sink.Sink<void, Uint8Array, never, SshErrorReason> =>
  Sink.fromTransform((upstream: Upstream) =>
    usingFile(
      client,
      openForWriting(client, path, target),
      (handle) => drain(writerOf(client, handle, target?.offset), upstream)
    ).pipe(Effect.as([undefined] satisfies Sink.End<void>))
  )

interface Question {
  readonly kind: number
  readonly fields: ReadonlyArray<Field>
  readonly data?: ReadonlyArray<Uint8Array> | undefined
}

interface Answered {
  readonly kind: number
  readonly body: Buffer
}

/** Asks for two things at once and waits for both, without a fibre for each. What went wrong with the first counts. */
const both = (
  { requests }: Client,
  [first, second]: readonly [Question, Question]
): Effect.Effect<readonly [Answered, Answered], SshErrorReason> =>
  Effect.callback((resume) => {
    const answers: [Answered | undefined, Answered | undefined] = [undefined, undefined]
    const ask = (question: Question, index: 0 | 1) =>
      requests.send(question.kind, question.fields, {
        askedAt: requests.now(),
        answer: (kind, body) => {
          answers[index] = { kind, body }
          const [one, other] = answers
          if (one !== undefined && other !== undefined) resume(Effect.succeed([one, other]))
        },
        fail: (reason) => resume(Effect.fail(reason))
      }, question.data)
    const ids = [ask(first, 0), ask(second, 1)]
    return Effect.sync(() => ids.forEach((id) => requests.abandon(id)))
  })

/** Writes bytes into a file. What fits into one request is written and closed without waiting in between. */
export const writeFile = (
  client: Client,
  path: string,
  bytes: Uint8Array,
  target: WriteTarget | undefined
): Effect.Effect<void, SshErrorReason> => {
  const { limits, requests } = client
  const open = openForWriting(client, path, target)
  if (bytes.length > limits.write) {
    return usingFile(client, open, (handle) => writeTo(client, handle, BigInt(target?.offset ?? 0), bytes))
  }
  if (bytes.length === 0) return usingFile(client, open, () => Effect.void)
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(open), ({ id }) =>
      restore(both(client, [
        { kind: Kind.Write, fields: [id, BigInt(target?.offset ?? 0), bytes.length], data: [bytes] },
        { kind: Kind.Close, fields: [id] }
      ])))
  ).pipe(Effect.flatMap(([written, closed]) =>
    Effect.andThen(
      requests.read({ operation: "write", path }, written.kind, written.body, Kind.Status, ignored),
      requests.read({ operation: "close", path }, closed.kind, closed.body, Kind.Status, ignored)
    )
  ))
}

const collect = (pull: Pull.Pull<Arr.NonEmptyReadonlyArray<Uint8Array>, SshErrorReason>) => {
  const pieces: Array<Uint8Array> = []
  return pull.pipe(
    Effect.map((batch) => {
      for (const piece of batch) pieces.push(piece)
    }),
    Effect.forever({ disableYield: true }),
    Pull.catchDone(() => Effect.sync(() => joined(pieces)))
  )
}

const readWhole = (client: Client, path: string, range: ReadRange | undefined) =>
  Effect.scoped(Effect.flatMap(
    Operations.scoped(client, Operations.openFile(client, path, "r", undefined)),
    (handle) => Effect.flatMap(reads(client, handle, range), collect)
  ))

/**
 * All the bytes of a file. Where it is said how many there are, and that is not many, it is read and closed without waiting
 * in between; should there be more or fewer, it is read once more, with all that a larger file takes.
 */
export const readFile = (
  client: Client,
  path: string,
  range: ReadRange | undefined,
  expectedSize: number | undefined
): Effect.Effect<Uint8Array<ArrayBuffer>, SshErrorReason> => {
  if (
    range?.offset !== undefined || range?.length !== undefined || expectedSize === undefined || expectedSize === 0 ||
    expectedSize >= client.limits.read
  ) {
    return readWhole(client, path, range)
  }
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(Operations.openFile(client, path, "r", undefined)), ({ id }) =>
      restore(both(client, [
        // one byte more, to see that there is none
        { kind: Kind.Read, fields: [id, 0n, expectedSize + 1] },
        { kind: Kind.Close, fields: [id] }
      ])))
  ).pipe(Effect.flatMap(([read]) =>
    read.kind === Kind.Data && read.body.length === expectedSize + 4
      ? Effect.succeed(new Uint8Array(read.body.subarray(4)))
      : readWhole(client, path, range)
  ))
}
