import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { ConnectTimeout, DialError, type DialErrorReason, InvalidTarget } from "../../errors/DialError.ts"
import { budgetOf, dialing, type DialOptions, type Path, through } from "../net/hop.ts"
import { proxyHop } from "./hop.ts"
import type { ProxyInput } from "./settings.ts"

/** A way to a target: through a proxy, or, where it is the word `"direct"`, as the Dialer below goes. */
export type Route = ProxyInput

/** How the choice itself is called in errors. */
const name = "proxy rules"

/** Goes one way. The failure says whether another way is worth trying: this one's proxy, or the target, did not answer. */
const attempt = (below: Path, route: Route, target: Host.HostPort, options: DialOptions | undefined) =>
  Effect.suspend(() => {
    let reached = true
    const watched: Path = {
      ...below,
      dial: (...args) => Effect.tapError(below.dial(...args), () => Effect.sync(() => reached = false))
    }
    const path = route === "direct" ? watched : through(watched, proxyHop(route))
    return Effect.mapError(
      path.dial(target, options),
      (error) => ({ error, silent: !reached || error.reason._tag === "ConnectTimeout" })
    )
  })

/**
 * The path that takes one of several ways, chosen for each target. The ways are tried one after the other, each with an
 * even share of the time that is left; unix sockets are no business of proxies.
 */
export const routed = (
  below: Path,
  choose: (target: Host.HostPort) => Effect.Effect<ReadonlyArray<Route>>
): Path => ({
  connectTimeout: below.connectTimeout,
  dial: dialing(
    name,
    Effect.fnUntraced(function*(target, options) {
      if (!Host.isHostPort(target)) return yield* below.dial(target, options)
      const started = yield* Clock.currentTimeMillis
      const budget = budgetOf(options, below.connectTimeout)
      const shown = Host.formatHostPort(target)
      const fail = (reason: DialErrorReason) => Effect.fail(new DialError({ target: shown, hop: name, reason }))
      const routes = yield* Effect.timeoutOrElse(choose(target), {
        duration: budget,
        orElse: () => fail(new ConnectTimeout({ after: budget, phase: `the ${name}` }))
      })
      if (routes.length === 0) {
        return yield* fail(new InvalidTarget({ input: shown, why: `the ${name} have no way to it` }))
      }
      const from = (index: number): Effect.Effect<Duplex, DialError, Scope.Scope> =>
        Effect.gen(function*() {
          const elapsed = Duration.millis((yield* Clock.currentTimeMillis) - started)
          const left = Duration.max(Duration.zero, Duration.subtract(budget, elapsed))
          return yield* attempt(below, routes[index]!, target, {
            ...options,
            connectTimeout: Duration.divideUnsafe(left, routes.length - index)
          }).pipe(
            Effect.catch(({ error, silent }) =>
              silent && index + 1 < routes.length ? from(index + 1) : Effect.fail(error)
            )
          )
        })
      return yield* from(0)
    })
  )
})
