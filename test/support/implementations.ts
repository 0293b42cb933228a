/** Calling what a server implements without a server: through the codecs of its methods, as the wire does. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { GrpcErrorReason } from "../../src/errors/GrpcError.ts"
import type { Method } from "../../src/internal/grpc/proto/schema.ts"
import type { Implementation } from "../../src/internal/grpc/server/handler.ts"

export const implementationOf = (implementations: ReadonlyArray<Implementation>, path: string) => {
  const implementation = implementations.find(({ definition }) => definition.path === path)
  assert.isDefined(implementation)
  // those that are built in are of a schema
  const { request, response } = implementation.definition as Method
  const handler = implementation.handler as unknown as (input: unknown) => unknown
  const there = (message: object) => Result.getOrThrow(request.decode(Result.getOrThrow(request.encode(message))))
  const back = (message: object) => Result.getOrThrow(response.decode(Result.getOrThrow(response.encode(message))))
  return {
    effect: (message: object) =>
      Effect.map(Effect.suspend(() => handler(there(message)) as Effect.Effect<object, GrpcErrorReason>), back),
    stream: (message: object) =>
      Stream.map(Stream.suspend(() => handler(there(message)) as Stream.Stream<object, GrpcErrorReason>), back),
    bidi: <E, R>(messages: Stream.Stream<object, E, R>) =>
      Stream.map(handler(Stream.map(messages, there)) as Stream.Stream<object, GrpcErrorReason | E, R>, back)
  }
}
