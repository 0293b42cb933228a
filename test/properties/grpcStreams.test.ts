import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DialError } from "../../src/errors/DialError.ts"
import * as GrpcError from "../../src/errors/GrpcError.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import type { CallError, GrpcChannel } from "../../src/services/GrpcChannel.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { between, seeded } from "../support/cases.ts"
import { type CutKind, cutting } from "../support/cut.ts"
import { server } from "../support/grpcServer.ts"

const schema = Effect.runSync(GrpcSchema.fromSource(`
  syntax = "proto3";
  package test;
  message Piece { int32 number = 1; string text = 2; }
  service Pieces {
    rpc Down(Piece) returns (stream Piece);
    rpc Up(stream Piece) returns (Piece);
    rpc Both(stream Piece) returns (stream Piece);
  }`))

const { ca, tls } = Effect.runSync(Effect.gen(function*() {
  const { certificate, issue } = yield* TestCertificates.authority()
  return { ca: certificate, tls: yield* issue({ names: ["server"] }) }
}))

/** The sizes of messages. */
const Sizes = Schema.Array(Schema.Literals([0, 1, 100, 5000, 20_000, 70_000])).check(Schema.isMaxLength(7))

/** A call: what is sent either way, how long each side rests after each message, and how the server ends it. */
const Call = Schema.Struct({
  kind: Schema.Literals(["Down", "Up", "Both"]),
  requests: Sizes,
  responses: Sizes,
  pauses: Schema.Struct({
    requests: Schema.Literals([0, 0, 7]),
    responses: Schema.Literals([0, 0, 5]),
    reads: Schema.Literals([0, 0, 11])
  }),
  compression: Schema.Literals(["identity", "identity", "gzip", "deflate"]),
  ending: Schema.Literals(["ok", "ok", "NotFound"])
})

const trouble = <const Kinds extends ReadonlyArray<CutKind | "none">>(kinds: Kinds) =>
  Schema.Struct({
    kind: Schema.Literals(kinds),
    toServer: Schema.Boolean,
    at: between(0, 999),
    latency: Schema.Literals([0, 0, 0, 10]),
    fragment: Schema.Literals([65_536, 4096, 700, 100]),
    /** Whether the client asks a silent server if it is still there. */
    keepAlive: Schema.Boolean,
    /** Whether the connection is made by the call. */
    lazy: Schema.Boolean
  })

/** Without TLS nobody could tell a changed message from another one. */
const Trouble = trouble(["none", "reset", "end", "silent"])
const TroubleOverTls = trouble(["none", "reset", "end", "silent", "corrupt", "corrupt"])

const letters = "abcdefghijklmnop"

/** Text that is different everywhere, and half as large when it is packed. */
const text = (() => {
  let text = ""
  for (let state = 5; text.length < 80_000;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    text += letters[state >>> 28]
  }
  return text
})()

const piece = (number: number, size: number) => ({ number, text: text.slice(number * 1000, number * 1000 + size) })
type Piece = Readonly<Record<string, unknown>>

const pieces = (sizes: ReadonlyArray<number>) => sizes.map((size, number) => piece(number, size))

/** The messages that come back. */
const expected = ({ kind, requests, responses }: typeof Call.Type) =>
  kind === "Up" ? [piece(requests.length, 10)] : pieces(responses)

/** About how many bytes go either way before the first message. */
const setup = { plain: { toServer: 400, toClient: 250 }, tls: { toServer: 900, toClient: 1500 } }

/** A third of all cuts come before the first message, the others from then on to a bit behind the end. */
const offsetOf = ({ at, toServer }: typeof TroubleOverTls.Type, call: typeof Call.Type, path: keyof typeof setup) => {
  const before = setup[path][toServer ? "toServer" : "toClient"]
  const sizes: ReadonlyArray<number> = toServer
    ? call.kind === "Down" ? [] : call.requests
    : call.kind === "Up"
    ? []
    : call.responses
  const packed = call.compression === "identity" ? 1.02 : 0.6
  const after = sizes.reduce((sum, size) => sum + size + 20, 0) * packed + 100
  return Math.floor(at <= 333 ? at / 333 * before : before + (at - 333) / 666 * after)
}

