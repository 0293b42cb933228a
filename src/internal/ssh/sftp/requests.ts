import * as Effect from "effect/Effect"
import {
  ConnectionLost,
  SftpStatus,
  type SftpStatusName,
  type SshErrorReason,
  TransferProtocol
} from "../../../errors/SshError.ts"
import { AnswerReader } from "./answers.ts"
import { Outbox, type Send } from "./outbox.ts"
import { Pace } from "./pace.ts"
import { Cursor, encode, type Field, Kind } from "./packet.ts"

/** The bytes to and from a server. */
export interface Link {
  readonly send: Send
  /** Lets the server send so many bytes more than it may, once. */
  readonly grant: (bytes: number) => void
  /** Milliseconds, for measuring how long answers take. */
  readonly now: () => number
  readonly close: () => void
}

/** Who waits for an answer. Exactly one of `answer`, `end` and `fail` is called, once. */
export interface Receiver {
  /** When it was asked, by the `now` of the requests. */
  readonly askedAt: number
  readonly answer: (kind: number, body: Buffer) => void
  readonly fail: (reason: SshErrorReason) => void
  /** Takes file data as it arrives; the most that was asked for. */
  readonly stream?: {
    readonly most: number
    readonly piece: (bytes: Buffer) => void
    readonly end: () => void
  } | undefined
}

/** What a request is about, for errors. */
export interface About {
  readonly operation: string
  readonly path: string
}

const names: ReadonlyArray<SftpStatusName> = [
  "Other",
  "EndOfFile",
  "NoSuchFile",
  "PermissionDenied",
  "Failure",
  "BadMessage",
  "NoConnection",
  "ConnectionLost",
  "OpUnsupported"
]

/** What a refusal says. */
export const refusal = ({ operation, path }: About, body: Buffer): SftpStatus => {
  const cursor = new Cursor(body)
  const code = cursor.number()
  return new SftpStatus({
    operation,
    path,
    code,
    status: names[code] ?? "Other",
    detail: cursor.left < 4 ? "" : cursor.text()
  })
}

/** The code of a STATUS answer; 0 is success. */
export const statusOf = (body: Buffer): number => body.length < 4 ? -1 : body.readUInt32BE(0)

const ignored = () => {}

/** Drops an answer that nobody waits for any more, and closes the handle that may be in it. */
class Dropped implements Receiver {
  readonly askedAt: number
  readonly answer: (kind: number, body: Buffer) => void
  readonly fail = ignored
  readonly stream: Receiver["stream"]

  constructor({ askedAt, stream }: Receiver, close: (handle: Buffer) => void) {
    this.askedAt = askedAt
    this.stream = stream === undefined ? undefined : { most: stream.most, piece: ignored, end: ignored }
    this.answer = (kind, body) => {
      if (kind !== Kind.Handle) return
      const cursor = new Cursor(body)
      const handle = cursor.copy()
      if (!cursor.short) close(handle)
    }
  }
}

/**
 * The requests that are under way on one channel. Answers come in any order and find who asked by their number. Whatever
 * ends the channel answers all of them, so that none waits for ever.
 */
export class Requests {
  private readonly link: Link
  private readonly outbox: Outbox
  private readonly answers: AnswerReader
  private readonly waiting = new Map<number, Receiver>()
  private lastId = 0
  private over: SshErrorReason | undefined
  private greeting: ((kind: number, body: Buffer) => void) | undefined
  private onOver: ((reason: SshErrorReason) => void) | undefined
  /** File data that comes in: who takes it, and how much has come. */
  private streaming: Receiver["stream"]
  private streamingId = 0
  readonly now: () => number
  readonly pace: Pace

  constructor(link: Link) {
    this.link = link
    this.now = link.now
    this.pace = new Pace(link.grant, link.now)
    this.outbox = new Outbox(link.send)
    this.answers = new AnswerReader({
      onPacket: this.onPacket,
      onDataStart: this.onDataStart,
      onData: this.onData,
      onDataEnd: this.onDataEnd,
      onNonsense: (detail, received) => this.nonsense(detail, received)
    })
  }

  /** Why nothing can be asked any more. */
  get ended(): SshErrorReason | undefined {
    return this.over
  }

  /** How many answers are to come. */
  get size(): number {
    return this.waiting.size
  }

