/** Our client as the cases want it: methods go by name, as in every program that knows them at run time only. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as NetAddress from "effect/net/NetAddress"
import * as Stream from "effect/Stream"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Grpc from "../../src/services/Grpc.ts"
import type { CallError, CallOptions } from "../../src/services/GrpcChannel.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import { type Call, type Client, type Options, Status } from "./client.ts"
import { protos } from "./grpcJs.ts"
import { type Path, urlOf } from "./path.ts"

export const schema = GrpcSchema.fromFile(`${protos}/grpc/testing/test.proto`, { includeDirs: [protos] })

/** Only a status is something that a case may ask for. */
const statusOf = (error: CallError): Effect.Effect<never, Status> => {
  if (error._tag !== "GrpcError") return Effect.die(error)
  const { code, message, trailers } = error.reason
  return Effect.fail(new Status({ code, message, trailers }))
}

const failing = <A, R>(effect: Effect.Effect<A, CallError, R>) => Effect.catch(effect, statusOf)

const failingStream = <A, R>(stream: Stream.Stream<A, CallError, R>) =>
  Stream.catch(stream, (error) => Stream.fromEffect(statusOf(error)))

const optionsOf = (options: Options = {}): CallOptions => options

const tlsOf = ({ certificates }: Path["Service"]) =>
  certificates === undefined ? {} : { tls: { ca: certificates.ca, ...certificates.client } }

/** A client of ours to a server at the end of a path. */
export const connect = Effect.fnUntraced(
  function*(path: Path["Service"], address: NetAddress.SocketAddress) {
    const grpc = yield* Grpc.Grpc
    const channel = yield* grpc.connect({ url: urlOf(path, address), schema, ...tlsOf(path) })
    const client: Client = {
      cancelsAtOnce: true,
      unary: (method, request, options) => failing(channel.exchange(method, request, optionsOf(options))),
      serverStream: (method, request, options) =>
        failingStream(channel.serverStream(method, request, optionsOf(options))),
      clientStream: (method, requests, options) => failing(channel.clientStream(method, requests, optionsOf(options))),
      bidi: (method, requests, options) => failingStream(channel.bidi(method, requests, optionsOf(options))),
      open: (method, options) =>
        Effect.map(failing(channel.open(method, optionsOf(options))), (call): Call => ({
          send: (request, options) => failing(call.send(request, options)),
          completeSend: call.completeSend,
          receive: failing(call.receive),
          headers: failing(call.headers),
          trailers: call.trailers,
          cancel: call.close
        }))
    }
    return client
  },
  (connected, path) =>
    Effect.provide(connected, Grpc.layer.pipe(Layer.provide(Layer.succeed(Dialer.Dialer, path.dialer))))
)
