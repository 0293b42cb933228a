import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type { SocketAddress } from "effect/net/NetAddress"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { Metadata } from "../../../errors/GrpcError.ts"
import type { GrpcSchemaError } from "../../../errors/GrpcSchemaError.ts"
import type { TlsInfo } from "../../tls/info.ts"
import type { MethodDefinition, MethodKind } from "../definition.ts"
import type { Compression } from "../wire/compression.ts"
import type { MetadataInput } from "../wire/metadata.ts"

/** What a handler knows of its call, and can say beside the response. */
export interface ServerCall {
  /** `"acme.Orders/Create"`. */
  readonly method: string
  /** What the client sent with the call. */
  readonly metadata: Metadata
  /** When the client gives up, where it said so. */
  readonly deadline: Option.Option<DateTime.Utc>
  /** Whom the client says that it calls: `"orders.internal:443"`. */
  readonly authority: string
  /** The client's address, where its network has addresses. */
  readonly peer: Option.Option<SocketAddress>
  /** What TLS agreed on, with the client's certificate when it was asked for one. */
  readonly tls: Option.Option<TlsInfo>
  /**
   * Sends the headers now, which otherwise go with the first message. Only once, and before the first message: dies
   * otherwise. Error: `WrongType` for metadata that cannot be sent.
   */
  readonly sendHeaders: (metadata?: MetadataInput) => Effect.Effect<void, GrpcSchemaError>
  /** Adds metadata to what is sent with the status. Error: `WrongType` for metadata that cannot be sent. */
  readonly setTrailers: (metadata: MetadataInput) => Effect.Effect<void, GrpcSchemaError>
  /**
   * How the messages from now on are packed, where the client understands it. What is to be used must be named before the
   * headers have gone; afterwards it can be switched off (`"identity"`) and on again.
   */
  readonly setCompression: (compression: Compression) => Effect.Effect<void>
}

/** Handles a call in which the client sends one message and gets one. */
export type UnaryHandler<Request, Response, E = unknown, R = unknown> = (
  request: Request,
  call: ServerCall
) => Effect.Effect<Response, E, R>

/** Handles a call in which the client sends one message and gets a stream. */
export type ServerStreamHandler<Request, Response, E = unknown, R = unknown> = (
  request: Request,
  call: ServerCall
) => Stream.Stream<Response, E, R>

/** Handles a call in which the client sends a stream and gets one message. */
export type ClientStreamHandler<Request, Response, E = unknown, R = unknown> = (
  requests: Stream.Stream<Request>,
  call: ServerCall
) => Effect.Effect<Response, E, R>

/** Handles a call in which both sides send streams. */
export type BidiHandler<Request, Response, E = unknown, R = unknown> = (
  requests: Stream.Stream<Request>,
  call: ServerCall
) => Stream.Stream<Response, E, R>

/** The handler of a method of one kind. */
export interface HandlerOf<Request, Response, E = unknown, R = unknown> {
  readonly unary: UnaryHandler<Request, Response, E, R>
  readonly serverStream: ServerStreamHandler<Request, Response, E, R>
  readonly clientStream: ClientStreamHandler<Request, Response, E, R>
  readonly bidi: BidiHandler<Request, Response, E, R>
}

/** A handler of any kind, whatever its messages are: they are what the method's codecs take and give. */
export type AnyHandler = (input: never, call: ServerCall) => unknown

/** A method and who handles it. */
export interface Implementation {
  readonly definition: MethodDefinition
  readonly handler: AnyHandler
}

/** A handler that knows the kind of its method, for methods that only a definition read at run time knows. */
export interface KindHandler<Kind extends MethodKind, E, R> {
  readonly kind: Kind
  readonly handler: HandlerOf<never, unknown, E, R>[Kind]
}
