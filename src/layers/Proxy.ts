/**
 * Everything that is dialled goes through a SOCKS or HTTP proxy.
 *
 * `Proxy.layer` takes the Dialer below, with which it reaches the proxy, and gives a Dialer that asks the proxy for each
 * target. Layers stack: a proxy over a proxy is a chain, `Tls.layer` over a proxy is TLS to the target through the proxy.
 *
 * **Details**
 *
 * - A proxy is a URL, `protocol://[user:password@]host[:port]`, or `ProxySettings`. The protocols are `socks5` and `socks5h`
 *   (RFC 1928, with RFC 1929 for credentials), `socks4` and `socks4a`, `http` (the CONNECT method, RFC 9110, with Basic
 *   credentials, RFC 7617) and `https`, which is `http` inside TLS to the proxy. The port is 1080 where none is given, as
 *   in curl also for `http`, and 443 for `https`. In a URL, `%`, `@`, `:` and other special characters of the credentials
 *   are percent-encoded, and an IPv6 address is in brackets.
 * - Names are resolved by the proxy, with every protocol: `socks5` means `socks5h`, and `socks4` with a name speaks SOCKS4a.
 *   To have a name resolved here, resolve it and dial the address.
 * - Bytes that the peer sends together with the proxy's answer are there for the first read.
 * - The time for the whole path, proxy included, is the dial's `connectTimeout`.
 *
 * The errors are `DialError`s whose `hop` is the proxy, `"socks5://127.0.0.1:1080"`, without credentials:
 *
 * - `ProxyRefused`: the proxy said no, with the SOCKS reply code or the HTTP status, and what it means
 * - `ProxyAuthentication`: it did not accept the credentials, or wants some where there are none
 * - `ProxyProtocol`: what answered is no such proxy, or it stopped in the middle
 * - `InvalidTarget`: settings that cannot be used (said at the first dial, never with the credentials), or a target that
 *   the protocol cannot carry: a unix socket, an IPv6 address over SOCKS4, an IPv6 address with a zone
 * - `Refused`, `NameNotFound`, `ConnectTimeout`, ...: the proxy itself could not be reached in time
 *
 * **Gotchas**
 *
 * Only `https` hides the credentials, and the name of the target, from those who watch the way to the proxy.
 *
 * **Example** (Going through an office proxy that is behind a SOCKS proxy)
 *
 * ```ts
 * import { Config, Layer } from "effect"
 * import { Dialer, Proxy, TcpClient } from "hawser"
 *
 * // the target is reached from the HTTP proxy, the HTTP proxy from the SOCKS proxy, the SOCKS proxy from here
 * const Network = Proxy.layerConfig(Config.Redacted("OFFICE_PROXY")).pipe(
 *   Layer.provide(Proxy.layer("socks5://127.0.0.1:1080")),
 *   Layer.provide(Dialer.layer)
 * )
 *
 * const Live = TcpClient.layer.pipe(Layer.provide(Network))
 * ```
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { proxyHop } from "../internal/proxy/hop.ts"
import type { ProxyInput } from "../internal/proxy/settings.ts"
import * as Dialer from "../services/Dialer.ts"

export type {
  /**
   * A proxy, as a URL (`Redacted` where it holds a password) or in parts.
   *
   * @category models
   * @since 0.1.0
   */
  ProxyInput,
  /**
   * A proxy, in parts.
   *
   * @category models
   * @since 0.1.0
   */
  ProxySettings
} from "../internal/proxy/settings.ts"

/**
 * A Dialer whose connections go through a proxy, which is reached with the Dialer below. Each call makes a new layer.
 * Building it never fails; settings that cannot be used fail each dial with `InvalidTarget`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (proxy: ProxyInput): Layer.Layer<Dialer.Dialer, never, Dialer.Dialer> =>
  Dialer.layerThrough(Effect.sync(() => proxyHop(proxy)))

/**
 * The same, with a URL or settings from `Config`: `Config.Redacted("ALL_PROXY")`, or `Config.all({ protocol, host, ... })`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  proxy: Config.Config<ProxyInput>
): Layer.Layer<Dialer.Dialer, Config.ConfigError, Dialer.Dialer> => Dialer.layerThrough(Effect.map(proxy, proxyHop))
