import type * as Result from "effect/Result"
import type { GrpcSchemaError } from "../../errors/GrpcSchemaError.ts"

/** Which sides send a stream of messages: none, the server, the client, both. */
export type MethodKind = "unary" | "serverStream" | "clientStream" | "bidi"

/** One type of message, between the values of a program and the bytes on the wire. Neither direction throws. */
export interface MessageCodec<In, Out = In> {
  /** Fails with `UnknownField` or `WrongType`, whose path leads to the field. */
  readonly encode: (value: In) => Result.Result<Uint8Array, GrpcSchemaError>
  /** Fails with `WrongType` when the bytes are not this message. What it gives shares no memory with the bytes. */
  readonly decode: (bytes: Uint8Array) => Result.Result<Out, GrpcSchemaError>
}

/**
 * One method, whatever described it: definitions read at run time, code generated for grpc-js or by protobuf-es, or Effect
 * schemas. Clients and servers know no other.
 */
export interface MethodDefinition<
  Request extends MessageCodec<never, unknown> = MessageCodec<never, unknown>,
  Response extends MessageCodec<never, unknown> = MessageCodec<never, unknown>
> {
  /** `"acme.Orders/Create"`. */
  readonly path: string
  readonly service: string
  readonly name: string
  readonly kind: MethodKind
  readonly request: Request
  readonly response: Response
}
