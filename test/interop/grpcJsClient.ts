/** grpc-js's client as the cases want it. It reaches the server over the path by a socket file. */
import * as Grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as NetAddress from "effect/net/NetAddress"
import * as Pull from "effect/Pull"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Metadata } from "../../src/errors/GrpcError.ts"
import type { TcpError } from "../../src/errors/TcpError.ts"
import { type Call, type Client, type Options, Status, type Values } from "./client.ts"
import { fromGrpcJs, methodsOf, toGrpcJs } from "./grpcJs.ts"
import { type Path, targetOf } from "./path.ts"
import { relayTo } from "./relay.ts"

const credentials = ({ certificates }: Path["Service"]) => {
  if (certificates === undefined) return Grpc.credentials.createInsecure()
  const { ca, client } = certificates
  return client === undefined
    ? Grpc.credentials.createSsl(Buffer.from(ca))
    : Grpc.credentials.createSsl(Buffer.from(ca), Buffer.from(client.key), Buffer.from(client.cert))
}

const methodNamed = (method: string) => {
  const [service = "", name = ""] = method.split("/")
  return methodsOf(service)[name]!
}

const callOptions = ({ timeout }: Options): Grpc.CallOptions =>
  timeout === undefined ? {} : { deadline: Date.now() + timeout }

const failed = ({ code, details, metadata }: Grpc.StatusObject) =>
  new Status({ code, message: details, trailers: fromGrpcJs(metadata) })

/** A message that is not compressed although the call is. */
const noCompress: any = "2"

/** Any of the streaming calls. */
interface AnyCall {
  on(event: "data", listener: (value: Values) => void): unknown
  on(event: "metadata", listener: (metadata: Grpc.Metadata) => void): unknown
  on(event: "status", listener: (status: Grpc.StatusObject) => void): unknown
  on(event: "error", listener: () => void): unknown
  cancel(): void
}

/** What a call gives back. Cancelled with the scope. */
const listening = <C extends AnyCall>(start: () => C) =>
  Effect.gen(function*() {
    const messages = yield* Queue.unbounded<Values, Status | Cause.Done>()
    const headers = yield* Deferred.make<Metadata, Status>()
    const trailers = yield* Deferred.make<Metadata, Status>()
    const call = yield* Effect.acquireRelease(Effect.sync(start), (call) => Effect.sync(() => call.cancel()))
    call.on("error", () => {})
    call.on("data", (value) => void Queue.offerUnsafe(messages, value))
    call.on("metadata", (metadata) => void Deferred.doneUnsafe(headers, Effect.succeed(fromGrpcJs(metadata))))
    call.on("status", (status) => {
      const ended = status.code === Grpc.status.OK ? Effect.succeed(fromGrpcJs(status.metadata)) : failed(status)
      Deferred.doneUnsafe(headers, ended)
      Deferred.doneUnsafe(trailers, ended)
      if (status.code === Grpc.status.OK) Queue.endUnsafe(messages)
      else Queue.failCauseUnsafe(messages, Cause.fail(failed(status)))
    })
    return { call, messages, headers: Deferred.await(headers), trailers: Deferred.await(trailers) }
  })

/** What it takes to send. When the call is over that is no error of sending: the status says what happened. */
const sending = (call: Grpc.ClientWritableStream<object>): Pick<Call, "send" | "completeSend" | "cancel"> => ({
  send: (request, options) =>
    Effect.callback((resume) => {
      const done = () => resume(Effect.void)
      if (options?.compress === false) call.write(request, noCompress, done)
      else call.write(request, done)
    }),
  completeSend: Effect.sync(() => void call.end()),
  cancel: Effect.sync(() => call.cancel())
})

const sendAll = (requests: Stream.Stream<object>, call: Grpc.ClientWritableStream<object>) => {
  const { completeSend, send } = sending(call)
  return Effect.andThen(Stream.runForEach(requests, (request) => send(request)), completeSend)
}

