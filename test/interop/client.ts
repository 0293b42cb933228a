/** What the cases ask of a client, so that each is written once, whoever's client it is. */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Metadata } from "../../src/errors/GrpcError.ts"

/** A message as a plain object: camel case, bytes as a `Uint8Array`. */
export type Values = Readonly<Record<string, any>>

/** A call ended with this, which is not OK. */
export class Status extends Data.TaggedError("Status")<{
  readonly code: number
  readonly message: string
  readonly trailers: Metadata
}> {}

export interface Options {
  readonly metadata?: { readonly [name: string]: string | Uint8Array } | undefined
  readonly compression?: "gzip" | undefined
  /** In milliseconds. */
  readonly timeout?: number | undefined
}

export interface Exchange {
  readonly value: Values
  readonly headers: Metadata
  readonly trailers: Metadata
}

/** A call that is driven by hand. */
export interface Call {
  readonly send: (request: object, options?: { readonly compress: boolean }) => Effect.Effect<void, Status>
  readonly completeSend: Effect.Effect<void, Status>
  readonly receive: Effect.Effect<Option.Option<Values>, Status>
  readonly headers: Effect.Effect<Metadata, Status>
  readonly trailers: Effect.Effect<Metadata, Status>
  readonly cancel: Effect.Effect<void>
}

/** Methods go by name, such as `"grpc.testing.TestService/EmptyCall"`. */
export interface Client {
  /**
   * Whether a server hears of a cancellation at once. Others end their requests first, which to a server that is fast looks as
   * if they had said all they wanted to say: that is how Node closes a stream.
   */
  readonly cancelsAtOnce: boolean
  readonly unary: (method: string, request: object, options?: Options) => Effect.Effect<Exchange, Status>
  readonly serverStream: (method: string, request: object, options?: Options) => Stream.Stream<Values, Status>
  readonly clientStream: (
    method: string,
    requests: Stream.Stream<object>,
    options?: Options
  ) => Effect.Effect<Values, Status>
  readonly bidi: (
    method: string,
    requests: Stream.Stream<object>,
    options?: Options
  ) => Stream.Stream<Values, Status>
  readonly open: (method: string, options?: Options) => Effect.Effect<Call, Status, Scope.Scope>
}
