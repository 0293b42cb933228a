import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Tracer from "effect/Tracer"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import { CurrentDeadline } from "../deadline.ts"
import type { MessageCodec, MethodDefinition } from "../definition.ts"
import { acceptEncoding, type Compression } from "../wire/compression.ts"
import { addMetadata, type MetadataInput, type OutgoingHeaders } from "../wire/metadata.ts"
import type { CallError, CallOptions } from "./callOptions.ts"
import type { Carriers } from "./channel.ts"
import type { CallInfo, Middleware } from "./middleware.ts"
import { type Report, traceparent } from "./observe.ts"
import type { Throttle } from "./retry.ts"
import type { MethodPolicy } from "./serviceConfig.ts"

/** What a client sends and gets; how a server reads and writes the same is no matter here. */
export type ClientMethod<I, O> = MethodDefinition<MessageCodec<I, unknown>, MessageCodec<never, O>>

/** What all calls of a channel have in common. */
export interface Settings {
  readonly channel: Carriers
  readonly authority: string
  readonly secure: boolean
  readonly userAgent: string
  /** The channel's own, which `setMetadata` replaces. */
  readonly metadata: () => MetadataInput | undefined
  readonly waitForReady: boolean
  readonly compression: Compression
  readonly maxReceiveSize: number
  readonly maxSendSize: number
  readonly credentials: ((call: CallInfo) => Effect.Effect<MetadataInput, CallError>) | undefined
  readonly middleware: ReadonlyArray<Middleware>
  readonly policyOf: (method: string) => MethodPolicy | undefined
  readonly throttle: Throttle | undefined
  /** Tells the log. */
  readonly report: Report | undefined
}

/** A call that is about to start. */
export interface Prepared {
  readonly info: CallInfo
  readonly headers: OutgoingHeaders
  readonly compression: Compression
  readonly waitForReady: boolean
  readonly maxReceiveSize: number
  readonly maxSendSize: number
  readonly policy: MethodPolicy | undefined
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  /** In milliseconds of the clock. */
  readonly deadline: number | undefined
}

const least = (a: number | undefined, b: number | undefined) =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

const timeoutMillis = (timeout: Duration.Input | undefined): number | undefined => {
  if (timeout === undefined) return undefined
  const millis = Duration.toMillis(timeout)
  return Number.isFinite(millis) ? millis : undefined
}

/** What all calls of a channel say. */
export const baseHeaders = ({ authority, secure, userAgent }: Settings): OutgoingHeaders => ({
  ":method": "POST",
  ":scheme": secure ? "https" : "http",
  ":authority": authority,
  "content-type": "application/grpc+proto",
  te: "trailers",
  "user-agent": userAgent,
  "grpc-accept-encoding": acceptEncoding
})

/** Everything about a call that can be wrong before it starts. */
export const prepare = (
  settings: Settings,
  base: OutgoingHeaders,
  info: CallInfo,
  options: CallOptions | undefined,
  context: Context.Context<never>,
  span: Tracer.AnySpan | undefined
): Result.Result<Prepared, GrpcSchemaError> => {
  const policy = settings.policyOf(info.method)
  const clock = Context.get(context, Clock.Clock)
  const headers: OutgoingHeaders = { ...base, ":path": `/${info.method}` }
  const compression = options?.compression ?? settings.compression
  if (compression !== "identity") headers["grpc-encoding"] = compression
  const millis = least(timeoutMillis(options?.timeout), policy?.timeout)
  const now = clock.currentTimeMillisUnsafe()
  const deadline = least(millis === undefined ? undefined : now + millis, Context.get(context, CurrentDeadline))
  const added = Result.andThen(
    addMetadata(headers, settings.metadata()),
    () => addMetadata(headers, options?.metadata)
  )
  if (Result.isFailure(added)) return Result.fail(added.failure)
  if (span !== undefined) headers["traceparent"] ??= traceparent(span)
  return Result.succeed({
    info,
    context,
    headers,
    compression,
    policy,
    clock,
    deadline,
    waitForReady: options?.waitForReady ?? policy?.waitForReady ?? settings.waitForReady,
    maxReceiveSize: least(options?.maxReceiveSize ?? settings.maxReceiveSize, policy?.maxResponseSize)!,
    maxSendSize: least(options?.maxSendSize ?? settings.maxSendSize, policy?.maxRequestSize)!
  })
}
