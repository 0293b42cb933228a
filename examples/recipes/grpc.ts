import { Console, Effect, Stream } from "effect"
import { Grpc, GrpcSchema } from "hawser"

export const program = Effect.gen(function*() {
  const grpc = yield* Grpc.Grpc
  const channel = yield* grpc.connect({
    url: "https://orders.internal:443",
    schema: GrpcSchema.fromFile("./orders.proto")
  })
  const order = yield* channel.unary("acme.Orders/Get", { id: 42n }, { timeout: "2 seconds" })
  yield* Console.log(order)
  yield* Stream.runForEach(channel.serverStream("acme.Orders/Watch", { id: 42n }), Console.log)
}).pipe(Effect.scoped)
