import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Carriers, ChannelClosed, type ConnectivityState } from "../client/channel.ts"
import type { Call, Carrier } from "../client/connection.ts"
import type { FakeServer } from "./server.ts"

/** What a channel is to its calls and to who asks for its state. */
export interface FakeChannel extends Carriers {
  readonly changes: Stream.Stream<ConnectivityState>
}

const why = "the channel was closed"

/** A channel to handlers: it is always ready. Calls that are under way when the scope ends are cancelled. */
export const open = (server: FakeServer): Effect.Effect<FakeChannel, never, Scope.Scope> =>
  Effect.gen(function*() {
    const calls = new Set<Call>()
    const closed = Deferred.makeUnsafe<void>()
    let isClosed = false
    const carrier: Carrier = {
      session: {
        request: (headers) => server.request(headers),
        get closed() {
          return isClosed
        },
        get destroyed() {
          return isClosed
        }
      },
      usable: () => !isClosed,
      endedBy: () => isClosed ? why : undefined,
      opened: (call) => void calls.add(call),
      ended: (call) => void calls.delete(call)
    }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        for (const call of calls) call.cancel(why)
        Deferred.doneUnsafe(closed, Exit.void)
      })
    )
    const shutdown = Stream.map(Stream.fromEffect(Deferred.await(closed)), () => "shutdown" as const)
    return {
      pick: () => isClosed ? undefined : carrier,
      connection: () => Effect.suspend(() => isClosed ? Effect.fail(new ChannelClosed()) : Effect.succeed(carrier)),
      changes: Stream.suspend(() => isClosed ? shutdown : Stream.concat(Stream.succeed("ready" as const), shutdown))
    }
  })
