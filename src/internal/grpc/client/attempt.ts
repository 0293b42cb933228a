import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Http2 from "node:http2"
import { addAbortSignal } from "node:stream"
import { compressionOf } from "../wire/compression.ts"
import { Incoming } from "../wire/incoming.ts"
import { type OutgoingHeaders, type RawHeaders, single } from "../wire/metadata.ts"
import { Code, ownStatus, resetName, type Status, statusOf, statusOfHttp, statusOfReset } from "../wire/status.ts"
import type { ClientStream } from "../wire/streams.ts"
import type { Carrier } from "./connection.ts"
import type { Exchange, Outcome } from "./exchange.ts"
import { keepFor } from "./handles.ts"

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = Http2.constants

/** The end of an HTTP answer that is not one of gRPC. */
const notGrpc = (headers: RawHeaders): Status | undefined => {
  const status = single(headers, ":status")
  if (status !== "200") return statusOfHttp(Number(status), `the server answered with HTTP status ${status}`)
  const type = single(headers, "content-type")
  if (type === undefined || !/^application\/grpc(?:[+;]|$)/.test(type)) {
    return ownStatus(Code.unknown, `the server's answer is not gRPC: its content-type is ${type ?? "missing"}`)
  }
  return undefined
}

const nothing = () => {}

const aborted = AbortSignal.abort()

/**
 * Gives a stream up. `close` of a stream that has not been ended ends it first, which a server takes for the end of the
 * requests until it hears of the reset; an aborted one is reset at once (NGHTTP2_CANCEL).
 */
const cancel = (stream: ClientStream): void => {
  if (stream.writableEnded) stream.close(NGHTTP2_CANCEL)
  else addAbortSignal(aborted, stream)
}

/** One call on one connection. */
export class Attempt implements Exchange {
  onChange: () => void = nothing
  headers: RawHeaders | undefined
  outcome: Outcome | undefined
  hasRoom = true

  private readonly connection: Carrier
  private readonly stream: ClientStream
  private readonly incoming: Incoming

  /** Starts a call. Where that is not possible, nothing was sent. */
  static start(connection: Carrier, headers: OutgoingHeaders, maxReceiveSize: number): Attempt | Outcome {
    const stream = Result.try(() => connection.session.request(headers))
    if (Result.isSuccess(stream)) {
      keepFor(stream.success, connection.session)
      return new Attempt(connection, stream.success, maxReceiveSize)
    }
    const detail = stream.failure instanceof Error ? stream.failure.message : "unknown"
    // a session that is closing, or that has had all the streams there are
    return connection.session.closed || connection.session.destroyed || !connection.usable()
      ? { ...ownStatus(Code.unavailable, detail), unprocessed: true }
      : ownStatus(Code.internal, `the call cannot be sent: ${detail}`)
  }

  private constructor(connection: Carrier, stream: ClientStream, maxReceiveSize: number) {
    this.connection = connection
    this.stream = stream
    this.incoming = new Incoming(stream, maxReceiveSize, () => this.onChange(), (status) => this.abort(status))
    stream.on("response", (_headers: unknown, flags: number, raw?: RawHeaders) => this.respond(raw ?? [], flags))
    // all bytes have come before them
    stream.on("trailers", (_headers: unknown, _flags: number, raw?: RawHeaders) => this.finish(statusOf(raw ?? [])))
    stream.on("close", () => this.finish(undefined))
    // what there is to say of it, the end says
    stream.on("error", () => {})
    connection.opened(this)
  }

  private respond(headers: RawHeaders, flags: number): void {
    if (this.outcome !== undefined) return
    const ends = (flags & Http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0
    const status = statusOf(headers)
    // an answer that is its own end has trailers and no headers
    if (ends && status !== undefined) {
      this.incoming.start()
      return this.finish(status)
    }
    const refusal = notGrpc(headers)
    if (refusal !== undefined) return this.abort(status ?? refusal)
    const encoding = single(headers, "grpc-encoding")
    const compression = compressionOf(encoding)
    if (compression === undefined) {
      return this.abort(ownStatus(Code.internal, `the server compresses with ${encoding}, which this side cannot read`))
    }
    this.incoming.compression = compression
    this.headers = headers
    this.incoming.start()
    this.onChange()
  }

  /** No more bytes come. */
  private finish(trailers: Status | undefined): void {
    if (this.outcome !== undefined) return
    const cutOff = trailers === undefined ? this.cutOff() : undefined
    this.incoming.finish(cutOff !== undefined)
    // which may have found something to complain of
    if (this.outcome !== undefined) return
    this.end(trailers ?? cutOff ?? ownStatus(Code.internal, "the server ended the call without a status"))
  }

  /** Why there were no trailers, unless the server just ended the stream. */
  private cutOff(): Outcome | undefined {
    const { rstCode } = this.stream
    const refused = rstCode === NGHTTP2_REFUSED_STREAM
    const ended = this.connection.endedBy()
    if (refused || (ended !== undefined && rstCode !== NGHTTP2_NO_ERROR && !this.connection.usable())) {
      return {
        ...ownStatus(Code.unavailable, ended ?? `the server refused the call (${resetName(rstCode)})`),
        unprocessed: refused && this.headers === undefined
      }
    }
    if (rstCode !== NGHTTP2_NO_ERROR && rstCode !== undefined) return statusOfReset(rstCode)
    return ended === undefined ? undefined : ownStatus(Code.unavailable, ended)
  }

  private end(outcome: Outcome): void {
    this.outcome = outcome
    this.connection.ended(this)
    // a server may end a call before the client has said all it wants to say
    if (!this.stream.writableEnded) cancel(this.stream)
    const { onChange } = this
    // Node keeps the stream until it looks through all of its memory, and who waited for the call should not stay with it
    this.onChange = nothing
    onChange()
  }

  get hasMessages(): boolean {
    return !this.incoming.isEmpty
  }

  take(): Effect.Effect<Array<Uint8Array>, Status> {
    return this.incoming.take()
  }

  send(frames: Buffer): boolean {
    if (this.outcome !== undefined || !this.stream.writable) return true
    this.hasRoom = this.stream.write(frames)
    if (!this.hasRoom) {
      this.stream.once("drain", () => {
        this.hasRoom = true
        this.onChange()
      })
    }
    return this.hasRoom
  }

  /** Sends what is the only message. */
  sendOnly(frames: Buffer): void {
    if (this.outcome === undefined) this.stream.end(frames)
  }

  completeSend(): void {
    if (this.outcome === undefined) this.stream.end()
  }

  abort(status: Status): void {
    if (this.outcome !== undefined) return
    cancel(this.stream)
    this.end(status)
  }

  cancel(message: string): void {
    this.abort(ownStatus(Code.cancelled, message))
  }
}
