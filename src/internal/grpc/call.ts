import * as Grpc from "@grpc/grpc-js"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import type { DialError } from "../../errors/DialError.ts"
import { GrpcError, type Metadata, reasonFromCode } from "../../errors/GrpcError.ts"
import type { Method } from "./proto/schema.ts"
import type { Transport } from "./transport.ts"
import * as GrpcMetadata from "./oldMetadata.ts"

/** What is called. */
export interface Request {
  readonly method: Method
  readonly metadata: Grpc.Metadata
  readonly message: Buffer
  readonly timeout: Duration.Duration | undefined
}

/** What a call came back with; its metadata is only turned into ours when it is asked for. */
export interface Reply {
  readonly message: Buffer
  readonly headers: Grpc.Metadata | undefined
  readonly trailers: Grpc.Metadata
}

type CallError = DialError | GrpcError

const failed = (method: string, code: Grpc.status, message: string, trailers?: Metadata): GrpcError =>
  new GrpcError({ method, reason: reasonFromCode(code, message, trailers) })

/** The server sent bytes that are not the message its method should give. */
export const undecodable = (method: string, detail: string): GrpcError => failed(method, Grpc.status.INTERNAL, detail)

/**
 * The error of a status. Where there was no connection to call over, what kept us from connecting is the error.
 */
const errorOf = (transport: Transport, method: string, status: Grpc.StatusObject, answered: boolean): CallError => {
  const dialFailure = status.code === Grpc.status.UNAVAILABLE && !answered ? transport.dialFailure() : undefined
  return dialFailure ?? failed(method, status.code, status.details, GrpcMetadata.fromGrpc(status.metadata))
}

/** grpc-js throws when a closed channel is called. */
const ifOpen = <A, E, R>(transport: Transport, request: Request, effect: Effect.Effect<A, E, R>) =>
  Effect.suspend((): Effect.Effect<A, E | GrpcError, R> =>
    transport.channel.getConnectivityState(false) === Grpc.connectivityState.SHUTDOWN
      ? Effect.fail(failed(request.method.path, Grpc.status.CANCELLED, "the channel is closed"))
      : effect
  )

/**
 * Starts a call with its one request. grpc-js reads without bound until it is asked for the first message, so that is
 * done at once.
 */
const start = (transport: Transport, request: Request, listener: Grpc.InterceptingListener) => {
  const deadline = request.timeout === undefined || !Duration.isFinite(request.timeout)
    ? Infinity
    : Date.now() + Duration.toMillis(request.timeout)
  const { path } = request.method
  const call = transport.channel.createCall(`/${path}`, deadline, null, null, null)
  transport.calls.add(call)
  transport.report("called", path)
  call.start(request.metadata, {
    ...listener,
    onReceiveStatus: (status) => {
      transport.calls.delete(call)
      transport.report("ended", `${path} ${Grpc.status[status.code] ?? status.code}`)
      listener.onReceiveStatus(status)
    }
  })
  call.startRead()
  call.sendMessageWithContext({}, request.message)
  call.halfClose()
  return call
}

const cancel = (call: Grpc.experimental.CallStream) =>
  Effect.sync(() => call.cancelWithStatus(Grpc.status.CANCELLED, "interrupted"))

const timedOut = (request: Request) =>
  failed(request.method.path, Grpc.status.DEADLINE_EXCEEDED, "the timeout has passed")

