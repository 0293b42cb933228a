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
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Http2 from "node:http2"
import type { GrpcErrorReason, Metadata } from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import { alarm } from "../../net/deadline.ts"
import type { TlsInfo } from "../../tls/info.ts"
import { CurrentDeadline } from "../deadline.ts"
import type { Compression } from "../wire/compression.ts"
import { addMetadata, decodeMetadata, type OutgoingHeaders, type RawHeaders } from "../wire/metadata.ts"
import { Code } from "../wire/status.ts"
import type { ServerStream } from "../wire/streams.ts"
import { type Failure, failureOf, type OnError } from "./failure.ts"
import type { ServerCall } from "./handler.ts"
import { parentSpan, type Reporter, spanAttributes } from "./observe.ts"
import { Requests, type RequestsOwner } from "./requests.ts"
import { Response, type ResponseOwner, type ResponseSettings } from "./response.ts"
import type { Route } from "./route.ts"

/** What all calls of a server have in common. */
export interface CallSettings extends ResponseSettings {
  /** What handlers run with. */
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly reporter: Reporter
  /** Whether somebody collects spans. */
  readonly traced: boolean
  readonly maxReceiveSize: number
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

interface WithCall {
  call?: Call
}

// all streams share these listeners

function onEnd(this: WithCall): void {
  this.call?.requestsEnded()
}

function onAborted(this: WithCall): void {
  this.call?.cancelled()
}

function onWantTrailers(this: WithCall): void {
  this.call?.trailersWanted()
}

/** The end of the stream is told by `aborted`. */
const onError = () => {}

/** One call: what came on its stream, the fiber that handles it, and what goes back. */
export class Call implements ServerCall, RequestsOwner, ResponseOwner {
  readonly method: string
  readonly authority: string
  private readonly settings: CallSettings
  private readonly connection: CallConnection
  private readonly route: Route
  private readonly stream: ServerStream & WithCall
  private readonly received: RawHeaders
  private readonly requests: Requests
  private readonly response: Response
  private readonly began: number
  /** On the clock, in milliseconds. */
  private readonly due: number | undefined
  private stopAlarm: (() => void) | undefined
  private fiber: Fiber.Fiber<unknown, unknown> | undefined
  private over = false
  private code: number = Code.unknown
  private failure: Failure | undefined

  constructor(
    settings: CallSettings,
    connection: CallConnection,
    route: Route,
    stream: ServerStream,
    head: CallHead
  ) {
    const { definition, requestStream } = route
    this.settings = settings
    this.connection = connection
    this.route = route
    this.method = definition.path
    this.stream = stream
    this.received = head.headers
    this.authority = head.authority
    this.began = settings.clock.currentTimeMillisUnsafe()
    this.due = head.timeout === undefined ? undefined : this.began + head.timeout
    this.response = new Response(stream, definition.response, settings, head.headers, this)
    this.requests = new Requests(
      stream,
      definition.request,
      requestStream,
      head.compression,
      settings.maxReceiveSize,
      this
    )
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
        if (this.response.headersSent) return Effect.die(new Error("the headers have been sent already"))
        const headers: OutgoingHeaders = {}
        const added = addMetadata(headers, metadata)
        if (Result.isFailure(added)) return Effect.fail(added.failure)
        this.response.sendHeaders(headers)
        return Effect.void
      })
  }

  get setTrailers(): ServerCall["setTrailers"] {
    return (metadata) => Effect.suspend(() => Effect.fromResult(this.response.setTrailers(metadata)))
  }

  get setCompression(): ServerCall["setCompression"] {
    return (compression) => Effect.sync(() => this.response.setCompression(compression))
  }

  // ---- the handler

  ready(): void {
    this.run()
  }

  private handle(): Effect.Effect<unknown, unknown> {
    const { handler, requestStream } = this.route
    return requestStream
      ? this.respond(handler(this.requests.stream, this))
      : Effect.flatMap(this.requests.only, (request) => this.respond(handler(request, this)))
  }

  private respond(handled: unknown): Effect.Effect<void, unknown> {
    const { response } = this
    return this.route.responseStream
      ? Stream.runForEachArray(
        cast<unknown, Stream.Stream<unknown, unknown>>(handled),
        (values) => response.sendMessages(values)
      )
      : Effect.flatMap(cast<unknown, Effect.Effect<unknown, unknown>>(handled), (value) => response.setAnswer(value))
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

  onMisfit(error: GrpcSchemaError): void {
    this.log("a gRPC handler gave what is not a response", Cause.fail(error))
  }

  /** The handler's fiber, while it runs. */
  get running(): Fiber.Fiber<unknown, unknown> | undefined {
    return this.fiber
  }

  // ---- the end of it

  /** Ends the call with what a reason says. */
  refuse(reason: GrpcErrorReason): void {
    if (this.over) return
    this.response.setReason(reason)
    this.end(reason.code, reason.message)
  }

  /** Tells the client how it ended, and interrupts the handler if it still runs. */
  private end(code: number, message: string): void {
    if (this.over) return
    this.conclude(code, message)
    if (this.response.end(code, message)) this.closeSoon()
    this.fiber?.interruptUnsafe()
  }

  private expired(): void {
    this.end(Code.deadlineExceeded, "the deadline has passed")
  }

  /** The client, or the network, has given it up. */
  cancelled(): void {
    if (this.over) return
    this.conclude(Code.cancelled, "the client is gone")
    this.response.abandon()
    this.fiber?.interruptUnsafe()
  }

  private conclude(code: number, message: string): void {
    this.over = true
    this.code = code
    this.stopAlarm?.()
    this.requests.abandon()
    if (this.fiber === undefined) this.connection.ended(this)
    const { clock, context, reporter } = this.settings
    const millis = clock.currentTimeMillisUnsafe() - this.began
    this.route.meters.completed(code, millis, this.requests.count, this.response.count, context)
    reporter.completed(`${this.connection.id}/${this.stream.id}`, this.method, code, message, millis)
  }

  // ---- what its stream and its response tell

  requestsEnded(): void {
    this.requests.end()
  }

  trailersWanted(): void {
    this.response.sendTrailers()
    this.closeSoon()
  }

  /** A client that still sends is told that nobody listens; behind the trailers, which Node sends on its next turn. */
  private closeSoon(): void {
    if (!this.requests.haveEnded) setImmediate(() => this.stream.close(NGHTTP2_NO_ERROR))
  }

  onSend(): void {
    this.connection.onSend()
  }
}
