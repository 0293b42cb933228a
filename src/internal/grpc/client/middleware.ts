import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { MethodKind } from "../definition.ts"
import type { CallError } from "./callOptions.ts"

/** What is called, for whoever wraps calls. */
export interface CallInfo {
  /** `"acme.Orders/Create"`. */
  readonly method: string
  readonly kind: MethodKind
}

/** Wraps calls: plain functions on Effects and Streams. */
export interface Middleware {
  /** Wraps a call with one response: unary ones and client streams. Default: nothing. */
  readonly effect?:
    | (<A, E, R>(call: Effect.Effect<A, CallError | E, R>, info: CallInfo) => Effect.Effect<A, CallError | E, R>)
    | undefined
  /** Wraps a call with a stream of responses: server streams and bidirectional ones. Default: nothing. */
  readonly stream?:
    | (<A, E, R>(responses: Stream.Stream<A, CallError | E, R>, info: CallInfo) => Stream.Stream<A, CallError | E, R>)
    | undefined
}
