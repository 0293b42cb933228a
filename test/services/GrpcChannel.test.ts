import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Http2 from "node:http2"
import { GrpcError } from "../../src/errors/GrpcError.ts"
import * as Listener from "../../src/services/Listener.ts"
import { grpcInjector, grpcServer } from "../support/greeter.ts"
import { connect, connectTo, http2Server, onLoopback } from "../support/grpc.ts"
import { describeOnNetworks, type NetworkTest } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { turn } from "../support/scripted.ts"

/** The Greeter, on whatever network there is. */
const served = Effect.gen(function*() {
  const { inject, seen } = yield* grpcInjector()
  const listener = yield* Listener.Listener
  const { accept, address } = yield* listener.bind({ host: "127.0.0.1", port: 0 })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(accept, (duplex) => Effect.sync(() => inject(duplex)))))
  assert(NetAddress.isInetAddress(address))
  return { seen, url: `http://127.0.0.1:${address.port}` }
})

const until = (holds: () => boolean) =>
  Effect.gen(function*() {
    while (!holds()) yield* turn
  })

/** Waits until a number has not changed for some hundred turns of the event loop. */
const settled = (read: () => number) =>
  Effect.gen(function*() {
    for (let same = 0, last = read(); same < 300; same++) {
      yield* turn
      if (read() !== last) {
        same = 0
        last = read()
      }
    }
    return read()
  })

const statuses = [
  "Cancelled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated"
]