/** A client of grpc-js to a server at the end of a path. */
export const connect: (
  path: Path["Service"],
  address: NetAddress.SocketAddress
) => Effect.Effect<Client, TcpError, Scope.Scope> = Effect.fnUntraced(function*(path, address) {
  const target = targetOf(path, address)
  // a name, as a server's name in TLS has to be
  const host = "localhost"
  const socket = yield* relayTo(path.dialer, target)
  const connected = (options: Grpc.ChannelOptions) =>
    Effect.acquireRelease(
      Effect.sync(() =>
        new Grpc.Client(`unix:${socket}`, credentials(path), {
          "grpc.default_authority": host,
          "grpc.ssl_target_name_override": host,
          "grpc.enable_http_proxy": 0,
          // a connection of its own
          "grpc.use_local_subchannel_pool": 1,
          ...options
        })
      ),
      (client) => Effect.sync(() => client.close())
    )
  const plain = yield* connected({})
  const compressing = yield* connected({
    "grpc.default_compression_algorithm": Grpc.compressionAlgorithms.gzip
  })
  /** The parts of a call that all kinds begin with. */
  const parts = (method: string, options: Options = {}) => {
    const { path, requestSerialize, responseDeserialize } = methodNamed(method)
    const client = options.compression === "gzip" ? compressing : plain
    const metadata = toGrpcJs(options.metadata)
    return [client, [path, requestSerialize, responseDeserialize], metadata, callOptions(options)] as const
  }

  return {
    cancelsAtOnce: false,

    unary: (method, request, options?: Options) =>
      Effect.callback((resume) => {
        const [client, definition, metadata, callOptions] = parts(method, options)
        let value: Values = {}
        let headers: Metadata = { text: {}, binary: {} }
        const call = client.makeUnaryRequest(...definition, request, metadata, callOptions, (_, given) => {
          value = given ?? {}
        })
        call.on("metadata", (metadata) => {
          headers = fromGrpcJs(metadata)
        })
        call.on("status", (status) =>
          resume(
            status.code === Grpc.status.OK
              ? Effect.succeed({ value, headers, trailers: fromGrpcJs(status.metadata) })
              : failed(status)
          ))
        return Effect.sync(() => call.cancel())
      }),

    serverStream: (method, request, options?: Options) =>
      Stream.unwrap(Effect.map(
        listening(() => {
          const [client, definition, metadata, callOptions] = parts(method, options)
          return client.makeServerStreamRequest(...definition, request, metadata, callOptions)
        }),
        ({ messages }) => Stream.fromQueue(messages)
      )),

    clientStream: (method, requests, options?: Options) =>
      Effect.scoped(Effect.gen(function*() {
        const answer = yield* Deferred.make<Values>()
        const { call, trailers } = yield* listening(() => {
          const [client, definition, metadata, callOptions] = parts(method, options)
          return client.makeClientStreamRequest(...definition, metadata, callOptions, (_, value) => {
            Deferred.doneUnsafe(answer, Effect.succeed(value ?? {}))
          })
        })
        yield* Effect.forkScoped(sendAll(requests, call))
        return yield* Effect.andThen(trailers, Deferred.await(answer))
      })),

    bidi: (method, requests, options?: Options) =>
      Stream.unwrap(Effect.gen(function*() {
        const { call, messages } = yield* listening(() => {
          const [client, definition, metadata, callOptions] = parts(method, options)
          return client.makeBidiStreamRequest(...definition, metadata, callOptions)
        })
        yield* Effect.forkScoped(sendAll(requests, call))
        return Stream.fromQueue(messages)
      })),

    open: (method, options?: Options) =>
      Effect.map(
        listening(() => {
          const [client, definition, metadata, callOptions] = parts(method, options)
          // on the wire all kinds are the same
          return client.makeBidiStreamRequest(...definition, metadata, callOptions)
        }),
        ({ call, headers, messages, trailers }): Call => ({
          ...sending(call),
          receive: Pull.catchDone(Effect.asSome(Queue.take(messages)), () => Effect.succeedNone),
          headers,
          trailers
        })
      )
  }
})
