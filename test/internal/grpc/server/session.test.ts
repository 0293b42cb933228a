import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import type * as Http2 from "node:http2"
import { CurrentDeadline } from "../../../../src/internal/grpc/deadline.ts"
import * as Dialer from "../../../../src/services/Dialer.ts"
import * as GrpcServer from "../../../../src/services/GrpcServer.ts"
import type * as Listener from "../../../../src/services/Listener.ts"
import * as TestNetwork from "../../../../src/testing/TestNetwork.ts"
import { call, connect, note, open, serving, statusOf, textOf } from "../../../support/grpcServer.ts"
import { frame } from "../../../support/http2.ts"
import { leavesNothing } from "../../../support/leaks.ts"
import { turns } from "../../../support/streams.ts"

/** In memory, on the clock of the test. */
const test = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | TestNetwork.TestNetwork | Scope.Scope>
) => it.effect(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), TestNetwork.layer())))

const echo = { One: GrpcServer.unary(({ text }) => Effect.succeed({ text })) }

/** What the server says when it sends a client away. */
const goaway = (session: Http2.ClientHttp2Session) =>
  Effect.map(Deferred.make<readonly [code: number, words: string]>(), (said) => {
    session.once(
      "goaway",
      (code, _last, data) => void Deferred.doneUnsafe(said, Effect.succeed([code, Buffer.from(data ?? []).toString()]))
    )
    return Deferred.await(said)
  })

const closed = (session: Http2.ClientHttp2Session) =>
  Effect.map(Deferred.make<void>(), (done) => {
    session.once("close", () => void Deferred.doneUnsafe(done, Effect.void))
    return Deferred.await(done)
  })

const ping = (session: Http2.ClientHttp2Session) =>
  Effect.callback<void>((resume) => void session.ping(() => resume(Effect.void)))

describe("deadlines of gRPC calls", () => {
  test("end the call as DeadlineExceeded and interrupt the handler, which knows when", () =>
    Effect.gen(function*() {
      const known = yield* Queue.unbounded<readonly [Option.Option<DateTime.Utc>, number | undefined]>()
      const interrupted = yield* Queue.unbounded<string>()
      const slow = (name: string, call: GrpcServer.ServerCall) =>
        Effect.gen(function*() {
          yield* Queue.offer(known, [call.deadline, yield* CurrentDeadline])
          return yield* Effect.never
        }).pipe(Effect.onInterrupt(() => Queue.offer(interrupted, name)))
      const client = yield* connect(
        (yield* serving({
          One: GrpcServer.unary((_, call) => slow("One", call)),
          Both: GrpcServer.bidi((requests, call) => Stream.mapEffect(requests, () => slow("Both", call)))
        })).address
      )
      yield* TestClock.setTime(1000)
      for (const method of ["One", "Both"]) {
        const now = yield* Effect.clockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe()))
        const under = open(client, method, { "grpc-timeout": "1500m" })
        under.send(note("x"))
        if (method === "One") under.end()
        const [deadline, inherited] = yield* Queue.take(known)
        assert.deepStrictEqual(Option.map(deadline, DateTime.toEpochMillis), Option.some(now + 1500))
        assert.strictEqual(inherited, now + 1500)
        yield* TestClock.adjust(1499)
        yield* turns(20)
        assert.isFalse(under.stream.closed)
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Queue.take(interrupted), method)
        assert.deepStrictEqual(statusOf(yield* under.answer), ["4", "the deadline has passed"])
      }
    }))

  test("end a call whose request has not come, and one that had no time to begin with", () =>
    Effect.gen(function*() {
      let handled = 0
      const client = yield* connect(
        (yield* serving({
          One: GrpcServer.unary(() => Effect.sync(() => ({ number: handled++ })))
        })).address
      )
      const waiting = open(client, "One", { "grpc-timeout": "1S" })
      // the call behind it has been answered, so it has arrived
      yield* call(client, "One", [note("x")])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(statusOf(yield* waiting.answer)[0], "4")
      assert.strictEqual(statusOf(yield* call(client, "One", [note("x")], { "grpc-timeout": "0n" }))[0], "4")
      assert.strictEqual(handled, 1)
    }))

  test("are forgotten when the call has ended", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo)).address)
      const answer = yield* call(client, "One", [note("x")], { "grpc-timeout": "1S" })
      assert.deepStrictEqual(statusOf(answer), ["0", ""])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* call(client, "One", [note("y")])).messages.map(textOf), ["y"])
    }))

  test("are none where the client sets none", () =>
    Effect.gen(function*() {
      const client = yield* connect(
        (yield* serving({
          One: GrpcServer.unary((_, call) =>
            Effect.map(CurrentDeadline, (inherited) => ({ text: `${call.deadline._tag} ${inherited}` }))
          )
        })).address
      )
      assert.deepStrictEqual((yield* call(client, "One", [note("x")])).messages.map(textOf), ["None undefined"])
    }))
})

