import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LayerMap from "effect/LayerMap"
import { DialError, Refused } from "../../src/errors/DialError.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"

class Left extends Context.Service<Left, Grpc.Grpc["Service"]>()("test/Grpc/Left") {}
class Right extends Context.Service<Right, Grpc.Grpc["Service"]>()("test/Grpc/Right") {}

/** A network on which nothing can be reached, and which notices who tried. */
const network = (name: string, asked: Array<string>) =>
  Layer.sync(Dialer.Dialer, () => ({
    connectTimeout: Duration.seconds(1),
    dial: () =>
      Effect.suspend(() => {
        asked.push(name)
        return Effect.fail(new DialError({ target: name, hop: "direct", reason: new Refused({ address: name }) }))
      })
  }))

const tryConnecting = (grpc: Grpc.Grpc["Service"]) =>
  Effect.ignore(
    Effect.scoped(grpc.connect({
      url: "http://nowhere.test:1",
      schema: GrpcSchema.fromSource(`syntax = "proto3";`)
    }))
  )

const here = Effect.flatMap(Effect.service(Grpc.Grpc), tryConnecting)

// one layer value for several networks must stay several
describe("Grpc.layer", () => {
  it.live("keeps two networks apart in one mergeAll", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const over = (name: string) => Layer.provide(Grpc.layer, network(name, asked))
      yield* Effect.andThen(Left.use(tryConnecting), Right.use(tryConnecting)).pipe(
        Effect.provide(Layer.mergeAll(
          Layer.provide(Layer.effect(Left, Effect.service(Grpc.Grpc)), over("left")),
          Layer.provide(Layer.effect(Right, Effect.service(Grpc.Grpc)), over("right"))
        ))
      )
      assert.deepStrictEqual(asked, ["left", "right"])
    }))

  it.live("keeps two networks apart in nested provides", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const over = (name: string) => Layer.provide(Grpc.layer, network(name, asked))
      yield* here.pipe(Effect.andThen(Effect.provide(here, over("inner"))), Effect.provide(over("outer")))
      assert.deepStrictEqual(asked, ["outer", "inner"])
    }))

  it.live("keeps networks apart in the lookup of a LayerMap", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const channels = yield* LayerMap.make((name: string) => Layer.provide(Grpc.layer, network(name, asked)))
      yield* Effect.provide(here, channels.get("first"))
      yield* Effect.provide(here, channels.get("second"))
      assert.deepStrictEqual(asked, ["first", "second"])
    }))
})
