import { Console, Effect, Layer, Stream } from "effect"
import { NetAddress } from "effect/net"
import { Dialer, Grpc, GrpcError, GrpcSchema, GrpcServer, Listener } from "hawser"

const schema = GrpcSchema.fromSource(`
  syntax = "proto3";
  package demo;
  message Request { string name = 1; }
  message Reply { string text = 1; int64 number = 2; }
  service Greeter {
    rpc Greet(Request) returns (Reply);
    rpc Count(Request) returns (stream Reply);
  }
`)

const greeter = GrpcServer.service(schema, "demo.Greeter", {
  Greet: GrpcServer.unary(({ name }) =>
    name === ""
      ? Effect.fail(new GrpcError.InvalidArgument({ message: "a name is needed" }))
      : Effect.succeed({ text: `Hello ${String(name)}`, number: 1 })
  ),
  Count: GrpcServer.serverStream(({ name }) =>
    Stream.map(Stream.range(1, 3), (number) => ({ text: `Hello ${String(name)}`, number }))
  )
})

const program = Effect.gen(function*() {
  const { address } = yield* GrpcServer.GrpcServer
  const grpc = yield* Grpc.Grpc
  // the server describes itself: no .proto is needed here
  const channel = yield* grpc.connect({
    url: `http://${NetAddress.formatSocketAddress(address)}`,
    schema: GrpcSchema.fromReflection()
  })

  yield* Console.log(yield* channel.unary("demo.Greeter/Greet", { name: "Ada" }))
  yield* Stream.runForEach(channel.serverStream("demo.Greeter/Count", { name: "Ada" }), Console.log)
  const error = yield* Effect.flip(channel.unary("demo.Greeter/Greet", {}))
  yield* Console.log(error.message)
}).pipe(
  Effect.scoped,
  Effect.provide(
    Layer.merge(
      GrpcServer.layer({ services: [greeter] }).pipe(Layer.provide(Listener.layer)),
      Grpc.layer.pipe(Layer.provide(Dialer.layer))
    )
  )
)

Effect.runFork(program)
