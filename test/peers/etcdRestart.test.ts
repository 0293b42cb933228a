import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Grpc from "../../src/services/Grpc.ts"
import { connectToEtcd, Etcd } from "./support/etcd.ts"
import { keeps, put, watch } from "./support/etcdCases.ts"
import { peers, ways } from "./support/ways.ts"

layer(Layer.merge(peers, Etcd.layer), { excludeTestServices: true, timeout: "60 seconds" })("etcd", (it) => {
  for (const [name, way] of Object.entries(ways)) {
    it.effect(`ends what watches it when it stops, and is reached again ${name}`, () =>
      Effect.gen(function*() {
        const { startAgain, stop } = yield* Etcd
        const channel = yield* connectToEtcd()
        const { next } = yield* watch(channel, "restarted/")
        yield* stop
        const error = yield* Effect.flip(next)
        assert.strictEqual(error._tag, "GrpcError")
        if (error._tag === "GrpcError") assert.strictEqual(error.reason._tag, "Unavailable")
        yield* startAgain
        yield* keeps(channel, "restarted/key", "value")
        const again = yield* watch(channel, "restarted/")
        yield* put(channel, "restarted/key", "other value")
        yield* again.next
      }).pipe(Effect.scoped, Effect.provide(Grpc.layer.pipe(Layer.provide(way())))))
  }
})
