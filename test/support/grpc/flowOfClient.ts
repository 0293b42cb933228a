/**
 * A program of its own, so that its memory can be measured: our client with a server of grpc-js.
 * `node test/support/grpc/flowOfClient.ts unread|slowReader|slowServer PIECES`.
 * Prints how far one side was ahead of the other at most, in pieces, and how much memory it took.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Dialer from "../../../src/services/Dialer.ts"
import * as Grpc from "../../../src/services/Grpc.ts"
import type * as GrpcChannel from "../../../src/services/GrpcChannel.ts"
import * as GrpcSchema from "../../../src/services/GrpcSchema.ts"
import { Flow, flowPeer, flowProto, piece, slowly } from "./flow.ts"
import { measured } from "./memory.ts"

const scenarios: {
  readonly [name: string]: (channel: GrpcChannel.GrpcChannel, flow: Flow) => Effect.Effect<void, unknown>
} = {
  unread: Effect.fnUntraced(function*(channel) {
    const call = yield* channel.open("flow.Flow/Down")
    yield* call.send({})
    yield* call.completeSend
    yield* call.headers
    // the connection is free for others, and what could come has come by then
    for (let i = 0; i < 200; i++) yield* channel.unary("flow.Flow/Echo", piece)
  }, Effect.scoped),

  slowReader: (channel, flow) =>
    Stream.runForEach(
      Stream.rechunk(channel.serverStream("flow.Flow/Down", {}), 1),
      () => Effect.andThen(Effect.sync(() => flow.take()), slowly)
    ),

  slowServer: (channel, flow) => {
    const pieces = Stream.fromEffectRepeat(Effect.sync(() => {
      flow.give()
      return piece
    })).pipe(Stream.take(flow.total))
    return Effect.asVoid(channel.clientStream("flow.Flow/Up", pieces))
  }
}

const program = Effect.gen(function*() {
  const [, , scenario = "", pieces] = process.argv
  const flow = new Flow(Number(pieces))
  const port = yield* flowPeer(flow)
  const grpc = yield* Grpc.Grpc
  const schema = GrpcSchema.fromFile(flowProto)
  const channel = yield* grpc.connect({ url: `http://127.0.0.1:${port}`, schema })
  yield* measured(flow, scenarios[scenario]!(channel, flow))
})

const Live = Grpc.layer.pipe(Layer.provide(Dialer.layer))

void Effect.runPromise(Effect.provide(Effect.scoped(program), Live)).then(() => process.exit(0))