const assertPrefix = (got: ReadonlyArray<Piece>, sent: ReadonlyArray<Piece>) => {
  assert.isAtMost(got.length, sent.length)
  for (const [i, { number, text }] of got.entries()) {
    assert(number === sent[i]?.["number"] && text === sent[i]?.["text"], `message ${i} is not what was sent`)
  }
}

/** What a handler got, whether it was told that this was all, and how it ended. */
interface Handling {
  readonly got: Array<Piece>
  complete: boolean
  exit?: Exit.Exit<unknown, unknown>
}

const noMore = new GrpcError.NotFound({ message: "no more" })

const rest = (millis: number) => millis === 0 ? Effect.void : Effect.sleep(millis)

const paced = <A>(values: ReadonlyArray<A>, millis: number) =>
  Stream.tap(Stream.fromIterable(values), () => rest(millis))

/** The methods, and what their handlers went through. */
const serviceOf = (call: typeof Call.Type) => {
  const handlings: Array<Handling> = []
  const begin = () => {
    const handling: Handling = { got: [], complete: false }
    handlings.push(handling)
    return handling
  }
  const ended = (handling: Handling) => <A, E>(exit: Exit.Exit<A, E>) => Effect.sync(() => void (handling.exit = exit))
  const reading = (requests: Stream.Stream<Piece>, { got }: Handling) =>
    Stream.runForEach(
      requests,
      (request) => Effect.andThen(Effect.sync(() => got.push(request)), rest(call.pauses.reads))
    )
  const answers = paced(pieces(call.responses), call.pauses.responses)
  const last = call.ending === "ok" ? Stream.empty : Stream.fail(noMore)
  const service = GrpcServer.service(schema, "test.Pieces", {
    Down: GrpcServer.serverStream((request) => {
      const handling = begin()
      handling.got.push(request)
      return Stream.concat(answers, last).pipe(Stream.onExit(ended(handling)))
    }),
    Up: GrpcServer.clientStream((requests) => {
      const handling = begin()
      return Effect.gen(function*() {
        yield* reading(requests, handling)
        handling.complete = true
        if (call.ending === "NotFound") return yield* noMore
        return piece(handling.got.length, 10)
      }).pipe(Effect.onExit(ended(handling)))
    }),
    Both: GrpcServer.bidi((requests) => {
      const handling = begin()
      const read = Effect.tap(reading(requests, handling), () => Effect.sync(() => void (handling.complete = true)))
      return Stream.merge(answers, Stream.drain(Stream.fromEffect(read))).pipe(
        Stream.concat(last),
        Stream.onExit(ended(handling))
      )
    })
  })
  return { service, handlings }
}

/** What came back, and how it ended. */
interface Outcome {
  readonly got: ReadonlyArray<Piece>
  readonly result: Result.Result<void, CallError>
}

const make = (channel: GrpcChannel, call: typeof Call.Type, waitForReady = false): Effect.Effect<Outcome> => {
  const got: Array<Piece> = []
  const options = { timeout: "1 minute", compression: call.compression, waitForReady } as const
  const read = (message: Piece) => Effect.andThen(Effect.sync(() => got.push(message)), rest(call.pauses.reads))
  const requests = paced(pieces(call.requests), call.pauses.requests)
  const run = {
    Down: () => Stream.runForEach(channel.serverStream("test.Pieces/Down", piece(0, 5), options), read),
    Up: () => Effect.flatMap(channel.clientStream("test.Pieces/Up", requests, options), read),
    Both: () => Stream.runForEach(channel.bidi("test.Pieces/Both", requests, options), read)
  }[call.kind]
  return Effect.map(Effect.result(run()), (result) => ({ got, result }))
}

/** The statuses that a cut may end in. */
const statuses: Readonly<Record<CutKind, ReadonlyArray<string>>> = {
  reset: ["Unavailable"],
  end: ["Unavailable"],
  silent: ["Unavailable", "DeadlineExceeded"],
  corrupt: ["Unavailable", "DeadlineExceeded"]
}

