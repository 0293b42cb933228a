/** Proxies on loopback, whatever network the test is on, with what they were asked for as it comes. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestPeers from "../../src/testing/TestPeers.ts"

interface Options {
  /** Demand these credentials. */
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  /** Where a name leads. Default: the system's resolver decides. */
  readonly resolve?: ((name: string) => string) | undefined
}

type Start = (
  options: TestPeers.ProxyPeerOptions
) => Effect.Effect<TestPeers.ProxyPeer, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>

const onLoopback = (start: Start) => ({ credentials, resolve }: Options = {}) =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    const { address } = yield* start({
      username: credentials?.username,
      password: credentials === undefined ? undefined : Redacted.make(credentials.password),
      resolve,
      refuse: (target) => {
        seen.push(target)
        return undefined
      }
    })
    return { port: "port" in address ? address.port : 0, seen }
  }).pipe(Effect.orDie, Effect.provide(Layer.merge(Dialer.layer, Listener.layer)))

/** Runs a SOCKS proxy until the scope closes. `seen` lists the targets that were asked for, as `host:port`. */
export const socksProxy = onLoopback(TestPeers.socks5)

/** The same for an HTTP proxy. */
export const httpProxy = onLoopback(TestPeers.httpProxy)
