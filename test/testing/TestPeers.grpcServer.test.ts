import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Unavailable } from "../../src/errors/GrpcError.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as TestCertificates from "../../src/testing/TestCertificates.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"
import { notes, schema } from "../support/grpcServer.ts"
import { describeOnNetworks } from "../support/network.ts"
import { reasonOf } from "../support/reason.ts"
import { temporaryFolder } from "../support/servers.ts"

const connect = (peer: TestPeers.GrpcPeer, options: Partial<Grpc.ConnectOptions> = {}) =>
  Effect.provide(Grpc.Grpc.use((grpc) => grpc.connect({ url: peer.url, schema, ...options })), Grpc.layer)

const say = (text: string) => ({ text, number: 0 })

/** A handler of each kind, which do as little as they can. */
const all = notes({
  One: GrpcServer.unary((request) => Effect.succeed(say(`one ${String(request["text"])}`))),
  Down: GrpcServer.serverStream(() => Stream.make(say("a"), say("b"))),
  Up: GrpcServer.clientStream((requests) => Effect.map(Stream.runCount(requests), (count) => say(String(count)))),
  Both: GrpcServer.bidi((requests) => requests)
})

const ended = (call: TestPeers.GrpcPeerCall | undefined) => Option.getOrUndefined(call?.exit ?? Option.none())

describeOnNetworks("TestPeers.grpcServer", (test) => {
  test("serves calls of every kind, and writes them down", () =>
    Effect.gen(function*() {
      const peer = yield* TestPeers.grpcServer({ services: [all] })
      const channel = yield* connect(peer, { metadata: { "x-from": "test" } })
      assert.deepStrictEqual(yield* channel.unary("test.Notes/One", { text: "x" }), say("one x"))
      assert.lengthOf(yield* Stream.runCollect(channel.serverStream("test.Notes/Down", { text: "x" })), 2)
      const sent = Stream.make({ text: "1" }, { text: "2" })
      assert.deepStrictEqual(yield* channel.clientStream("test.Notes/Up", sent), say("2"))
      assert.deepStrictEqual(yield* Stream.runCollect(channel.bidi("test.Notes/Both", sent)), [say("1"), say("2")])
      const calls = yield* peer.calls
      assert.deepStrictEqual(
        calls.map(({ method, requests }) => [method, requests]),
        [
          ["test.Notes/One", [say("x")]],
          ["test.Notes/Down", [say("x")]],
          ["test.Notes/Up", [say("1"), say("2")]],
          ["test.Notes/Both", [say("1"), say("2")]]
        ]
      )
      for (const call of calls) {
        assert.isTrue(Exit.isSuccess(ended(call) ?? Exit.fail("it goes on")), call.method)
        assert.deepStrictEqual(call.metadata.text["x-from"], ["test"])
      }
    }), 30_000)

  test("answers in turn, with the last answer for good", () =>
    Effect.gen(function*() {
      const busy = new Unavailable({ message: "starting" })
      const peer = yield* TestPeers.grpcServer({
        services: [notes({
          One: GrpcServer.unary(TestPeers.inTurn(Effect.fail(busy), Effect.fail(busy), Effect.succeed(say("ready")))),
          Down: GrpcServer.serverStream(TestPeers.inTurn(Stream.make(say("a")), Stream.fail(busy)))
        })]
      })
      const channel = yield* connect(peer)
      const call = channel.unary("test.Notes/One", {})
      assert.deepStrictEqual(yield* Effect.retry(call, { times: 2 }), say("ready"))
      assert.deepStrictEqual(yield* call, say("ready"))
      const exits = (yield* peer.calls).map((call) => Exit.findErrorOption(ended(call) ?? Exit.void))
      assert.deepStrictEqual(exits, [Option.some(busy), Option.some(busy), Option.none(), Option.none()])
      const stream = Stream.runCollect(channel.serverStream("test.Notes/Down", {}))
      assert.lengthOf(yield* stream, 1)
      assert.include((yield* Effect.flip(stream)).message, "starting")
    }), 30_000)

  test("sees that a call goes on, and that it was cancelled", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const endless = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
      const peer = yield* TestPeers.grpcServer({ services: [notes({ One: GrpcServer.unary(() => endless) })] })
      const channel = yield* connect(peer)
      const calling = yield* Effect.forkChild(channel.unary("test.Notes/One", {}))
      yield* Deferred.await(begun)
      assert.isUndefined(ended((yield* peer.calls)[0]))
      yield* Fiber.interrupt(calling)
      // the client does not wait until the server has heard of it
      while (ended((yield* peer.calls)[0]) === undefined) yield* Effect.sleep(1)
      const exit = ended((yield* peer.calls)[0])
      assert.isTrue(exit !== undefined && Exit.hasInterrupts(exit))
    }))

  test("ends the calls that are under way with its scope", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const endless = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
      const peer = yield* Scope.provide(
        TestPeers.grpcServer({ services: [notes({ One: GrpcServer.unary(() => endless) })] }),
        scope
      )
      const channel = yield* connect(peer)
      const calling = yield* Effect.forkChild(reasonOf(channel.unary("test.Notes/One", {})))
      yield* Deferred.await(begun)
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* Fiber.join(calling), { _tag: "Unavailable" })
    }))

  test("speaks TLS where it has a certificate", () =>
    Effect.gen(function*() {
      const authority = yield* TestCertificates.authority()
      const tls = yield* authority.issue({ names: ["127.0.0.1"] })
      const peer = yield* TestPeers.grpcServer({ services: [all], tls })
      assert.match(peer.url, /^https:/)
      const channel = yield* connect(peer, { tls: { ca: authority.certificate } })
      assert.deepStrictEqual(yield* channel.unary("test.Notes/One", { text: "x" }), say("one x"))
    }), 30_000)

  test("listens on a unix socket", () =>
    Effect.gen(function*() {
      const path = `${yield* temporaryFolder}/grpc.sock`
      const peer = yield* TestPeers.grpcServer({ services: [all], address: { path } })
      assert.strictEqual(peer.url, `unix:${path}`)
      const channel = yield* connect(peer)
      assert.deepStrictEqual(yield* channel.unary("test.Notes/One", { text: "x" }), say("one x"))
    }))

  test("fails as its listener and its services do", () =>
    Effect.gen(function*() {
      const peer = yield* TestPeers.grpcServer({ services: [all] })
      const inUse = yield* Effect.flip(TestPeers.grpcServer({ services: [], address: peer.address }))
      assert.strictEqual(inUse._tag, "TcpError")
      const wrong = notes({ Nothing: GrpcServer.unary(() => Effect.succeed({})) })
      assert.strictEqual((yield* Effect.flip(TestPeers.grpcServer({ services: [wrong] })))._tag, "GrpcSchemaError")
    }))
})
