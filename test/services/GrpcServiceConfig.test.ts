import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcServiceConfig from "../../src/services/GrpcServiceConfig.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { grpcPeer, talkSchema } from "../support/grpcPeer.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"

const Live = () => TestNetwork.layer()

const started = Effect.fnUntraced(function*(serviceConfig: GrpcServiceConfig.ServiceConfig) {
  const peer = yield* grpcPeer({ host: "talk", port: 1 })
  const grpc = yield* Grpc.Grpc
  const channel = yield* grpc.connect({ url: peer.url, schema: talkSchema, keepAlive: false, serviceConfig })
  return { ...peer, channel }
}, Effect.provide(Grpc.layer))

const retry: GrpcServiceConfig.RetryPolicy = {
  maxAttempts: 3,
  initialBackoff: "1 second",
  maxBackoff: "10 seconds",
  backoffMultiplier: 4,
  retryableStatuses: ["Unavailable", "ResourceExhausted"]
}

const config = (more: Partial<GrpcServiceConfig.MethodConfig>, names = ["test.Talk"]) => ({
  methods: [{ names, ...more }]
})

/** Some turns of the event loop, in which a call that is not held back would arrive. */
const while20 = Effect.gen(function*() {
  for (let i = 0; i < 20; i++) yield* turn
})

/** Lets bytes move, then turns the clock. */
const later = (duration: `${number} millis` | `${number} seconds`) =>
  Effect.andThen(while20, Effect.andThen(TestClock.adjust(duration), while20))

const unavailable = 14

