import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { cast } from "effect/Function"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Http2 from "node:http2"
import {
  type GrpcErrorReason,
  Internal,
  type Metadata,
  reasonFromCode,
  ResourceExhausted,
  Unimplemented
} from "../../../errors/GrpcError.ts"
import { alarm } from "../../net/deadline.ts"
import type { TlsInfo } from "../../tls/info.ts"
import { CurrentDeadline } from "../deadline.ts"
import type { MessageCodec } from "../definition.ts"
import { acceptEncoding, compress, type Compression } from "../wire/compression.ts"
import { frame } from "../wire/frames.ts"
import { Incoming } from "../wire/incoming.ts"
import { addMetadata, decodeMetadata, type OutgoingHeaders, type RawHeaders, single } from "../wire/metadata.ts"
import { type Outlet, sendAll } from "../wire/outgoing.ts"
import { Code, encodeMessage, type Status } from "../wire/status.ts"
import type { Route } from "./dispatch.ts"
import { addReason, type Failure, failureOf, type OnError, refusalOf } from "./failure.ts"
import type { ServerCall } from "./handler.ts"
import { parentSpan, type Reporter, spanAttributes } from "./observe.ts"

/** What all calls of a server have in common. */
export interface CallSettings {
  /** What handlers run with. */
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly reporter: Reporter
  /** Whether somebody collects spans. */
  readonly traced: boolean
  readonly maxReceiveSize: number
  readonly maxSendSize: number
  readonly compression: Compression
  readonly onError: OnError | undefined
}

/** The connection that a call came on. */
export interface CallConnection {
  readonly id: string
  readonly peer: Option.Option<SocketAddress>
  /** The same in words, for spans. */
  readonly peerName: string | undefined
  readonly tls: Option.Option<TlsInfo>
  /** Is told of a call that is under way. */
  begun(call: Call): void
  /** Is told of a call that is over and whose handler is done. */
  ended(call: Call): void
  /** Is told that something is sent: a client may ask whether we are there as often as it hears of us. */
  onSend(): void
}

/** What is known of a call before any message. */
export interface CallHead {
  readonly headers: RawHeaders
  readonly authority: string
  readonly compression: Compression
  /** How long it may take, in milliseconds. */
  readonly timeout: number | undefined
}

const { NGHTTP2_NO_ERROR } = Http2.constants

/** A message for which nothing is known to be different; `date` says nothing that gRPC wants to know. */
const withTrailers = { waitForTrailers: true, sendDate: false }
const alone = { endStream: true, sendDate: false }

/** What every response begins with. */
export const responseHeaders = {
  ":status": 200,
  "content-type": "application/grpc+proto",
  "grpc-accept-encoding": acceptEncoding
}

const ok: OutgoingHeaders = { "grpc-status": "0" }

const wrongNumber = new Unimplemented({ message: "the method takes exactly one message" })

interface WithCall {
  call?: Call
}

// all streams share these listeners

function onEnd(this: WithCall): void {
  this.call?.requestEnded()
}

function onAborted(this: WithCall): void {
  this.call?.cancelled()
}

function onWantTrailers(this: WithCall): void {
  this.call?.sendTrailers()
}

/** The end of the stream is told by `aborted`. */
const onError = () => {}

/** One call: what came on its stream, the fiber that handles it, and what goes back. */
export class Call implements ServerCall, Outlet {
  readonly method: string
  readonly authority: string
  private readonly settings: CallSettings
  private readonly connection: CallConnection
  private readonly route: Route
  private readonly stream: Http2.ServerHttp2Stream & WithCall
  private readonly received: RawHeaders
  private readonly incoming: Incoming
  private readonly began: number
  /** On the clock, in milliseconds. */
  private readonly due: number | undefined
  private stopAlarm: (() => void) | undefined
  private fiber: Fiber.Fiber<unknown, unknown> | undefined
  private over = false

