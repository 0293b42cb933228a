import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Http2 from "node:http2"
import { connectTo, http2Server, onLoopback } from "../../../support/grpc.ts"
import { reasonOf } from "../../../support/reason.ts"
import { until } from "../../../support/ssh.ts"

const headers = { ":status": 200, "content-type": "application/grpc" }

/** A greeting that is large. */
const greeting = (number: number): Buffer => {
  const padding = Buffer.alloc(60_000)
  // fields 2 (an integer) and 3 (bytes)
  const message = Buffer.concat([Buffer.from([0x10, number, 0x1A, 0xE0, 0xD4, 0x03]), padding])
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

const numbers = [1, 2, 3, 4, 5, 6]

/** Sends messages and trailers as fast as it can. */
const greetAll = (stream: Http2.ServerHttp2Stream) => {
  stream.respond(headers, { waitForTrailers: true })
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" })).on("error", () => {})
  stream.end(Buffer.concat(numbers.map(greeting)))
}

describe("a call on a connection", () => {
  onLoopback(
    "gives each message once, also those that Node holds back when the trailers have come",
    () =>
      Effect.gen(function*() {
        const { port } = yield* http2Server({ answer: greetAll })
        const channel = yield* connectTo(port)
        const call = yield* channel.open("greeter.v1.Greeter/SayHellos")
        yield* call.send({})
        yield* call.completeSend
        // nothing is read until then
        yield* call.trailers
        const greetings = yield* Stream.runCollect(call.messages)
        assert.deepStrictEqual(greetings.map(({ number }) => number), numbers.map(BigInt))
      })
  )

  onLoopback(
    "is reset when it is cancelled, and does not end first as if all requests had been sent",
    () =>
      Effect.gen(function*() {
        const told: Array<string> = []
        const { port } = yield* http2Server({
          answer: (stream) => {
            stream.respond(headers)
            stream.on("aborted", () => told.push("aborted")).on("end", () => told.push("end")).on("error", () => {})
              .resume()
            stream.on("close", () => told.push(`closed with ${stream.rstCode}`))
          }
        })
        const channel = yield* connectTo(port)
        const open = Effect.tap(channel.open("greeter.v1.Greeter/SayHellos"), (call) => call.headers)
        const cancelled = [
          // by hand, by its scope and by interruption, before and after something was sent
          Effect.scoped(Effect.flatMap(open, (call) => call.close)),
          Effect.scoped(open),
          Effect.scoped(Effect.flatMap(open, (call) => Effect.andThen(call.send({ name: "you" }), call.close))),
          Effect.flatMap(
            Effect.forkChild(Effect.scoped(Effect.flatMap(open, (call) => call.receive)), { startImmediately: true }),
            (fiber) => Effect.andThen(open, Fiber.interrupt(fiber)).pipe(Effect.scoped)
          )
        ]
        for (const [index, cancel] of cancelled.entries()) {
          told.length = 0
          yield* cancel
          const calls = index === cancelled.length - 1 ? 2 : 1
          yield* until(() => told.filter((event) => event === "closed with 8").length === calls)
          assert.strictEqual(told[0], "aborted")
        }
      })
  )

  onLoopback(
    "that is cut off within a message is unavailable, and not the server's mistake",
    () =>
      Effect.gen(function*() {
        const { port } = yield* http2Server({
          answer: (stream) => {
            stream.respond(headers)
            stream.on("error", () => {}).write(
              Buffer.concat([greeting(1), greeting(2).subarray(0, 1000)]),
              () => stream.session?.destroy()
            )
          }
        })
        const channel = yield* connectTo(port)
        const got: Array<unknown> = []
        const call = channel.serverStream("greeter.v1.Greeter/SayHellos", {})
        const reason = yield* reasonOf(Stream.runForEach(call, ({ number }) => Effect.sync(() => got.push(number))))
        assert.deepStrictEqual(got, [1n])
        assert.strictEqual(reason["_tag"], "Unavailable")
        const ended = yield* http2Server({
          answer: (stream) => {
            stream.respond(headers)
            stream.end(greeting(1).subarray(0, 1000))
          }
        })
        const other = yield* connectTo(ended.port)
        const mistake = yield* Effect.flip(Stream.runDrain(other.serverStream("greeter.v1.Greeter/SayHellos", {})))
        assert.include(mistake.message, "Internal: the stream ended within a message")
      })
  )

  onLoopback("has nothing more to give after its end, however often it is asked", () =>
    Effect.gen(function*() {
      const { port } = yield* http2Server({ answer: greetAll })
      const channel = yield* connectTo(port)
      const call = yield* channel.open("greeter.v1.Greeter/SayHellos")
      yield* call.send({})
      yield* call.completeSend
      for (const number of numbers) {
        assert.deepStrictEqual(
          Option.map(yield* call.receive, (values) => values["number"]),
          Option.some(BigInt(number))
        )
      }
      assert.isTrue(Option.isNone(yield* call.receive))
      assert.isTrue(Option.isNone(yield* call.receive))
    }))
})