const suite = (test: NetworkTest) => {
  test("calls a unary method", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const reply = yield* channel.unary("greeter.v1.Greeter/SayHello", { name: "Ada", language: "FRENCH" })
      assert.deepStrictEqual(reply, { greeting: "Bonjour Ada", number: 0n, padding: new Uint8Array(0) })
    }))

  test("gives back a message with a field of every kind", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const person = { name: "Grace", language: "ENGLISH" }
      const values = {
        small: -2147483648,
        smallUnsigned: 4294967295,
        big: -9223372036854775808n,
        bigUnsigned: 18446744073709551615n,
        zigzag: -1n,
        fixed: 9007199254740993n,
        single: 0.5,
        real: Math.PI,
        flag: true,
        text: "naïve 🙂",
        data: new Uint8Array([0, 255]),
        language: "FRENCH",
        nestedMessage: person,
        numbers: [1, -1, 0],
        people: [person, { name: "", language: "ENGLISH" }],
        counts: { a: 1, "": 2 },
        namesById: { "-9223372036854775808": "least", "9007199254740993": "not a double" },
        byFlag: { true: person },
        maybe: 0,
        chosenNumber: 7n
      }
      assert.deepStrictEqual(yield* channel.unary("greeter.v1.Greeter/Echo", values), values)
    }))

  test("makes many calls at once over one connection", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const replies = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, i) => `n${i}`),
        (name) => channel.unary("greeter.v1.Greeter/SayHello", { name }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(replies.map((reply) => reply["greeting"]), replies.map((_, i) => `Hello n${i}`))
    }))

  test("streams every message of a server, in order", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const numbers = yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { name: "Ada", count: 500 }).pipe(
        Stream.map((reply) => reply["number"]),
        Stream.runCollect
      )
      assert.deepStrictEqual(numbers, Array.from({ length: 500 }, (_, i) => BigInt(i + 1)))
    }))

  test("carries messages that are larger than any window", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const data = new Uint8Array(70_000).map((_, i) => i)
      const reply = yield* channel.unary("greeter.v1.Greeter/Echo", { data })
      assert.deepStrictEqual(reply["data"], data)
    }), 60_000)

  test("turns statuses into reasons, with their trailers", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      for (const [index, tag] of statuses.entries()) {
        const error = yield* Effect.flip(
          channel.unary("greeter.v1.Greeter/Fail", { code: index + 1, message: `as asked, 50% ü` })
        )
        assert(error instanceof GrpcError)
        assert.strictEqual(error.method, "greeter.v1.Greeter/Fail")
        assert.strictEqual(error.reason._tag, tag)
        assert.strictEqual(error.reason.code, index + 1)
        assert.strictEqual(error.reason.message, "as asked, 50% ü")
        assert.deepStrictEqual(error.reason.trailers.text["x-request-id"], ["42"])
        assert.deepStrictEqual(error.reason.trailers.binary["x-trace-bin"], [new Uint8Array([0, 1, 254, 255])])
        assert.strictEqual(error.isRetryable, tag === "Unavailable")
      }
    }))

  test("fails with Unimplemented where the server has no such method", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const reason = yield* reasonOf(channel.unary("greeter.v1.Greeter/NotThere", {}))
      assert.strictEqual(reason["_tag"], "Unimplemented")
    }))

  test("gives the messages that came before a stream's error", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const seen: Array<unknown> = []
      const error = yield* Effect.flip(
        channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1000, failAfter: 3 }).pipe(
          Stream.runForEach((reply) => Effect.sync(() => seen.push(reply["number"])))
        )
      )
      assert(error._tag === "GrpcError")
      assert.strictEqual(error.reason._tag, "Aborted")
      assert.strictEqual(error.reason.message, "after 3")
      assert.deepStrictEqual(seen, [1n, 2n, 3n])
    }))

  test("sends metadata of the channel and of the call, and gives back headers and trailers", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url, {
        metadata: { authorization: Redacted.make("Bearer secret"), "x-many": ["a", "b"] }
      })
      const { headers, trailers, value } = yield* channel.exchange("greeter.v1.Greeter/SayHello", { name: "Ada" }, {
        metadata: { "x-many": "c", "x-raw-bin": new Uint8Array([255, 0]) }
      })
      assert.strictEqual(value["greeting"], "Hello Ada")
      assert.deepStrictEqual(headers.text["x-served-by"], ["greeter"])
      assert.deepStrictEqual(trailers.text["x-request-id"], ["42"])
      assert.deepStrictEqual(trailers.binary["x-trace-bin"], [new Uint8Array([0, 1, 254, 255])])
      assert.deepStrictEqual(seen.metadata?.get("authorization"), ["Bearer secret"])
      assert.deepStrictEqual(seen.metadata?.get("x-many").join(), "a, b, c")
      assert.deepStrictEqual(seen.metadata?.get("x-raw-bin"), [Buffer.from([255, 0])])
    }))

  test("tells the server the deadline", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url)
      const reply = yield* channel.unary("greeter.v1.Greeter/Wait", { delay: {} }, { timeout: "30 seconds" })
      const remaining = Number(reply["remainingMillis"])
      assert.isTrue(remaining > 1_000 && remaining <= 30_000, `${remaining}`)
    }))

  test("fails with DeadlineExceeded when the timeout passes, and the server sees it", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const unary = yield* reasonOf(channel.unary("greeter.v1.Greeter/Wait", {}, { timeout: "100 millis" }))
      assert.strictEqual(unary["_tag"], "DeadlineExceeded")
      const stream = yield* reasonOf(
        channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e9 }, { timeout: "100 millis" }).pipe(
          Stream.runDrain
        )
      )
      assert.strictEqual(stream["_tag"], "DeadlineExceeded")
      yield* until(() => seen.cancelled === 2)
    }))

  test("cancels a unary call on the wire when it is interrupted", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const fiber = yield* Effect.forkChild(channel.unary("greeter.v1.Greeter/Wait", {}))
      yield* until(() => seen.metadata !== undefined)
      yield* Fiber.interrupt(fiber)
      yield* until(() => seen.cancelled === 1)
    }))

  test("cancels a stream on the wire when its reader has enough", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const some = yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e9 }).pipe(
        Stream.take(3),
        Stream.runCollect
      )
      assert.strictEqual(some.length, 3)
      yield* until(() => seen.cancelled === 1)
    }))

  test("holds the server back while nobody reads", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url, { flowControlWindow: 65_535 })
      const begun = yield* Deferred.make<void>()
      const reader = yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e6, paddingSize: 1024 })
        .pipe(
          Stream.runForEach(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)),
          Effect.forkChild
        )
      yield* Deferred.await(begun)
      // a window of 64 KiB, the 16 messages that are read ahead and what both sides' streams hold
      const sent = yield* settled(() => seen.sent)
      assert.isBelow(sent, 512)
      yield* Fiber.interrupt(reader)
      yield* until(() => seen.cancelled === 1)
    }))

  test("loses nothing to a slow reader", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url, { flowControlWindow: 65_535 })
      let count = 0n
      yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 100, paddingSize: 1024 }).pipe(
        Stream.runForEach((reply) =>
          Effect.gen(function*() {
            yield* turn
            assert.strictEqual(reply["number"], ++count)
          })
        )
      )
      assert.strictEqual(count, 100n)
    }))

  test("fails calls with Cancelled when the channel's scope closes", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(connect(url), scope)
      const call = yield* Effect.forkChild(reasonOf(channel.unary("greeter.v1.Greeter/Wait", {})))
      const stream = yield* Effect.forkChild(
        reasonOf(Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", { count: 1e9 })))
      )
      yield* until(() => seen.metadata !== undefined && seen.sent > 0)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(call))["_tag"], "Cancelled")
      assert.strictEqual((yield* Fiber.join(stream))["_tag"], "Cancelled")
      const late = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}))
      assert.strictEqual(late["_tag"], "Cancelled")
      const lateStream = yield* reasonOf(Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", {})))
      assert.strictEqual(lateStream["_tag"], "Cancelled")
      yield* until(() => seen.cancelled === 2)
    }))

  test("refuses messages that are larger than it may receive", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const channel = yield* connect(url, { maxReceiveSize: 1000 })
      const reason = yield* reasonOf(channel.unary("greeter.v1.Greeter/Echo", { data: new Uint8Array(2000) }))
      assert.strictEqual(reason["_tag"], "ResourceExhausted")
    }))

  test("checks requests before it sends anything", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* served
      const channel = yield* connect(url)
      const unknown = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHelo", {}))
      assert.strictEqual(unknown["_tag"], "UnknownMethod")
      const kind = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHellos", {}))
      assert.strictEqual(kind["_tag"], "WrongKind")
      const field = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", { nome: "Ada" }))
      assert.strictEqual(field["path"], "nome")
      const stream = yield* reasonOf(
        Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", { count: "many" }))
      )
      assert.strictEqual(stream["path"], "count")
      const metadata = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}, { metadata: { "x-a": "ü" } }))
      assert.strictEqual(metadata["path"], "metadata.x-a")
      assert.isUndefined(seen.metadata)
    }))
}