describe("connections of gRPC servers", () => {
  test("send away a client that pings too often", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo, { keepAlive: { clientWithoutCalls: true } })).address)
      const said = yield* goaway(client)
      const gone = yield* closed(client)
      yield* ping(client)
      yield* TestClock.adjust("5 minutes")
      for (let i = 0; i < 3; i++) yield* ping(client)
      // a third that is too early
      yield* ping(client)
      assert.deepStrictEqual(yield* said, [11, "too_many_pings"])
      yield* gone
    }))

  test("forgive pings when something was sent in between, and those that come in time", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo, { keepAlive: { clientWithoutCalls: true } })).address)
      for (let i = 0; i < 10; i++) {
        yield* ping(client)
        yield* call(client, "One", [note("x")])
      }
      for (let i = 0; i < 10; i++) {
        yield* TestClock.adjust("5 minutes")
        yield* ping(client)
      }
      assert.isFalse(client.closed)
    }))

  test("permit fewer pings when there are no calls", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving({ One: GrpcServer.unary(() => Effect.never) })).address)
      const under = open(client, "One")
      under.send(note("x"))
      under.end()
      for (let i = 0; i < 5; i++) {
        yield* ping(client)
        yield* TestClock.adjust("5 minutes")
      }
      under.stream.close(8)
      const said = yield* goaway(client)
      yield* ping(client)
      for (let i = 0; i < 3; i++) {
        yield* TestClock.adjust("5 minutes")
        yield* ping(client)
      }
      assert.deepStrictEqual(yield* said, [11, "too_many_pings"])
    }))

  test("let clients ping as they like when they are told to", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo, { keepAlive: false })).address)
      for (let i = 0; i < 20; i++) yield* ping(client)
      assert.isFalse(client.closed)
    }))

  test("ping their clients, and are given up when there is no answer", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { keepAlive: { interval: "10 seconds", timeout: "5 seconds" } })
      const client = yield* connect(address)
      yield* call(client, "One", [note("x")])
      const silent = yield* Dialer.Dialer.use((dialer) => dialer.dial(address))
      const gone = yield* Deferred.make<void>()
      silent.once("end", () => void Deferred.doneUnsafe(gone, Effect.void)).resume()
      silent.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame("settings")]))
      yield* turns(20)
      yield* TestClock.adjust("10 seconds")
      // the other one answers in these
      yield* turns(20)
      assert.isFalse(yield* Deferred.isDone(gone))
      yield* TestClock.adjust("5 seconds")
      yield* Deferred.await(gone)
      yield* call(client, "One", [note("x")])
    }))

  test("are ended when they are too old, after the calls that are under way", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const { address } = yield* serving({
        ...echo,
        Up: GrpcServer.clientStream(() => Effect.as(Deferred.await(release), { text: "done" }))
      }, { maxConnectionAge: "1 hour", keepAlive: false })
      const client = yield* connect(address)
      yield* call(client, "One", [note("x")])
      const said = yield* goaway(client)
      const gone = yield* closed(client)
      const under = open(client, "Up")
      under.end()
      yield* TestClock.adjust(Duration.minutes(53))
      yield* turns(20)
      assert.isFalse(client.closed)
      yield* TestClock.adjust(Duration.minutes(13))
      assert.deepStrictEqual(yield* said, [0, ""])
      yield* Deferred.succeed(release, undefined)
      assert.deepStrictEqual((yield* under.answer).messages.map(textOf), ["done"])
      yield* gone
    }))

  test("are closed when the client does not begin with HTTP/2 in time", () =>
    Effect.gen(function*() {
      const { address } = yield* serving(echo, { handshakeTimeout: "3 seconds" })
      const silent = yield* Dialer.Dialer.use((dialer) => dialer.dial(address))
      const gone = yield* Deferred.make<void>()
      silent.once("end", () => void Deferred.doneUnsafe(gone, Effect.void)).resume()
      const other = yield* connect(address)
      yield* call(other, "One", [note("x")])
      yield* TestClock.adjust("3 seconds")
      yield* Deferred.await(gone)
      assert.deepStrictEqual(statusOf(yield* call(other, "One", [note("x")])), ["0", ""])
    }))

  test("refuse streams beyond the limit until there is room", () =>
    Effect.gen(function*() {
      const release = yield* Deferred.make<void>()
      const begun = yield* Queue.unbounded<string>()
      const client = yield* connect(
        (yield* serving({
          One: GrpcServer.unary(({ text }) =>
            Queue.offer(begun, String(text)).pipe(Effect.andThen(Deferred.await(release)), Effect.as({ text }))
          )
        }, { maxConcurrentStreams: 2 })).address
      )
      // the client must know the limit
      yield* ping(client)
      const calls = ["a", "b", "c"].map((text) => {
        const under = open(client, "One")
        under.send(note(text))
        under.end()
        return under
      })
      assert.deepStrictEqual([yield* Queue.take(begun), yield* Queue.take(begun)], ["a", "b"])
      yield* turns(50)
      assert.strictEqual(yield* Queue.size(begun), 0)
      yield* Deferred.succeed(release, undefined)
      const answers = yield* Effect.forEach(calls, ({ answer }) => answer)
      assert.deepStrictEqual(answers.map(({ messages }) => messages.map(textOf)), [["a"], ["b"], ["c"]])
    }))

  test("drain on the clock of the test", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const { address } = yield* serving({
        One: GrpcServer.unary(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      }, { drainTimeout: "10 seconds" }).pipe(Scope.provide(scope))
      const client = yield* connect(address)
      const under = open(client, "One")
      under.send(note("x"))
      under.end()
      yield* Deferred.await(begun)
      const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* turns(50)
      yield* TestClock.adjust("9999 millis")
      yield* turns(50)
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(statusOf(yield* under.answer), ["14", "the server is shutting down"])
      yield* Fiber.join(closing)
    }))
})
