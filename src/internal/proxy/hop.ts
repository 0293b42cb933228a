import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import * as Result from "effect/Result"
import type { Duplex } from "node:stream"
import { InvalidTarget } from "../../errors/DialError.ts"
import type { Hop } from "../net/hop.ts"
import * as TlsHandshake from "../tls/handshake.ts"
import * as TlsOptions from "../tls/options.ts"
import * as HttpConnect from "./httpConnect.ts"
import * as Settings from "./settings.ts"
import * as SocksHandshake from "./socks.ts"

/** TLS to the proxy itself, where its protocol wants that. */
const secured = (duplex: Duplex, { address, tls }: Settings.Proxy) =>
  tls === undefined ? Effect.succeed(duplex) : TlsOptions.resolve(tls).pipe(
    Effect.mapError((error) => new InvalidTarget({ input: "the proxy's settings", why: error.message })),
    Effect.flatMap((options) => TlsHandshake.client(duplex, options, Host.formatHost(address.host)))
  )

/** A proxy as a step of a path. Settings that cannot be used fail each dial with `InvalidTarget`. */
export const proxyHop = (input: Settings.ProxyInput): Hop => {
  const resolved = Settings.resolve(input)
  if (Result.isFailure(resolved)) {
    const refuse = () => Effect.fail(resolved.failure)
    return { name: "proxy", via: refuse, handshake: refuse }
  }
  const proxy = resolved.success
  return {
    name: `${proxy.protocol}://${Host.formatHostPort(proxy.address)}`,
    via: (target) => Effect.as(Effect.fromResult(Settings.checkTarget(proxy, target)), proxy.address),
    handshake: Effect.fnUntraced(function*(duplex, target) {
      const wanted = yield* Effect.fromResult(Settings.checkTarget(proxy, target))
      const connect = proxy.kind === "http" ? HttpConnect.connect : SocksHandshake.connect
      return TlsHandshake.leadsBeyond(yield* connect(yield* secured(duplex, proxy), proxy, wanted))
    })
  }
}
