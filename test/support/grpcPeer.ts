/** A gRPC server that does what a test tells it, call by call, over node:http2 alone. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Http2 from "node:http2"
import { frame, FrameReader } from "../../src/internal/grpc/wire/frames.ts"
import * as Target from "../../src/internal/net/target.ts"
import * as GrpcSchema from "../../src/services/GrpcSchema.ts"
import * as Listener from "../../src/services/Listener.ts"
import { turn } from "./scripted.ts"

/** Methods of every kind, with one type of message. */
export const talkSchema = GrpcSchema.fromSource(`
  syntax = "proto3";
  package test;
  message Text { string text = 1; }
  service Talk {
    rpc Ask(Text) returns (Text);
    rpc Listen(Text) returns (stream Text);
    rpc Tell(stream Text) returns (Text);
    rpc Chat(stream Text) returns (stream Text);
  }
`)

const encode = (text: string): Uint8Array => {
  const bytes = Buffer.from(text)
  if (bytes.length > 127) throw new Error("a test says little")
  return text === "" ? new Uint8Array() : Buffer.concat([Buffer.from([10, bytes.length]), bytes])
}

const decode = (message: Uint8Array): string => Buffer.from(message.subarray(2)).toString()

/** A call as the server sees it. */
export interface PeerCall {
  readonly headers: Http2.IncomingHttpHeaders
  readonly stream: Http2.ServerHttp2Stream
  /** The messages that have come so far. */
  readonly received: ReadonlyArray<string>
  /** The same, as they came. */
  readonly raw: ReadonlyArray<{ readonly bytes: Uint8Array; readonly compressed: boolean }>
  /** Waits for so many messages. */
  readonly messages: (count: number) => Effect.Effect<ReadonlyArray<string>>
  /** Whether the client has said that no more messages come. */
  readonly isComplete: () => boolean
  /** Waits for the client's half-close. */
  readonly halfClosed: Effect.Effect<void>
  /** Waits until the stream is closed and gives the code that the client has reset it with. */
  readonly closed: Effect.Effect<number | undefined>
  /** Waits for the client's answer to a ping. */
  readonly ping: Effect.Effect<void>
  /** Sends headers. */
  readonly respond: (headers?: Http2.OutgoingHttpHeaders) => void
  /** Sends messages, behind headers. */
  readonly say: (...texts: ReadonlyArray<string>) => void
  /** Ends the call with trailers, or with headers alone where none were sent. */
  readonly end: (status: number, trailers?: Http2.OutgoingHttpHeaders) => void
  /** Answers a call and ends it well. */
  readonly answer: (text: string) => void
}

const call = (
  session: Http2.ServerHttp2Session,
  stream: Http2.ServerHttp2Stream,
  headers: Http2.IncomingHttpHeaders
): PeerCall => {
  const received: Array<string> = []
  let ended = false
  const raw: Array<PeerCall["raw"][number]> = []
  const reader = new FrameReader(1024 * 1024, (message, compressed) => {
    raw.push({ bytes: message, compressed })
    if (!compressed) received.push(decode(message))
  })
  stream.on("error", () => {}).on("data", (chunk: Buffer) => void reader.read(chunk)).once(
    "end",
    // which Node also emits for a stream that was reset
    () => ended = !stream.aborted
  )
  const until = (holds: () => boolean) =>
    Effect.gen(function*() {
      while (!holds()) yield* turn
    })
  const respond = (headers: Http2.OutgoingHttpHeaders = {}) => {
    if (!stream.headersSent) {
      stream.respond({ ":status": 200, "content-type": "application/grpc", ...headers }, { waitForTrailers: true })
    }
  }
  const say = (...texts: ReadonlyArray<string>) => {
    respond()
    for (const text of texts) stream.write(frame([encode(text)], false))
  }
  const end = (status: number, trailers: Http2.OutgoingHttpHeaders = {}) => {
    const all = { "grpc-status": String(status), ...trailers }
    if (stream.headersSent) stream.once("wantTrailers", () => stream.sendTrailers(all)).end()
    else stream.respond({ ":status": 200, "content-type": "application/grpc", ...all }, { endStream: true })
  }
  return {
    headers,
    stream,
    received,
    raw,
    messages: (count) => Effect.as(until(() => received.length >= count), received),
    isComplete: () => ended,
    halfClosed: until(() => ended),
    closed: Effect.map(until(() => stream.closed || stream.destroyed), () => stream.rstCode),
    ping: Effect.callback((resume) => void session.ping(() => resume(Effect.void))),
    respond,
    say,
    end,
    answer: (text) => {
      say(text)
      end(0)
    }
  }
}

/** Listens on whatever network the test is on. */
export const grpcPeer = Effect.fnUntraced(function*(
  options: { readonly host?: string; readonly port?: number } = {}
) {
  const listener = yield* Listener.Listener
  const { accept, address } = yield* listener.bind({ host: options.host ?? "127.0.0.1", port: options.port ?? 0 })
  const asked = yield* Queue.unbounded<PeerCall>()
  const sessions = new Set<Http2.ServerHttp2Session>()
  yield* accept.pipe(
    Effect.tap((duplex) =>
      Effect.sync(() => {
        const session = Http2.performServerHandshake(duplex)
        sessions.add(session)
        session.on("error", () => {}).once("close", () => sessions.delete(session))
        session.on("stream", (stream, headers) => Queue.offerUnsafe(asked, call(session, stream, headers)))
      })
    ),
    Effect.forever,
    Effect.ignore,
    Effect.forkScoped
  )
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const session of sessions) session.destroy()
    })
  )
  const target = Target.format(Result.getOrThrow(Target.parse(address)))
  return { url: `http://${target}`, target, nextCall: Queue.take(asked), asked, sessions }
})
