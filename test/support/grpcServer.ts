/** gRPC servers of ours, and clients of Node's own HTTP/2 that say and see exactly what is on the wire. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Queue from "effect/Queue"
import * as Http2 from "node:http2"
import type { Duplex } from "node:stream"
import { frame, FrameReader } from "../../src/internal/grpc/wire/frames.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as GrpcServer from "../../src/services/GrpcServer.ts"

/** A method of each kind, whose messages have a text and a number. */
export const schema = GrpcSchema.fromSource(`
  syntax = "proto3";
  package test;
  message Note { string text = 1; int32 number = 2; }
  service Notes {
    rpc One(Note) returns (Note);
    rpc Down(Note) returns (stream Note);
    rpc Up(stream Note) returns (Note);
    rpc Both(stream Note) returns (stream Note);
  }`)

/** The bytes of a note. */
export const note = (text: string): Buffer => {
  const bytes = Buffer.from(text)
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7]
  return Buffer.concat([Buffer.from([10, ...length]), bytes])
}

/** The text of a note, of less than 128 bytes. */
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).subarray(2).toString()

/** Some handlers for the methods; the others are not implemented. */
export const notes = <const H extends GrpcServer.NamedHandlers>(handlers: H) =>
  GrpcServer.partial(schema, "test.Notes", handlers)

/** A server that lives as long as the scope. */
export const server = <const S extends ReadonlyArray<GrpcServer.Service<unknown, unknown>>>(
  options: GrpcServer.Options<S>
) =>
  Effect.map(
    Layer.build(GrpcServer.layer({ drainTimeout: 0, ...options })),
    (services) => Context.get(services, GrpcServer.GrpcServer)
  )

/** A server of some methods of `test.Notes`. */
export const serving = <const H extends GrpcServer.NamedHandlers>(
  handlers: H,
  options: Omit<GrpcServer.Options, "services"> = {}
) => server({ services: [notes(handlers)], ...options })

/** A session over a stream, destroyed with the scope. */
export const session = (duplex: Duplex, options: Http2.ClientSessionOptions = {}) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      Http2.connect("http://server.test", { ...options, createConnection: () => duplex }).on("error", () => {})
    ),
    (session) =>
      Effect.sync(() => {
        session.destroy()
        duplex.destroy()
      })
  )

/** A session with a server. */
export const connect = (address: SocketAddress, options: Http2.ClientSessionOptions = {}) =>
  Effect.flatMap(
    Dialer.Dialer.use((dialer) => dialer.dial(address)),
    (duplex) => session(duplex, options)
  )

type Headers = Readonly<Record<string, unknown>>

/** Everything that came of a call. */
export interface Answer {
  readonly headers: Headers
  readonly messages: ReadonlyArray<Buffer>
  /** As trailers, or as headers where there is nothing else. */
  readonly status: Headers
  /** The code that the stream was closed with. */
  readonly reset: number
}

/** A call under way. */
export interface RawCall {
  readonly stream: Http2.ClientHttp2Stream
  readonly send: (...messages: ReadonlyArray<Uint8Array>) => void
  /** Ends the client's side. */
  readonly end: () => void
  /** The messages, one by one, as they come. */
  readonly next: Effect.Effect<Buffer>
  readonly headers: Effect.Effect<Http2.IncomingHttpHeaders>
  readonly answer: Effect.Effect<Answer>
}

/** Begins a call; nothing is read ahead when `paused`. */
export const open = (
  session: Http2.ClientHttp2Session,
  method: string,
  headers: Http2.OutgoingHttpHeaders = {},
  options: { readonly paused?: boolean } = {}
): RawCall => {
  const stream = session.request({
    ":method": "POST",
    ":path": `/test.Notes/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers
  }, { endStream: false })
  const messages: Array<Buffer> = []
  const queue = Effect.runSync(Queue.unbounded<Buffer>())
  let first: Http2.IncomingHttpHeaders | undefined
  let trailers: Http2.IncomingHttpHeaders | undefined
  const reader = new FrameReader(2 ** 31, (message) => {
    const copy = Buffer.from(message)
    messages.push(copy)
    Queue.offerUnsafe(queue, copy)
  })
  stream.on("error", () => {}).once("response", (headers) => {
    first = headers
  }).once("trailers", (headers) => {
    trailers = headers
  })
  if (options.paused !== true) stream.on("data", (chunk: Buffer) => void reader.read(chunk))
  const closed = Effect.callback<void>((resume) => {
    if (stream.closed && stream.destroyed) return resume(Effect.void)
    stream.once("close", () => resume(Effect.void))
  })
  return {
    stream,
    send: (...messages) => void stream.write(frame(messages, false)),
    end: () => void stream.end(),
    next: Queue.take(queue),
    headers: Effect.callback((resume) => {
      if (first !== undefined) return resume(Effect.succeed(first))
      stream.once("response", (headers) => resume(Effect.succeed(headers)))
    }),
    answer: Effect.map(closed, () => ({
      headers: first ?? {},
      messages,
      status: trailers ?? first ?? {},
      reset: stream.rstCode ?? 0
    }))
  }
}

/** A whole call: some messages, then what comes back. */
export const call = (
  session: Http2.ClientHttp2Session,
  method: string,
  messages: ReadonlyArray<Uint8Array>,
  headers: Http2.OutgoingHttpHeaders = {}
) => {
  const { answer, end, send } = open(session, method, headers)
  send(...messages)
  end()
  return answer
}

/** What grpc-status and grpc-message say. */
export const statusOf = ({ status }: Answer): readonly [code: unknown, message: string] => [
  status["grpc-status"],
  decodeURIComponent(typeof status["grpc-message"] === "string" ? status["grpc-message"] : "")
]
