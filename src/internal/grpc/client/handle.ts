import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { GrpcError, type Metadata } from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import type { MessageCodec, MethodDefinition } from "../definition.ts"
import type { Compression } from "../wire/compression.ts"
import { decodeMetadata, type RawHeaders } from "../wire/metadata.ts"
import { type Outlet, sendAll } from "../wire/outgoing.ts"
import { Code, ownStatus, reasonOf, type Status } from "../wire/status.ts"
import type { CallError } from "./callOptions.ts"
import { errorOf, type Exchange, unreadable } from "./exchange.ts"
import type { Observed } from "./observe.ts"

type Failure = CallError

/** The one message of a response with what came around it, as it came. */
export interface Reply<O> {
  readonly value: O
  readonly headers: RawHeaders | undefined
  readonly trailers: RawHeaders | undefined
}

/** What a call is made with, beside its messages. */
export interface CallContext {
  readonly compression: Compression
  readonly maxSendSize: number
  readonly onHeaders: ((headers: Metadata) => Effect.Effect<void>) | undefined
  readonly onTrailers: ((trailers: Metadata) => Effect.Effect<void>) | undefined
  readonly observed: Observed
  /** Called once, when the call has ended. */
  readonly onEnd: () => void
}

/** A call under way, in the words of Effect: whatever waits can be interrupted, and nothing is lost by it. */
export class Handle<I, O, E = never> {
  private readonly exchange: Exchange
  private readonly definition: MethodDefinition<MessageCodec<I, unknown>, MessageCodec<never, O>>
  private readonly context: CallContext
  private readonly waiters = new Set<() => void>()
  private isWaking = false
  /** Why the messages of a request stopped, when that is what ended the call. */
  private upstream: Cause.Cause<E | Failure> | undefined
  /** Messages that nobody has taken yet. */
  private received: Array<O> = []
  /** What came after the messages that could be read. */
  private unreadable: CallError | undefined
  private toldHeaders: boolean
  private toldTrailers: boolean
  private ended = false

  constructor(
    exchange: Exchange,
    definition: MethodDefinition<MessageCodec<I, unknown>, MessageCodec<never, O>>,
    context: CallContext
  ) {
    this.exchange = exchange
    this.definition = definition
    this.context = context
    this.toldHeaders = context.onHeaders === undefined
    this.toldTrailers = context.onTrailers === undefined
    exchange.onChange = () => this.changed()
    if (exchange.outcome !== undefined) this.changed()
  }

  private changed(): void {
    const { outcome } = this.exchange
    if (outcome !== undefined && !this.ended) {
      this.ended = true
      this.context.observed.ended(outcome)
      this.context.onEnd()
    }
    if (this.isWaking || this.waiters.size === 0) return
    this.isWaking = true
    // Node tells of each frame on its own: those that came together are one piece of news
    setImmediate(this.wake)
  }

  private readonly wake = () => {
    this.isWaking = false
    for (const waiter of this.waiters) waiter()
  }

