/** grpc-js's client for the services that gRPC itself defines, from the official `.proto` files. */
import { assert } from "@effect/vitest"
import * as GrpcJs from "@grpc/grpc-js"
import * as ProtoLoader from "@grpc/proto-loader"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Stream from "effect/Stream"
import { fileURLToPath } from "node:url"

const protos = fileURLToPath(new URL("protos", import.meta.url))

/** A status that is not OK. */
export class Status extends Data.TaggedError("Status")<{ readonly code: number; readonly details: string }> {}

/** A message as proto-loader has it. */
// oxlint-disable-next-line typescript/no-explicit-any -- proto-loader knows no more
export type Message = Record<string, any>

/** The client of a service such as `"grpc.health.v1.Health"`, for as long as the scope lives. */
export const grpcJsClient = Effect.fnUntraced(function*(
  address: NetAddress.SocketAddress,
  file: string,
  service: string
) {
  const methods = ProtoLoader.loadSync(file, { includeDirs: [protos], defaults: false, enums: String, oneofs: false })[
    service
  ]
  assert(methods !== undefined && !("format" in methods))
  const definitions: ProtoLoader.ServiceDefinition = methods
  const definition = (name: string) => {
    const found = definitions[name]
    assert.isDefined(found)
    return found
  }
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => new GrpcJs.Client(NetAddress.formatSocketAddress(address), GrpcJs.credentials.createInsecure())),
    (client) => Effect.sync(() => client.close())
  )
  return {
    unary: (name: string, request: Message) => {
      const { path, requestSerialize, responseDeserialize } = definition(name)
      return Effect.callback<Message, Status>((resume) => {
        const call = client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          (error, response) => resume(error === null ? Effect.succeed(response ?? {}) : Effect.fail(new Status(error)))
        )
        return Effect.sync(() => call.cancel())
      })
    },
    serverStream: (name: string, request: Message) => {
      const { path, requestSerialize, responseDeserialize } = definition(name)
      return responses(() => client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request))
    },
    /** Sends all requests at once. */
    bidi: (name: string, requests: ReadonlyArray<Message>) => {
      const { path, requestSerialize, responseDeserialize } = definition(name)
      return responses(() => {
        const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
        for (const request of requests) call.write(request)
        call.end()
        return call
      })
    }
  }
})

interface Call extends AsyncIterable<Message> {
  readonly cancel: () => void
}

const isStatus = (cause: unknown): cause is GrpcJs.ServiceError =>
  cause instanceof Error && "code" in cause && "details" in cause

const responses = (start: () => Call) =>
  Stream.scoped(Stream.unwrap(Effect.map(
    Effect.acquireRelease(Effect.sync(start), (call) => Effect.sync(() => call.cancel())),
    (call) =>
      Stream.fromAsyncIterable(call, (cause) => {
        if (!isStatus(cause)) throw cause
        return new Status(cause)
      })
  )))
