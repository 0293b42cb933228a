import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import * as Zlib from "node:zlib"
import { GrpcError, Unauthenticated } from "../../src/errors/GrpcError.ts"
import { CurrentDeadline } from "../../src/internal/grpc/deadline.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { grpcPeer, talkSchema } from "../support/grpcPeer.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"

const started = (options: Partial<Grpc.ConnectOptions> = {}) =>
  Effect.gen(function*() {
    const peer = yield* grpcPeer({ host: "talk", port: 1 })
    const grpc = yield* Grpc.Grpc
    const channel = yield* grpc.connect({ url: peer.url, schema: talkSchema, keepAlive: false, ...options })
    return { ...peer, channel }
  }).pipe(Effect.provide(Grpc.layer))

const ask = "test.Talk/Ask"

const Live = () => TestNetwork.layer()

describe("GrpcChannel calls", () => {
  describe("metadata", () => {
    it.effect("comes from the channel, its replacement, the credentials and the call", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started({
          metadata: { "x-from": "connect", "x-old": "1" },
          credentials: ({ method }) => Effect.succeed({ authorization: Redacted.make(`token for ${method}`) })
        })
        const headersOf = (call: Effect.Effect<unknown, unknown>) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(call)
            const peer = yield* nextCall
            peer.answer("yes")
            yield* Fiber.join(fiber)
            return peer.headers
          })
        const first = yield* headersOf(
          channel.unary(ask, {}, { metadata: { "X-From": ["call", "twice"], "x-data-bin": new Uint8Array([255, 0]) } })
        )
        assert.strictEqual(first["x-from"], "connect, call, twice")
        assert.strictEqual(first["x-old"], "1")
        assert.strictEqual(first["x-data-bin"], "/wA")
        assert.strictEqual(first.authorization, `token for ${ask}`)
        yield* channel.setMetadata({ "x-from": "later" })
        const second = yield* headersOf(channel.unary(ask, {}))
        assert.strictEqual(second["x-from"], "later")
        assert.isUndefined(second["x-old"])
      }).pipe(Effect.provide(Live())))

    it.effect("is refused by name where it cannot be sent, without its value", () =>
      Effect.gen(function*() {
        const { channel } = yield* started()
        const bad = {
          "x-new\nline": "a",
          "x-control": "a\u0007",
          "x-space": " a",
          "grpc-timeout": "1S",
          te: "trailers",
          ":path": "/",
          "x-bytes": new Uint8Array(1),
          "x-text-bin": "text",
          authorization: ["a", "b"]
        }
        for (const [name, value] of Object.entries(bad)) {
          const reason = yield* reasonOf(channel.unary(ask, {}, { metadata: { [name]: value } }))
          assert.deepStrictEqual([reason["_tag"], reason["path"]], ["WrongType", `metadata.${name}`])
          assert.strictEqual(reason["got"], "something else")
          assert.strictEqual((yield* reasonOf(channel.setMetadata({ [name]: value })))["_tag"], "WrongType")
        }
      }).pipe(Effect.provide(Live())))

    it.effect("fails a call with the error of its credentials", () =>
      Effect.gen(function*() {
        const error = new GrpcError({ method: ask, reason: new Unauthenticated({ message: "no token" }) })
        const { asked, channel } = yield* started({ credentials: () => Effect.fail(error) })
        assert.strictEqual(yield* Effect.flip(channel.unary(ask, {})), error)
        assert.strictEqual(yield* Effect.flip(Stream.runDrain(channel.bidi("test.Talk/Chat", Stream.never))), error)
        assert.strictEqual(asked.messages.length, 0)
      }).pipe(Effect.provide(Live())))

    it.effect("does not wait for credentials longer than for the call", () =>
      Effect.gen(function*() {
        const { channel } = yield* started({ credentials: () => Effect.never })
        const call = yield* Effect.forkChild(reasonOf(channel.unary(ask, {}, { timeout: "1 second" })))
        yield* turn
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(call))["_tag"], "DeadlineExceeded")
      }).pipe(Effect.provide(Live())))
  })

  describe("deadlines", () => {
    it.effect("are inherited from the call that is being handled, the earlier one counts", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started()
        const timeoutOf = (call: Effect.Effect<unknown, unknown>) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(call)
            const { headers } = yield* nextCall
            yield* Fiber.interrupt(fiber)
            return headers["grpc-timeout"]
          })
        const within = Effect.provideService(CurrentDeadline, (yield* Clock.currentTimeMillis) + 5000)
        assert.isUndefined(yield* timeoutOf(channel.unary(ask, {})))
        assert.strictEqual(yield* timeoutOf(within(channel.unary(ask, {}))), "5000m")
        assert.strictEqual(yield* timeoutOf(within(channel.unary(ask, {}, { timeout: "1 second" }))), "1000m")
        assert.strictEqual(yield* timeoutOf(within(channel.unary(ask, {}, { timeout: "1 minute" }))), "5000m")
        const stream = Stream.runDrain(channel.serverStream("test.Talk/Listen", {}, { timeout: "1 minute" }))
        assert.strictEqual(yield* timeoutOf(within(stream)), "5000m")
      }).pipe(Effect.provide(Live())))

    it.effect("that have passed fail a call before it goes out", () =>
      Effect.gen(function*() {
        const { asked, channel } = yield* started()
        const past = Effect.provideService(CurrentDeadline, (yield* Clock.currentTimeMillis) - 1)
        assert.strictEqual((yield* reasonOf(past(channel.unary(ask, {}))))["_tag"], "DeadlineExceeded")
        const zero = channel.clientStream("test.Talk/Tell", Stream.never, { timeout: 0 })
        assert.strictEqual((yield* reasonOf(zero))["_tag"], "DeadlineExceeded")
        yield* turn
        assert.strictEqual(asked.messages.length, 0)
      }).pipe(Effect.provide(Live())))
  })

  describe("compression", () => {
    it.effect("is told in the headers and done to the messages", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started()
        for (const compression of ["gzip", "deflate"] as const) {
          const fiber = yield* Effect.forkChild(channel.unary(ask, { text: "x".repeat(100) }, { compression }))
          const call = yield* nextCall
          assert.strictEqual(call.headers["grpc-encoding"], compression)
          assert.strictEqual(call.headers["grpc-accept-encoding"], "identity,deflate,gzip")
          yield* call.halfClosed
          const [message] = call.raw
          assert(message?.compressed === true)
          const unpacked = compression === "gzip" ? Zlib.gunzipSync(message.bytes) : Zlib.inflateSync(message.bytes)
          assert.strictEqual(unpacked.subarray(2).toString(), "x".repeat(100))
          call.answer("yes")
          yield* Fiber.join(fiber)
        }
      }).pipe(Effect.provide(Live())))

    it.effect("of answers is undone, message by message, up to the limit", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started({ maxReceiveSize: 1000 })
        const answered = (encoding: string | undefined, ...messages: ReadonlyArray<readonly [number, Uint8Array]>) =>
          Effect.gen(function*() {
            const got: Array<unknown> = []
            const fiber = yield* channel.serverStream("test.Talk/Listen", {}).pipe(
              Stream.runForEach(({ text }) => Effect.sync(() => got.push(text))),
              Effect.catch((error) => Effect.sync(() => got.push(error.reason._tag))),
              Effect.forkChild
            )
            const call = yield* nextCall
            call.respond(encoding === undefined ? {} : { "grpc-encoding": encoding })
            for (const [flags, bytes] of messages) {
              const prefix = Buffer.from([flags, 0, 0, 0, 0])
              prefix.writeUInt32BE(bytes.length, 1)
              call.stream.write(Buffer.concat([prefix, bytes]))
            }
            call.end(0)
            yield* Fiber.join(fiber)
            return got
          })
        const text = (letter: string, length: number) =>
          Buffer.concat([Buffer.from([10, 0x80 | (length & 127), length >> 7]), Buffer.from(letter.repeat(length))])
        const a = text("a", 300)
        const b = text("b", 300)
        assert.deepStrictEqual(
          yield* answered("gzip", [1, Zlib.gzipSync(a)], [0, b], [1, Zlib.gzipSync(b)]),
          ["a".repeat(300), "b".repeat(300), "b".repeat(300)]
        )
        assert.deepStrictEqual(yield* answered("deflate", [1, Zlib.deflateSync(a)]), ["a".repeat(300)])
        // a small message that would become a large one
        assert.deepStrictEqual(yield* answered("gzip", [0, b], [1, Zlib.gzipSync(text("c", 5000))]), [
          "b".repeat(300),
          "ResourceExhausted"
        ])
        assert.deepStrictEqual(yield* answered("gzip", [1, Buffer.from("no gzip")]), ["Internal"])
        assert.deepStrictEqual(yield* answered(undefined, [1, Zlib.gzipSync(a)]), ["Internal"])
        assert.deepStrictEqual(yield* answered("br"), ["Internal"])
        assert.deepStrictEqual(yield* answered("gzip", [2, a]), ["Internal"])
      }).pipe(Effect.provide(Live())))

    it.effect("can be left out of single messages", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started({ compression: "gzip" })
        const tell = yield* channel.open("test.Talk/Tell")
        yield* tell.send({ text: "packed" })
        yield* tell.send({ text: "plain" }, { compress: false })
        yield* tell.completeSend
        const call = yield* nextCall
        yield* call.halfClosed
        assert.deepStrictEqual(call.raw.map(({ compressed }) => compressed), [true, false])
      }).pipe(Effect.provide(Live())))
  })

  describe("answers that are not gRPC", () => {
    it.effect("have the status that gRPC says for them", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started()
        const reasonFor = (headers: Record<string, string | number>) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(Effect.flip(channel.unary(ask, {})))
            const { stream } = yield* nextCall
            stream.respond(headers)
            stream.end("<html>")
            const error = yield* Fiber.join(fiber)
            return error.reason._tag
          })
        const html = { "content-type": "text/html" }
        assert.strictEqual(yield* reasonFor({ ":status": 404, ...html }), "Unimplemented")
        assert.strictEqual(yield* reasonFor({ ":status": 401, ...html }), "Unauthenticated")
        assert.strictEqual(yield* reasonFor({ ":status": 403, ...html }), "PermissionDenied")
        assert.strictEqual(yield* reasonFor({ ":status": 503, ...html }), "Unavailable")
        assert.strictEqual(yield* reasonFor({ ":status": 400, ...html }), "Internal")
        assert.strictEqual(yield* reasonFor({ ":status": 500, ...html }), "Unknown")
        assert.strictEqual(yield* reasonFor({ ":status": 200, ...html }), "Unknown")
        assert.strictEqual(yield* reasonFor({ ":status": 200, "content-type": "application/grpc" }), "Internal")
      }).pipe(Effect.provide(Live())))
  })

  describe("middleware", () => {
    it.effect("wraps calls of all kinds, the first outermost", () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const logging = (name: string): NonNullable<Grpc.ConnectOptions["middleware"]>[number] => ({
          effect: (call, { method }) =>
            Effect.ensuring(
              Effect.andThen(Effect.sync(() => log.push(`${name} ${method}`)), call),
              Effect.sync(() => log.push(`${name} done`))
            ),
          stream: (responses, { kind }) =>
            Stream.ensuring(
              Stream.concat(Stream.drain(Stream.sync(() => log.push(`${name} ${kind}`))), responses),
              Effect.sync(() => log.push(`${name} done`))
            )
        })
        const { channel, nextCall } = yield* started({ middleware: [logging("outer"), {}, logging("inner")] })
        const run = (call: Effect.Effect<unknown, unknown>) =>
          Effect.gen(function*() {
            log.length = 0
            const fiber = yield* Effect.forkChild(call)
            ;(yield* nextCall).answer("yes")
            yield* Fiber.join(fiber)
            return [...log]
          })
        const around = (what: string) => [`outer ${what}`, `inner ${what}`, "inner done", "outer done"]
        assert.deepStrictEqual(yield* run(channel.unary(ask, {})), around(ask))
        assert.deepStrictEqual(
          yield* run(channel.clientStream("test.Talk/Tell", Stream.empty)),
          around("test.Talk/Tell")
        )
        assert.deepStrictEqual(
          yield* run(Stream.runDrain(channel.serverStream("test.Talk/Listen", {}))),
          around("serverStream")
        )
        assert.deepStrictEqual(
          yield* run(Stream.runDrain(channel.bidi("test.Talk/Chat", Stream.empty))),
          around("bidi")
        )
      }).pipe(Effect.provide(Live())))

    it.effect("can answer a call itself, retry it, or turn its error into another", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started({
          middleware: [{ effect: (call) => Effect.retry(call, { times: 1 }) }]
        })
        const fiber = yield* Effect.forkChild(channel.unary(ask, {}))
        ;(yield* nextCall).end(13)
        ;(yield* nextCall).answer("second")
        assert.deepStrictEqual(yield* Fiber.join(fiber), { text: "second" })
      }).pipe(Effect.provide(Live())))
  })

  describe("observability", () => {
    /** A tracer that keeps the spans it made. */
    const recording = () => {
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span(options) {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      return { spans, tracer }
    }

    it.effect("makes a span of each call by OpenTelemetry's conventions, and tells the server of it", () =>
      Effect.gen(function*() {
        const { channel, nextCall, target } = yield* started()
        const { spans, tracer } = recording()
        const traced = Effect.withTracer(tracer)
        const call = yield* Effect.forkChild(traced(Effect.ignore(channel.unary(ask, {}))))
        const seen = yield* nextCall
        seen.end(5)
        yield* Fiber.join(call)
        const [span] = spans
        assert(span !== undefined)
        assert.strictEqual(span.name, ask)
        assert.strictEqual(span.kind, "client")
        assert.deepStrictEqual(Object.fromEntries(span.attributes), {
          "rpc.system": "grpc",
          "rpc.service": "test.Talk",
          "rpc.method": "Ask",
          "server.address": target,
          "rpc.grpc.status_code": 5
        })
        assert.strictEqual(seen.headers["traceparent"], `00-${span.traceId}-${span.spanId}-01`)
        const stream = yield* Effect.forkChild(traced(Stream.runDrain(channel.serverStream("test.Talk/Listen", {}))))
        const listened = yield* nextCall
        listened.answer("hello")
        yield* Fiber.join(stream)
        const second = spans.at(-1)
        assert(second !== undefined)
        assert.strictEqual(second.name, "test.Talk/Listen")
        assert.strictEqual(second.status._tag, "Ended")
        assert.strictEqual(second.attributes.get("rpc.grpc.status_code"), 0)
        assert.strictEqual(listened.headers["traceparent"], `00-${second.traceId}-${second.spanId}-01`)
      }).pipe(Effect.provide(Live())))

    it.effect("says nothing of traces where nobody collects them", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started()
        const call = yield* Effect.forkChild(Effect.withSpan(channel.unary(ask, {}), "mine"))
        const seen = yield* nextCall
        seen.answer("yes")
        yield* Fiber.join(call)
        assert.isUndefined(seen.headers["traceparent"])
      }).pipe(Effect.provide(Live())))

    it.effect("counts calls that started, how they ended, how long they took, and messages", () =>
      Effect.gen(function*() {
        const { channel, nextCall } = yield* started()
        const fiber = yield* Effect.forkChild(channel.clientStream("test.Talk/Tell", Stream.make({}, {})))
        const call = yield* nextCall
        yield* call.halfClosed
        yield* TestClock.adjust("3 seconds")
        call.answer("thanks")
        yield* Fiber.join(fiber)
        const failed = yield* Effect.forkChild(Effect.flip(channel.unary(ask, {})))
        ;(yield* nextCall).end(5)
        yield* Fiber.join(failed)
        const interrupted = yield* Effect.forkChild(channel.unary(ask, {}))
        yield* nextCall
        yield* Fiber.interrupt(interrupted)
        yield* Effect.flip(channel.unary(ask, { text: "too large" }, { maxSendSize: 5 }))
        const counted = (yield* Metric.snapshot)
          .filter(({ id }) => id.startsWith("hawser_grpc_client_") && id.endsWith("_total"))
          .map(({ attributes, id, state }) =>
            [
              id.slice("hawser_grpc_client_".length),
              ...Object.values(attributes ?? {}),
              "count" in state ? Number(state.count) : undefined
            ].join(" ")
          )
          .toSorted()
        assert.deepStrictEqual(counted, [
          "completed_total test.Talk/Ask Cancelled 1",
          "completed_total test.Talk/Ask NotFound 1",
          "completed_total test.Talk/Ask ResourceExhausted 1",
          "completed_total test.Talk/Tell OK 1",
          "messages_total test.Talk/Ask sent 2",
          "messages_total test.Talk/Tell received 1",
          "messages_total test.Talk/Tell sent 2",
          "started_total test.Talk/Ask 3",
          "started_total test.Talk/Tell 1"
        ])
      }).pipe(
        Effect.provideService(Metric.MetricRegistry, new Map()),
        Effect.provide(Live())
      ))
  })
})
