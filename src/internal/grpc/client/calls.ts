import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import { GrpcError } from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import { alarm } from "../../net/deadline.ts"
import { frame } from "../wire/frames.ts"
import type { OutgoingHeaders } from "../wire/metadata.ts"
import { Code, ownStatus, reasonOf, type Status } from "../wire/status.ts"
import { Attempt } from "./attempt.ts"
import { attemptsOf, begin, strategyOf, timedOut } from "./attempts.ts"
import type { CallError, CallOptions } from "./callOptions.ts"
import type { Carrier } from "./connection.ts"
import { errorOf, unreadable } from "./exchange.ts"
import { Handle, type Reply, tooLarge } from "./handle.ts"
import { Observed, spanAttributes, statusCodeOf } from "./observe.ts"
import { baseHeaders, type ClientMethod, prepare, type Prepared, type Settings } from "./prepare.ts"
import { Replaying } from "./replay.ts"

const interrupted = ownStatus(Code.cancelled, "interrupted")

/** The calls of a channel. */
export class Calls {
  private readonly settings: Settings
  private readonly base: OutgoingHeaders

  constructor(settings: Settings) {
    this.settings = settings
    this.base = baseHeaders(settings)
  }

  private failed(method: string, status: Status): GrpcError {
    return new GrpcError({ method, reason: reasonOf(status) })
  }