  /** Bytes from the server. */
  receive(chunk: Uint8Array): void {
    this.answers.read(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  }

  /** Ends everything that is under way. */
  end(reason: SshErrorReason): void {
    if (this.over !== undefined) return
    this.over = reason
    this.answers.stop()
    this.outbox.close()
    const receivers = [...this.waiting.values()]
    this.waiting.clear()
    for (const receiver of receivers) receiver.fail(reason)
    this.onOver?.(reason)
  }

  /** Ends everything that is under way, and the channel. */
  close(reason: SshErrorReason): void {
    this.end(reason)
    this.link.close()
  }

  /** Says who we are and waits for who the server is: its version and the extensions that it knows. */
  readonly greet: Effect.Effect<
    { readonly version: number; readonly extensions: ReadonlyMap<string, string> },
    SshErrorReason
  > = Effect.callback((resume) => {
    if (this.over !== undefined) return resume(Effect.fail(this.over))
    this.onOver = (reason) => resume(Effect.fail(reason))
    this.greeting = (kind, body) => {
      const cursor = new Cursor(body)
      const version = cursor.number()
      const extensions = new Map<string, string>()
      while (cursor.left > 0) extensions.set(cursor.text(), cursor.text())
      if (kind !== Kind.Version) {
        this.violated(`it began with a packet of kind ${kind}`)
      } else if (cursor.short) {
        this.violated("what it began with is cut off")
      } else {
        this.greeting = undefined
        this.onOver = undefined
        resume(Effect.succeed({ version, extensions }))
      }
    }
    this.outbox.add(Buffer.of(0, 0, 0, 5, Kind.Init, 0, 0, 0, 3))
  })

  /** Asks for something. `data` belongs to the packet and is not copied. */
  send(kind: number, fields: ReadonlyArray<Field>, receiver: Receiver, data?: ReadonlyArray<Uint8Array>): number {
    if (this.over !== undefined) {
      receiver.fail(this.over)
      return 0
    }
    do this.lastId = (this.lastId + 1) >>> 0
    while (this.waiting.has(this.lastId))
    const id = this.lastId
    this.waiting.set(id, receiver)
    if (data === undefined) {
      this.outbox.add(encode(kind, id, fields))
    } else {
      let size = 0
      for (const piece of data) size += piece.length
      this.outbox.add(encode(kind, id, fields, size))
      for (const piece of data) this.outbox.add(piece)
    }
    return id
  }

  /** Nobody waits for this answer any more. */
  abandon(id: number): void {
    const receiver = this.waiting.get(id)
    if (receiver !== undefined) this.waiting.set(id, new Dropped(receiver, this.closeHandle))
  }

  /** Closes a handle without waiting for the answer. */
  readonly closeHandle = (handle: Buffer): void => {
    this.send(Kind.Close, [handle], { askedAt: this.now(), answer: ignored, fail: ignored })
  }

  /** Asks for something and waits for one kind of answer. */
  ask<A>(
    about: About,
    kind: number,
    fields: ReadonlyArray<Field>,
    expected: number,
    decode: (cursor: Cursor) => A
  ): Effect.Effect<A, SshErrorReason> {
    return Effect.callback((resume) => {
      const id = this.send(kind, fields, {
        askedAt: this.now(),
        answer: (kind, body) => resume(this.read(about, kind, body, expected, decode)),
        fail: (reason) => resume(Effect.fail(reason))
      })
      return Effect.sync(() => this.abandon(id))
    })
  }

  /** What an answer means to who waits for one of the kind `expected`. */
  read<A>(
    about: About,
    kind: number,
    body: Buffer,
    expected: number,
    decode: (cursor: Cursor) => A
  ): Effect.Effect<A, SshErrorReason> {
    if (kind === Kind.Status && (expected !== Kind.Status || statusOf(body) !== 0)) {
      return Effect.fail(refusal(about, body))
    }
    if (kind !== expected) {
      return Effect.fail(this.violated(`it answered ${about.operation} with a packet of kind ${kind}`))
    }
    const cursor = new Cursor(body)
    const value = decode(cursor)
    return cursor.short
      ? Effect.fail(this.violated(`its answer to ${about.operation} is too short`))
      : Effect.succeed(value)
  }

  /** The server does not speak SFTP as it should: nothing that it says can be trusted any more. */
  violated(detail: string): TransferProtocol {
    const reason = new TransferProtocol({ detail })
    this.close(reason)
    return reason
  }

  private nonsense(detail: string, received: Buffer): void {
    const text = JSON.stringify(received.toString("utf8", 0, 80))
    if (this.greeting === undefined) this.violated(`the server sent ${detail}`)
    else this.violated(`the server does not speak SFTP but sent ${text}, as a login script does that prints something`)
  }

  private asker(id: number): Receiver | undefined {
    const receiver = this.waiting.get(id)
    if (receiver === undefined) this.violated(`the server answered a request that there is not (${id})`)
    else this.pace.answered(receiver.askedAt)
    return receiver
  }

  private readonly onPacket = (kind: number, body: Buffer) => {
    if (this.greeting !== undefined) return this.greeting(kind, body)
    if (body.length < 4) return void this.violated(`the server sent a packet of ${body.length + 1} bytes`)
    const id = body.readUInt32BE(0)
    const receiver = this.asker(id)
    this.waiting.delete(id)
    receiver?.answer(kind, body.subarray(4))
  }

  private readonly onDataStart = (id: number, size: number) => {
    const receiver = this.greeting === undefined ? this.asker(id) : undefined
    if (this.greeting !== undefined) this.violated("it began with file data")
    if (receiver === undefined) return
    this.streamingId = id
    this.streaming = receiver.stream ?? this.gather(receiver, size)
    const { most } = this.streaming
    if (size > most) this.violated(`the server sent ${size} bytes where ${most} were asked for`)
  }

  /** Few ask this way, for a little: what comes for them is put together. */
  private gather(receiver: Receiver, size: number): NonNullable<Receiver["stream"]> {
    const answer = Buffer.allocUnsafe(size + 4)
    let filled = answer.writeUInt32BE(size, 0)
    return {
      most: size,
      piece: (bytes) => {
        filled += bytes.copy(answer, filled)
      },
      end: () => receiver.answer(Kind.Data, answer)
    }
  }

  private readonly onData = (piece: Buffer) => {
    this.pace.arrived(piece.length)
    this.streaming?.piece(piece)
  }

  private readonly onDataEnd = () => {
    const { streaming } = this
    this.streaming = undefined
    this.waiting.delete(this.streamingId)
    streaming?.end()
  }
}

/** What those are told who use a channel that was closed by its owner. */
export const scopeClosed = new ConnectionLost({ detail: "the scope of the SFTP channel was closed" })
