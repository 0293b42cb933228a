import { Console, Effect, Stream } from "effect"
import { Grpc, GrpcRetry, GrpcSchema } from "hawser"

export const program = Effect.gen(function*() {
  const grpc = yield* Grpc.Grpc
  const channel = yield* grpc.connect({
    url: "https://orders.internal:443",
    // or the text of a .proto, URLs, compiled descriptors; or what the server says: GrpcSchema.fromReflection()
    schema: GrpcSchema.fromFile("./orders.proto")
  })

  // one request, one response
  const order = yield* channel.unary("acme.Orders/Get", { id: 42n }, { timeout: "2 seconds" }).pipe(
    Effect.retry(GrpcRetry.schedule()),
    Effect.catchReason("GrpcError", "NotFound", () => Effect.succeed({ id: 42n, state: "UNKNOWN" }))
  )
  yield* Console.log(order)

  // streams: from the server, to the server, both ways
  yield* channel.serverStream("acme.Orders/Watch", { id: 42n }).pipe(Stream.take(10), Stream.runForEach(Console.log))
  const items = Stream.make({ sku: "a", count: 1 }, { sku: "b", count: 2 })
  yield* Console.log(yield* channel.clientStream("acme.Orders/Add", items))
  yield* Stream.runForEach(channel.bidi("acme.Orders/Quote", items), Console.log)

  // or driven by hand, with headers and trailers
  const chat = yield* channel.open("acme.Orders/Quote")
  yield* chat.send({ sku: "c", count: 3 })
  yield* Console.log(yield* chat.receive)
  yield* chat.completeSend
  yield* Console.log((yield* chat.trailers).text)
}).pipe(Effect.scoped)
