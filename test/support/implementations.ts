/** Calling what a server implements without a server: through the codecs of its methods, as the wire does. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { cast } from "effect/Function"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { GrpcErrorReason } from "../../src/errors/GrpcError.ts"
import type { MethodDefinition } from "../../src/internal/grpc/definition.ts"
import type { Method } from "../../src/internal/grpc/proto/schema.ts"
import type { AnyHandler, Implementation } from "../../src/internal/grpc/server/handler.ts"

type Handler = (input: unknown) => unknown

/** One of those that are made of definitions read at run time, as the built-in ones are. */
export const implementationOf = (implementations: ReadonlyArray<Implementation>, path: string) => {
  const implementation = implementations.find(({ definition }) => definition.path === path)
  assert.isDefined(implementation)
  const { request, response } = cast<MethodDefinition, Method>(implementation.definition)
  const handler = cast<AnyHandler, Handler>(implementation.handler)
  const there = (message: object) => Result.getOrThrow(request.decode(Result.getOrThrow(request.encode(message))))
  const back = (message: object) => Result.getOrThrow(response.decode(Result.getOrThrow(response.encode(message))))
  return {
    effect: (message: object) =>
      Effect.map(
        Effect.suspend(() => cast<unknown, Effect.Effect<object, GrpcErrorReason>>(handler(there(message)))),
        back
      ),
    stream: (message: object) =>
      Stream.map(
        Stream.suspend(() => cast<unknown, Stream.Stream<object, GrpcErrorReason>>(handler(there(message)))),
        back
      ),
    bidi: <E, R>(messages: Stream.Stream<object, E, R>) =>
      Stream.map(
        cast<unknown, Stream.Stream<object, GrpcErrorReason | E, R>>(handler(Stream.map(messages, there))),
        back
      )
  }
}
