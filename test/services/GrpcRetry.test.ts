import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { DialError, NameNotFound, Refused } from "../../src/errors/DialError.ts"
import type { GrpcDetail } from "../../src/errors/GrpcDetail.ts"
import { GrpcError, type GrpcErrorReason, reasonFromCode, Unavailable } from "../../src/errors/GrpcError.ts"
import { GrpcSchemaError, UnknownMethod } from "../../src/errors/GrpcSchemaError.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcRetry from "../../src/services/GrpcRetry.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import { describeOnNetworks } from "../support/network.ts"

const failure = (code: number, options: {
  readonly pushback?: ReadonlyArray<string>
  readonly details?: ReadonlyArray<GrpcDetail>
} = {}) =>
  new GrpcError({
    method: "acme.Orders/Get",
    reason: reasonFromCode(
      code,
      "",
      { text: options.pushback === undefined ? {} : { "grpc-retry-pushback-ms": options.pushback }, binary: {} },
      options.details
    )
  })

const unavailable = 14

const retryInfo = (retryDelay: Duration.Input): GrpcDetail => ({
  _tag: "RetryInfo",
  retryDelay: Duration.fromInputUnsafe(retryDelay)
})

/** The pauses between the attempts of a call that fails in turn with these errors, the last one again and again. */
const pausesOf = Effect.fnUntraced(function*<E>(
  schedule: Schedule.Schedule<unknown>,
  errors: readonly [E, ...ReadonlyArray<E>]
) {
  const times: Array<number> = []
  const call = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const error = errors[Math.min(times.push(now), errors.length) - 1]
    return Effect.fail(error ?? errors[0])
  })
  const fiber = yield* Effect.forkChild(Effect.flip(Effect.retry(call, schedule)), { startImmediately: true })
  yield* TestClock.adjust("1 day")
  const error = yield* Fiber.join(fiber)
  return { pauses: times.slice(1).map((time, index) => time - times[index]!), error }
})

const unvaried = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  // half way between a fifth up and a fifth down
  Effect.provideService(effect, Random.Random, {
    nextIntUnsafe: () => 0,
    nextDoubleUnsafe: () => 0.5
  })

