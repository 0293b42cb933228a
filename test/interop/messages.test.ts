/** Messages of definitions that nobody wrote, through the wire and back. */
import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { isInetAddress } from "effect/net/NetAddress"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as HawserGrpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { Random, randomDefinition, randomValues, textOf } from "../support/grpc/randomProto.ts"
import { leavesNothing } from "../support/leaks.ts"

const service = `
service Echo {
  rpc One(M0) returns (M0);
  rpc Many(stream M0) returns (stream M0);
}
`

const same = (bytes: Buffer) => bytes

const raw = (path: string, streams: boolean) => ({
  path,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same
})

/** grpc-js gives back the bytes that it gets. */
const grpcJsEcho = Effect.fnUntraced(function*() {
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => new Grpc.Server()),
    (server) => Effect.sync(() => server.forceShutdown())
  )
  server.addService({ One: raw("/t.Echo/One", false), Many: raw("/t.Echo/Many", true) }, {
    One: (call: Grpc.ServerUnaryCall<Buffer, Buffer>, reply: Grpc.sendUnaryData<Buffer>) => reply(null, call.request),
    Many: (call: Grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on("data", (bytes: Buffer) => void call.write(bytes))
      call.on("end", () => call.end())
    }
  })
  return yield* Effect.callback<number, Error>((resume) => {
    server.bindAsync(
      "127.0.0.1:0",
      Grpc.ServerCredentials.createInsecure(),
      (error, port) => resume(error === null ? Effect.succeed(port) : Effect.fail(error))
    )
  })
})

/** Our server reads them and writes them again. */
const hawserEcho = Effect.fnUntraced(function*(schema: GrpcSchema.GrpcSchema) {
  const echo = GrpcServer.service(schema, "t.Echo", {
    One: GrpcServer.unary((request) => Effect.succeed(request)),
    Many: GrpcServer.bidi((requests) => requests)
  })
  const server = GrpcServer.layer({ services: [echo] }).pipe(Layer.provide(Listener.layer))
  const { address } = Context.get(yield* Layer.build(server), GrpcServer.GrpcServer)
  return isInetAddress(address) ? address.port : 0
})

const comesBack = (
  seed: number,
  serve: (schema: GrpcSchema.GrpcSchema) => Effect.Effect<number, unknown, Scope.Scope>
) =>
  Effect.gen(function*() {
    const random = new Random(seed)
    const definition = randomDefinition(random)
    const text = textOf(definition) + service
    const schema = yield* GrpcSchema.fromSource(text)
    const port = yield* serve(schema)
    const grpc = yield* HawserGrpc.Grpc
    const compression = random.pick(["identity", "gzip", "deflate"] as const)
    const channel = yield* grpc.connect({ url: `http://127.0.0.1:${port}`, schema, compression })
    const values = Array.from({ length: 5 }, () => randomValues(random, definition.messages[0]!))
    assert.deepStrictEqual(yield* channel.unary("t.Echo/One", values[0]!), values[0], text)
    const all = yield* Stream.runCollect(channel.bidi("t.Echo/Many", Stream.fromIterable(values)))
    assert.deepStrictEqual(all, values, text)
  }).pipe(
    Effect.provide(HawserGrpc.layer.pipe(Layer.provide(Dialer.layer))),
    leavesNothing
  )

const options = { arbitrary: { runs: 50 }, timeout: 120_000 }

describe("messages of any definition come back as they were", () => {
  it.live.prop("from grpc-js, as bytes", { seed: Schema.Int }, ({ seed }) => comesBack(seed, grpcJsEcho), options)

  it.live.prop(
    "from our server, read and written again",
    { seed: Schema.Int },
    ({ seed }) => comesBack(seed, hawserEcho),
    options
  )
})
