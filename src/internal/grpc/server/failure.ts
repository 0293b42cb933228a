import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  Cancelled,
  GrpcErrorReason,
  Internal,
  InvalidArgument,
  type Metadata,
  Unknown
} from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import * as Details from "../wire/details.ts"
import { addMetadata, type MetadataInput, type OutgoingHeaders } from "../wire/metadata.ts"

/** Says which status an error of a handler is, or `undefined` for one that it does not know. */
export type OnError = (error: unknown) => GrpcErrorReason | undefined

/** How a handler's failure is told. */
export interface Failure {
  readonly reason: GrpcErrorReason
  /** Whether the client is told less than there is to know, so that somebody should look at the log. */
  readonly concealed: boolean
}

const isReason = Schema.is(GrpcErrorReason)

/**
 * The status of a handler that failed. Only reasons of a `GrpcError` are meant for the client; what another server said of
 * a call that the handler made, a whole `GrpcError`, is not, and neither is any other error or a bug.
 */
export const failureOf = (cause: Cause.Cause<unknown>, onError: OnError | undefined): Failure => {
  const error = Cause.findErrorOption(cause)
  if (Option.isSome(error)) {
    if (isReason(error.value)) return { reason: error.value, concealed: false }
    const mapped = onError?.(error.value)
    if (mapped !== undefined) return { reason: mapped, concealed: false }
  } else if (Cause.hasInterruptsOnly(cause)) {
    return { reason: new Cancelled({ message: "the handler was interrupted" }), concealed: false }
  }
  return { reason: new Unknown({ message: "the handler failed" }), concealed: true }
}

/**
 * A request that cannot be understood: bytes that are no message are somebody's bug, as for gRPC's own servers; a message
 * whose field is not as the schema wants it is the caller's mistake, and the caller is told which field.
 */
export const refusalOf = ({ message, reason }: GrpcSchemaError): GrpcErrorReason =>
  reason._tag === "InvalidMessage" && reason.path !== undefined
    ? new InvalidArgument({
      message,
      details: [{ _tag: "BadRequest", fieldViolations: [{ field: reason.path, description: reason.detail }] }]
    })
    : new Internal({ message: `the request cannot be decoded: ${message}` })

const asInput = ({ binary, text }: Metadata): MetadataInput => ({ ...text, ...binary })

/** Adds what a reason has beside its code and message to the trailers. What cannot be sent is left out. */
export const addReason = (
  trailers: OutgoingHeaders,
  { code, details, message, trailers: metadata }: GrpcErrorReason
) => {
  for (const [name, values] of Object.entries(asInput(metadata))) {
    // those of another server, on an error that is passed on
    if (name === Details.detailsTrailer && details.length > 0) continue
    Result.getOrUndefined(addMetadata(trailers, { [name]: values }))
  }
  if (details.length > 0) addMetadata(trailers, { [Details.detailsTrailer]: Details.encode(code, message, details) })
}
