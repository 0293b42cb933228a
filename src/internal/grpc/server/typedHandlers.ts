import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { GrpcErrorReason } from "../../../errors/GrpcError.ts"
import type { MethodKind } from "../definition.ts"
import type { MethodsOf, TypedService } from "../typed/definitions.ts"
import type { MethodTypes } from "../typed/typedMethod.ts"
import type { HandlerOf, KindHandler } from "./handler.ts"

/** What a handler gives: an Effect or a Stream. */
type ResultOf<H> = H extends KindHandler<MethodKind, infer E, infer R> ? Effect.Effect<unknown, E, R>
  : H extends (...input: never) => infer Result ? Result
  : never

/** What handlers fail with, beside reasons of `GrpcError`. */
export type ErrorOf<Handlers> = Exclude<
  {
    [K in keyof Handlers]: ResultOf<Handlers[K]> extends infer Result
      ? Result extends Effect.Effect<infer _A, infer E, infer _R> ? E
      : Result extends Stream.Stream<infer _A, infer E, infer _R> ? E
      : never
      : never
  }[keyof Handlers],
  GrpcErrorReason
>

/** What handlers need. Each call has a scope of its own. */
export type ServicesOf<Handlers> = Exclude<
  {
    [K in keyof Handlers]: ResultOf<Handlers[K]> extends infer Result
      ? Result extends Effect.Effect<infer _A, infer _E, infer R> ? R
      : Result extends Stream.Stream<infer _A, infer _E, infer R> ? R
      : never
      : never
  }[keyof Handlers],
  Scope.Scope
>

type HandlerFor<Method> = Method extends MethodTypes
  ? HandlerOf<Method["requestOut"], Method["responseIn"]>[Method["kind"]]
  : never

/** A handler for each method of a service that has types: the requests are what the service's decoders give, and the responses what its encoders take. */
export type Handlers<S extends TypedService> = {
  readonly [K in keyof MethodsOf<S>]: HandlerFor<MethodsOf<S>[K]>
}

/** Handlers by the names of their methods, for a service that only a definition read at run time knows. */
export interface NamedHandlers {
  readonly [method: string]: KindHandler<MethodKind, unknown, unknown>
}

/** Nothing but handlers of methods that there are. */
export type Known<H, All> = H & { readonly [K in Exclude<keyof H, keyof All>]: never }
