import * as Host from "effect/net/Host"
import * as NetAddress from "effect/net/NetAddress"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { InvalidTarget } from "../../errors/DialError.ts"
import type * as Target from "../net/target.ts"
import type { TlsOptions } from "../tls/options.ts"

const kinds = {
  socks5: "socks5",
  socks5h: "socks5",
  socks4: "socks4",
  socks4a: "socks4",
  http: "http",
  https: "http"
} as const

/** How to talk to a proxy. */
type Protocol = keyof typeof kinds

/** A proxy, in parts. */
export interface ProxySettings {
  readonly protocol: Protocol
  /** The proxy's name or address. */
  readonly host: string
  /** Default 1080; 443 for `https`. */
  readonly port?: number | undefined
  /** SOCKS5 and HTTP: the user (RFC 1929, RFC 7617). SOCKS4: the user id, which nobody checks. Default: none. */
  readonly username?: string | undefined
  /** Goes with `username`. SOCKS4 has none. */
  readonly password?: Redacted.Redacted | undefined
  /**
   * Who resolves the target's name: the proxy, or this machine's operating system, after which the proxy is asked for the
   * first address. `"local"` is for SOCKS4 proxies that know no names, and for names that only this machine knows.
   * `Proxy.layerDns` has another resolver. Default `"proxy"`.
   */
  readonly resolve?: "proxy" | "local" | undefined
  /** `https`: how the proxy itself is verified. Default: the certificate authorities that Node ships. */
  readonly tls?: TlsOptions | undefined
}

/** A proxy, as a URL or in parts. */
export type ProxyInput = string | Redacted.Redacted | ProxySettings

export interface Credentials {
  readonly username: string
  readonly password: Redacted.Redacted | undefined
}

/** A proxy whose settings are usable. */
export interface Proxy {
  readonly protocol: Protocol
  readonly kind: typeof kinds[Protocol]
  readonly address: Host.HostPort
  readonly credentials: Credentials | undefined
  readonly resolve: "proxy" | "local"
  /** For TLS to the proxy itself. */
  readonly tls: TlsOptions | undefined
}

const isProtocol = (name: string): name is Protocol => Object.hasOwn(kinds, name)

// what is wrong with a URL is said without its text: a URL that is not understood may hold its password anywhere
const unusable = (why: string) => new InvalidTarget({ input: "the proxy's settings", why })

/** `protocol://[user[:password]@]host[:port]`; the last "@" ends the credentials. */
const urlPattern = /^([a-z][a-z0-9]*):\/\/(?:(.*)@)?(\[[^\]]*\]|[^:/@[\]]+)(?::(\d{1,5}))?\/?$/is

const decode = (text: string) =>
  Result.try({
    try: () => decodeURIComponent(text),
    catch: () => unusable("the credentials hold a % that is no percent-encoding; write %25")
  })

// not `new URL`: it takes the port of "http://proxy:80" for the scheme's default and drops it
const parseUrl = (url: string): Result.Result<Omit<ProxySettings, "protocol"> & { protocol: string }, InvalidTarget> =>
  Result.gen(function*() {
    const [, scheme, userinfo, host, port] = urlPattern.exec(url.trim()) ?? []
    if (scheme === undefined || host === undefined) {
      return yield* Result.fail(unusable("expected protocol://[user:password@]host[:port]"))
    }
    const colon = userinfo?.indexOf(":") ?? -1
    const username = yield* decode(userinfo?.slice(0, colon === -1 ? undefined : colon) ?? "")
    const password = colon === -1 ? "" : yield* decode(userinfo?.slice(colon + 1) ?? "")
    return {
      protocol: scheme.toLowerCase(),
      host,
      port: port === undefined ? undefined : Number(port),
      username: username === "" ? undefined : username,
      password: password === "" ? undefined : Redacted.make(password, { label: "proxy password" })
    }
  })

const isRfc1929 = (text: string) => {
  const length = Buffer.byteLength(text)
  return length >= 1 && length <= 255
}

const hasControl = (text: string) => /\p{Cc}/u.test(text)

/** What is wrong with credentials, if anything. Each protocol has its own limits; beyond them it would be sent garbage. */
const refuseCredentials: Record<Proxy["kind"], (username: string, password: string | undefined) => string | undefined> =
  {
    socks5: (username, password) =>
      password === undefined
        ? "SOCKS5 wants a password with the username (RFC 1929)"
        : isRfc1929(username) && isRfc1929(password)
        ? undefined
        : "SOCKS5 wants a username and a password of 1 to 255 bytes (RFC 1929)",
    socks4: (username, password) =>
      password !== undefined
        ? "SOCKS4 has no passwords"
        : username.includes("\0")
        ? "the username holds a NUL"
        : undefined,
    http: (username, password = "") =>
      username.includes(":")
        ? "the username holds a colon (RFC 7617)"
        : hasControl(username + password)
        ? "the credentials hold a control character (RFC 7617)"
        : undefined
  }

/** Understands a proxy, or says why it cannot; never with its credentials. */
export const resolve = (input: ProxyInput): Result.Result<Proxy, InvalidTarget> =>
  Result.gen(function*() {
    const settings = typeof input === "string"
      ? yield* parseUrl(input)
      : Redacted.isRedacted(input)
      ? yield* parseUrl(Redacted.value(input))
      : input
    const { password, protocol, username } = settings
    if (!isProtocol(protocol)) {
      return yield* Result.fail(unusable(`the protocol is none of ${Object.keys(kinds).join(", ")}`))
    }
    const kind = kinds[protocol]
    const address = yield* Result.mapError(
      Host.hostPortFromInput({
        host: settings.host.replace(/^\[(.*)\]$/, "$1"),
        port: settings.port ?? (protocol === "https" ? 443 : 1080)
      }),
      (error) => unusable(error.message)
    )
    if (address.port === 0) return yield* Result.fail(unusable("port 0 cannot be dialled"))
    if (username === undefined && password !== undefined) {
      return yield* Result.fail(unusable("there is a password and no username"))
    }
    if (username !== undefined) {
      const wrong = refuseCredentials[kind](username, password === undefined ? undefined : Redacted.value(password))
      if (wrong !== undefined) return yield* Result.fail(unusable(wrong))
    }
    return {
      protocol,
      kind,
      address,
      credentials: username === undefined ? undefined : { username, password },
      resolve: settings.resolve ?? "proxy",
      tls: protocol === "https" ? settings.tls ?? {} : undefined
    }
  })

/** What may be asked of a proxy: a host and a port. The target's own rules leave names of at most 254 ASCII bytes. */
export const checkTarget = (proxy: Proxy, target: Target.Target): Result.Result<Host.HostPort, InvalidTarget> => {
  if (!Host.isHostPort(target)) {
    return Result.fail(
      new InvalidTarget({ input: target.path, why: "a unix socket cannot be reached through a proxy" })
    )
  }
  const refuse = (why: string) => Result.fail(new InvalidTarget({ input: Host.formatHostPort(target), why }))
  const host = Host.formatHost(target.host)
  if (host.includes("%")) return refuse("the zone of an IPv6 address means nothing to a proxy")
  if (proxy.kind === "socks4") {
    if (NetAddress.isIpv6Address(target.host)) return refuse("SOCKS4 carries no IPv6 addresses; use socks5 or http")
    if (host.startsWith("0.0.0.")) return refuse("SOCKS4 takes addresses that begin with 0.0.0 for names")
  }
  return Result.succeed(target)
}
