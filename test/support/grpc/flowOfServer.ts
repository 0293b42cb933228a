/**
 * A program of its own, so that its memory can be measured: our server with clients of Node's HTTP/2 and of grpc-js.
 * `node test/support/grpc/flowOfServer.ts unread|slowReader|slowServer PIECES`.
 * Prints how far one side was ahead of the other at most, in pieces, and how much memory it took.
 */
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { isInetAddress } from "effect/net/NetAddress"
import * as Stream from "effect/Stream"
import * as Http2 from "node:http2"
import * as GrpcSchema from "../../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../../src/services/GrpcServer.ts"
import * as Listener from "../../../src/services/Listener.ts"
import { Flow, flowMethods, flowProto, giveAll, piece, slowly, takeSlowly } from "./flow.ts"
import { measured } from "./memory.ts"

/** A server that gives as fast as it may and takes slowly. */
const service = (flow: Flow) =>
  GrpcServer.service(GrpcSchema.fromFile(flowProto), "flow.Flow", {
    Down: GrpcServer.serverStream(() =>
      Stream.fromEffectRepeat(Effect.sync(() => {
        flow.give()
        return piece
      })).pipe(Stream.take(flow.total))
    ),
    Up: GrpcServer.clientStream((pieces) =>
      Effect.as(
        Stream.runForEach(Stream.rechunk(pieces, 1), () => Effect.andThen(Effect.sync(() => flow.take()), slowly)),
        {}
      )
    ),
    Echo: GrpcServer.unary((request) => Effect.succeed(request))
  })

const { Down, Echo, Up } = flowMethods()

const connected = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => new Grpc.Client(`127.0.0.1:${port}`, Grpc.credentials.createInsecure())),
    (client) => Effect.sync(() => client.close())
  )

const echo = (client: Grpc.Client) =>
  Effect.callback<void, Error>((resume) => {
    const { path, requestSerialize, responseDeserialize } = Echo!
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, piece, (error) =>
      resume(error === null ? Effect.void : Effect.fail(error)))
  })

/** A call of which no response is ever read: grpc-js would read. */
const unreadCall = Effect.fnUntraced(function*(port: number) {
  const session = yield* Effect.acquireRelease(
    Effect.sync(() => Http2.connect(`http://127.0.0.1:${port}`)),
    (session) => Effect.sync(() => session.destroy())
  )
  const stream = session.request({
    ":method": "POST",
    ":path": Down!.path,
    "content-type": "application/grpc",
    te: "trailers"
  })
  stream.end(Buffer.alloc(5))
  yield* Effect.callback<void>((resume) => void stream.once("response", () => resume(Effect.void)))
})

const scenarios: {
  readonly [name: string]: (client: Grpc.Client, flow: Flow, port: number) => Effect.Effect<void, unknown>
} = {
  unread: Effect.fnUntraced(function*(client, _, port) {
    yield* unreadCall(port)
    // what could be sent has been sent by then
    for (let i = 0; i < 200; i++) yield* echo(client)
  }, Effect.scoped),

  slowReader: (client, flow) =>
    Effect.callback((resume) => {
      const { path, requestSerialize, responseDeserialize } = Down!
      const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {})
      takeSlowly(call, flow)
      call.once("end", () => resume(Effect.void)).once("error", (error) => resume(Effect.fail(error)))
    }),

  slowServer: (client, flow) =>
    Effect.callback((resume) => {
      const { path, requestSerialize, responseDeserialize } = Up!
      const call = client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, (error) =>
        resume(error === null ? Effect.void : Effect.fail(error)))
      giveAll(call, flow)
    })
}

const program = Effect.gen(function*() {
  const [, , scenario = "", pieces] = process.argv
  const flow = new Flow(Number(pieces))
  const Live = GrpcServer.layer({ services: [service(flow)], drainTimeout: 0 }).pipe(Layer.provide(Listener.layer))
  yield* Effect.gen(function*() {
    const { address } = yield* GrpcServer.GrpcServer
    const port = isInetAddress(address) ? address.port : 0
    yield* measured(flow, scenarios[scenario]!(yield* connected(port), flow, port))
  }).pipe(Effect.scoped, Effect.provide(Live))
})

void Effect.runPromise(program).then(() => process.exit(0))