  /** The one message of a client that sends one, as far as it has come. */
  private request: Effect.Effect<ReadonlyArray<Uint8Array>, Status> | undefined
  private problem: Status | undefined
  private readonly waiters = new Set<() => void>()

  private compression: Compression
  /** What the headers say that messages may be packed with. */
  private announced: Compression
  private headersSent = false
  private answer: Buffer | undefined
  private trailers: OutgoingHeaders | undefined
  private messagesReceived = 0
  private messagesSent = 0

  constructor(
    settings: CallSettings,
    connection: CallConnection,
    route: Route,
    stream: Http2.ServerHttp2Stream,
    head: CallHead
  ) {
    this.settings = settings
    this.connection = connection
    this.route = route
    this.method = route.definition.path
    this.stream = stream
    this.received = head.headers
    this.authority = head.authority
    this.compression = this.announced = this.acceptable(settings.compression)
    this.began = settings.clock.currentTimeMillisUnsafe()
    this.due = head.timeout === undefined ? undefined : this.began + head.timeout
    this.incoming = new Incoming(
      stream,
      settings.maxReceiveSize,
      () => this.messagesCame(),
      (problem) => this.brokenBy(problem)
    )
    this.incoming.compression = head.compression
    this.incoming.start()
    this.stream.call = this
    stream.on("end", onEnd).on("aborted", onAborted).on("wantTrailers", onWantTrailers).on("error", onError)
  }

  /** Begins to handle it, or to wait for the request. */
  start(): void {
    this.connection.begun(this)
    this.route.meters.started(this.settings.context)
    const { due } = this
    if (due !== undefined) {
      if (due <= this.began) return this.expired()
      this.stopAlarm = alarm(this.settings.clock, Duration.millis(due - this.began), () => this.expired())
    }
    if (this.route.requestStream) this.run()
  }

  isOver(): boolean {
    return this.over
  }

  // ---- what handlers see

  get metadata(): Metadata {
    return decodeMetadata(this.received)
  }

  get deadline(): Option.Option<DateTime.Utc> {
    return this.due === undefined ? Option.none() : Option.some(DateTime.makeUnsafe(this.due))
  }

  get peer(): Option.Option<SocketAddress> {
    return this.connection.peer
  }

  get tls(): Option.Option<TlsInfo> {
    return this.connection.tls
  }

  // made when they are asked for: most handlers never do, and those that do may take them out of the call

  get sendHeaders(): ServerCall["sendHeaders"] {
    return (metadata) =>
      Effect.suspend(() => {
        if (this.over) return Effect.interrupt
        if (this.headersSent) return Effect.die(new Error("the headers have been sent already"))
        const headers: OutgoingHeaders = {}
        const added = addMetadata(headers, metadata)
        if (Result.isFailure(added)) return Effect.fail(added.failure)
        this.respond(headers)
        return Effect.void
      })
  }

  get setTrailers(): ServerCall["setTrailers"] {
    return (metadata) => Effect.suspend(() => Effect.fromResult(addMetadata(this.trailers ??= {}, metadata)))
  }

  get setCompression(): ServerCall["setCompression"] {
    return (compression) =>
      Effect.sync(() => {
        const accepted = this.acceptable(compression)
        if (accepted === "identity") this.compression = accepted
        else if (!this.headersSent) this.compression = this.announced = accepted
        else if (this.announced === accepted) this.compression = accepted
      })
  }

  private acceptable(compression: Compression): Compression {
    if (compression === "identity") return compression
    const accepted = single(this.received, "grpc-accept-encoding")?.split(",").map((name) => name.trim()) ?? []
    return accepted.includes(compression) ? compression : "identity"
  }

  // ---- what the client sends

  private messagesCame(): void {
    if (this.route.requestStream) return this.wake()
    if (this.over) return
    // taken at once: Node does not say that a stream has ended while it is held back
    if (this.request === undefined) this.request = this.incoming.take()
    else this.refuse(wrongNumber)
  }

