/**
 * Programs of reads against a server that writes when it likes: whichever finish, time out, fail or are interrupted, at
 * whatever moment, no byte is lost, repeated or out of order, and each read gives exactly what it has to.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TcpError } from "../../src/errors/TcpError.ts"
import type * as Connection from "../../src/services/Connection.ts"
import * as Framing from "../../src/services/Framing.ts"
import { between, Cut, Link, seeded } from "../support/cases.ts"
import { connectedPair } from "../support/connections.ts"
import { cutting, simulated } from "../support/simulated.ts"

/** Some letters, over and over: short pieces for markers, long ones for large reads. One of them is no text in UTF-8. */
const Piece = Schema.Struct({
  letters: Schema.NonEmptyArray(Schema.Literals(["a", "a", "b", "b", "\n", "\r", "\xff"])).check(Schema.isMaxLength(7)),
  times: Schema.Literals([1, 1, 1, 2, 20, 700, 30_000]),
  /** Milliseconds before it is written. */
  after: Schema.Literals([0, 0, 1, 3, 20])
})

const Step = Schema.Struct({
  operation: Schema.Literals([
    "read",
    "batch",
    "maxSize",
    "marker",
    "markerAndSize",
    "string",
    "exactly",
    "until",
    "untilWithin",
    "line",
    "fixed",
    "varint",
    "netstring",
    "reads",
    "frames",
    "runFrames",
    "consume"
  ]),
  marker: Schema.Literals(["\n", "ab", "aab", "\r\n\r\n"]),
  size: Schema.Literals([1, 2, 3, 9, 100, 1000, 65_536, 70_000]),
  /** Milliseconds until a read that has a time limit is over, and until any is interrupted. */
  timeout: Schema.NullOr(Schema.Literals([0, 1, 2, 10, 60])),
  interrupt: Schema.Literals([0, 1, 2, 10, 60, "never"]),
  /** What another fiber does while it waits, and after how many milliseconds. */
  meanwhile: Schema.Literals(["nothing", "nothing", "takeBuffered", "unread", "read", "closed"]),
  after: Schema.Literals([0, 1, 5]),
  /** How many batches or frames are taken, and how many milliseconds each is thought about. */
  rounds: between(1, 3),
  pause: Schema.Literals([0, 0, 1, 7])
})

const Case = Schema.Struct({
  seed: between(0, 1_000_000),
  link: Link,
  cut: Schema.NullOr(Cut),
  pieces: Schema.Array(Piece).check(Schema.isMinLength(4), Schema.isMaxLength(12)),
  steps: Schema.Array(Step).check(Schema.isMaxLength(14))
})

type Step = typeof Step.Type
type Tag = TcpError["reason"]["_tag"]

/** What a read has to come to: how many bytes it uses and what it gives of them, or how it fails. */
type Wanted = { readonly used: number; readonly gives: Buffer } | "any" | Tag

interface Operation {
  /** Tells `take` what it took, or gives it. */
  readonly run: (
    client: Connection.Connection,
    step: Step,
    take: (bytes: Uint8Array) => void
  ) => Effect.Effect<Uint8Array | "all" | "enough", TcpError>
  /** What it has to come to where `rest` is all that is to come, or nothing where that is too little. */
  readonly wanted: (rest: Buffer, step: Step) => Wanted | undefined
  /** It gives what is left at the end of the stream, where that may be given. */
  readonly takesRest?: ((rest: Buffer) => Wanted) | undefined
}

const first = (rest: Buffer, used: number): Wanted => ({ used, gives: rest.subarray(0, used) })

const text = (rest: Buffer, used: number, gives = used): Wanted =>
  rest.subarray(0, gives).includes(0xff) ? "Encoding" : { used, gives: rest.subarray(0, gives) }

/** Where the next marker ends, or infinitely far away. */
const endOf = (rest: Buffer, marker: string) => {
  const at = rest.indexOf(marker, "latin1")
  return at === -1 ? Infinity : at + marker.length
}