/** One request, one reply. Interruption cancels the call on the wire. */
export const unary = (transport: Transport, request: Request): Effect.Effect<Reply, CallError> => {
  const reply = ifOpen(
    transport,
    request,
    Effect.callback<Reply, CallError>((resume) => {
      let headers: Grpc.Metadata | undefined
      let message: Buffer | undefined
      const call = start(transport, request, {
        onReceiveMetadata: (metadata) => headers = metadata,
        onReceiveMessage: (received: Buffer) => {
          if (message !== undefined) {
            return call.cancelWithStatus(Grpc.status.INTERNAL, "the server sent more than one message")
          }
          message = received
          // without it a second message would stay unseen, and the status behind it too
          call.startRead()
        },
        onReceiveStatus: (status) => {
          if (status.code !== Grpc.status.OK) {
            return resume(Effect.fail(errorOf(transport, request.method.path, status, headers !== undefined)))
          }
          resume(
            message === undefined
              ? Effect.fail(failed(request.method.path, Grpc.status.INTERNAL, "the server said OK and sent no message"))
              : Effect.succeed({ message, headers, trailers: status.metadata })
          )
        }
      })
      return cancel(call)
    })
  )
  // grpc-js keeps the deadline too, by the system's clock; this is the one of the program, which a test can turn
  return request.timeout === undefined ? reply : Effect.timeoutOrElse(reply, {
    duration: request.timeout,
    orElse: () => Effect.fail(timedOut(request))
  })
}

/** How many messages wait for the reader before the server is held back by flow control. */
const capacity = 16

/** The messages of a server, between grpc-js which pushes them and a reader who pulls. */
class Incoming {
  private readonly transport: Transport
  private readonly method: string
  private readonly call: Grpc.experimental.CallStream
  private messages: Array<Buffer> = []
  private paused = false
  private answered = false
  private end: Effect.Effect<never, CallError | Cause.Done> | undefined
  private waiting: (() => void) | undefined

  constructor(transport: Transport, request: Request) {
    this.transport = transport
    this.method = request.method.path
    this.call = start(transport, request, {
      onReceiveMetadata: () => this.answered = true,
      onReceiveMessage: (message: Buffer) => this.push(message),
      onReceiveStatus: (status) => this.finish(status)
    })
  }

  private push(message: Buffer): void {
    this.messages.push(message)
    if (this.messages.length < capacity) this.call.startRead()
    else this.paused = true
    this.wake()
  }

  private finish(status: Grpc.StatusObject): void {
    this.end ??= status.code === Grpc.status.OK
      ? Cause.done()
      : Effect.fail(errorOf(this.transport, this.method, status, this.answered))
    this.wake()
  }

  private wake(): void {
    const waiting = this.waiting
    this.waiting = undefined
    waiting?.()
  }

  /** All that is there, as soon as something is. */
  readonly pull: Pull.Pull<Arr.NonEmptyReadonlyArray<Buffer>, CallError> = Effect.suspend(() => {
    if (Arr.isArrayNonEmpty(this.messages)) {
      const messages = this.messages
      this.messages = []
      if (this.paused) {
        this.paused = false
        this.call.startRead()
      }
      return Effect.succeed(messages)
    }
    return this.end ?? Effect.callback<Arr.NonEmptyReadonlyArray<Buffer>, CallError | Cause.Done>((resume) => {
      // the fiber may have let others run on its way here
      if (this.messages.length > 0 || this.end !== undefined) return resume(this.pull)
      this.waiting = () => resume(this.pull)
      return Effect.sync(() => this.waiting = undefined)
    })
  })

  /** Ends the call, when it has not ended itself. */
  readonly cancel = Effect.suspend(() => this.end === undefined ? cancel(this.call) : Effect.void)

  readonly expire = Effect.sync(() => {
    this.call.cancelWithStatus(Grpc.status.DEADLINE_EXCEEDED, "the timeout has passed")
  })
}

/** One request, many replies. Closing the scope cancels the call on the wire. */
export const serverStream = Effect.fnUntraced(function*(
  transport: Transport,
  request: Request
): Effect.fn.Return<Incoming["pull"], GrpcError, Scope.Scope> {
  const incoming = yield* Effect.acquireRelease(
    ifOpen(transport, request, Effect.sync(() => new Incoming(transport, request))),
    (incoming) => incoming.cancel
  )
  if (request.timeout !== undefined) {
    yield* Effect.forkScoped(Effect.delay(incoming.expire, request.timeout))
  }
  return incoming.pull
})