/** Whether the call ended as the server wanted it to; otherwise, why the cut made it end. */
const assertOutcome = (
  { got, result }: Outcome,
  call: typeof Call.Type,
  cut: CutKind | undefined
) => {
  const sent = expected(call)
  assertPrefix(got, sent)
  const error = Result.isFailure(result) ? result.failure : undefined
  if (error === undefined) {
    assert.strictEqual(call.ending, "ok")
    assert.strictEqual(got.length, sent.length, "a part of the responses was taken for all")
  } else if (error instanceof GrpcError.GrpcError && error.reason._tag === "NotFound") {
    assert.strictEqual(call.ending, "NotFound")
    assert.strictEqual(got.length, call.kind === "Up" ? 0 : sent.length, "responses got lost before the error")
  } else {
    assert(cut !== undefined, `failed without a cut: ${error.message}`)
    if (error instanceof DialError) assert.deepStrictEqual(got, [])
    else {
      assert(error instanceof GrpcError.GrpcError, error.message)
      assert.include(statuses[cut], error.reason._tag)
    }
  }
}

/** Makes a call over a connection that is cut, and another one when that is over. */
const overCut = (call: typeof Call.Type, trouble: typeof TroubleOverTls.Type, path: keyof typeof setup) =>
  Effect.gen(function*() {
    const network = yield* TestNetwork.TestNetwork
    const { handlings, service } = serviceOf(call)
    yield* server({
      host: "server",
      port: 443,
      services: [service],
      keepAlive: { interval: "10 seconds", timeout: "5 seconds", clientInterval: "1 second" },
      ...(path === "tls" ? { tls } : {})
    })
    const { kind, toServer } = trouble
    const cut = kind === "none" ? undefined : cutting(kind, toServer, offsetOf(trouble, call, path))
    const calls = Effect.gen(function*() {
      const faults = yield* Scope.make()
      if (cut !== undefined) yield* Scope.provide(network.rule(cut.rule), faults)
      const channel = yield* Grpc.Grpc.use((grpc) =>
        grpc.connect({
          url: `${path === "tls" ? "https" : "http"}://server:443`,
          schema,
          lazy: trouble.lazy,
          keepAlive: trouble.keepAlive ? { interval: "10 seconds", timeout: "5 seconds" } : false,
          ...(path === "tls" ? { tls: { ca } } : {})
        })
      )
      const first = yield* make(channel, call)
      yield* Scope.close(faults, Exit.void)
      // what has happened to the connection is known by then
      yield* Effect.sleep("1 second")
      return [first, yield* make(channel, call, true)] as const
    })
    const result = yield* Effect.result(network.run(calls.pipe(Effect.scoped, Effect.provide(Grpc.layer))))
    // the server hears of its end a bit later
    yield* network.run(Effect.sleep("1 second"))

    for (const { complete, exit, got } of handlings) {
      assertPrefix(got, call.kind === "Down" ? [piece(0, 5)] : pieces(call.requests))
      if (complete) assert.strictEqual(got.length, call.requests.length, "a part of the requests was taken for all")
      assert.isDefined(exit, "a handler goes on")
    }
    const happened = kind !== "none" && cut?.happened() === true ? kind : undefined
    if (Result.isFailure(result)) {
      assert(happened !== undefined && result.failure instanceof DialError, result.failure.message)
    } else {
      const [first, second] = result.success
      if (happened === undefined) assert.lengthOf(handlings, 2)
      assertOutcome(first, call, happened)
      // where one bit is wrong, TLS can wait for bytes that nobody has sent, and find out with the second call
      assertOutcome(second, call, happened === "corrupt" ? happened : undefined)
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(TestNetwork.layer({ defaults: { fragment: trouble.fragment, latency: trouble.latency } }))
  )

describe("gRPC streams", () => {
  it.effect.prop(
    "give the first messages and then one error, wherever the connection is cut",
    { call: Call, trouble: Trouble },
    ({ call, trouble }) => overCut(call, trouble, "plain"),
    seeded(1000)
  )

  it.effect.prop(
    "give the first messages and then one error, wherever the connection is cut or changed under TLS",
    { call: Call, trouble: TroubleOverTls },
    ({ call, trouble }) => overCut(call, trouble, "tls"),
    seeded(300)
  )
})
