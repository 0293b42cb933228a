/**
 * What is dialled goes through SOCKS and HTTP proxies.
 *
 * `Proxy.layer` takes the Dialer below, with which it reaches the proxy, and gives a Dialer that asks the proxy for each
 * target. Layers stack: a proxy over a proxy is a chain, of any protocols and any length, and `Tls.layer` over a proxy is
 * TLS to the target through the proxy. `Proxy.layerRules` chooses the proxy for each target, `Proxy.layerEnv` as the
 * environment variables say that other programs follow.
 *
 * **Details**
 *
 * - A proxy is a URL, `protocol://[user:password@]host[:port]`, or `ProxySettings`. The protocols are `socks5` and `socks5h`
 *   (RFC 1928, with RFC 1929 for credentials), `socks4` and `socks4a`, `http` (the CONNECT method, RFC 9110, with Basic
 *   credentials, RFC 7617) and `https`, which is `http` inside TLS to the proxy. The port is 1080 where none is given, as
 *   in curl also for `http`, and 443 for `https`. In a URL, `%`, `@`, `:` and other special characters of the credentials
 *   are percent-encoded, and an IPv6 address is in brackets.
 * - Credentials are sent as UTF-8. In SOCKS5 a username and a password have 1 to 255 bytes each.
 * - The `tls` of an `https` proxy is for the way to the proxy itself, with `cert` and `key` where it wants a client
 *   certificate. Files are read at the first dial; later ones take up the TLS session again.
 * - Names are resolved by the proxy, with every protocol: `socks5` means `socks5h`, and `socks4` with a name speaks SOCKS4a.
 *   `resolve: "local"` has them resolved here, by the operating system, and `Proxy.layerDns` by Effect's `Dns`. Names that
 *   are not ASCII are sent in punycode.
 * - Bytes that the peer sends together with the proxy's answer are there for the first read. Except for `https`, the
 *   stream is the very one that was dialled below, and costs nothing more than without a proxy.
 * - The time for the whole path, proxy included, is the dial's `connectTimeout`. An answer has at most 64 KiB.
 *
 * The errors are `DialError`s whose `hop` is the proxy, `"socks5://127.0.0.1:1080"`, without credentials:
 *
 * - `ProxyRefused`: the proxy said no, with the SOCKS reply code or the HTTP status, and what it means
 * - `ProxyAuthentication`: it did not accept the credentials, or wants some where there are none
 * - `ProxyProtocol`: what answered is no such proxy, or it stopped in the middle
 * - `InvalidTarget`: settings that cannot be used (said at the first dial, never with the credentials), or a target that
 *   the protocol cannot carry: a unix socket, an IPv6 address over SOCKS4, an IPv6 address with a zone
 * - `TlsHandshake`: TLS to an `https` proxy failed, or it does not accept our certificate
 * - `Refused`, `NameNotFound`, `ConnectTimeout`, ...: the proxy itself could not be reached, or did not answer, in time
 *
 * **Gotchas**
 *
 * - Only `https` hides the credentials, and the name of the target, from those who watch the way to the proxy.
 * - The Dialer below resolves the name of the proxy, never that of the target: `Dialer.layerDns` below has no say in
 *   `resolve: "local"`.
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
import * as Layer from "effect/Layer"
import * as Dns from "effect/net/Dns"
import * as Host from "effect/net/Host"
import { fromDns } from "../internal/net/resolve.ts"
import { environment, type Scheme } from "../internal/proxy/environment.ts"
import { proxyHop } from "../internal/proxy/hop.ts"
import { type Route, routed } from "../internal/proxy/routes.ts"
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
): Layer.Layer<Dialer.Dialer, Config.ConfigError, Dialer.Dialer> =>
  Dialer.layerThrough(Effect.map(proxy, (proxy) => proxyHop(proxy)))

/**
 * The same, but names are resolved by Effect's `Dns`, as `Dialer.layerDns` does, and the proxy is asked for addresses only.
 *
 * **Details**
 *
 * The proxy is asked for the first address: of a name that has both it is the IPv6 one, over SOCKS4 always an IPv4 one.
 * Where the proxy has no IPv6, let the `Dns` answer with IPv4 addresses only. A name that has no address fails with
 * `NameNotFound`. The name of the proxy itself is resolved by the Dialer below.
 *
 * **Example** (A proxy that is to know no names, for names that only this program knows)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Dns } from "effect/net"
 * import { Dialer, Proxy } from "hawser"
 *
 * const Network = Proxy.layerDns("socks5://127.0.0.1:1080").pipe(
 *   Layer.provide(Dialer.layer),
 *   Layer.provide(Dns.layerStatic({ hosts: { "db.internal": ["10.0.0.5"] } }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerDns = (proxy: ProxyInput): Layer.Layer<Dialer.Dialer, never, Dialer.Dialer | Dns.Dns> =>
  Dialer.layerThrough(Dns.Dns.useSync((dns) => proxyHop(proxy, fromDns(dns))))

export type {
  /**
   * A way to a target: through a proxy, or, where it is the word `"direct"`, as the Dialer below goes.
   *
   * @category models
   * @since 0.1.0
   */
  Route
} from "../internal/proxy/routes.ts"

