import type * as Effect from "effect/Effect"
import { GrpcError } from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import type { RawHeaders } from "../wire/metadata.ts"
import { Code, ownStatus, reasonOf, type Status } from "../wire/status.ts"
import type { CallError } from "./callOptions.ts"

/** How a call ended for the client: with a status, or because it could not be started. */
export interface Outcome extends Status {
  /** Why it could not be started: no connection, no credentials. */
  readonly failure?: CallError | undefined
  /** The server has not looked at the call: making it again changes nothing that it did. */
  readonly unprocessed?: boolean | undefined
}

/**
 * A call under way, whichever attempts carry it. Nothing here waits: `onChange` is called when something has changed, and
 * whoever waits looks again.
 */
export interface Exchange {
  /** Called when headers, messages, room to send or the end have come. */
  onChange: () => void
  /** The server's headers. A call that ends without having answered has none. */
  readonly headers: RawHeaders | undefined
  /** How the call ended; messages that came before can still be there to be taken. */
  readonly outcome: Outcome | undefined
  readonly hasMessages: boolean
  /** All messages that are there; only when there are some. */
  readonly take: () => Effect.Effect<Array<Uint8Array>, Status>
  /** Sends frames; says whether there is room for more at once. */
  readonly send: (frames: Buffer) => boolean
  /** Whether there is room to send. */
  readonly hasRoom: boolean
  /** Says that no more messages come. */
  readonly completeSend: () => void
  /** Ends the call with a status of this side, if it has not ended, and tells the server. */
  readonly abort: (status: Status) => void
}

/** What a call fails with. */
export const errorOf = (method: string, outcome: Outcome): CallError =>
  outcome.failure ?? new GrpcError({ method, reason: reasonOf(outcome) })

/**
 * What a call fails with when a response cannot be read. Bytes that are no message are the server's mistake; that a schema
 * of this side refuses a message is not, and callers can see which field it is.
 */
export const unreadable = (method: string, failure: GrpcSchemaError): CallError =>
  failure.reason._tag === "InvalidMessage"
    ? failure
    : new GrpcError({ method, reason: reasonOf(ownStatus(Code.internal, failure.message)) })