  private brokenBy(problem: Status): void {
    this.problem = problem
    if (this.route.requestStream) this.wake()
    else this.end(problem.code, problem.message)
  }

  /**
   * The client has sent its last message. Or it has cancelled the call: a client on Node ends a stream right before it
   * resets it. A handler could take that for all that was to come, so it is not told before the reset has had the time to
   * arrive; where there is only one message, nobody can be mistaken.
   */
  requestEnded(): void {
    if (this.route.requestStream) setImmediate(() => setImmediate(() => this.endRequests()))
    else this.endRequest()
  }

  private endRequests(): void {
    if (this.over) return
    this.incoming.finish()
    this.wake()
  }

  private endRequest(): void {
    this.incoming.finish()
    if (this.over) return
    if (this.request === undefined || !this.incoming.isEmpty) this.refuse(wrongNumber)
    else this.run()
  }

  /** The request of a client that sends one message. */
  private only(messages: ReadonlyArray<Uint8Array>): Effect.Effect<unknown, GrpcErrorReason> {
    const [first] = messages
    if (first === undefined || messages.length > 1) return Exit.fail(wrongNumber)
    this.messagesReceived = 1
    const decoded = this.route.definition.request.decode(first)
    return Result.isSuccess(decoded) ? Exit.succeed(decoded.success) : Exit.fail(refusalOf(decoded.failure))
  }

  private wake(): void {
    const waiters = [...this.waiters]
    // who has looked may wait again at once
    this.waiters.clear()
    for (const waiter of waiters) waiter()
  }

  /** All messages that are there, as soon as there is one. Whatever is wrong with them ends the call. */
  private get pull(): Pull.Pull<Arr.NonEmptyReadonlyArray<unknown>> {
    const news = Effect.callback<void>((resume) => {
      const waiter = () => resume(Effect.void)
      this.waiters.add(waiter)
      return Effect.sync(() => this.waiters.delete(waiter))
    })
    const pull: Pull.Pull<Arr.NonEmptyReadonlyArray<unknown>> = Effect.suspend(() => {
      if (!this.incoming.isEmpty) {
        return Effect.matchEffect(this.incoming.take(), {
          onFailure: (problem) => this.stopReading(problem),
          onSuccess: (messages) => this.decodeAll(messages)
        })
      }
      if (this.problem !== undefined) return this.stopReading(this.problem)
      return this.incoming.ended ? Cause.done() : Effect.andThen(news, pull)
    })
    return pull
  }

  private stopReading({ code, message }: Status): Effect.Effect<never> {
    this.end(code, message)
    return Effect.interrupt
  }

  private decodeAll(messages: ReadonlyArray<Uint8Array>): Effect.Effect<Arr.NonEmptyReadonlyArray<unknown>> {
    this.messagesReceived += messages.length
    const values: Array<unknown> = []
    for (const message of messages) {
      const decoded = this.route.definition.request.decode(message)
      if (Result.isFailure(decoded)) {
        this.refuse(refusalOf(decoded.failure))
        return Effect.interrupt
      }
      values.push(decoded.success)
    }
    return Exit.succeed(cast(values))
  }

  // ---- the handler

  private handle(): Effect.Effect<unknown, unknown> {
    const { handler, requestStream, responseStream } = this.route
    if (requestStream) {
      const handled = handler(Stream.fromPull(Effect.succeed(this.pull)), this)
      return responseStream ? this.sendStream(handled) : this.sendOne(handled)
    }
    const request = Effect.matchEffect(this.request!, {
      onFailure: ({ code, message }) => Effect.fail(reasonFromCode(code, message)),
      onSuccess: (messages) => this.only(messages)
    })
    return Effect.flatMap(request, (request) => {
      const handled = handler(request, this)
      return responseStream ? this.sendStream(handled) : this.sendOne(handled)
    })
  }

