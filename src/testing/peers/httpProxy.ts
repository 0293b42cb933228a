/**
 * A peer that is an HTTP proxy.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import { request } from "../../internal/proxy/httpConnectServer.ts"
import type { Dialer } from "../../services/Dialer.ts"
import type { Listener } from "../../services/Listener.ts"
import * as Proxy from "./proxy.ts"

/**
 * An HTTP proxy for as long as the scope lives: CONNECT only (RFC 9110, section 9.3.6), with Basic credentials (RFC 7617). With
 * `tls` it is an `https` proxy. It reaches the targets through the `Dialer` that is there when it starts.
 *
 * Half-close passes through, and so do resets. Errors: as `Listener.bind`, and `TlsConfigError` where `tls` makes no sense.
 *
 * @category peers
 * @since 0.1.0
 */
export const httpProxy: (
  options?: Proxy.ProxyPeerOptions
) => Effect.Effect<Proxy.ProxyPeer, TcpError | TlsConfigError, Dialer | Listener | Scope.Scope> = Effect.fn(
  "TestPeers.httpProxy"
)((options: Proxy.ProxyPeerOptions = {}) =>
  Proxy.start("http", options, (stream) => request(stream, Proxy.credentialsOf(options)))
)
