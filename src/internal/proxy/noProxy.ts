import * as Host from "effect/net/Host"
import * as IpInterface from "effect/net/IpInterface"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"

type Matches = (target: Host.HostPort) => boolean

/** `host`, `host:port`, `[address]` or `[address]:port`; otherwise all of it is an address. */
const entryPattern = /^(?:(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?|([^[\]]+))$/

/** The address of a target that is one, without the zone. */
const addressOf = ({ host }: Host.HostPort) => NetAddress.ipFromString(Host.formatHost(host).replace(/%.*$/, ""))

const matchesHost = (host: string): Matches => {
  const network = Result.map(IpInterface.fromString(host), IpNetwork.fromInterface)
  if (Result.isSuccess(network)) {
    return (target) => {
      const address = addressOf(target)
      return Result.isSuccess(address) && IpNetwork.contains(network.success, address.success)
    }
  }
  const domain = Result.map(Host.domainNameFromString(host.replace(/\.$/, "").replace(/^\./, "")), String)
  if (Result.isFailure(domain)) return () => false
  return ({ host }) => {
    const name = Host.formatHost(host).replace(/\.$/, "")
    return name === domain.success || name.endsWith(`.${domain.success}`)
  }
}

const entryOf = (text: string): Matches => {
  const [, bracketed, host, port, address] = entryPattern.exec(text) ?? []
  const matches = matchesHost(bracketed ?? host ?? address ?? "")
  return port === undefined ? matches : (target) => target.port === Number(port) && matches(target)
}

/** Understands the value of `NO_PROXY`: which targets are reached without a proxy. What it says of entries is in `Proxy`. */
export const noProxy = (value: string): Matches => {
  if (value.trim() === "*") return () => true
  const entries = value.split(/[\s,]+/).filter((text) => text !== "").map(entryOf)
  return (target) => entries.some((matches) => matches(target))
}
