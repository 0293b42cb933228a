/** The server of the interop tests, made with ours. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as GrpcError from "../../src/errors/GrpcError.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"
import * as Listener from "../../src/services/Listener.ts"
import type { Values } from "./client.ts"
import { expectations } from "./expectation.ts"
import { schema } from "./hawserClient.ts"
import type { Path } from "./path.ts"
import { echoInitial, echoTrailing, type Seen, type Server, sizeOf } from "./server.ts"
import type { Wire } from "./wire.ts"

const handlers = (seen: Seen, wire: Wire) => {
  const expected = expectations(wire)

  /** Every call sends back what it is asked to, and is watched until it ends. */
  const open = (call: GrpcServer.ServerCall) =>
    Effect.gen(function*() {
      seen.started++
      yield* Effect.addFinalizer((exit) =>
        Effect.sync(() => {
          if (Exit.hasInterrupts(exit)) seen.cancelled++
          else seen.completed++
        })
      )
      const { binary, text } = call.metadata
      yield* call.setTrailers({ [echoTrailing]: binary[echoTrailing] })
      yield* call.sendHeaders({ [echoInitial]: text[echoInitial] })
    })

  const compressing = (call: GrpcServer.ServerCall, compress: boolean) =>
    call.setCompression(compress ? "gzip" : "identity")

  const statusOf = ({ code, message }: Values) => Effect.fail(GrpcError.reasonFromCode(code, message))

  const unexpected = new GrpcError.InvalidArgument({ message: "compressed otherwise than said" })

  const response = (size: number): Values => ({ payload: { body: new Uint8Array(size) } })

  return {
    EmptyCall: GrpcServer.unary((_, call) => Effect.as(open(call), {})),

    UnaryCall: GrpcServer.unary(Effect.fnUntraced(function*(request: Values, call) {
      const met = expected.met([request])
      expected.next()
      yield* compressing(call, request["responseCompressed"]?.value === true)
      yield* open(call)
      if (!met) return yield* unexpected
      if (request["responseStatus"] !== undefined) return yield* statusOf(request["responseStatus"])
      return response(request["responseSize"])
    })),

    StreamingInputCall: GrpcServer.clientStream(Effect.fnUntraced(function*(requests, call) {
      yield* open(call)
      const all = yield* Stream.runCollect(requests)
      const met = expected.met(all)
      expected.next()
      if (!met) return yield* unexpected
      return { aggregatedPayloadSize: all.reduce((sum, request) => sum + sizeOf(request), 0) }
    })),

    StreamingOutputCall: GrpcServer.serverStream((request: Values, call) => {
      const parameters: ReadonlyArray<Values> = request["responseParameters"]
      const compresses = parameters.some(({ compressed }) => compressed?.value === true)
      return Stream.unwrap(Effect.gen(function*() {
        yield* compressing(call, compresses)
        yield* open(call)
        return Stream.mapEffect(
          Stream.fromIterable(parameters),
          ({ compressed, size }) => Effect.as(compressing(call, compressed?.value === true), response(size))
        )
      }))
    }),

    FullDuplexCall: GrpcServer.bidi((requests: Stream.Stream<Values>, call) =>
      Stream.unwrap(Effect.as(
        open(call),
        Stream.flatMap(requests, (request) =>
          request["responseStatus"] === undefined
            ? Stream.map(Stream.fromIterable<Values>(request["responseParameters"]), ({ size }) => response(size))
            : Stream.fromEffect(statusOf(request["responseStatus"])))
      ))
    )
  }
}

const tlsOf = ({ certificates }: Path["Service"]) => {
  if (certificates === undefined) return {}
  const { ca, client, server } = certificates
  return { tls: { ...server, ...(client === undefined ? {} : { ca, requestClientCertificate: true }) } }
}

/** Serves at the end of a path for as long as the scope lives. */
export const serve = Effect.fnUntraced(function*(path: Path["Service"]) {
  const seen: Seen = { started: 0, cancelled: 0, completed: 0 }
  // UnimplementedCall has no handler
  const service = GrpcServer.partial(schema, "grpc.testing.TestService", handlers(seen, path.wire))
  const server = GrpcServer.layer({ services: [service], ...path.bind, ...tlsOf(path) }).pipe(
    Layer.provide(Layer.succeed(Listener.Listener, path.listener))
  )
  const { address } = Context.get(yield* Layer.build(server), GrpcServer.GrpcServer)
  return { address, seen } satisfies Server
})
