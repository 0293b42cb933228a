import { Effect, Option, Stream } from "effect"
import type { GrpcChannel } from "hawser"

/** What is done next with a call. */
export type Step = { readonly send: object } | "receive"

/**
 * Sends and receives in a given order. Then nothing more is sent, and all that still comes is received if that is wanted;
 * otherwise the call is cancelled.
 */
export const exchangeInOrder = Effect.fnUntraced(function*(
  call: GrpcChannel.GrpcCall,
  order: ReadonlyArray<Step>,
  options: { readonly continueReceiving: boolean }
): Effect.fn.Return<ReadonlyArray<object>, GrpcChannel.CallError> {
  const received: Array<object> = []
  for (const step of order) {
    if (step !== "receive") yield* call.send(step.send)
    else received.push(...Option.toArray(yield* call.receive))
  }
  yield* call.completeSend
  if (options.continueReceiving) received.push(...(yield* Stream.runCollect(call.messages)))
  else yield* call.close
  return received
})