const anything = (rest: Buffer) => rest.length > 0 ? "any" : undefined
const utf8 = (text: string): Uint8Array => Buffer.from(text)
const all = (rest: Buffer) => first(rest, rest.length)
const timeoutOf = ({ timeout }: Step) => timeout === null ? {} : { timeout }
const think = ({ pause }: Step) => pause === 0 ? Effect.void : Effect.sleep(pause)

/** What a handler fails with that wants no more. */
class Enough extends Data.TaggedError("Enough") {}

/** Takes so many rounds of what a push read or a stream brings. */
const rounds = <A>(
  step: Step,
  read: (take: (a: A) => Effect.Effect<void, Enough>) => Effect.Effect<void, TcpError | Enough>,
  take: (a: A) => void
) =>
  Effect.suspend(() => {
    let left = step.rounds
    return read((a) => {
      take(a)
      return Effect.andThen(think(step), Effect.suspend(() => --left > 0 ? Effect.void : Effect.fail(new Enough())))
    })
  }).pipe(
    Effect.as("all" as const),
    Effect.catchTag("Enough", () => Effect.succeed("enough" as const))
  )

const framed = ({ marker }: Step) => Framing.delimited(marker, { maxSize: Infinity })

const varint = Framing.varintPrefixed()

const operations: Record<Step["operation"], Operation> = {
  read: { run: (client, step) => client.read(timeoutOf(step)), wanted: anything },
  batch: { run: (client) => Effect.map(client.readBatch, (pieces) => Buffer.concat(pieces)), wanted: anything },
  maxSize: {
    run: (client, step) => client.read({ maxSize: step.size, ...timeoutOf(step) }),
    wanted: (rest, { size }) => rest.length >= size ? first(rest, size) : undefined,
    takesRest: all
  },
  marker: {
    run: (client, step) => client.read({ marker: step.marker, ...timeoutOf(step) }),
    wanted: (rest, { marker }) => endOf(rest, marker) === Infinity ? undefined : first(rest, endOf(rest, marker)),
    takesRest: all
  },
  markerAndSize: {
    run: (client, step) => client.read({ marker: step.marker, maxSize: step.size, ...timeoutOf(step) }),
    wanted: (rest, { marker, size }) => {
      const used = Math.min(endOf(rest, marker), size)
      return rest.length >= used ? first(rest, used) : undefined
    },
    takesRest: all
  },
  string: {
    run: (client, step) => Effect.map(client.readString({ maxSize: step.size, ...timeoutOf(step) }), utf8),
    wanted: (rest, { size }) => rest.length >= size ? text(rest, size) : undefined,
    takesRest: (rest) => text(rest, rest.length)
  },
  exactly: {
    run: (client, step) => client.readExactly(step.size),
    wanted: (rest, { size }) => rest.length >= size ? first(rest, size) : undefined
  },
  until: {
    run: (client, step) => client.readUntil(step.marker, { includeMarker: true, maxSize: Infinity }),
    wanted: (rest, { marker }) => endOf(rest, marker) === Infinity ? undefined : first(rest, endOf(rest, marker))
  },
  untilWithin: {
    run: (client, step) => client.readUntil(step.marker, { maxSize: step.size }),
    wanted: (rest, { marker, size }) => {
      const [end, most] = [endOf(rest, marker), size + marker.length]
      if (end > most && rest.length >= most) return "FrameTooLarge"
      return end === Infinity ? undefined : { used: end, gives: rest.subarray(0, end - marker.length) }
    }
  },
  line: {
    run: (client) => Effect.map(client.readLine(), utf8),
    wanted: (rest) => {
      const end = endOf(rest, "\n")
      return end === Infinity ? undefined : text(rest, end, end - (rest[end - 2] === 13 ? 2 : 1))
    },
    takesRest: (rest) => text(rest, rest.length, rest.length - (rest.at(-1) === 13 ? 1 : 0))
  },
  fixed: {
    run: (client, step) => client.readFrame(Framing.fixed(step.size)),
    wanted: (rest, { size }) => rest.length >= size ? first(rest, size) : undefined
  },
  varint: {
    run: (client) => client.readFrame(varint),
    wanted: (rest) => {
      let size = 0
      for (let i = 0; i < rest.length; i++) {
        size += (rest[i]! & 0x7f) * 2 ** (7 * i)
        if (size > Framing.defaultMaxSize) return "FrameTooLarge"
        const used = i + 1 + size
        if (rest[i]! < 0x80) return rest.length < used ? undefined : { used, gives: rest.subarray(i + 1, used) }
      }
      return undefined
    }
  },
  netstring: {
    run: (client) => client.readFrame(Framing.netstring()),
    wanted: (rest) => rest.length > 0 ? "Malformed" : undefined
  },
  reads: {
    run: (client, step, take) =>
      rounds<ReadonlyArray<Uint8Array>>(
        step,
        (round) => Stream.runForEachArray(client.reads, round),
        (batch) => batch.forEach(take)
      ),
    wanted: anything
  },
  frames: {
    run: (client, step, take) =>
      rounds<ReadonlyArray<Uint8Array>>(
        step,
        (round) => Stream.runForEachArray(client.frames(framed(step)), round),
        (batch) => batch.forEach((frame) => take(Buffer.concat([frame, Buffer.from(step.marker)])))
      ),
    wanted: (rest, { marker }) => endOf(rest, marker) === Infinity ? undefined : "any"
  },
  runFrames: {
    run: (client, step, take) =>
      rounds<Uint8Array>(
        step,
        (round) => client.runFrames(framed(step), round),
        (frame) => take(Buffer.concat([frame, Buffer.from(step.marker)]))
      ),
    wanted: (rest, { marker }) => endOf(rest, marker) === Infinity ? undefined : "any"
  },
  consume: { run: (client, _, take) => Effect.as(client.consume(take), "all"), wanted: anything }
}

