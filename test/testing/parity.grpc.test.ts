import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as GrpcError from "../../src/errors/GrpcError.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { grpcPeer, talkSchema } from "../support/grpcPeer.ts"
import { schema, serving } from "../support/grpcServer.ts"
import { describeParity } from "../support/network.ts"
import { type Failure, lineOf } from "../support/parity.ts"

const handlers = {
  One: GrpcServer.unary(({ text }) =>
    text === "hello"
      ? Effect.succeed({ text: "you too" })
      : text === "wait"
      ? Effect.never
      : Effect.fail(new GrpcError.NotFound({ message: `no ${String(text)}` }))
  ),
  Down: GrpcServer.serverStream(() =>
    Stream.concat(
      Stream.make({ text: "1" }, { text: "2" }),
      Stream.fail(new GrpcError.ResourceExhausted({ message: "no more" }))
    )
  )
}

const connect = (url: string, options: Partial<Grpc.ConnectOptions> = {}) =>
  Grpc.Grpc.use((grpc) => grpc.connect({ url, schema, ...options })).pipe(Effect.provide(Grpc.layer))

const served = Effect.map(
  serving(handlers),
  ({ address }) => `http://127.0.0.1:${"port" in address ? address.port : 0}`
)

/** The texts of a stream until it fails, and how it does. */
const textsOf = <E extends Failure>(stream: Stream.Stream<Readonly<Record<string, unknown>>, E>) => {
  const texts: Array<unknown> = []
  return lineOf(Stream.runForEach(stream, ({ text }) => Effect.sync(() => void texts.push(text)))).pipe(
    Effect.map((failure) => [...texts, failure])
  )
}

describeParity("gRPC", (test) => {
  test("answers, and says why it does not", () =>
    Effect.gen(function*() {
      const channel = yield* connect(yield* served)
      const one = (text: string) =>
        channel.unary("test.Notes/One", { text }, { timeout: text === "wait" ? 50 : "1 minute" })
      assert.deepStrictEqual(yield* one("hello"), { text: "you too", number: 0 })
      assert.strictEqual(yield* lineOf(one("nobody")), "GrpcError: NotFound: test.Notes/One: NotFound: no nobody")
      assert.strictEqual(
        yield* lineOf(one("wait")),
        "GrpcError: DeadlineExceeded: test.Notes/One: DeadlineExceeded: the timeout has passed"
      )
      assert.strictEqual(
        yield* lineOf(channel.clientStream("test.Notes/Up", Stream.empty)),
        "GrpcError: Unimplemented: test.Notes/Up: Unimplemented: the service test.Notes has no method Up"
      )
    }))

  test("gives the messages before an error, and then the error", () =>
    Effect.gen(function*() {
      const channel = yield* connect(yield* served)
      assert.deepStrictEqual(yield* textsOf(channel.serverStream("test.Notes/Down", {})), [
        "1",
        "2",
        "GrpcError: ResourceExhausted: test.Notes/Down: ResourceExhausted: no more"
      ])
    }))

  test("is refused where nobody listens as every dial is", () =>
    Effect.gen(function*() {
      const { address } = yield* Effect.scoped(Listener.Listener.use((listener) => listener.bind("127.0.0.1:0")))
      assert.strictEqual(
        yield* lineOf(connect(`http://127.0.0.1:${"port" in address ? address.port : 0}`)),
        "DialError: Refused: 127.0.0.1:port: connection to 127.0.0.1:port refused; is something listening there?"
      )
    }))

  test("gives up on a peer that accepts and says nothing", () =>
    Effect.gen(function*() {
      const { address } = yield* Listener.Listener.use((listener) => listener.bind("127.0.0.1:0"))
      assert.strictEqual(
        yield* lineOf(
          connect(`http://127.0.0.1:${"port" in address ? address.port : 0}`, { connectTimeout: "50 millis" })
        ),
        "DialError: ConnectTimeout: 127.0.0.1:port via http/2: timed out after 50ms while waiting for the server's HTTP/2 settings"
      )
    }))

  test("gives the messages before its connection was lost, and connects again for the next call", () =>
    Effect.gen(function*() {
      const peer = yield* grpcPeer()
      const channel = yield* connect(peer.url, { schema: talkSchema })
      const listening = yield* Effect.forkChild(textsOf(channel.serverStream("test.Talk/Listen", {})))
      const { ping, say } = yield* peer.nextCall
      say("1", "2")
      yield* ping
      for (const session of peer.sessions) session.destroy()
      assert.deepStrictEqual(yield* Fiber.join(listening), [
        "1",
        "2",
        "GrpcError: Unavailable: test.Talk/Listen: Unavailable: the server is going away (NO_ERROR)"
      ])
      const asking = yield* Effect.forkChild(channel.unary("test.Talk/Ask", {}))
      const { answer } = yield* peer.nextCall
      answer("here again")
      assert.deepStrictEqual(yield* Fiber.join(asking), { text: "here again" })
    }))

  test("cancels what is under way when its scope closes", () =>
    Effect.gen(function*() {
      const url = yield* served
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(connect(url), scope)
      const asking = yield* Effect.forkChild(lineOf(channel.unary("test.Notes/One", { text: "wait" })), {
        startImmediately: true
      })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(
        yield* Fiber.join(asking),
        "GrpcError: Cancelled: test.Notes/One: Cancelled: the channel was closed"
      )
    }))
})
