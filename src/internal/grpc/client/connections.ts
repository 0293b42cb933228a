import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { DialError, Unknown } from "../../../errors/DialError.ts"
import { EventSink } from "../../events.ts"
import { within } from "../../net/deadline.ts"
import { KeepAlive, type KeepAliveSettings } from "../../net/keepAlive.ts"
import * as Target from "../../net/target.ts"
import * as Connection from "./connection.ts"
import type { Connect } from "./endpoint.ts"

export interface Settings extends Connection.Settings {
  /** What requests carry as `:authority`, and events as the name of the server. */
  readonly authority: string
  readonly keepAlive: KeepAliveSettings | undefined
}

/** The connections of a channel. Each is closed once it takes no more calls and has none, all of them with the scope. */
export interface Connections {
  readonly connect: (target: Target.Target) => Connect
  /** Since when there is no call, as far as the connections know that are open; `undefined` while there is one. */
  readonly idleSince: () => number | undefined
  /** Waits for the calls under way, no longer than this, and cancels those that are left. */
  readonly drain: (timeout: Duration.Duration) => Effect.Effect<void>
}

const defect = (target: Target.Target, cause: unknown) =>
  new DialError({
    target: Target.format(target),
    hop: "grpc",
    reason: new Unknown({ detail: "the Dialer failed in a way that it should not", cause })
  })

/** None at first. `onRoom` is told when one that was full can take another call. */
export const make = Effect.fnUntraced(function*(
  settings: Settings,
  onRoom: () => void
): Effect.fn.Return<Connections, never, Scope.Scope> {
  const { authority } = settings
  const sink = yield* EventSink
  const clock = yield* Clock.Clock
  const keepAlive = settings.keepAlive === undefined ? undefined : new KeepAlive(settings.keepAlive, clock)
  const connectionsScope = yield* Effect.flatMap(Effect.scope, (scope) => Scope.fork(scope, "parallel"))
  const open = new Set<Connection.Connection>()

  const connect = (target: Target.Target): Connect => (made) => {
    const report = (event: string, detail: string) => sink({ source: "grpc", id: Target.format(target), event, detail })
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const scope = yield* Scope.fork(connectionsScope)
        const connecting = Scope.provide(Connection.connect(target, settings, keepAlive, onRoom), scope)
        const connection = yield* restore(connecting).pipe(
          Effect.catchDefect((cause) => Effect.fail(defect(target, cause))),
          Effect.tapError((error) => Effect.sync(() => report("failed", error.message))),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
        made(connection)
        open.add(connection)
        report("connected", authority)
        const forget = Effect.sync(() => {
          open.delete(connection)
          report("disconnected", authority)
        })
        yield* Scope.addFinalizer(scope, forget)
        yield* Effect.forkIn(Effect.andThen(connection.over, Scope.close(scope, Exit.void)), connectionsScope)
        return connection
      })
    )
  }

  return {
    connect,
    idleSince: () => {
      let latest = 0
      for (const connection of open) {
        const since = connection.idleSince()
        if (since === undefined) return undefined
        latest = Math.max(latest, since)
      }
      return latest
    },
    drain: (timeout) =>
      Effect.gen(function*() {
        const over = Effect.forEach(Array.from(open), ({ over }) => over, { concurrency: "unbounded", discard: true })
        yield* within(over, timeout, () => Effect.void)
        for (const { calls } of open) {
          for (const call of calls) call.cancel("the channel was closed")
        }
      })
  }
})
