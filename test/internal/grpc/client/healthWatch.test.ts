import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { cast } from "effect/Function"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type * as Http2 from "node:http2"
import type { Backoff } from "../../../../src/internal/grpc/client/backoff.ts"
import type { Channel, ConnectivityState } from "../../../../src/internal/grpc/client/channel.ts"
import type { Connection } from "../../../../src/internal/grpc/client/connection.ts"
import { healthWatch } from "../../../../src/internal/grpc/client/healthWatch.ts"
import type { Settings } from "../../../../src/internal/grpc/client/prepare.ts"
import { CurrentDeadline } from "../../../../src/internal/grpc/deadline.ts"
import { builtIn } from "../../../../src/internal/grpc/proto/builtIn.ts"
import { health } from "../../../../src/internal/grpc/proto/definitions/health.ts"
import { frame, FrameReader } from "../../../../src/internal/grpc/wire/frames.ts"
import { addresses, openChannel } from "../../../support/channels.ts"
import { http2Peer } from "../../../support/http2.ts"
import { describeOnNetworks } from "../../../support/network.ts"

const settings: Omit<Settings, "channel"> = {
  authority: "greeter.test",
  secure: false,
  userAgent: "test",
  metadata: () => undefined,
  waitForReady: false,
  compression: "identity",
  maxReceiveSize: 1024,
  maxSendSize: 1024,
  credentials: undefined,
  middleware: [],
  policyOf: () => undefined,
  throttle: undefined,
  report: undefined
}

const soon: Backoff = { initial: Duration.millis(20), multiplier: 1, max: Duration.millis(20), jitter: 0 }

const watching = (backoff: Backoff = soon) => ({ onConnected: healthWatch(settings, "acme.Orders", backoff) })

const { request, response } = Result.getOrThrow(
  builtIn("grpc/health/v1/health.proto", health).method("grpc.health.v1.Health/Watch")
)

const grpc = { ":status": 200, "content-type": "application/grpc" }

/** What a server does with a call of Watch. */
const answering = (stream: Http2.ServerHttp2Stream) => {
  let code = 0
  const requests: Array<unknown> = []
  const reader = new FrameReader(1024, (message) => requests.push(Result.getOrThrow(request.decode(message))))
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(code) }))
  stream.on("data", (chunk: Buffer) => reader.read(chunk))
  const respond = () => {
    if (!stream.headersSent) stream.respond(grpc, { waitForTrailers: true })
  }
  return {
    stream,
    /** Once it is complete. */
    requests: Effect.callback<ReadonlyArray<unknown>>((resume) => {
      if (stream.readableEnded) resume(Effect.succeed(requests))
      else stream.once("end", () => resume(Effect.succeed(requests)))
    }),
    say: (status: string) => {
      respond()
      stream.write(frame([Result.getOrThrow(response.encode({ status }))], false))
    },
    end: (status: number) => {
      code = status
      respond()
      stream.end()
    }
  }
}

const becomes = (channel: Channel, wanted: ConnectivityState) =>
  Stream.runDrain(Stream.takeUntil(channel.changes, (state) => state === wanted))