  private sendStream(responses: unknown): Effect.Effect<void, unknown> {
    return Stream.runForEachArray(
      cast<unknown, Stream.Stream<unknown, unknown>>(responses),
      (values) => this.sendBatch(values)
    )
  }

  private sendOne(response: unknown): Effect.Effect<void, unknown> {
    return Effect.flatMap(cast<unknown, Effect.Effect<unknown, unknown>>(response), (value) => this.setAnswer(value))
  }

  private run(): void {
    const { settings } = this
    let { context } = settings
    if (this.due !== undefined) context = Context.add(context, CurrentDeadline, this.due)
    let handled = Effect.suspend(() => this.handle())
    if (settings.traced) {
      const parent = parentSpan(this.received)
      if (Option.isSome(parent)) context = Context.add(context, Tracer.ParentSpan, parent.value)
      handled = Effect.withSpan(Effect.onExit(handled, (exit) => this.annotate(exit)), this.method, {
        kind: "server",
        attributes: spanAttributes(this.route.definition, this.connection.peerName),
        captureStackTrace: false
      })
    }
    const fiber = Effect.runForkWith(context)(Effect.scoped(handled))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.done(exit)
    this.fiber = fiber
    fiber.addObserver((exit) => this.done(exit))
    if (!this.over) return
    // it has ended the call before it waited for the first time
    this.connection.begun(this)
    fiber.interruptUnsafe()
  }

  private annotate(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.annotateCurrentSpan("rpc.grpc.status_code", this.over ? this.code : this.codeOf(exit))
  }

  private code: number = Code.unknown
  private failure: Failure | undefined

  private codeOf(exit: Exit.Exit<unknown, unknown>): number {
    return Exit.isSuccess(exit) ? Code.ok : this.failed(exit.cause).reason.code
  }

  private failed(cause: Cause.Cause<unknown>): Failure {
    return this.failure ??= failureOf(cause, this.settings.onError)
  }

