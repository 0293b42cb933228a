/** The server of the interop tests, made with grpc-js. */
import * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Zlib from "node:zlib"
import { expectations } from "./expectation.ts"
import { methodsOf } from "./grpcJs.ts"
import type { Path } from "./path.ts"
import { echoInitial, echoTrailing, type Seen, type Server, sizeOf } from "./server.ts"
import type { Wire } from "./wire.ts"

type Values = Record<string, any>
/** What calls of all kinds have. */
interface AnyCall {
  readonly metadata: Grpc.Metadata
  sendMetadata(metadata: Grpc.Metadata): void
  on(event: "cancelled", listener: () => void): unknown
}

/** A stream of responses. */
type Responses = Pick<Grpc.ServerWritableStream<Values, Values>, "write">

/** Responses that go out compressed. */
const compressed = new WeakSet<object>()

const response = (size: number, compress: boolean): Values => {
  const values = { payload: { body: Buffer.alloc(size) } }
  if (compress) compressed.add(values)
  return values
}

/** grpc-js's server compresses nothing; this does it where it frames messages. */
const compressing: Grpc.ServerInterceptor = (_, call: any) => {
  const plain: (value: object) => Buffer = call.serializeMessage.bind(call)
  call.serializeMessage = (value: object) => {
    const framed = plain(value)
    if (!compressed.has(value)) return framed
    const body = Zlib.gzipSync(framed.subarray(5))
    const head = Buffer.from([1, 0, 0, 0, 0])
    head.writeUInt32BE(body.length, 1)
    return Buffer.concat([head, body])
  }
  return new Grpc.ServerInterceptingCall(call)
}

const handlers = (seen: Seen, wire: Wire): Grpc.UntypedServiceImplementation => {
  const expected = expectations(wire)

  /** Every call sends back what it is asked to, and is watched until it ends. Gives the trailers. */
  const open = (call: AnyCall, compresses = false) => {
    seen.started++
    call.on("cancelled", () => void seen.cancelled++)
    const headers = new Grpc.Metadata()
    const trailers = new Grpc.Metadata()
    for (const value of call.metadata.get(echoInitial)) headers.add(echoInitial, value)
    for (const value of call.metadata.get(echoTrailing)) trailers.add(echoTrailing, value)
    if (compresses) headers.set("grpc-encoding", "gzip")
    call.sendMetadata(headers)
    return trailers
  }

  const statusOf = ({ code, message }: Values, metadata: Grpc.Metadata) => ({ code, details: message, metadata })

  const unexpected = (metadata: Grpc.Metadata) => ({
    code: Grpc.status.INVALID_ARGUMENT,
    details: "compressed otherwise than said",
    metadata
  })

  const write = (call: Responses, parameters: ReadonlyArray<Values>) => {
    for (const { compressed, size } of parameters) call.write(response(size, compressed?.value === true))
  }

  return {
    EmptyCall: (call: Grpc.ServerUnaryCall<Values, Values>, reply: Grpc.sendUnaryData<Values>) => {
      reply(null, {}, open(call))
    },

    UnaryCall: (call: Grpc.ServerUnaryCall<Values, Values>, reply: Grpc.sendUnaryData<Values>) => {
      const { request } = call
      const compress = request["responseCompressed"]?.value === true
      const met = expected.met([request])
      expected.next()
      const trailers = open(call, compress)
      if (!met) reply(unexpected(trailers))
      else if (request["responseStatus"] !== null) reply(statusOf(request["responseStatus"], trailers))
      else reply(null, response(request["responseSize"], compress), trailers)
    },

    StreamingInputCall: (call: Grpc.ServerReadableStream<Values, Values>, reply: Grpc.sendUnaryData<Values>) => {
      const trailers = open(call)
      const requests: Array<Values> = []
      call.on("data", (request: Values) => requests.push(request))
      call.on("end", () => {
        seen.completed++
        const met = expected.met(requests)
        expected.next()
        if (!met) return reply(unexpected(trailers))
        const aggregatedPayloadSize = requests.reduce((sum, request) => sum + sizeOf(request), 0)
        reply(null, { aggregatedPayloadSize }, trailers)
      })
    },

    StreamingOutputCall: (call: Grpc.ServerWritableStream<Values, Values>) => {
      const parameters: ReadonlyArray<Values> = call.request["responseParameters"]
      const trailers = open(call, parameters.some(({ compressed }) => compressed?.value === true))
      write(call, parameters)
      call.end(trailers)
    },

    FullDuplexCall: (call: Grpc.ServerDuplexStream<Values, Values>) => {
      const trailers = open(call)
      call.on("data", (request: Values) => {
        if (request["responseStatus"] === null) write(call, request["responseParameters"])
        else call.emit("error", statusOf(request["responseStatus"], trailers))
      })
      call.on("end", () => {
        seen.completed++
        call.end(trailers)
      })
    }
  }
}

const credentials = ({ certificates }: Path["Service"]) =>
  certificates === undefined
    ? Grpc.ServerCredentials.createInsecure()
    : Grpc.ServerCredentials.createSsl(
      Buffer.from(certificates.ca),
      [{ cert_chain: Buffer.from(certificates.server.cert), private_key: Buffer.from(certificates.server.key) }],
      certificates.client !== undefined
    )

/** Serves at the end of a path for as long as the scope lives. */
export const serve = Effect.fnUntraced(function*(path: Path["Service"]) {
  const seen: Seen = { started: 0, cancelled: 0, completed: 0 }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => new Grpc.Server({ interceptors: [compressing] })),
    (server) => Effect.sync(() => server.forceShutdown())
  )
  // a method that is in the definition and not here is unimplemented
  const { UnimplementedCall: _, ...methods } = methodsOf("grpc.testing.TestService")
  server.addService(methods, handlers(seen, path.wire))
  const injector = yield* Effect.acquireRelease(
    Effect.sync(() => server.createConnectionInjector(credentials(path))),
    (injector) => Effect.sync(() => injector.destroy())
  )
  const { accept, address } = yield* path.listener.bind(path.bind)
  yield* accept.pipe(
    Effect.map((duplex) => injector.injectConnection(duplex)),
    Effect.forever,
    Effect.forkScoped
  )
  return { address, seen } satisfies Server
})
