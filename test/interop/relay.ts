/** A way for clients that know no Dialer: a socket file, behind which ours dials. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { relay } from "../../src/internal/net/relay.ts"
import type { DialTarget } from "../../src/internal/net/target.ts"
import type * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { temporaryFolder } from "../support/servers.ts"

/** Gives the file's path. Whatever connects to it is connected to the target, for as long as the scope lives. */
export const relayTo = Effect.fnUntraced(function*(dialer: Dialer.Dialer["Service"], target: DialTarget) {
  const path = `${yield* temporaryFolder}/relay.sock`
  const { bind } = yield* Listener.Listener
  const { accept } = yield* bind({ path })
  const waiting = yield* Effect.scope
  // a connection has a scope of its own, and the next one is awaited as soon as it has come
  const serve = Effect.gen(function*() {
    const scope = yield* Scope.fork(waiting)
    const near = yield* Scope.provide(accept, scope)
    yield* dialer.dial(target).pipe(
      Effect.flatMap((far) => relay(near, far)),
      Scope.provide(scope),
      Effect.onExit((exit) => Scope.close(scope, exit)),
      Effect.ignore,
      Effect.forkIn(waiting)
    )
  })
  yield* Effect.forkScoped(Effect.forever(serve))
  return path
}, Effect.provide(Listener.layer))