  /** The handler is done, in one way or another. */
  private done(exit: Exit.Exit<unknown, unknown>): void {
    this.fiber = undefined
    if (this.over) {
      this.connection.ended(this)
      if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) {
        this.log("a gRPC handler died when its call was over", exit.cause)
      }
      return
    }
    if (Exit.isSuccess(exit)) return this.end(Code.ok, "")
    const { concealed, reason } = this.failed(exit.cause)
    if (concealed) this.log("a gRPC handler failed", exit.cause)
    this.refuse(reason)
  }

  private log(message: string, cause: Cause.Cause<unknown>): void {
    Effect.runForkWith(this.settings.context)(
      Effect.annotateLogs(Effect.logWarning(message, cause), { "rpc.method": this.method })
    )
  }

  /** The handler's fiber, while it runs. */
  get running(): Fiber.Fiber<unknown, unknown> | undefined {
    return this.fiber
  }

  // ---- what goes back

  private encode(value: unknown): Result.Result<Uint8Array, GrpcErrorReason> {
    const codec = cast<MessageCodec<never, unknown>, MessageCodec<unknown, unknown>>(this.route.definition.response)
    const encoded = codec.encode(value)
    if (Result.isFailure(encoded)) {
      this.log("a gRPC handler gave what is not a response", Cause.fail(encoded.failure))
      return Result.fail(new Internal({ message: "the response does not fit its definition" }))
    }
    const { byteLength } = encoded.success
    return byteLength > this.settings.maxSendSize
      ? Result.fail(
        new ResourceExhausted({
          message: `a response of ${byteLength} bytes is larger than the limit of ${this.settings.maxSendSize}`
        })
      )
      : Result.succeed(encoded.success)
  }

  private setAnswer(value: unknown): Effect.Effect<void, GrpcErrorReason> {
    const message = this.encode(value)
    if (Result.isFailure(message)) return Exit.fail(message.failure)
    this.messagesSent = 1
    const { compression } = this
    if (compression === "identity") {
      this.answer = frame([message.success], false)
      return Exit.void
    }
    return Effect.map(compress(message.success, compression), (packed) => {
      this.answer = frame([packed], true)
    })
  }

  private sendBatch(values: Arr.NonEmptyReadonlyArray<unknown>): Effect.Effect<void, GrpcErrorReason> {
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
    if (!this.headersSent && messages.length > 0) this.respond({})
    this.messagesSent += messages.length
    const sent = sendAll(this, messages, this.compression)
    return refusal === undefined ? sent : Effect.andThen(sent, Effect.fail(refusal))
  }

  send(frames: Buffer): boolean {
    this.connection.onSend()
    return this.stream.write(frames)
  }

  get room(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const drained = () => resume(Effect.void)
      this.stream.once("drain", drained)
      return Effect.sync(() => void this.stream.off("drain", drained))
    })
  }

  private respond(metadata: OutgoingHeaders): void {
    this.headersSent = true
    if (this.isGone) return
    this.connection.onSend()
    const encoding = this.announced === "identity" ? undefined : { "grpc-encoding": this.announced }
    this.stream.respond({ ...responseHeaders, ...encoding, ...metadata }, withTrailers)
  }

  /** Whether there is nothing left that an answer could be written to. */
  private get isGone(): boolean {
    return this.stream.destroyed || this.stream.closed
  }

  /** Ends the call with what a reason says. */
  refuse(reason: GrpcErrorReason): void {
    if (this.over) return
    if (
      Object.keys(reason.trailers.text).length + Object.keys(reason.trailers.binary).length + reason.details.length > 0
    ) {
      addReason(this.trailers ??= {}, reason)
    }
    this.end(reason.code, reason.message)
  }

  /** Tells the client how it ended, and interrupts the handler if it still runs. */
  private end(code: number, message: string): void {
    if (this.over) return
    this.conclude(code, message)
    const status: OutgoingHeaders = code === Code.ok && this.trailers === undefined
      ? ok
      : {
        "grpc-status": String(code),
        ...(message === "" ? {} : { "grpc-message": encodeMessage(message) }),
        ...this.trailers
      }
    this.trailers = status
    if (!this.isGone) this.finish(code, status)
    this.fiber?.interruptUnsafe()
  }

  private finish(code: number, status: OutgoingHeaders): void {
    const answer = code === Code.ok ? this.answer : undefined
    if (!this.headersSent && answer === undefined) {
      this.connection.onSend()
      this.stream.respond({ ...responseHeaders, ...status }, alone)
      this.closeSoon()
      return
    }
    if (!this.headersSent) this.respond({})
    if (answer === undefined) this.stream.end()
    else this.stream.end(answer)
  }

  /** Everything else has been sent. */
  sendTrailers(): void {
    this.stream.sendTrailers(this.trailers ?? ok)
    this.closeSoon()
  }

  /** A client that still sends is told that nobody listens; behind the trailers, which Node sends on its next turn. */
  private closeSoon(): void {
    if (!this.incoming.ended) setImmediate(() => this.stream.close(NGHTTP2_NO_ERROR))
  }

  /** The client, or the network, has given it up. */
  cancelled(): void {
    if (this.over) return
    this.conclude(Code.cancelled, "the client is gone")
    this.fiber?.interruptUnsafe()
  }

  private expired(): void {
    this.end(Code.deadlineExceeded, "the deadline has passed")
  }

  private conclude(code: number, message: string): void {
    this.over = true
    this.code = code
    this.stopAlarm?.()
    this.incoming.abandon()
    if (this.fiber === undefined) this.connection.ended(this)
    const { clock, context, reporter } = this.settings
    const millis = clock.currentTimeMillisUnsafe() - this.began
    this.route.meters.completed(code, millis, this.messagesReceived, this.messagesSent, context)
    reporter.completed(`${this.connection.id}/${this.stream.id}`, this.method, code, message, millis)
  }
}