/** Where a reader is in what was sent, and what it has found out. */
class Reader {
  at = 0
  readonly sent: Buffer
  readonly broken: boolean
  constructor(sent: Buffer, broken: boolean) {
    this.sent = sent
    this.broken = broken
  }

  get rest(): Buffer {
    return this.sent.subarray(this.at)
  }

  readonly take = (bytes: Uint8Array): void => {
    const next = this.sent.subarray(this.at, this.at + bytes.length)
    if (!next.equals(bytes)) {
      assert.fail(`at ${this.at} came ${JSON.stringify(Buffer.from(bytes).toString("latin1").slice(0, 40))}`)
    }
    this.at += bytes.length
  }

  /** What a read that is over should have come to. */
  private wanted({ takesRest, wanted }: Operation, step: Step): Wanted {
    const { rest } = this
    const enough = wanted(rest, step)
    if (enough !== undefined) return enough
    if (this.broken) return "Reset"
    return takesRest !== undefined && rest.length > 0 ? takesRest(rest) : "EndOfStream"
  }

  /** Checks what a read came to. */
  readonly settle = (step: Step, exit: Exit.Exit<Uint8Array | "all" | "enough", TcpError>, millis: number): void => {
    const operation = operations[step.operation]
    const wanted = this.wanted(operation, step)
    if (Exit.isSuccess(exit)) {
      if (exit.value === "enough") return
      if (exit.value === "all") return assert.deepStrictEqual([wanted, this.rest.length], ["EndOfStream", 0])
      if (wanted === "any") {
        assert.isNotEmpty(exit.value)
        return this.take(exit.value)
      }
      if (typeof wanted === "string") return assert.fail(`gave ${exit.value.length} bytes instead of ${wanted}`)
      assert.strictEqual(Buffer.compare(exit.value, wanted.gives), 0, `gave ${exit.value.length} of ${wanted.used}`)
      this.at += wanted.used
      return
    }
    if (Cause.hasInterruptsOnly(exit.cause)) return
    const error = Option.getOrThrowWith(Cause.findErrorOption(exit.cause), () => new Error(Cause.pretty(exit.cause)))
    const { reason } = error
    if (reason._tag === "ReadTimeout") return assert.strictEqual(millis, step.timeout)
    if (reason._tag === "ConcurrentRead" && step.meanwhile === "read") return
    assert.strictEqual(reason._tag, wanted)
    if (reason._tag === "EndOfStream") assert.strictEqual(reason.received, this.rest.length)
  }
}

