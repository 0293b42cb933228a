import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Zlib from "node:zlib"
import * as Dialer from "../../../../src/services/Dialer.ts"
import * as GrpcServer from "../../../../src/services/GrpcServer.ts"
import * as Listener from "../../../../src/services/Listener.ts"
import { call, connect, note, open, serving, statusOf, textOf } from "../../../support/grpcServer.ts"
import { leavesNothing } from "../../../support/leaks.ts"
import { describeOnNetworks } from "../../../support/network.ts"

const echo = {
  One: GrpcServer.unary(({ text }) => Effect.succeed({ text })),
  Up: GrpcServer.clientStream((requests) => Effect.map(Stream.runCount(requests), (number) => ({ number }))),
  Both: GrpcServer.bidi((requests) => Stream.map(requests, ({ text }) => ({ text })))
}

describeOnNetworks("gRPC calls that are not as they should be", (test) => {
  test("refuses what is not gRPC in words of HTTP", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo)).address)
      const refusals = [
        [{ ":method": "GET" }, 405, "13"],
        [{ ":method": "PUT" }, 405, "13"],
        [{ "content-type": "application/json" }, 415, "3"],
        [{ "content-type": "application/grpc-web" }, 415, "3"],
        [{ "content-type": undefined }, 415, "3"],
        [{ "grpc-timeout": "soon" }, 400, "13"],
        [{ "grpc-timeout": "123456789S" }, 400, "13"]
      ] as const
      for (const [headers, http, code] of refusals) {
        const under = open(client, "One", headers)
        under.stream.end()
        const { reset, status } = yield* under.answer
        assert.include(status, { ":status": http, "grpc-status": code }, JSON.stringify(headers))
        assert.strictEqual(reset, 0)
      }
      assert.deepStrictEqual((yield* call(client, "One", [note("still here")])).messages.map(textOf), ["still here"])
    }))

  test("takes every content type of gRPC, and calls without te", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo)).address)
      for (const type of ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]) {
        const answer = yield* call(client, "One", [note("x")], { "content-type": type, te: undefined })
        assert.deepStrictEqual(statusOf(answer), ["0", ""])
      }
    }))

  test("says of what it does not serve that it is Unimplemented", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo)).address)
      const messages = [
        ["/test.Notes/Two", "the service test.Notes has no method Two"],
        ["/test.Notes/Down", "the service test.Notes has no method Down"],
        ["/other.Notes/One", "there is no service other.Notes"],
        ["/nonsense", `"/nonsense" is not the path of a method`]
      ] as const
      for (const [path, message] of messages) {
        const answer = yield* call(client, "One", [note("x")], { ":path": path })
        assert.deepStrictEqual(statusOf(answer), ["12", message])
        // a response of nothing but a status
        assert.include(answer.headers, { "grpc-status": "12" })
      }
    }))

  test("tells a client that still sends that nobody listens", () =>
    Effect.gen(function*() {
      const client = yield* connect(
        (yield* serving({
          Up: GrpcServer.clientStream(() => Effect.succeed({ text: "enough" })),
          Both: GrpcServer.bidi(() => Stream.empty)
        })).address
      )
      const up = open(client, "Up")
      up.send(note("x"))
      const upAnswer = yield* up.answer
      assert.deepStrictEqual(upAnswer.messages.map(textOf), ["enough"])
      assert.deepStrictEqual([statusOf(upAnswer), upAnswer.reset], [["0", ""], 0])
      const both = open(client, "Both")
      both.send(note("x"))
      const bothAnswer = yield* both.answer
      assert.deepStrictEqual([statusOf(bothAnswer), bothAnswer.reset], [["0", ""], 0])
      const nothing = open(client, "Nothing")
      nothing.send(note("x"))
      assert.strictEqual(statusOf(yield* nothing.answer)[0], "12")
    }))

  test("refuses no message, and more than one, where there must be one", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo)).address)
      for (const messages of [[], [note("a"), note("b")]]) {
        const answer = yield* call(client, "One", messages)
        assert.deepStrictEqual(statusOf(answer), ["12", "the method takes exactly one message"])
      }
      const trickling = open(client, "One")
      trickling.send(note("a"))
      trickling.send(note("b"))
      assert.strictEqual(statusOf(yield* trickling.answer)[0], "12")
    }))

  test("refuses messages that are too large, and goes on", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo, { maxReceiveSize: 100, maxSendSize: 90 })).address)
      const large = note("x".repeat(99))
      assert.deepStrictEqual(statusOf(yield* call(client, "One", [large])), [
        "8",
        "a message of 101 bytes is larger than the limit of 100"
      ])
      assert.strictEqual(statusOf(yield* call(client, "Up", [note("x"), large]))[0], "8")
      const back = yield* call(client, "One", [note("x".repeat(95))])
      assert.deepStrictEqual(statusOf(back), ["8", "a response of 97 bytes is larger than the limit of 90"])
      const bomb = Zlib.gzipSync(note("x".repeat(99)))
      assert.isBelow(bomb.length, 100)
      const packed = open(client, "One", { "grpc-encoding": "gzip" })
      packed.stream.end(Buffer.concat([Buffer.from([1, 0, 0, 0, bomb.length]), bomb]))
      assert.strictEqual(statusOf(yield* packed.answer)[0], "8")
      assert.deepStrictEqual(statusOf(yield* call(client, "One", [note("x")])), ["0", ""])
    }))

  test("refuses bytes that are no messages", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo)).address)
      const garbage = Buffer.from([10, 50, 1])
      for (const method of ["One", "Up", "Both"]) {
        const answer = yield* call(client, method, [garbage])
        assert.strictEqual(statusOf(answer)[0], "13", method)
        assert.include(statusOf(answer)[1], "cannot be decoded")
        const flagged = open(client, method)
        flagged.stream.end(Buffer.from([7, 0, 0, 0, 0]))
        assert.strictEqual(statusOf(yield* flagged.answer)[0], "13", method)
        const cut = open(client, method)
        cut.stream.end(Buffer.from([0, 0, 0, 0, 9, 1]))
        assert.deepStrictEqual(statusOf(yield* cut.answer), ["13", "the stream ended within a message"], method)
        const unexpected = open(client, method)
        unexpected.stream.end(Buffer.from([1, 0, 0, 0, 0]))
        assert.strictEqual(statusOf(yield* unexpected.answer)[0], "13", method)
      }
    }))

  test("unpacks what is compressed, and refuses encodings that it does not know", () =>
    Effect.gen(function*() {
      const client = yield* connect((yield* serving(echo)).address)
      for (const [encoding, pack] of [["gzip", Zlib.gzipSync], ["deflate", Zlib.deflateSync]] as const) {
        const packed = pack(note("packed"))
        const under = open(client, "One", { "grpc-encoding": encoding })
        under.stream.end(Buffer.concat([Buffer.from([1, 0, 0, 0, packed.length]), packed]))
        assert.deepStrictEqual((yield* under.answer).messages.map(textOf), ["packed"])
      }
      const answer = yield* call(client, "One", [note("x")], { "grpc-encoding": "snappy" })
      assert.strictEqual(statusOf(answer)[0], "12")
      assert.include(answer.status, { "grpc-accept-encoding": "identity,deflate,gzip" })
    }))

  test("packs responses for clients that understand it, message by message", () =>
    Effect.gen(function*() {
      const text = "x".repeat(100)
      const { address } = yield* serving({
        One: GrpcServer.unary(() => Effect.succeed({ text })),
        Down: GrpcServer.serverStream((_, call) =>
          Stream.mapEffect(
            Stream.make("gzip" as const, "identity" as const, "gzip" as const, "deflate" as const),
            (compression) => Effect.as(call.setCompression(compression), { text })
          )
        )
      }, { compression: "gzip" })
      const client = yield* connect(address)
      const plain = yield* call(client, "One", [note("x")])
      assert.deepStrictEqual([plain.messages.map(textOf), plain.headers["grpc-encoding"]], [[text], undefined])
      const accepting = { "grpc-accept-encoding": "identity, gzip" }
      const packed = yield* call(client, "One", [note("x")], accepting)
      assert.strictEqual(packed.headers["grpc-encoding"], "gzip")
      assert.strictEqual(textOf(Zlib.gunzipSync(packed.messages[0]!)), text)
      const mixed = yield* call(client, "Down", [note("x")], accepting)
      const sizes = mixed.messages.map(({ length }) => length > 50)
      // deflate is not accepted, and gzip is what the headers said
      assert.deepStrictEqual(sizes, [false, true, false, true])
    }))
})

it.live("speaks HTTP/2 only", () =>
  leavesNothing(
    Effect.gen(function*() {
      const { address } = yield* serving(echo)
      const duplex = yield* Dialer.Dialer.use((dialer) => dialer.dial(address))
      const closed = Effect.callback<void>((resume) =>
        void duplex.resume().once("close", () => resume(Effect.void)).once("end", () => duplex.destroy())
      )
      duplex.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* closed
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(Dialer.layer, Listener.layer)))
  ))