  /** Makes a call in the fiber's context, in a span where somebody collects them. */
  private observed<A, E, R>(
    definition: ClientMethod<never, unknown>,
    options: CallOptions | undefined,
    call: (prepared: Prepared, observed: Observed) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | GrpcSchemaError, R> {
    const info = { method: definition.path, kind: definition.kind }
    return Effect.withFiber<A, E | GrpcSchemaError, R>((fiber) => {
      const prepared = prepare(
        this.settings,
        this.base,
        info,
        options,
        fiber.context,
        fiber.cache.tracer === undefined ? undefined : fiber.cache.span
      )
      if (Result.isFailure(prepared)) return Effect.fail(prepared.failure)
      const { clock, context } = prepared.success
      return call(
        prepared.success,
        new Observed(definition.path, context, () => clock.currentTimeMillisUnsafe(), this.settings.report)
      )
    })
  }

  private inSpan<A, E, R>(
    definition: ClientMethod<never, unknown>,
    call: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> {
    return Effect.withFiber<A, E, R>((fiber) =>
      fiber.cache.tracer === undefined ? call : Effect.useSpan(
        definition.path,
        this.spanOptions(definition),
        (span) =>
          Effect.withParentSpan(
            Effect.onExit(call, (exit) => Effect.sync(() => annotate(span, exit))),
            span
          )
      )
    )
  }

  private spanOptions(definition: ClientMethod<never, unknown>) {
    return {
      kind: "client" as const,
      attributes: spanAttributes(definition, this.settings.authority),
      captureStackTrace: false
    }
  }

  /**
   * Opens a call; closing the scope cancels it. Everything about the call that can be told before it starts is wrong at
   * once.
   */
  open<I, O, E = never>(
    definition: ClientMethod<I, O>,
    options: CallOptions | undefined
  ): Effect.Effect<Handle<I, O, E>, GrpcSchemaError, Scope.Scope> {
    return this.observed(definition, options, (prepared, observed) =>
      Effect.acquireRelease(
        Effect.sync(() => this.handle<I, O, E>(definition, options, prepared, observed)),
        (handle) => handle.cancel
      ))
  }

  private handle<I, O, E>(
    definition: ClientMethod<I, O>,
    options: CallOptions | undefined,
    prepared: Prepared,
    observed: Observed
  ): Handle<I, O, E> {
    const exchange = new Replaying(attemptsOf(this.settings, prepared), strategyOf(this.settings, prepared))
    let stop = () => {}
    const handle = new Handle<I, O, E>(exchange, definition, {
      compression: prepared.compression,
      maxSendSize: prepared.maxSendSize,
      onHeaders: options?.onHeaders,
      onTrailers: options?.onTrailers,
      observed,
      onEnd: () => stop()
    })
    if (prepared.deadline !== undefined) {
      const left = prepared.deadline - prepared.clock.currentTimeMillisUnsafe()
      if (left <= 0) exchange.abort(timedOut)
      else stop = alarm(prepared.clock, Duration.millis(left), () => exchange.abort(timedOut))
    }
    exchange.begin()
    return handle
  }

  /** One request, one reply. Interruption cancels the call on the wire. */
  unary<I, O>(
    definition: ClientMethod<I, O>,
    request: I,
    options?: CallOptions
  ): Effect.Effect<Reply<O>, CallError> {
    const call = Effect.suspend((): Effect.Effect<Reply<O>, CallError> => {
      const message = definition.request.encode(request)
      if (Result.isFailure(message)) return Effect.fail(message.failure)
      return this.observed(definition, options, (prepared, observed) => {
        if (message.success.byteLength > prepared.maxSendSize) {
          const status = tooLarge(message.success, prepared.maxSendSize)
          observed.ended(status)
          return Effect.fail(this.failed(definition.path, status))
        }
        const isPlain = this.settings.credentials === undefined && prepared.compression === "identity" &&
          prepared.policy?.retry === undefined && prepared.policy?.hedging === undefined &&
          options?.onHeaders === undefined && options?.onTrailers === undefined
        const connection = isPlain ? this.settings.channel.pick() : undefined
        const whole = () => this.unaryByHandle(definition, message.success, options, prepared, observed)
        return connection === undefined
          ? whole()
          : this.unaryOn(connection, definition, message.success, prepared, observed, whole)
      })
    })
    return this.wrapped(definition, this.inSpan(definition, call))
  }

  /** The way of nearly all calls: there is a connection, and nothing stands between the request and the wire. */
  private unaryOn<I, O>(
    connection: Carrier,
    definition: ClientMethod<I, O>,
    message: Uint8Array,
    prepared: Prepared,
    observed: Observed,
    again: () => Effect.Effect<Reply<O>, CallError>
  ): Effect.Effect<Reply<O>, CallError> {
    return Effect.callback<Reply<O>, CallError>((resume) => {
      const attempt = begin(prepared, connection, prepared.headers)
      if (!(attempt instanceof Attempt)) {
        if (attempt.unprocessed === true) return resume(again())
        observed.ended(attempt)
        return resume(Effect.fail(errorOf(definition.path, attempt)))
      }
      const stop = prepared.deadline === undefined
        ? undefined
        : alarm(
          prepared.clock,
          Duration.millis(prepared.deadline - prepared.clock.currentTimeMillisUnsafe()),
          () => attempt.abort(timedOut)
        )
      const settle = () => {
        const { outcome } = attempt
        if (outcome === undefined) return
        stop?.()
        if (outcome.unprocessed === true) return resume(again())
        observed.ended(outcome)
        resume(
          outcome.code === Code.ok
            ? this.replyOf(definition, attempt, observed)
            : Effect.fail(errorOf(definition.path, outcome))
        )
      }
      attempt.onChange = settle
      attempt.sendOnly(frame([message], false))
      observed.sent(1)
      settle()
      return Effect.sync(() => {
        attempt.onChange = () => {}
        stop?.()
        if (attempt.outcome === undefined) {
          attempt.abort(interrupted)
          observed.ended(interrupted)
        }
      })
    })
  }

  private replyOf<I, O>(
    definition: ClientMethod<I, O>,
    attempt: Attempt,
    observed: Observed
  ): Effect.Effect<Reply<O>, CallError> {
    if (!attempt.hasMessages) return Effect.fail(this.failed(definition.path, noMessage))
    return Effect.matchEffect(attempt.take(), {
      onFailure: (status) => Effect.fail(this.failed(definition.path, status)),
      onSuccess: (messages) => {
        observed.received(messages.length)
        if (messages.length > 1 || attempt.hasMessages) {
          return Effect.fail(this.failed(definition.path, severalMessages))
        }
        const value = definition.response.decode(messages[0]!)
        return Result.isFailure(value)
          ? Effect.fail(unreadable(definition.path, value.failure))
          : Effect.succeed({
            value: value.success,
            headers: attempt.headers,
            trailers: attempt.outcome?.trailers
          })
      }
    })
  }

  private unaryByHandle<I, O>(
    definition: ClientMethod<I, O>,
    message: Uint8Array,
    options: CallOptions | undefined,
    prepared: Prepared,
    observed: Observed
  ): Effect.Effect<Reply<O>, CallError> {
    return Effect.acquireUseRelease(
      Effect.sync(() => this.handle<I, O, never>(definition, options, prepared, observed)),
      (handle) => Effect.andThen(Effect.andThen(handle.sendEncoded([message]), handle.completeSend), handle.reply),
      (handle) => handle.cancel
    )
  }

  /** One request, many replies. Ending the stream early cancels the call on the wire. */
  serverStream<I, O>(
    definition: ClientMethod<I, O>,
    request: I,
    options?: CallOptions
  ): Stream.Stream<O, CallError> {
    return this.responses(definition, this.asking(definition, request, options))
  }

  /** Many requests, one reply. A request stream that fails cancels the call, which fails with the same. */
  clientStream<I, O, E, R>(
    definition: ClientMethod<I, O>,
    requests: Stream.Stream<I, E, R>,
    options?: CallOptions
  ): Effect.Effect<Reply<O>, CallError | E, R> {
    return this.wrapped(
      definition,
      this.inSpan(
        definition,
        Effect.scoped(Effect.flatMap(this.sending(definition, requests, options), ({ reply }) => reply))
      )
    )
  }

  /** Many requests, many replies, each at its own pace. */
  bidi<I, O, E, R>(
    definition: ClientMethod<I, O>,
    requests: Stream.Stream<I, E, R>,
    options?: CallOptions
  ): Stream.Stream<O, CallError | E, R> {
    return this.responses(definition, this.sending(definition, requests, options))
  }

  /** A call whose one request is on its way. Closing the scope cancels it. */
  asking<I, O>(
    definition: ClientMethod<I, O>,
    request: I,
    options: CallOptions | undefined
  ): Effect.Effect<Handle<I, O>, CallError, Scope.Scope> {
    return Effect.gen({ self: this }, function*() {
      // what does not fit the schema must not start a call
      const message = yield* Effect.fromResult(definition.request.encode(request))
      const handle = yield* this.open<I, O>(definition, options)
      yield* handle.sendEncoded([message])
      yield* handle.completeSend
      return handle
    })
  }

  /** A call whose requests are sent while the scope is open. Closing the scope cancels it. */
  sending<I, O, E, R>(
    definition: ClientMethod<I, O>,
    requests: Stream.Stream<I, E, R>,
    options: CallOptions | undefined
  ): Effect.Effect<Handle<I, O, E>, CallError, R | Scope.Scope> {
    return Effect.tap(
      this.open<I, O, E>(definition, options),
      (handle) => Effect.forkScoped(handle.sendStream(requests), { startImmediately: true })
    )
  }

  private responses<I, O, E, R>(
    definition: ClientMethod<I, O>,
    call: Effect.Effect<Handle<I, O, E>, CallError, R | Scope.Scope>
  ): Stream.Stream<O, CallError | E, Exclude<R, Scope.Scope>> {
    const responses = Stream.scoped(Stream.fromPull(Effect.map(call, ({ pull }) => pull)))
    const observed = Stream.unwrap(Effect.withFiber((fiber) =>
      Effect.succeed(
        fiber.cache.tracer === undefined
          ? responses
          : Stream.withSpan(Stream.onExit(responses, annotateCurrent), definition.path, this.spanOptions(definition))
      )
    ))
    return this.wrappedStream(definition, observed)
  }

  /** A stream of responses as middleware lets callers see it. */
  wrappedStream<A, E, R>(
    definition: ClientMethod<never, unknown>,
    responses: Stream.Stream<A, CallError | E, R>
  ): Stream.Stream<A, CallError | E, R> {
    const info = { method: definition.path, kind: definition.kind }
    return this.settings.middleware.reduceRight((wrapped, { stream }) => stream?.(wrapped, info) ?? wrapped, responses)
  }

  private wrapped<A, E, R>(
    definition: ClientMethod<never, unknown>,
    call: Effect.Effect<A, CallError | E, R>
  ): Effect.Effect<A, CallError | E, R> {
    const { middleware } = this.settings
    if (middleware.length === 0) return call
    const info = { method: definition.path, kind: definition.kind }
    return middleware.reduceRight((wrapped, { effect }) => effect?.(wrapped, info) ?? wrapped, call)
  }
}

const noMessage = ownStatus(Code.internal, "the server said OK and sent no message")
const severalMessages = ownStatus(Code.internal, "the server sent more than one message")

/** Notes how a call ended in its span. */
const annotate = (span: Tracer.AnySpan, exit: Exit.Exit<unknown, unknown>): void => {
  const code = Exit.isSuccess(exit) ? Code.ok : statusCodeOf(Option.getOrUndefined(Cause.findErrorOption(exit.cause)))
  if (code !== undefined && span._tag === "Span") span.attribute("rpc.grpc.status_code", code)
}

const annotateCurrent = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    if (fiber.cache.span !== undefined) annotate(fiber.cache.span, exit)
    return Effect.void
  })
