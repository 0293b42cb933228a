import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"

/** Whether somebody is one of those that are trusted. */
export type IsTrusted = (address: NetAddress.SocketAddress | undefined) => boolean

/** An IPv6 network of IPv4 addresses in disguise is the IPv4 network. */
const canonical = (network: IpNetwork.IpNetwork): IpNetwork.IpNetwork => {
  const address = NetAddress.toCanonical(network.address)
  return address === network.address || network.prefixLength < 96
    ? network
    : IpNetwork.fromAddressUnsafe(address, network.prefixLength - 96)
}

const parse = (source: string): Result.Result<IpNetwork.IpNetwork, string> =>
  Result.mapBoth(
    source.includes("/")
      ? IpNetwork.fromString(source)
      : Result.map(
        NetAddress.ipFromString(source),
        (address) => IpNetwork.makeUnsafe(address, NetAddress.width(address))
      ),
    {
      onSuccess: canonical,
      onFailure: ({ message }) => `"${source}" is neither an address, nor a network such as "10.0.0.0/8": ${message}`
    }
  )

/**
 * A matcher of addresses (`"10.0.0.1"`, `"::1"`), networks (`"10.0.0.0/8"`) and `"unix"`, which is whoever connects to a
 * unix socket; or which of them is none. An IPv4 address matches also where it is written as an IPv6 one.
 */
export const trustedSources = (sources: ReadonlyArray<string>): Result.Result<IsTrusted, string> => {
  if (sources.length === 0) return Result.fail("it names nobody")
  const trustsUnix = sources.includes("unix")
  return Result.map(Result.all(sources.filter((source) => source !== "unix").map(parse)), (networks) => (address) => {
    if (!NetAddress.isInetAddress(address)) return trustsUnix
    const ip = NetAddress.toCanonical(address.address)
    return networks.some((network) => IpNetwork.contains(network, ip))
  })
}
