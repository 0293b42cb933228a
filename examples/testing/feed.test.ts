import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Schedule, Stream } from "effect"
import { Grpc, type GrpcChannel, GrpcSchema, GrpcServer } from "hawser"
import { TestNetwork } from "hawser/testing"

const schema = GrpcSchema.fromSource(`
  syntax = "proto3";
  package feed;
  message Entry { int32 number = 1; }
  service Feed { rpc Follow(Entry) returns (stream Entry); }
`)

/** What is tested: follows a feed, and goes on behind the last entry a second after the stream broke. */
const follow = (channel: GrpcChannel.GrpcChannel) =>
  Stream.suspend(() => {
    let last = 0
    return Stream.suspend(() => channel.serverStream("feed.Feed/Follow", { number: last })).pipe(
      Stream.map(({ number }) => last = Number(number)),
      Stream.retry(Schedule.spaced("1 second"))
    )
  })

/** A server that has a new entry each second, for whoever has the ones before. */
const feed = GrpcServer.layer({
  host: "feed",
  port: 50051,
  services: [
    GrpcServer.service(schema, "feed.Feed", {
      Follow: GrpcServer.serverStream(({ number }) =>
        Stream.range(Number(number) + 1, 1000).pipe(
          Stream.map((number) => ({ number })),
          Stream.schedule(Schedule.spaced("1 second"))
        )
      )
    })
  ]
})

/** A channel that asks every five seconds whether the server is there, and gives it a second to answer. */
const connect = Grpc.Grpc.use((grpc) =>
  grpc.connect({ url: "http://feed:50051", schema, keepAlive: { interval: "5 seconds", timeout: "1 second" } })
).pipe(Effect.provide(Grpc.layer))

/** Half a second after the third entry the server loses its power, for half a minute. */
const powerCut = Effect.gen(function*() {
  const network = yield* TestNetwork.TestNetwork
  yield* Effect.sleep("3500 millis")
  yield* Effect.scoped(Effect.andThen(network.crash("feed"), Effect.sleep("30 seconds")))
})

const seconds = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1000)

const test = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const host = yield* TestNetwork.TestNetwork.use((network) => network.host("feed"))
    yield* host.start(Layer.launch(feed))
    yield* Effect.forkScoped(powerCut)
    return yield* body
  }).pipe(TestNetwork.simulated({ defaults: { latency: "10 millis" } }))

describe("a feed whose server crashes half-way", () => {
  it.effect("breaks off when nothing answers any more, after all that had come", () =>
    Effect.gen(function*() {
      const channel = yield* connect
      const numbers: Array<unknown> = []
      const stream = channel.serverStream("feed.Feed/Follow", {})
      const error = yield* Effect.flip(
        Stream.runForEach(stream, ({ number }) => Effect.sync(() => void numbers.push(number)))
      )
      assert.deepStrictEqual(numbers, [1, 2, 3])
      assert.strictEqual(error.message, "feed.Feed/Follow: Unavailable: keep-alive timeout")
      // nobody says that a server has lost its power: the ping after five seconds finds out
      assert.approximately(yield* seconds, 6, 0.1)
    }).pipe(test))

  it.effect("is followed without a gap, and without anything twice", () =>
    Effect.gen(function*() {
      const channel = yield* connect
      const numbers = yield* Stream.runCollect(Stream.take(follow(channel), 6))
      assert.deepStrictEqual(numbers, [1, 2, 3, 4, 5, 6])
      assert.isAbove(yield* seconds, 33.5 + 3)
    }).pipe(test))
})