describeOnNetworks("a gRPC channel that asks for health", (test) => {
  const opened = Effect.fnUntraced(function*(backoff?: Backoff) {
    const peer = yield* http2Peer()
    const channel = yield* openChannel(addresses(peer), watching(backoff))
    const connection = yield* Effect.forkScoped(channel.connection(true), { startImmediately: true })
    return { peer, channel, connection, nextWatch: Effect.map(peer.nextStream, answering) }
  })

  test("asks the server of each connection for the service", () =>
    Effect.gen(function*() {
      const { nextWatch } = yield* opened()
      assert.deepStrictEqual(yield* (yield* nextWatch).requests, [{ service: "acme.Orders" }])
    }))

  test("is ready when the server says that it is serving, and not before", () =>
    Effect.gen(function*() {
      const { channel, connection, nextWatch } = yield* opened()
      const watch = yield* nextWatch
      assert.strictEqual(channel.state(), "connecting")
      assert.isUndefined(channel.pick())
      watch.say("SERVING")
      assert.strictEqual(yield* Fiber.join(connection), channel.pick())
      assert.strictEqual(channel.state(), "ready")
    }))

  test("fails calls while the server says that it is not serving", () =>
    Effect.gen(function*() {
      const { channel, nextWatch, peer } = yield* opened()
      const watch = yield* nextWatch
      for (const status of ["NOT_SERVING", "SERVICE_UNKNOWN", "UNKNOWN"]) {
        watch.say(status)
        yield* becomes(channel, "transientFailure")
        const error = yield* Effect.flip(channel.connection(false))
        assert(error._tag === "DialError")
        assert.include(error.message, "not serving")
        const waiting = yield* Effect.forkChild(channel.connection(true), { startImmediately: true })
        watch.say("SERVING")
        yield* becomes(channel, "ready")
        assert.strictEqual(yield* Fiber.join(waiting), channel.pick())
      }
      assert.strictEqual(peer.duplexes.length, 1)
    }))

  test("does without where the server has no health service", () =>
    Effect.gen(function*() {
      const { channel, connection, nextWatch } = yield* opened()
      const watch = yield* nextWatch
      watch.end(12)
      assert.strictEqual(yield* Fiber.join(connection), channel.pick())
      assert.strictEqual(channel.state(), "ready")
    }))

  test("asks again after the call was lost, and does not call in between", () =>
    Effect.gen(function*() {
      const { channel, connection, nextWatch } = yield* opened()
      const first = yield* nextWatch
      first.say("SERVING")
      yield* Fiber.join(connection)
      first.end(0)
      yield* becomes(channel, "transientFailure")
      const second = yield* nextWatch
      second.end(14)
      const third = yield* nextWatch
      third.stream.close(8)
      const fourth = yield* nextWatch
      assert.strictEqual(channel.state(), "transientFailure")
      fourth.say("SERVING")
      yield* becomes(channel, "ready")
    }))

  test("stops asking with the connection, and asks on the next one", () =>
    Effect.gen(function*() {
      const { channel, connection, nextWatch, peer } = yield* opened()
      const first = yield* nextWatch
      first.say("SERVING")
      yield* Fiber.join(connection)
      for (const session of peer.sessions) session.goaway()
      yield* becomes(channel, "idle")
      const again = yield* Effect.forkChild(channel.connection(true), { startImmediately: true })
      const second = yield* nextWatch
      assert.notStrictEqual(second.stream.session, first.stream.session)
      second.say("SERVING")
      assert.strictEqual(yield* Fiber.join(again), channel.pick())
    }))

  test("cancels its call when the channel is closed", () =>
    Effect.gen(function*() {
      const peer = yield* http2Peer()
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(openChannel(addresses(peer), watching()), scope)
      yield* Effect.forkScoped(channel.connection(true), { startImmediately: true })
      const { say, stream } = answering(yield* peer.nextStream)
      say("SERVING")
      yield* becomes(channel, "ready")
      yield* Scope.close(scope, Exit.void)
      yield* Effect.callback<void>((resume) => {
        if (stream.closed) resume(Effect.void)
        else stream.once("close", () => resume(Effect.void))
      })
    }))

  test("has no deadline, whoever opened the channel", () =>
    Effect.gen(function*() {
      const { channel, connection, nextWatch } = yield* Effect.provideService(opened(), CurrentDeadline, 1)
      const watch = yield* nextWatch
      watch.say("SERVING")
      assert.strictEqual(yield* Fiber.join(connection), channel.pick())
    }))
})

describe("healthWatch", () => {
  it.effect("waits longer from call to call while there is no answer", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const times: Array<number> = []
      const request = () => {
        times.push(clock.currentTimeMillisUnsafe() / 1000)
        throw new Error("broken")
      }
      const connection = { session: { closed: false, destroyed: false, request }, usable: () => true }
      const backoff = { initial: Duration.seconds(1), multiplier: 2, max: Duration.seconds(5), jitter: 0 }
      const health = healthWatch(settings, "", backoff)(cast<object, Connection>(connection))
      const seen: Array<boolean> = []
      yield* Effect.forkChild(Stream.runForEach(health, (healthy) => Effect.sync(() => seen.push(healthy))))
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(times, [0, 1, 3, 7, 12, 17])
      assert.deepStrictEqual(seen, [false])
    }))
})
