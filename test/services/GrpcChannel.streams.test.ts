import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http2 from "node:http2"
import type * as Grpc from "../../src/services/Grpc.ts"
import { connect as connectTo } from "../support/grpc.ts"
import { grpcPeer, talkSchema } from "../support/grpcPeer.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM } = Http2.constants

const started = Effect.fnUntraced(function*(options: Partial<Grpc.ConnectOptions> = {}) {
  const peer = yield* grpcPeer()
  const channel = yield* connectTo(peer.url, { schema: talkSchema, ...options })
  return { ...peer, channel }
})

const texts = (...all: ReadonlyArray<string>) => Stream.fromIterable(all.map((text) => ({ text })))

const textsOf = <E, R>(stream: Stream.Stream<{ readonly [field: string]: unknown }, E, R>) =>
  Stream.runCollect(Stream.map(stream, ({ text }) => text))

describeOnNetworks("GrpcChannel streams", (test) => {
  test("sends a stream of requests and gives the one response", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const reply = yield* Effect.forkChild(channel.clientStream("test.Talk/Tell", texts("a", "b", "c")))
      const call = yield* nextCall
      yield* call.halfClosed
      assert.deepStrictEqual(call.received, ["a", "b", "c"])
      call.answer("thanks")
      assert.deepStrictEqual(yield* Fiber.join(reply), { text: "thanks" })
    }))

  test("sends and receives in a bidirectional stream, each at its own pace", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const go = yield* Deferred.make<void>()
      const requests = Stream.concat(texts("first"), Stream.fromEffect(Effect.as(Deferred.await(go), { text: "last" })))
      const replies = yield* Effect.forkChild(
        textsOf(Stream.tap(channel.bidi("test.Talk/Chat", requests), ({ text }) =>
          text === "go on" ? Deferred.succeed(go, undefined) : Effect.void))
      )
      const call = yield* nextCall
      assert.deepStrictEqual(yield* call.messages(1), ["first"])
      call.say("go on")
      yield* call.halfClosed
      assert.deepStrictEqual(call.received, ["first", "last"])
      call.answer("done")
      assert.deepStrictEqual(yield* Fiber.join(replies), ["go on", "done"])
    }))

  test("fails with the error of the stream of requests, and cancels the call", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const failing = (gate: Deferred.Deferred<never, "no more ink">) =>
        Stream.concat(texts("a"), Stream.fromEffect(Deferred.await(gate)))
      for (
        const make of [
          (requests: ReturnType<typeof failing>) => channel.clientStream("test.Talk/Tell", requests),
          (requests: ReturnType<typeof failing>) => Stream.runDrain(channel.bidi("test.Talk/Chat", requests))
        ]
      ) {
        const gate = yield* Deferred.make<never, "no more ink">()
        const reply = yield* Effect.forkChild(Effect.flip(make(failing(gate))))
        const call = yield* nextCall
        yield* call.messages(1)
        yield* Deferred.fail(gate, "no more ink")
        assert.strictEqual(yield* Fiber.join(reply), "no more ink")
        assert.strictEqual(yield* call.closed, NGHTTP2_CANCEL)
        // a server must not take what was cut off for complete
        assert.isFalse(call.isComplete())
      }
    }))

  test("fails with what does not fit the schema, in the middle of a stream", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const gate = yield* Deferred.make<void>()
      const requests = Stream.concat(
        Stream.make({ text: "a" }),
        Stream.fromEffect(Effect.as(Deferred.await(gate), { txt: "b" }))
      )
      const reply = yield* Effect.forkChild(reasonOf(channel.clientStream("test.Talk/Tell", requests)))
      const call = yield* nextCall
      yield* call.messages(1)
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(reply))["_tag"], "UnknownField")
      assert.strictEqual(yield* call.closed, NGHTTP2_CANCEL)
    }))

  test("stops asking for requests when the server has answered early", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const stopped = yield* Deferred.make<void>()
      const endless = Stream.concat(texts("a"), Stream.never).pipe(
        Stream.ensuring(Deferred.succeed(stopped, undefined))
      )
      const reply = yield* Effect.forkChild(channel.clientStream("test.Talk/Tell", endless))
      const call = yield* nextCall
      yield* call.messages(1)
      call.answer("enough")
      assert.deepStrictEqual(yield* Fiber.join(reply), { text: "enough" })
      yield* Deferred.await(stopped)
      yield* call.closed
    }))

  test("holds requests back while the server does not read", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      let pulled = 0
      const text = "x".repeat(100)
      const requests = Stream.map(Stream.range(1, 1_000_000), () => {
        pulled++
        return { text }
      })
      const reply = yield* Effect.forkChild(channel.clientStream("test.Talk/Tell", requests))
      const call = yield* nextCall
      call.stream.pause()
      let last = -1
      for (let same = 0; same < 300; same++) {
        yield* turn
        if (pulled !== last) same = 0
        last = pulled
      }
      // windows and buffers hold a few hundred kilobytes, some of them twice
      assert.isBelow(pulled * text.length, 4 * 1024 * 1024)
      assert.isBelow(pulled, 1_000_000)
      call.end(0)
      yield* reasonOf(Fiber.join(reply))
    }))

  test("delivers the messages that came before an error, whatever the error is", () =>
    Effect.gen(function*() {
      const { channel, nextCall, sessions } = yield* started()
      const collect = Effect.gen(function*() {
        const got: Array<unknown> = []
        const hold = yield* Deferred.make<void>()
        const reader = yield* channel.serverStream("test.Talk/Listen", { text: "go" }).pipe(
          // one at a time, so that the error comes while messages still wait
          Stream.rechunk(1),
          Stream.tap(({ text }) => {
            got.push(text)
            return text === "first" ? Deferred.await(hold) : Effect.void
          }),
          Stream.runDrain,
          reasonOf,
          Effect.forkChild
        )
        return { got, hold, reader }
      })
      const says = (end: (call: Effect.Success<typeof nextCall>) => void) =>
        Effect.gen(function*() {
          const { got, hold, reader } = yield* collect
          const call = yield* nextCall
          yield* call.halfClosed
          call.say("first")
          while (got.length === 0) yield* turn
          call.say("second", "third")
          // what answers a ping has read all that came before it
          yield* call.ping
          end(call)
          yield* call.closed
          for (let i = 0; i < 50; i++) yield* turn
          yield* Deferred.succeed(hold, undefined)
          const reason = yield* Fiber.join(reader)
          assert.deepStrictEqual(got, ["first", "second", "third"])
          return reason["_tag"]
        })
      assert.strictEqual(yield* says((call) => call.end(5)), "NotFound")
      assert.strictEqual(yield* says((call) => call.stream.close(NGHTTP2_INTERNAL_ERROR)), "Internal")
      const goAway = () => {
        for (const session of sessions) session.destroy()
      }
      assert.strictEqual(yield* says(goAway), "Unavailable")
    }))

  test("delivers what flow control had let through before a reset, more than waits for a reader", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const listen = yield* channel.open("test.Talk/Listen")
      yield* listen.send({})
      yield* listen.completeSend
      const call = yield* nextCall
      const text = "x".repeat(100)
      call.say(...Array.from({ length: 1000 }, () => text))
      yield* call.ping
      call.stream.close(NGHTTP2_INTERNAL_ERROR)
      yield* call.closed
      yield* call.ping
      let got = 0
      const reason = yield* reasonOf(Stream.runForEach(listen.messages, () => Effect.sync(() => got++)))
      assert.strictEqual(reason["_tag"], "Internal")
      assert.strictEqual(got, 1000)
    }))

  test("is driven by hand: sends, receives, and says headers and trailers", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const chat = yield* channel.open("test.Talk/Chat", { metadata: { "x-who": "me" } })
      yield* chat.send({ text: "hello" })
      const call = yield* nextCall
      assert.strictEqual(call.headers["x-who"], "me")
      assert.deepStrictEqual(yield* call.messages(1), ["hello"])
      call.respond({ "x-room": "7" })
      assert.deepStrictEqual((yield* chat.headers).text["x-room"], ["7"])
      call.say("one", "two", "three")
      assert.deepStrictEqual(yield* chat.receive, Option.some({ text: "one" }))
      assert.deepStrictEqual(yield* chat.receive, Option.some({ text: "two" }))
      yield* chat.completeSend
      yield* call.halfClosed
      call.end(0, { "x-cost": "3" })
      assert.deepStrictEqual(yield* textsOf(chat.messages), ["three"])
      assert.deepStrictEqual(yield* chat.receive, Option.none())
      assert.deepStrictEqual((yield* chat.trailers).text["x-cost"], ["3"])
      yield* chat.send({ text: "too late" })
    }))

  test("loses no message to a receive that is interrupted", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const chat = yield* channel.open("test.Talk/Chat")
      const call = yield* nextCall
      const impatient = yield* Effect.forkChild(chat.receive, { startImmediately: true })
      yield* turn
      yield* Fiber.interrupt(impatient)
      call.say("kept")
      assert.deepStrictEqual(yield* chat.receive, Option.some({ text: "kept" }))
    }))

  test("cancels a call whose handle is closed, or whose scope is", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const chat = yield* channel.open("test.Talk/Chat")
      const first = yield* nextCall
      yield* chat.close
      assert.strictEqual(yield* first.closed, NGHTTP2_CANCEL)
      assert.strictEqual((yield* reasonOf(chat.receive))["_tag"], "Cancelled")
      const scope = yield* Scope.make()
      yield* Scope.provide(channel.open("test.Talk/Chat"), scope)
      const second = yield* nextCall
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* second.closed, NGHTTP2_CANCEL)
    }))

  test("cancels every kind of call on the wire when it is interrupted", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const calls = [
        channel.unary("test.Talk/Ask", {}),
        Stream.runDrain(channel.serverStream("test.Talk/Listen", {})),
        channel.clientStream("test.Talk/Tell", Stream.never),
        Stream.runDrain(channel.bidi("test.Talk/Chat", Stream.never))
      ]
      for (const effect of calls) {
        const fiber = yield* Effect.forkChild(effect)
        const call = yield* nextCall
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* call.closed, NGHTTP2_CANCEL)
      }
    }))

  test("tells headers before the first message, and trailers at the end", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const told: Array<string> = []
      const note = (what: string) => Effect.sync(() => void told.push(what))
      const fiber = yield* channel.serverStream("test.Talk/Listen", {}, {
        onHeaders: ({ text }) => note(`headers ${text["x-a"]?.[0]}`),
        onTrailers: ({ text }) => note(`trailers ${text["x-b"]?.[0]}`)
      }).pipe(Stream.runForEach(({ text }) => note(`message ${String(text)}`)), Effect.forkChild)
      const call = yield* nextCall
      call.respond({ "x-a": "1" })
      while (told.length === 0) yield* turn
      call.say("hello")
      while (told.length === 1) yield* turn
      call.end(0, { "x-b": "2" })
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(told, ["headers 1", "message hello", "trailers 2"])
    }))

  test("tells headers and trailers of a unary call, also of one that fails", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const told: Array<string> = []
      const options = {
        onHeaders: () => Effect.sync(() => void told.push("headers")),
        onTrailers: () => Effect.sync(() => void told.push("trailers"))
      }
      const good = yield* Effect.forkChild(channel.unary("test.Talk/Ask", {}, options))
      ;(yield* nextCall).answer("yes")
      yield* Fiber.join(good)
      const bad = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {}, options)))
      ;(yield* nextCall).end(7)
      yield* Fiber.join(bad)
      assert.deepStrictEqual(told, ["headers", "trailers", "trailers"])
    }))

  test("makes a call again, unseen by the caller, when the server refuses it unseen", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started()
      const unary = yield* Effect.forkChild(channel.unary("test.Talk/Ask", { text: "please" }))
      ;(yield* nextCall).stream.close(NGHTTP2_REFUSED_STREAM)
      const again = yield* nextCall
      assert.deepStrictEqual(yield* again.messages(1), ["please"])
      again.answer("all right")
      assert.deepStrictEqual(yield* Fiber.join(unary), { text: "all right" })
      const stream = yield* Effect.forkChild(channel.clientStream("test.Talk/Tell", texts("a", "b")))
      ;(yield* nextCall).stream.close(NGHTTP2_REFUSED_STREAM)
      const second = yield* nextCall
      assert.deepStrictEqual(yield* second.messages(2), ["a", "b"])
      second.answer("both")
      assert.deepStrictEqual(yield* Fiber.join(stream), { text: "both" })
      const refused = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {})))
      for (let i = 0; i < 4; i++) {
        const call = yield* Effect.raceFirst(nextCall, Effect.as(Fiber.await(refused), undefined))
        call?.stream.close(NGHTTP2_REFUSED_STREAM)
      }
      assert.strictEqual((yield* Fiber.join(refused))["_tag"], "Unavailable")
    }))

  test("refuses to send messages that are too large", () =>
    Effect.gen(function*() {
      const { channel } = yield* started({ maxSendSize: 10 })
      const large = { text: "x".repeat(20) }
      assert.strictEqual((yield* reasonOf(channel.unary("test.Talk/Ask", large)))["_tag"], "ResourceExhausted")
      const streamed = yield* reasonOf(channel.clientStream("test.Talk/Tell", Stream.make(large)))
      assert.strictEqual(streamed["_tag"], "ResourceExhausted")
    }))
})
