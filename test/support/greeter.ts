/**
 * A small gRPC server in this process, made with grpc-js alone, for clients of ours.
 *
 * It serves `examples/protos/greeter.proto` on 127.0.0.1, on a port that the system chooses. Connections can also be handed
 * to it, for networks that are not the system's.
 */
import * as Grpc from "@grpc/grpc-js"
import * as ProtoLoader from "@grpc/proto-loader"
import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import { fileURLToPath } from "node:url"

export const greeterProto = fileURLToPath(new URL("../../examples/protos/greeter.proto", import.meta.url))

/** What the server has seen, for whoever wants to know. */
export interface Seen {
  /** Messages that were handed to grpc-js for `SayHellos`, over all calls. */
  sent: number
  /** Calls that the client cancelled. */
  cancelled: number
  /** The metadata of the last call. */
  metadata: Grpc.Metadata | undefined
}

export interface GrpcPeerOptions {
  /** A certificate and its key as PEM; without it the server speaks plain HTTP/2. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string | undefined } | undefined
}

type Values = Record<string, any>

const handlers = (seen: Seen): Grpc.UntypedServiceImplementation => {
  /** Every call says who it is and is watched until it ends. */
  const open = (call: Grpc.ServerUnaryCall<Values, Values> | Grpc.ServerWritableStream<Values, Values>) => {
    seen.metadata = call.metadata
    call.on("cancelled", () => void seen.cancelled++)
    const headers = new Grpc.Metadata()
    headers.set("x-served-by", "greeter")
    call.sendMetadata(headers)
  }

  const trailers = () => {
    const metadata = new Grpc.Metadata()
    metadata.set("x-request-id", "42")
    metadata.set("x-trace-bin", Buffer.from([0, 1, 254, 255]))
    return metadata
  }

  const greeting = (name: string, language: number | string) =>
    language === 1 || language === "FRENCH" ? `Bonjour ${name}` : `Hello ${name}`

  return {
    SayHello: (call: Grpc.ServerUnaryCall<Values, Values>, reply: Grpc.sendUnaryData<Values>) => {
      open(call)
      reply(null, { greeting: greeting(call.request["name"], call.request["language"]) }, trailers())
    },

    SayHellos: (call: Grpc.ServerWritableStream<Values, Values>) => {
      open(call)
      const { count, failAfter, name, paddingSize } = call.request
      const padding = Buffer.alloc(paddingSize)
      let number = 0
      // writes until the client's flow control says stop
      const write = (): void => {
        while (number < Number(count) && !call.cancelled) {
          if (Number(failAfter) > 0 && number >= Number(failAfter)) {
            return void call.emit("error", {
              code: Grpc.status.ABORTED,
              details: `after ${number}`,
              metadata: trailers()
            })
          }
          number++
          seen.sent++
          if (!call.write({ greeting: `Hello ${name}`, number, padding })) return void call.once("drain", write)
        }
        if (!call.cancelled) call.end(trailers())
      }
      write()
    },

    Fail: (call: Grpc.ServerUnaryCall<Values, Values>, reply: Grpc.sendUnaryData<Values>) => {
      seen.metadata = call.metadata
      const error: Grpc.StatusObject = {
        code: call.request["code"],
        details: call.request["message"],
        metadata: trailers()
      }
      reply(error)
    },

    Wait: (call: Grpc.ServerUnaryCall<Values, Values>, reply: Grpc.sendUnaryData<Values>) => {
      open(call)
      const deadline = call.getDeadline()
      const answer = () => reply(null, { remainingMillis: deadline === Infinity ? 0 : Number(deadline) - Date.now() })
      if (call.request["delay"] === null) return
      const { nanos, seconds } = call.request["delay"]
      Effect.runFork(Effect.delay(Effect.sync(answer), Number(seconds) * 1000 + nanos / 1e6))
    },

    Echo: (call: Grpc.ServerUnaryCall<Buffer, Buffer>, reply: Grpc.sendUnaryData<Buffer>) => {
      reply(null, call.request)
    }
  }
}

const credentials = (tls: GrpcPeerOptions["tls"]) =>
  tls === undefined
    ? Grpc.ServerCredentials.createInsecure()
    : Grpc.ServerCredentials.createSsl(
      tls.ca === undefined ? null : Buffer.from(tls.ca),
      [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }],
      tls.ca !== undefined
    )

const greeter = () => {
  const service = ProtoLoader.loadSync(greeterProto, { defaults: true, longs: String })["greeter.v1.Greeter"]
  if (service === undefined || "format" in service) throw new Error("greeter.proto defines no Greeter")
  const { Echo, NotThere: _, ...served } = service
  if (Echo === undefined) throw new Error("greeter.proto has no Echo")
  // bytes in, the same bytes out
  return {
    ...served,
    Echo: { ...Echo, requestDeserialize: (bytes: Buffer) => bytes, responseSerialize: (bytes: Buffer) => bytes }
  }
}

const makeServer = Effect.gen(function*() {
  const seen: Seen = { sent: 0, cancelled: 0, metadata: undefined }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const server = new Grpc.Server()
      server.addService(greeter(), handlers(seen))
      return server
    }),
    (server) => Effect.sync(() => server.forceShutdown())
  )
  return { seen, server }
})

/** Starts a server on a port, a free one when none is given. Closing the scope stops it and ends its connections. */
export const grpcServer = Effect.fnUntraced(function*(options: GrpcPeerOptions & { readonly port?: number } = {}) {
  const { seen, server } = yield* makeServer
  const port = yield* Effect.callback<number, Error>((resume) => {
    server.bindAsync(
      `127.0.0.1:${options.port ?? 0}`,
      credentials(options.tls),
      (error, port) => resume(error === null ? Effect.succeed(port) : Effect.fail(error))
    )
  })
  return { port, seen }
})

/** The same server without a port: it serves the connections that are handed to it. */
export const grpcInjector = Effect.fnUntraced(function*(options: GrpcPeerOptions = {}) {
  const { seen, server } = yield* makeServer
  const injector = yield* Effect.acquireRelease(
    Effect.sync(() => server.createConnectionInjector(credentials(options.tls))),
    (injector) => Effect.sync(() => injector.destroy())
  )
  return { inject: (connection: Duplex) => injector.injectConnection(connection), seen }
})
