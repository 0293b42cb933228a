import * as Effect from "effect/Effect"
import * as NetDns from "effect/net/Dns"
import * as NetAddress from "effect/net/NetAddress"
import { type Hosts, normalize } from "./hosts.ts"

/** Effect's `Dns`, answered from the hosts and names of a network. */
export const nameService = (hosts: Hosts): NetDns.Dns["Service"] =>
  NetDns.make({
    lookup: (name) =>
      Effect.suspend(() => {
        const lookup = hosts.lookup(normalize(name))
        return lookup._tag === "Found"
          ? Effect.succeed(lookup.addresses.map(NetAddress.ipFromStringUnsafe))
          : Effect.fail(
            new NetDns.DnsError({
              method: "lookup",
              reason: lookup._tag === "NotFound" ? "NotFound" : "Temporary",
              hostname: name
            })
          )
      }),
    reverse: (address) =>
      Effect.sync(() => {
        const host = hosts.find(NetAddress.formatIp(address))
        return host === undefined ? [] : [host.name]
      })
  })
