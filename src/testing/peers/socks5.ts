/**
 * A peer that is a SOCKS proxy.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import { request } from "../../internal/proxy/socksServer.ts"
import type { Dialer } from "../../services/Dialer.ts"
import type { Listener } from "../../services/Listener.ts"
import * as Proxy from "./proxy.ts"

/**
 * How a SOCKS proxy is to be. The codes of `refuse` are those of SOCKS5 (RFC 1928, section 6), and 91 to 93 for clients that
 * speak SOCKS4.
 *
 * @category models
 * @since 0.1.0
 */
export interface Socks5Options extends Proxy.ProxyPeerOptions {
  /** Whether clients may speak SOCKS4 and SOCKS4a as well; those have no passwords, so not where there are some. Default true. */
  readonly socks4?: boolean | undefined
}

/**
 * A SOCKS proxy for as long as the scope lives: SOCKS5 (RFC 1928), with username and password (RFC 1929), SOCKS4 and SOCKS4a;
 * CONNECT only. It reaches the targets through the `Dialer` that is there when it starts.
 *
 * Half-close passes through, and so do resets. Errors: as `Listener.bind`, and `TlsConfigError` where `tls` makes no sense.
 *
 * @category peers
 * @since 0.1.0
 */
export const socks5: (
  options?: Socks5Options
) => Effect.Effect<Proxy.ProxyPeer, TcpError | TlsConfigError, Dialer | Listener | Scope.Scope> = Effect.fn(
  "TestPeers.socks5"
)((options: Socks5Options = {}) =>
  Proxy.start("socks5", options, (stream) => request(stream, Proxy.credentialsOf(options), { socks4: options.socks4 }))
)