describe("GrpcServiceConfig", () => {
  it.effect("retries, each time after a longer wait, and says how often it has tried", () =>
    Effect.gen(function*() {
      const { asked, channel, nextCall } = yield* started(config({ retry }))
      const reply = yield* Effect.forkChild(channel.unary("test.Talk/Ask", { text: "?" }))
      const first = yield* nextCall
      assert.isUndefined(first.headers["grpc-previous-rpc-attempts"])
      first.end(unavailable)
      yield* later("799 millis")
      assert.strictEqual(asked.messages.length, 0)
      yield* later("401 millis")
      const second = yield* nextCall
      assert.strictEqual(second.headers["grpc-previous-rpc-attempts"], "1")
      second.end(8)
      yield* later("3199 millis")
      assert.strictEqual(asked.messages.length, 0)
      yield* later("1601 millis")
      const third = yield* nextCall
      assert.deepStrictEqual(yield* third.messages(1), ["?"])
      third.answer("!")
      assert.deepStrictEqual(yield* Fiber.join(reply), { text: "!" })
    }).pipe(Effect.provide(Live())))

  it.effect("fails as the last attempt did when there are no more", () =>
    Effect.gen(function*() {
      const { asked, channel, nextCall } = yield* started(config({ retry }))
      const reply = yield* Effect.forkChild(Effect.flip(channel.unary("test.Talk/Ask", {})))
      for (let attempt = 1; attempt <= 3; attempt++) {
        ;(yield* nextCall).end(unavailable, { "grpc-message": `attempt ${attempt}` })
        yield* later("20 seconds")
      }
      assert.strictEqual((yield* Fiber.join(reply)).message, "test.Talk/Ask: Unavailable: attempt 3")
      assert.strictEqual(asked.messages.length, 0)
    }).pipe(Effect.provide(Live())))

  it.effect("does not retry other statuses, other methods, or what has been answered with headers", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started(config({ retry }, ["test.Talk/Ask", "test.Talk/Listen"]))
      const denied = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {})))
      ;(yield* nextCall).end(7)
      assert.strictEqual((yield* Fiber.join(denied))["_tag"], "PermissionDenied")
      const other = yield* Effect.forkChild(reasonOf(channel.clientStream("test.Talk/Tell", Stream.empty)))
      ;(yield* nextCall).end(unavailable)
      assert.strictEqual((yield* Fiber.join(other))["_tag"], "Unavailable")
      const begun = yield* Effect.forkChild(reasonOf(Stream.runDrain(channel.serverStream("test.Talk/Listen", {}))))
      const call = yield* nextCall
      call.say("one")
      call.end(unavailable)
      assert.strictEqual((yield* Fiber.join(begun))["_tag"], "Unavailable")
    }).pipe(Effect.provide(Live())))

  it.effect("sends a stream of requests again from its beginning, and what comes meanwhile", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started(config({ retry }))
      const chat = yield* channel.open("test.Talk/Chat")
      yield* chat.send({ text: "a" })
      const first = yield* nextCall
      yield* first.messages(1)
      first.end(unavailable)
      yield* while20
      yield* chat.send({ text: "b" }).pipe(Effect.forkChild({ startImmediately: true }))
      yield* later("2 seconds")
      const second = yield* nextCall
      assert.deepStrictEqual(yield* second.messages(2), ["a", "b"])
      yield* chat.completeSend
      yield* second.halfClosed
      second.answer("c")
      assert.deepStrictEqual(yield* Stream.runCollect(chat.messages), [{ text: "c" }])
    }).pipe(Effect.provide(Live())))

  it.effect("does as the server says of when to try again, and whether", () =>
    Effect.gen(function*() {
      const { asked, channel, nextCall } = yield* started(config({ retry }))
      const reply = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {})))
      ;(yield* nextCall).end(unavailable, { "grpc-retry-pushback-ms": "100" })
      yield* later("99 millis")
      assert.strictEqual(asked.messages.length, 0)
      yield* later("1 millis")
      ;(yield* nextCall).end(unavailable, { "grpc-retry-pushback-ms": "-1" })
      assert.strictEqual((yield* Fiber.join(reply))["_tag"], "Unavailable")
    }).pipe(Effect.provide(Live())))

  it.effect("stops a call that waits for its next attempt when it is interrupted, or out of time", () =>
    Effect.gen(function*() {
      const { asked, channel, nextCall } = yield* started(config({ retry }))
      const reply = yield* Effect.forkChild(channel.unary("test.Talk/Ask", {}))
      ;(yield* nextCall).end(unavailable)
      yield* while20
      yield* Fiber.interrupt(reply)
      const late = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {}, { timeout: "500 millis" })))
      ;(yield* nextCall).end(unavailable)
      yield* later("500 millis")
      assert.strictEqual((yield* Fiber.join(late))["_tag"], "DeadlineExceeded")
      yield* later("20 seconds")
      assert.strictEqual(asked.messages.length, 0)
    }).pipe(Effect.provide(Live())))

  it.effect("retries no more when too much fails", () =>
    Effect.gen(function*() {
      const { asked, channel, nextCall } = yield* started({
        ...config({ retry: { ...retry, maxAttempts: 2 } }),
        retryThrottling: { maxTokens: 4, tokenRatio: 1 }
      })
      const fails = Effect.gen(function*() {
        const reply = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {})))
        let attempts = 0
        while (reply.pollUnsafe() === undefined) {
          if (asked.messages.length > 0) {
            attempts++
            ;(yield* nextCall).end(unavailable)
          }
          yield* later("2 seconds")
        }
        return attempts
      })
      assert.strictEqual(yield* fails, 2)
      assert.strictEqual(yield* fails, 1)
      assert.strictEqual(yield* fails, 1)
      for (let good = 0; good < 4; good++) {
        const reply = yield* Effect.forkChild(channel.unary("test.Talk/Ask", {}))
        ;(yield* nextCall).answer("yes")
        yield* Fiber.join(reply)
      }
      assert.strictEqual(yield* fails, 2)
    }).pipe(Effect.provide(Live())))

  const hedging = { maxAttempts: 3, hedgingDelay: "1 second", nonFatalStatuses: ["Unavailable"] } as const

  it.effect("hedges: makes the call again beside itself and takes the first good answer", () =>
    Effect.gen(function*() {
      const { asked, channel, nextCall } = yield* started(config({ hedging }))
      const reply = yield* Effect.forkChild(channel.unary("test.Talk/Ask", { text: "?" }))
      const slow = yield* nextCall
      yield* later("999 millis")
      assert.strictEqual(asked.messages.length, 0)
      yield* later("1 millis")
      const quick = yield* nextCall
      assert.deepStrictEqual(yield* quick.messages(1), ["?"])
      quick.answer("!")
      assert.deepStrictEqual(yield* Fiber.join(reply), { text: "!" })
      yield* slow.closed
      yield* later("20 seconds")
      assert.strictEqual(asked.messages.length, 0)
    }).pipe(Effect.provide(Live())))

  it.effect("makes the next hedge at once when one fails, and fails when all have", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started(config({ hedging }))
      const reply = yield* Effect.forkChild(Effect.flip(channel.unary("test.Talk/Ask", {})))
      for (let attempt = 1; attempt <= 3; attempt++) {
        ;(yield* nextCall).end(unavailable, { "grpc-message": `attempt ${attempt}` })
        yield* later("1 millis")
      }
      assert.strictEqual((yield* Fiber.join(reply)).message, "test.Talk/Ask: Unavailable: attempt 3")
    }).pipe(Effect.provide(Live())))

  it.effect("waits for the hedges that are under way when one fails", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started(config({ hedging: { ...hedging, maxAttempts: 2 } }))
      const reply = yield* Effect.forkChild(channel.unary("test.Talk/Ask", {}))
      const first = yield* nextCall
      yield* later("1 seconds")
      const second = yield* nextCall
      second.end(unavailable)
      yield* while20
      first.answer("here")
      assert.deepStrictEqual(yield* Fiber.join(reply), { text: "here" })
    }).pipe(Effect.provide(Live())))

  it.effect("ends a hedged call at a status that is fatal", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started(config({ hedging }))
      const reply = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {})))
      const first = yield* nextCall
      yield* later("1 seconds")
      ;(yield* nextCall).end(7)
      assert.strictEqual((yield* Fiber.join(reply))["_tag"], "PermissionDenied")
      yield* first.closed
    }).pipe(Effect.provide(Live())))

  it.effect("sets timeouts and limits by method, the more exact name first", () =>
    Effect.gen(function*() {
      const { channel, nextCall } = yield* started({
        methods: [
          { names: [""], maxRequestSize: 3 },
          { names: ["test.Talk"], timeout: "1 minute" },
          { names: ["test.Talk/Ask"], timeout: "2 seconds", maxRequestSize: 20, maxResponseSize: 10 }
        ]
      })
      const short = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {})))
      assert.strictEqual((yield* nextCall).headers["grpc-timeout"], "2000m")
      yield* later("2 seconds")
      assert.strictEqual((yield* Fiber.join(short))["_tag"], "DeadlineExceeded")
      const shorter = yield* Effect.forkChild(channel.unary("test.Talk/Ask", {}, { timeout: "1 second" }))
      assert.strictEqual((yield* nextCall).headers["grpc-timeout"], "1000m")
      yield* Fiber.interrupt(shorter)
      const long = yield* Effect.forkChild(Stream.runDrain(channel.serverStream("test.Talk/Listen", {})))
      assert.strictEqual((yield* nextCall).headers["grpc-timeout"], "60000m")
      yield* Fiber.interrupt(long)
      const large = yield* reasonOf(channel.unary("test.Talk/Ask", { text: "x".repeat(30) }))
      assert.strictEqual(large["_tag"], "ResourceExhausted")
      const answered = yield* Effect.forkChild(reasonOf(channel.unary("test.Talk/Ask", {})))
      ;(yield* nextCall).answer("x".repeat(30))
      assert.strictEqual((yield* Fiber.join(answered))["_tag"], "ResourceExhausted")
    }).pipe(Effect.provide(Live())))

  it.effect("understands the JSON form", () =>
    Effect.gen(function*() {
      const json = {
        loadBalancingConfig: [{ round_robin: {} }],
        methodConfig: [
          {
            name: [{ service: "a.B", method: "C" }, { service: "a.D" }, {}],
            timeout: "1.5s",
            waitForReady: true,
            maxRequestMessageBytes: 10,
            retryPolicy: {
              maxAttempts: 4,
              initialBackoff: "0.1s",
              maxBackoff: "1s",
              backoffMultiplier: 2,
              retryableStatusCodes: ["UNAVAILABLE", "resource_exhausted", 4]
            }
          },
          { name: [{ service: "a.E" }], hedgingPolicy: { maxAttempts: 3, nonFatalStatusCodes: ["ABORTED"] } }
        ],
        retryThrottling: { maxTokens: 10, tokenRatio: 0.1 }
      }
      const parsed = yield* GrpcServiceConfig.fromJson(JSON.stringify(json))
      assert.deepStrictEqual(parsed, yield* GrpcServiceConfig.fromJson(json))
      const [first, second] = parsed.methods ?? []
      assert.deepStrictEqual(first?.names, ["a.B/C", "a.D", ""])
      assert.deepStrictEqual(first?.retry?.retryableStatuses, ["Unavailable", "ResourceExhausted", "DeadlineExceeded"])
      assert.strictEqual(first?.waitForReady, true)
      assert.deepStrictEqual(second?.hedging?.nonFatalStatuses, ["Aborted"])
      assert.deepStrictEqual(parsed.retryThrottling, { maxTokens: 10, tokenRatio: 0.1 })
    }))

  it.effect("refuses JSON that makes no sense", () =>
    Effect.gen(function*() {
      const retryPolicy = {
        maxAttempts: 2,
        initialBackoff: "1s",
        maxBackoff: "1s",
        backoffMultiplier: 1,
        retryableStatusCodes: ["UNAVAILABLE"]
      }
      const bad = [
        "{",
        { methodConfig: [{ timeout: "soon" }] },
        { methodConfig: [{ retryPolicy: { ...retryPolicy, maxAttempts: 1 } }] },
        { methodConfig: [{ retryPolicy: { ...retryPolicy, retryableStatusCodes: [] } }] },
        { methodConfig: [{ retryPolicy: { ...retryPolicy, retryableStatusCodes: ["NOPE"] } }] },
        { retryThrottling: { maxTokens: 0, tokenRatio: 1 } }
      ]
      for (const json of bad) {
        const error = yield* Effect.flip(GrpcServiceConfig.fromJson(json))
        assert.strictEqual(error._tag, "SchemaError")
      }
    }))
})