/**
 * A target, as rules see it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RuleTarget {
  /** A name in lower case (punycode where it is not ASCII) or an address, without brackets. */
  readonly host: string
  readonly port: number
}

/**
 * One way to a target, or several to be tried in that order; none refuses the target.
 *
 * @category models
 * @since 0.1.0
 */
export type Routes = Route | ReadonlyArray<Route>

const isSeveral = (routes: Routes): routes is ReadonlyArray<Route> => Array.isArray(routes)

/**
 * A Dialer that chooses the way for each target, as a proxy auto-configuration (PAC) does. Each call makes a new layer.
 *
 * **Details**
 *
 * - Of several ways the next one is tried when the one before was silent: its proxy, or the target of `"direct"`, could
 *   not be reached or did not answer in time. Each gets an even share of the time that is left. A proxy that says no has
 *   answered. The error is that of the last way that was tried.
 * - `choose` may be an effect; it runs with each dial and its time counts.
 * - No way at all fails with `InvalidTarget`. Unix sockets are dialled directly, without asking.
 *
 * **Example** (The office's proxies for the world, and none for the office)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Dialer, Proxy } from "hawser"
 *
 * const Network = Proxy.layerRules(({ host }) =>
 *   host.endsWith(".corp.test") ? "direct" : ["http://proxy-1.corp.test:3128", "http://proxy-2.corp.test:3128"]
 * ).pipe(Layer.provide(Dialer.layer))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRules = <R = never>(
  choose: (target: RuleTarget) => Routes | Effect.Effect<Routes, never, R>
): Layer.Layer<Dialer.Dialer, never, Dialer.Dialer | R> =>
  Layer.fresh(Layer.effect(
    Dialer.Dialer,
    Effect.gen(function*() {
      const below = yield* Dialer.Dialer
      const context = yield* Effect.context<R>()
      return Dialer.Dialer.of(routed(below, (target) =>
        Effect.suspend(() => {
          const chosen = choose({ host: Host.formatHost(target.host), port: target.port })
          const routes = Effect.isEffect(chosen) ? Effect.provide(chosen, context) : Effect.succeed(chosen)
          return Effect.map(routes, (routes) => isSeveral(routes) ? routes : [routes])
        })))
    })
  ))

/**
 * How the environment is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface EnvOptions {
  /**
   * What all connections carry: `"https"` goes by `HTTPS_PROXY`, `"http"` by `HTTP_PROXY`. Default: `"https"` for port 443,
   * `"http"` for port 80; connections to other ports go by `ALL_PROXY` only.
   */
  readonly scheme?: Scheme | undefined
}

/**
 * A Dialer that goes as the environment says: through `HTTPS_PROXY` or `HTTP_PROXY`, otherwise `ALL_PROXY`, otherwise
 * directly, and always directly to what `NO_PROXY` names. Each call makes a new layer. The variables are read when it is
 * built, through the `ConfigProvider`.
 *
 * **Details**
 *
 * - `https_proxy` in lower case wins over `HTTPS_PROXY`, and so do the others; empty variables are not there. `HTTP_PROXY` in
 *   upper case is not read in a CGI program (`REQUEST_METHOD` is set), where a client could set it by a header.
 * - curl chooses by the URL's scheme. A dial has none, so the port stands for it, or `scheme` says it.
 * - A proxy is a URL; without a protocol it is an `http` one. One that cannot be used fails each dial that goes through it
 *   with `InvalidTarget`.
 * - `NO_PROXY` is read as curl does: a list with commas or blanks between. A name stands for itself and all names below it,
 *   with or without a dot before; upper and lower case are the same, and a dot at the end is nothing. Addresses match as
 *   numbers, networks are written as `10.0.0.0/8` and `2001:db8::/32`; names are not resolved to compare them. `*` alone is
 *   everything, and no wildcard otherwise. Beyond curl an entry may name a port, `db.test:5432` or `[::1]:80`, and is then
 *   for that port only. What makes no sense is passed over.
 * - Unix sockets are dialled directly.
 *
 * Errors of the layer: `ConfigError`, where the `ConfigProvider` cannot be read.
 *
 * **Example** (A gRPC client that goes as other programs on the machine do)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { Dialer, Grpc, Proxy } from "hawser"
 *
 * const Live = Grpc.layer.pipe(Layer.provide(Proxy.layerEnv({ scheme: "https" })), Layer.provide(Dialer.layer))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEnv = (
  options: EnvOptions = {}
): Layer.Layer<Dialer.Dialer, Config.ConfigError, Dialer.Dialer> =>
  Layer.fresh(Layer.effect(
    Dialer.Dialer,
    Effect.gen(function*() {
      const route = yield* environment(options.scheme)
      const below = yield* Dialer.Dialer
      return Dialer.Dialer.of(routed(below, (target) => Effect.succeed([route(target)])))
    })
  ))