  private until(holds: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const look = () => {
        if (!holds()) return
        this.waiters.delete(look)
        resume(Effect.void)
      }
      this.waiters.add(look)
      look()
      return Effect.sync(() => this.waiters.delete(look))
    })
  }

  private failed(status: Status): GrpcError {
    return new GrpcError({ method: this.definition.path, reason: reasonOf(status) })
  }

  private readonly hasNews = () =>
    this.exchange.hasMessages || this.exchange.outcome !== undefined ||
    (!this.toldHeaders && this.exchange.headers !== undefined)

  /** All messages that are there, as soon as there is one; the end of the call after the last. */
  readonly pull: Pull.Pull<Arr.NonEmptyReadonlyArray<O>, Failure | E> = Effect.suspend(
    (): Pull.Pull<Arr.NonEmptyReadonlyArray<O>, Failure | E> => {
      const { received } = this
      if (Arr.isArrayNonEmpty(received)) {
        this.received = []
        return Effect.succeed(received)
      }
      return Effect.andThen(this.more, this.pull)
    }
  )

  /** One message, or none when the call has ended well. */
  readonly receive: Effect.Effect<Option.Option<O>, Failure | E> = Effect.suspend(
    (): Effect.Effect<Option.Option<O>, Failure | E> =>
      this.received.length > 0
        ? Effect.sync(() => Option.some(this.received.shift()!))
        : Pull.catchDone(Effect.andThen(this.more, this.receive), () => Effect.succeedNone)
  )

  /** Waits for messages and reads them; ends with the call. Interruption loses none. */
  private readonly more: Pull.Pull<void, Failure | E> = Effect.suspend((): Pull.Pull<void, Failure | E> => {
    if (!this.toldHeaders && this.exchange.headers !== undefined) {
      this.toldHeaders = true
      return this.context.onHeaders!(decodeMetadata(this.exchange.headers))
    }
    if (this.unreadable !== undefined) return Effect.fail(this.unreadable)
    if (this.exchange.hasMessages) {
      return Effect.catch(Effect.uninterruptible(this.decode), (status) => this.abandoned(status))
    }
    return this.exchange.outcome === undefined ? this.until(this.hasNews) : this.end
  })

  private readonly decode: Effect.Effect<void, Status> = Effect.suspend(() =>
    Effect.flatMap(this.exchange.take(), (messages) => {
      this.context.observed.received(messages.length)
      for (const message of messages) {
        const value = this.definition.response.decode(message)
        if (Result.isFailure(value)) {
          this.unreadable = unreadable(this.definition.path, value.failure)
          this.exchange.abort(ownStatus(Code.internal, value.failure.message))
          return Effect.void
        }
        this.received.push(value.success)
      }
      return Effect.void
    })
  )

  /** The server sent what is not a message: nothing after it makes sense either. */
  private abandoned(status: Status): Effect.Effect<never, GrpcError> {
    return Effect.suspend(() => {
      this.exchange.abort(status)
      return Effect.fail(this.failed(status))
    })
  }

  private readonly end: Pull.Pull<never, Failure | E> = Effect.suspend((): Pull.Pull<never, Failure | E> => {
    if (!this.toldTrailers) {
      this.toldTrailers = true
      return Effect.andThen(this.context.onTrailers!(decodeMetadata(this.exchange.outcome?.trailers)), this.end)
    }
    if (this.upstream !== undefined) return Effect.failCause(this.upstream)
    const outcome = this.exchange.outcome!
    return outcome.code === Code.ok ? Cause.done() : Effect.fail(errorOf(this.definition.path, outcome))
  })

  /** The messages as a stream, for one reader. */
  readonly messages: Stream.Stream<O, Failure | E> = Stream.fromPull(Effect.succeed(this.pull))

  /** The one message of a call that has one, once the call has ended well. */
  readonly only: Effect.Effect<O, Failure | E> = Effect.suspend(() => {
    let only: { readonly value: O } | undefined
    const more: Effect.Effect<O, Failure | E> = Pull.catchDone(
      Effect.flatMap(this.pull, (values) => {
        if (only !== undefined || values.length > 1) {
          return this.abandoned(ownStatus(Code.internal, "the server sent more than one message"))
        }
        only = { value: values[0] }
        return more
      }),
      () =>
        only === undefined
          ? Effect.fail(this.failed(ownStatus(Code.internal, "the server said OK and sent no message")))
          : Effect.succeed(only.value)
    )
    return more
  })

  /** The same, with what came around it. */
  readonly reply: Effect.Effect<Reply<O>, Failure | E> = Effect.map(
    Effect.suspend(() => this.only),
    (value) => ({ value, headers: this.exchange.headers, trailers: this.exchange.outcome?.trailers })
  )

  private readonly outlet: Outlet = {
    send: (frames) => this.exchange.send(frames),
    room: this.until(() => this.exchange.hasRoom || this.exchange.outcome !== undefined),
    isOver: () => this.exchange.outcome !== undefined
  }

  private encode(values: ReadonlyArray<I>): Result.Result<ReadonlyArray<Uint8Array>, GrpcSchemaError> {
    const messages: Array<Uint8Array> = []
    for (const value of values) {
      const message = this.definition.request.encode(value)
      if (Result.isFailure(message)) return Result.fail(message.failure)
      messages.push(message.success)
    }
    return Result.succeed(messages)
  }

  /** Sends messages; ready when there is room for more. What is sent after the call has ended goes nowhere. */
  send(
    values: ReadonlyArray<I>,
    compression?: Compression
  ): Effect.Effect<void, GrpcSchemaError | GrpcError> {
    return Effect.suspend((): Effect.Effect<void, GrpcSchemaError | GrpcError> => {
      const messages = this.encode(values)
      return Result.isFailure(messages)
        ? Effect.fail(messages.failure)
        : this.sendEncoded(messages.success, compression)
    })
  }

  /** The same for messages that are bytes already. */
  sendEncoded(
    messages: ReadonlyArray<Uint8Array>,
    compression: Compression = this.context.compression
  ): Effect.Effect<void, GrpcError> {
    const { maxSendSize } = this.context
    const large = messages.find(({ byteLength }) => byteLength > maxSendSize)
    if (large !== undefined) return Effect.fail(this.failed(tooLarge(large, maxSendSize)))
    this.context.observed.sent(messages.length)
    return sendAll(this.outlet, messages, compression)
  }

  readonly completeSend: Effect.Effect<void> = Effect.sync(() => this.exchange.completeSend())

  /** Sends a stream of messages and its end. When it fails, the call is cancelled and fails with the same. */
  sendStream<R>(requests: Stream.Stream<I, E, R>): Effect.Effect<void, never, R> {
    return Stream.runForEachArray(requests, (values) => this.send(values)).pipe(
      Effect.andThen(this.completeSend),
      Effect.catchCause((cause) =>
        Effect.sync(() => {
          if (Cause.hasInterruptsOnly(cause)) return
          this.upstream = cause
          this.exchange.abort(ownStatus(Code.cancelled, "the stream of requests failed"))
        })
      )
    )
  }

  /** The server's headers; empty when the call ends without them. */
  readonly headers: Effect.Effect<Metadata, Failure | E> = Effect.flatMap(
    Effect.suspend(() => this.until(() => this.exchange.headers !== undefined || this.exchange.outcome !== undefined)),
    (): Effect.Effect<Metadata, Failure | E> => {
      const { headers, outcome } = this.exchange
      if (headers === undefined && outcome !== undefined && outcome.code !== Code.ok) {
        return this.upstream === undefined
          ? Effect.fail(errorOf(this.definition.path, outcome))
          : Effect.failCause(this.upstream)
      }
      return Effect.succeed(decodeMetadata(headers))
    }
  )

  /** The server's trailers, once the call has ended, however it has. */
  readonly trailers: Effect.Effect<Metadata> = Effect.map(
    Effect.suspend(() => this.until(() => this.exchange.outcome !== undefined)),
    () => decodeMetadata(this.exchange.outcome?.trailers)
  )

  /** Ends the call, when it has not ended itself. */
  readonly cancel: Effect.Effect<void> = Effect.sync(() =>
    this.exchange.abort(ownStatus(Code.cancelled, "interrupted"))
  )
}

/** A message that is larger than this side sends. */
export const tooLarge = (message: Uint8Array, maxSize: number): Status =>
  ownStatus(
    Code.resourceExhausted,
    `the message has ${message.byteLength} bytes, and the limit for sending is ${maxSize}`
  )
