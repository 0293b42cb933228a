import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { greeterProto, grpcServer } from "../../examples/peers/grpcServer.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"

const Live = Grpc.layer.pipe(Layer.provide(Dialer.layer))

const connect = (port: number, options: Partial<Grpc.ConnectOptions> = {}) =>
  Grpc.Grpc.use((grpc) =>
    grpc.connect({ url: `http://127.0.0.1:${port}`, schema: GrpcSchema.fromFile(greeterProto), ...options })
  )

describe("Grpc", () => {
  it.live("calls a unary method", () =>
    Effect.gen(function*() {
      const server = yield* grpcServer()
      const channel = yield* connect(server.port)
      const reply = yield* channel.unary("greeter.v1.Greeter/SayHello", { name: "Ada", language: "FRENCH" })
      assert.deepStrictEqual(reply, { greeting: "Bonjour Ada", number: 0n, padding: new Uint8Array(0) })
    }).pipe(Effect.provide(Live)))

  it.live("streams", () =>
    Effect.gen(function*() {
      const server = yield* grpcServer()
      const channel = yield* connect(server.port)
      const all = yield* channel.serverStream("greeter.v1.Greeter/SayHellos", { name: "Ada", count: 1000 }).pipe(
        Stream.runCollect
      )
      assert.deepStrictEqual(all.map((x) => x["number"]), Array.from({ length: 1000 }, (_, i) => BigInt(i + 1)))
    }).pipe(Effect.provide(Live)))
})
