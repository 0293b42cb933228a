/** What the tests of gRPC have in common. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http2 from "node:http2"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import { greeterProto } from "./greeter.ts"
import { leavesNothing } from "./leaks.ts"

const schema = GrpcSchema.fromFile(greeterProto)

export const connect = (url: string, options: Partial<Grpc.ConnectOptions> = {}) =>
  Grpc.Grpc.use((grpc) => grpc.connect({ url, schema, ...options })).pipe(Effect.provide(Grpc.layer))

export const connectTo = (port: number, options: Partial<Grpc.ConnectOptions> = {}) =>
  connect(`http://127.0.0.1:${port}`, options)

/** A test on loopback that leaves nothing behind. */
export const onLoopback = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Scope.Scope>
) => it.live(title, () => leavesNothing(Effect.provide(body(), Dialer.layer)))

/** A server of Node's own HTTP/2, for what grpc-js's would not do; by default it says Unimplemented. */
export const http2Server = Effect.fnUntraced(function*(options: {
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly answer?: (stream: Http2.ServerHttp2Stream) => void
}) {
  const headers: Array<Http2.IncomingHttpHeaders> = []
  const server = yield* Effect.acquireRelease(
    Effect.callback<Http2.Http2Server>((resume) => {
      const server = options.tls === undefined ? Http2.createServer() : Http2.createSecureServer(options.tls)
      server.on("stream", (stream: Http2.ServerHttp2Stream, received: Http2.IncomingHttpHeaders) => {
        headers.push(received)
        if (options.answer !== undefined) return options.answer(stream)
        stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "12" }, { endStream: true })
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )
  const address = server.address()
  assert(typeof address === "object" && address !== null)
  return { port: address.port, headers }
})