describe("GrpcRetry.schedule", () => {
  it.effect("makes five attempts, each pause twice as long as the one before", () =>
    Effect.gen(function*() {
      const { error, pauses } = yield* pausesOf(GrpcRetry.schedule(), [failure(unavailable)])
      assert.deepStrictEqual(pauses, [100, 200, 400, 800])
      assert.deepStrictEqual(error, failure(unavailable))
    }).pipe(unvaried))

  it.effect("takes its numbers from the options", () =>
    Effect.gen(function*() {
      const schedule = GrpcRetry.schedule({
        maxAttempts: 6,
        initialBackoff: "1 second",
        backoffMultiplier: 3,
        maxBackoff: "10 seconds"
      })
      const { pauses } = yield* pausesOf(schedule, [failure(unavailable)])
      assert.deepStrictEqual(pauses, [1000, 3000, 9000, 10_000, 10_000])
    }).pipe(unvaried))

  it.effect("makes no second attempt when there is to be one", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        (yield* pausesOf(GrpcRetry.schedule({ maxAttempts: 1 }), [failure(unavailable)])).pauses,
        []
      )
    }))

  it.effect("varies its pauses by up to a fifth", () =>
    Effect.gen(function*() {
      const schedule = GrpcRetry.schedule({ initialBackoff: "1 second", backoffMultiplier: 1, maxAttempts: 200 })
      const { pauses } = yield* pausesOf(schedule, [failure(unavailable)])
      assert.lengthOf(pauses, 199)
      assert.isAtLeast(Math.min(...pauses), 800)
      assert.isAtMost(Math.max(...pauses), 1200)
      assert.isAbove(new Set(pauses).size, 50)
    }))

  it.effect("retries what may succeed, and nothing else", () =>
    Effect.gen(function*() {
      const attempts = Effect.fnUntraced(function*(error: unknown, options?: GrpcRetry.Options) {
        const { error: last, pauses } = yield* pausesOf(GrpcRetry.schedule(options), [error])
        assert.strictEqual(last, error)
        return pauses.length + 1
      })
      for (let code = 1; code <= 16; code++) {
        assert.strictEqual(yield* attempts(failure(code)), code === unavailable ? 5 : 1, `status ${code}`)
        const statuses: ReadonlyArray<GrpcErrorReason["_tag"]> = ["Aborted", "ResourceExhausted"]
        assert.strictEqual(yield* attempts(failure(code), { statuses }), code === 10 || code === 8 ? 5 : 1)
      }
      const dial = { target: "x:1", hop: "direct" }
      assert.strictEqual(yield* attempts(new DialError({ ...dial, reason: new Refused({ address: "127.0.0.1" }) })), 5)
      const notFound = new DialError({ ...dial, reason: new NameNotFound({ name: "x", code: "ENOTFOUND" }) })
      assert.strictEqual(yield* attempts(notFound), notFound.isRetryable ? 5 : 1)
      const schema = new GrpcSchemaError({ reason: new UnknownMethod({ method: "a.B/C", known: [] }) })
      assert.strictEqual(yield* attempts(schema), 1)
      assert.strictEqual(yield* attempts("an error of the request stream"), 1)
      assert.strictEqual(yield* attempts({ isRetryable: true }), 1)
    }))

  it.effect("ends when the error is of another kind the next time", () =>
    Effect.gen(function*() {
      const errors = [failure(unavailable), failure(unavailable), failure(5), failure(unavailable)] as const
      const { error, pauses } = yield* pausesOf(GrpcRetry.schedule(), errors)
      assert.deepStrictEqual(pauses, [100, 200])
      assert.deepStrictEqual(error, failure(5))
    }).pipe(unvaried))

  it.effect("waits as long as the server says", () =>
    Effect.gen(function*() {
      const { pauses } = yield* pausesOf(GrpcRetry.schedule({ maxBackoff: "1 second" }), [
        failure(unavailable, { details: [retryInfo("5 seconds")] }),
        failure(unavailable, { details: [retryInfo("50 millis")] }),
        failure(unavailable, { pushback: ["7000"] }),
        failure(unavailable, { pushback: ["0"] }),
        failure(unavailable)
      ])
      assert.deepStrictEqual(pauses, [5000, 200, 7000, 0])
    }).pipe(unvaried))

  it.effect("does not begin again what the server does not want again", () =>
    Effect.gen(function*() {
      for (const pushback of [["-1"], ["soon"], [""], ["1", "2"], []]) {
        const { pauses } = yield* pausesOf(GrpcRetry.schedule(), [
          failure(unavailable),
          failure(unavailable, { pushback, details: [retryInfo("1 second")] })
        ])
        assert.deepStrictEqual(pauses, [100], JSON.stringify(pushback))
      }
    }).pipe(unvaried))

  it.effect("is no reason to retry a status that is not to be retried", () =>
    Effect.gen(function*() {
      const told = failure(5, { pushback: ["10"], details: [retryInfo("1 second")] })
      assert.deepStrictEqual((yield* pausesOf(GrpcRetry.schedule(), [told])).pauses, [])
    }))

  it.effect("begins afresh with each call", () =>
    Effect.gen(function*() {
      const schedule = GrpcRetry.schedule()
      for (let call = 0; call < 2; call++) {
        assert.deepStrictEqual((yield* pausesOf(schedule, [failure(unavailable)])).pauses, [100, 200, 400, 800])
      }
    }).pipe(unvaried))

  it.effect("retries streams, and begins afresh once an element has come", () =>
    Effect.gen(function*() {
      let runs = 0
      const stream = Stream.suspend(() => {
        runs += 1
        const fails = Stream.fail(failure(unavailable))
        return runs === 4 ? Stream.concat(Stream.make(runs), fails) : runs === 8 ? Stream.make(runs) : fails
      })
      const retried = stream.pipe(Stream.retry(GrpcRetry.schedule()), Stream.runCollect)
      const fiber = yield* Effect.forkChild(retried, { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [4, 8])
    }))
})

