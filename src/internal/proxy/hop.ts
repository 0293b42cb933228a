import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as Result from "effect/Result"
import type { Hop } from "../net/hop.ts"
import { leadsBeyond } from "../tls/handshake.ts"
import * as HttpConnect from "./httpConnect.ts"
import { secured } from "./secured.ts"
import * as Settings from "./settings.ts"
import * as SocksHandshake from "./socks.ts"

/** A proxy as a step of a path. Settings that cannot be used fail each dial with `InvalidTarget`. */
export const proxyHop = (input: Settings.ProxyInput): Hop => {
  const resolved = Settings.resolve(input)
  if (Result.isFailure(resolved)) {
    const refuse = () => Effect.fail(resolved.failure)
    return { name: "proxy", via: refuse, handshake: refuse }
  }
  const proxy = resolved.success
  const inside = secured(proxy)
  const connect = proxy.kind === "http" ? HttpConnect.connect : SocksHandshake.connect
  return {
    name: `${proxy.protocol}://${Host.formatHostPort(proxy.address)}`,
    via: (target) => Effect.as(Effect.fromResult(Settings.checkTarget(proxy, target)), proxy.address),
    handshake: Effect.fnUntraced(function*(duplex, target) {
      const wanted = yield* Effect.fromResult(Settings.checkTarget(proxy, target))
      return leadsBeyond(yield* inside(duplex, (duplex) => connect(duplex, proxy, wanted)))
    })
  }
}