describeOnNetworks("Grpc", suite)

/** Answers with these messages, as they stand on the wire, and then with OK. */
const answering = (...messages: ReadonlyArray<ReadonlyArray<number>>) => (stream: Http2.ServerHttp2Stream) => {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true })
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
  stream.end(Buffer.concat(messages.map((bytes) => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]))))
}

describe("GrpcChannel", () => {
  for (
    const [what, messages] of [
      ["no message", []],
      ["two messages", [[], []]],
      ["bytes that are not the message", [[10, 200, 1]]]
    ] as const
  ) {
    onLoopback(`fails with Internal when a server answers a unary call with ${what}`, () =>
      Effect.gen(function*() {
        const { port } = yield* http2Server({ answer: answering(...messages) })
        const channel = yield* connectTo(port)
        const reason = yield* reasonOf(channel.unary("greeter.v1.Greeter/SayHello", {}))
        assert.strictEqual(reason["_tag"], "Internal")
      }))
  }

  onLoopback("fails with Internal when a stream has bytes that are not the message", () =>
    Effect.gen(function*() {
      const { port } = yield* http2Server({ answer: answering([], [10, 200, 1]) })
      const channel = yield* connectTo(port)
      const reason = yield* reasonOf(Stream.runDrain(channel.serverStream("greeter.v1.Greeter/SayHellos", {})))
      assert.strictEqual(reason["_tag"], "Internal")
    }))

  onLoopback("says what the schema offers", () =>
    Effect.gen(function*() {
      const { port } = yield* grpcServer()
      const channel = yield* connectTo(port)
      assert.deepStrictEqual(channel.services.map(({ name }) => name), ["greeter.v1.Greeter"])
      assert.include(channel.methods("greeter.v1.Greeter").map(({ name }) => name), "SayHellos")
      assert.deepStrictEqual(channel.methods("other.Service"), [])
      const method = yield* channel.describe("greeter.v1.Greeter/SayHellos")
      assert.strictEqual(method.kind, "serverStream")
      assert.strictEqual((yield* reasonOf(channel.describe("greeter.v1.Greeter/No")))["_tag"], "UnknownMethod")
    }))
})