describe("GrpcRetry.respect", () => {
  it.effect("leaves a schedule as it is where the server says nothing", () =>
    Effect.gen(function*() {
      const schedule = GrpcRetry.respect(Schedule.spaced("3 seconds").pipe(Schedule.upTo({ times: 2 })))
      assert.deepStrictEqual((yield* pausesOf(schedule, [failure(5)])).pauses, [3000, 3000])
      assert.deepStrictEqual((yield* pausesOf(schedule, ["of another kind"])).pauses, [3000, 3000])
    }))

  it.effect("waits at least as long as RetryInfo and exactly as long as the trailer says", () =>
    Effect.gen(function*() {
      const schedule = GrpcRetry.respect(Schedule.spaced("3 seconds").pipe(Schedule.upTo({ times: 5 })))
      const { pauses } = yield* pausesOf(schedule, [
        failure(8, { details: [retryInfo("1 second")] }),
        failure(8, { details: [{ _tag: "RequestInfo", requestId: "a", servingData: "" }, retryInfo("4 seconds")] }),
        failure(8, { pushback: ["10"], details: [retryInfo("1 minute")] }),
        failure(8, { pushback: ["-1"] })
      ])
      assert.deepStrictEqual(pauses, [3000, 4000, 10])
    }))

  it.effect.prop(
    "never calls sooner than RetryInfo says",
    { own: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 })), told: Schema.Duration },
    ({ own, told }) =>
      Effect.gen(function*() {
        const step = yield* Schedule.toStep(GrpcRetry.respect(Schedule.spaced(own)))
        const [, delay] = yield* step(0, failure(14, { details: [retryInfo(told)] }))
        assert.isTrue(Duration.Equivalence(delay, Duration.max(Duration.millis(own), told)))
      })
  )
})

describeOnNetworks("GrpcRetry with a server", (test) => {
  const schema = GrpcSchema.fromSource(`
    syntax = "proto3";
    package acme;
    message Nothing {}
    service Orders {
      rpc Get(Nothing) returns (Nothing);
      rpc Watch(Nothing) returns (stream Nothing);
    }
  `)

  /** A server that fails for these reasons, one call after the other, and then no more. */
  const failing = Effect.fnUntraced(function*(reasons: ReadonlyArray<GrpcErrorReason>) {
    const times: Array<number> = []
    const answer = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const reason = reasons[times.push(now) - 1]
      return reason === undefined ? Effect.succeed({}) : Effect.fail(reason)
    })
    const orders = GrpcServer.service(schema, "acme.Orders", {
      Get: GrpcServer.unary(() => answer),
      Watch: GrpcServer.serverStream(() => Stream.fromEffect(answer))
    })
    const server = yield* Layer.build(GrpcServer.layer({ services: [orders] }))
    const address = NetAddress.formatSocketAddress(Context.get(server, GrpcServer.GrpcServer).address)
    const client = yield* Layer.build(Grpc.layer)
    const channel = yield* Context.get(client, Grpc.Grpc).connect({ url: `http://${address}`, schema })
    return { channel, times }
  })

  const soon = GrpcRetry.schedule({ initialBackoff: "1 milli" })

  const later = new Unavailable({ details: [retryInfo("200 millis")] })

  test("waits as long as it says", () =>
    Effect.gen(function*() {
      const { channel, times } = yield* failing([new Unavailable({}), later])
      assert.deepStrictEqual(yield* Effect.retry(channel.unary("acme.Orders/Get", {}), soon), {})
      assert.lengthOf(times, 3)
      // timers may be a little early for the clock on the wall
      assert.isAtLeast(times[2]! - times[1]!, 190)
    }))

  test("waits for a stream, too", () =>
    Effect.gen(function*() {
      const { channel, times } = yield* failing([later])
      const messages = channel.serverStream("acme.Orders/Watch", {}).pipe(Stream.retry(soon))
      assert.deepStrictEqual(yield* Stream.runCollect(messages), [{}])
      assert.isAtLeast(times[1]! - times[0]!, 190)
    }))

  test("leaves it alone when it says so", () =>
    Effect.gen(function*() {
      const never = new Unavailable({ trailers: { text: { "grpc-retry-pushback-ms": ["-1"] }, binary: {} } })
      const { channel, times } = yield* failing([new Unavailable({}), never, later])
      const error = yield* Effect.flip(Effect.retry(channel.unary("acme.Orders/Get", {}), soon))
      assert.strictEqual(error._tag, "GrpcError")
      assert.lengthOf(times, 2)
    }))
})
