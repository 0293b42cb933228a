import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as Result from "effect/Result"
import type { NameNotFound } from "../../errors/DialError.ts"
import type { Hop } from "../net/hop.ts"
import { mostHopeful, type Resolver, system } from "../net/resolve.ts"
import type * as Target from "../net/target.ts"
import { leadsBeyond } from "../tls/handshake.ts"
import * as HttpConnect from "./httpConnect.ts"
import { secured } from "./secured.ts"
import * as Settings from "./settings.ts"
import * as SocksHandshake from "./socks.ts"

/** What the proxy is asked for: the target, or its first address where the proxy is not to resolve the name. */
const addressed = Effect.fnUntraced(function*(
  proxy: Settings.Proxy,
  resolver: Resolver | undefined,
  target: Target.Target
): Effect.fn.Return<Target.Target, NameNotFound> {
  if (resolver === undefined || !Host.isHostPort(target) || !Host.isDomainName(target.host)) return target
  const lookups = resolver(target.host, target.port, proxy.kind === "socks4" ? "IPv4" : undefined)
  const [answers, unanswered] = yield* Effect.partition(lookups, (lookup) => lookup, { concurrency: "unbounded" })
  const first = answers.flat()[0]
  return first === undefined ? yield* mostHopeful(unanswered)! : Host.hostPortFromInputUnsafe(first)
})

/**
 * A proxy as a step of a path. Settings that cannot be used fail each dial with `InvalidTarget`. With a `resolver` names
 * are resolved by it, whatever the settings say.
 */
export const proxyHop = (input: Settings.ProxyInput, resolver?: Resolver): Hop => {
  const resolved = Settings.resolve(input)
  if (Result.isFailure(resolved)) {
    const refuse = () => Effect.fail(resolved.failure)
    return { name: "proxy", via: refuse, handshake: refuse }
  }
  const proxy = resolved.success
  const inside = secured(proxy)
  const names = resolver ?? (proxy.resolve === "local" ? system : undefined)
  const connect = proxy.kind === "http" ? HttpConnect.connect : SocksHandshake.connect
  return {
    name: `${proxy.protocol}://${Host.formatHostPort(proxy.address)}`,
    via: (target) => Effect.as(Effect.fromResult(Settings.checkTarget(proxy, target)), proxy.address),
    handshake: Effect.fnUntraced(function*(duplex, target) {
      const wanted = yield* Effect.fromResult(Settings.checkTarget(proxy, yield* addressed(proxy, names, target)))
      return leadsBeyond(yield* inside(duplex, (duplex) => connect(duplex, proxy, wanted)))
    })
  }
}