/** What else happens on a connection while a read waits. */
const others: Record<
  Step["meanwhile"],
  (step: Step, client: Connection.Connection, reader: Reader) => Effect.Effect<void>
> = {
  nothing: () => Effect.void,
  takeBuffered: (_, client, reader) => Effect.map(client.takeBuffered, reader.take),
  unread: (step, client, reader) => {
    const end = reader.at
    reader.at = Math.max(0, end - step.size)
    return client.unread(reader.sent.subarray(reader.at, end))
  },
  read: Effect.fnUntraced(function*(_, client, reader) {
    const second = yield* Effect.forkChild(client.read(), { startImmediately: true })
    yield* Fiber.interrupt(second)
    const exit = yield* Fiber.await(second)
    if (Exit.isSuccess(exit)) reader.take(exit.value)
  }),
  closed: (_, client) => Effect.asVoid(client.closed)
}

const meanwhile = Effect.fnUntraced(function*(
  step: Step,
  client: Connection.Connection,
  reader: Reader,
  reading: Fiber.Fiber<unknown, unknown>
) {
  if (step.after > 0) yield* Effect.sleep(step.after)
  // what a read gave that is over is not accounted for yet
  if (reading.pollUnsafe() === undefined) yield* others[step.meanwhile](step, client, reader)
})

const program = Effect.fnUntraced(function*(input: typeof Case.Type) {
  const { link, pieces, steps } = input
  // so large that it is no pain to send it in such pieces
  const most = 50 * Math.min(link.fragment, link.bufferSize)
  const written = pieces.map(({ after, letters, times }) => ({
    after,
    bytes: Buffer.from(letters.join("").repeat(times).slice(0, most), "latin1")
  }))
  const whole = Buffer.concat(written.map(({ bytes }) => bytes))
  const cut = input.cut?.kind === "corrupt" || whole.length === 0 ? null : input.cut
  const size = cut === null ? whole.length : yield* cutting(cut, whole.length)
  const reader = new Reader(whole.subarray(0, size), cut?.kind === "reset")

  const pair = yield* connectedPair
  const [client, server] = cut?.toServer === true ? [pair.server, pair.client] : [pair.client, pair.server]
  const write = Effect.forEach(
    written,
    ({ after, bytes }) => Effect.andThen(after === 0 ? Effect.void : Effect.sleep(after), server.write(bytes))
  )
  yield* Effect.forkChild(Effect.ignore(Effect.andThen(write, server.closeWrite)))

  for (const step of steps) {
    const begun = yield* Clock.currentTimeMillis
    let over = begun
    const clocked = Effect.onExit(
      operations[step.operation].run(client, step, reader.take),
      () => Effect.map(Clock.currentTimeMillis, (now) => void (over = now))
    )
    const reading = yield* Effect.forkChild(clocked, { startImmediately: true })
    const other = yield* Effect.forkChild(meanwhile(step, client, reader, reading))
    if (step.interrupt !== "never") {
      if (step.interrupt > 0) yield* Effect.sleep(step.interrupt)
      yield* Fiber.interrupt(reading)
    }
    const exit = yield* Fiber.await(reading)
    yield* Fiber.interrupt(other)
    reader.settle(step, exit, over - begun)
  }

  const drained = yield* Effect.exit(Stream.runForEach(client.reads, (bytes) => Effect.sync(() => reader.take(bytes))))
  assert.strictEqual(Exit.isFailure(drained), reader.broken)
  reader.take(yield* client.takeBuffered)
  assert.strictEqual(reader.rest.length, 0)
  assert.strictEqual((yield* client.stats).bytesRead, size)
})

describe("reads over a network", () => {
  it.effect.prop(
    "give all that was sent in order, whichever finish, time out, fail or are interrupted",
    { input: Case },
    ({ input }) => simulated(input, program(input)),
    seeded(1000)
  )
})
