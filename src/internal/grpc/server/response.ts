import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { cast } from "effect/Function"
import * as Result from "effect/Result"
import { type GrpcErrorReason, Internal, ResourceExhausted } from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import type { MessageCodec, MethodDefinition } from "../definition.ts"
import { acceptEncoding, compress, type Compression } from "../wire/compression.ts"
import { frame } from "../wire/frames.ts"
import { addMetadata, type MetadataInput, type OutgoingHeaders, type RawHeaders, single } from "../wire/metadata.ts"
import { type Outlet, sendAll } from "../wire/outgoing.ts"
import { Code, encodeMessage } from "../wire/status.ts"
import type { ServerStream } from "../wire/streams.ts"
import { addReason } from "./failure.ts"

/** What all responses of a server have in common. */
export interface ResponseSettings {
  readonly maxSendSize: number
  readonly compression: Compression
}

/** Who is told what goes back to the client. */
export interface ResponseOwner {
  /** Something is sent. */
  onSend(): void
  /** A handler gave what is no response. */
  onMisfit(error: GrpcSchemaError): void
}

/** What every response begins with. */
export const responseHeaders = {
  ":status": 200,
  "content-type": "application/grpc+proto",
  "grpc-accept-encoding": acceptEncoding
}

// variables, because Node's types do not know `sendDate`: nobody in gRPC wants to know the date
const withTrailers = { waitForTrailers: true, sendDate: false }
const alone = { endStream: true, sendDate: false }

const ok: OutgoingHeaders = { "grpc-status": "0" }

/** What goes back to the client in one call: headers, messages, and the status with its trailers. */
export class Response implements Outlet {
  /** How many messages were sent. */
  count = 0
  headersSent = false
  private readonly stream: ServerStream
  private readonly codec: MessageCodec<unknown, unknown>
  private readonly settings: ResponseSettings
  private readonly received: RawHeaders
  private readonly owner: ResponseOwner
  private compression: Compression
  /** What the headers say that messages may be packed with. */
  private announced: Compression
  /** The one message of a method that answers with one. */
  private answer: Buffer | undefined
  private trailers: OutgoingHeaders | undefined
  private over = false

  constructor(
    stream: ServerStream,
    codec: MethodDefinition["response"],
    settings: ResponseSettings,
    received: RawHeaders,
    owner: ResponseOwner
  ) {
    this.stream = stream
    this.codec = cast<typeof codec, MessageCodec<unknown, unknown>>(codec)
    this.settings = settings
    this.received = received
    this.owner = owner
    this.compression = this.announced = this.acceptable(settings.compression)
  }

  private acceptable(compression: Compression): Compression {
    if (compression === "identity") return compression
    const accepted = single(this.received, "grpc-accept-encoding")?.split(",").map((name) => name.trim()) ?? []
    return accepted.includes(compression) ? compression : "identity"
  }

  setCompression(compression: Compression): void {
    const accepted = this.acceptable(compression)
    if (accepted === "identity") this.compression = accepted
    else if (!this.headersSent) this.compression = this.announced = accepted
    else if (this.announced === accepted) this.compression = accepted
  }

  setTrailers(metadata: MetadataInput): Result.Result<void, GrpcSchemaError> {
    return addMetadata(this.trailers ??= {}, metadata)
  }

  /** Adds what a reason has beside its code and message. */
  setReason(reason: GrpcErrorReason): void {
    const { details, trailers: { binary, text } } = reason
    if (details.length > 0 || Object.keys(text).length > 0 || Object.keys(binary).length > 0) {
      addReason(this.trailers ??= {}, reason)
    }
  }

  sendHeaders(metadata?: OutgoingHeaders): void {
    this.headersSent = true
    if (this.isGone) return
    this.owner.onSend()
    const encoding = this.announced === "identity" ? undefined : { "grpc-encoding": this.announced }
    this.stream.respond({ ...responseHeaders, ...encoding, ...metadata }, withTrailers)
  }

  /** Whether there is nothing left that could be written to. */
  private get isGone(): boolean {
    return this.stream.destroyed || this.stream.closed
  }

  private encode(value: unknown): Result.Result<Uint8Array, GrpcErrorReason> {
    const encoded = this.codec.encode(value)
    if (Result.isFailure(encoded)) {
      this.owner.onMisfit(encoded.failure)
      return Result.fail(new Internal({ message: "the response does not fit its definition" }))
    }
    const { maxSendSize } = this.settings
    const { byteLength } = encoded.success
    if (byteLength <= maxSendSize) return Result.succeed(encoded.success)
    const message = `a response of ${byteLength} bytes is larger than the limit of ${maxSendSize}`
    return Result.fail(new ResourceExhausted({ message }))
  }

  /** Sets the one message, which goes with the status: all of it in one go. */
  setAnswer(value: unknown): Effect.Effect<void, GrpcErrorReason> {
    const message = this.encode(value)
    if (Result.isFailure(message)) return Exit.fail(message.failure)
    this.count = 1
    const { compression } = this
    if (compression === "identity") {
      this.answer = frame([message.success], false)
      return Exit.void
    }
    return Effect.map(compress(message.success, compression), (packed) => {
      this.answer = frame([packed], true)
    })
  }

  /** Sends messages, as fast as the client takes them. Those before one that cannot be sent are sent. */
  sendMessages(values: Arr.NonEmptyReadonlyArray<unknown>): Effect.Effect<void, GrpcErrorReason> {
    const messages: Array<Uint8Array> = []
    let refusal: GrpcErrorReason | undefined
    for (const value of values) {
      const message = this.encode(value)
      if (Result.isFailure(message)) {
        refusal = message.failure
        break
      }
      messages.push(message.success)
    }
    if (this.over) return Effect.interrupt
    if (!this.headersSent && messages.length > 0) this.sendHeaders()
    this.count += messages.length
    const sent = sendAll(this, messages, this.compression)
    return refusal === undefined ? sent : Effect.andThen(sent, Effect.fail(refusal))
  }

  isOver(): boolean {
    return this.over
  }

  send(frames: Buffer): boolean {
    this.owner.onSend()
    return this.stream.write(frames)
  }

  get room(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const drained = () => resume(Effect.void)
      this.stream.once("drain", drained)
      return Effect.sync(() => void this.stream.off("drain", drained))
    })
  }

  /** Nothing more is sent. */
  abandon(): void {
    this.over = true
  }

  /** Ends it with a status, and says whether that has gone already: otherwise Node asks for it as trailers. */
  end(code: number, message: string): boolean {
    this.over = true
    if (this.isGone) return false
    const status = this.trailers = code === Code.ok && this.trailers === undefined ? ok : {
      "grpc-status": String(code),
      ...(message === "" ? {} : { "grpc-message": encodeMessage(message) }),
      ...this.trailers
    }
    const answer = code === Code.ok ? this.answer : undefined
    if (!this.headersSent && answer === undefined) {
      this.owner.onSend()
      this.stream.respond({ ...responseHeaders, ...status }, alone)
      return true
    }
    if (!this.headersSent) this.sendHeaders()
    if (answer === undefined) this.stream.end()
    else this.stream.end(answer)
    return false
  }

  /** Everything else has been sent. */
  sendTrailers(): void {
    this.stream.sendTrailers(this.trailers ?? ok)
  }
}
