import * as NetAddress from "effect/net/NetAddress"

/** A field that this library has no name for. */
export interface ProxyTlv {
  /** 0 to 255; 0xE0 to 0xEF are for private use. */
  readonly type: number
  readonly value: Uint8Array
}

/** What a version 2 header says beside the addresses. */
export interface ProxyTlvs {
  /** The protocol that the client agreed on with the proxy by ALPN, such as `"h2"` (type 0x01). */
  readonly alpn?: string | undefined
  /** The host name that the client asked for, as in SNI (type 0x02). */
  readonly authority?: string | undefined
  /** An id of the connection, of at most 128 bytes, that the proxy made up (type 0x05). */
  readonly uniqueId?: Uint8Array | undefined
  /** What the proxy says about the client's TLS, not interpreted (type 0x20). */
  readonly ssl?: Uint8Array | undefined
  /** The network namespace of the client (type 0x30). */
  readonly netns?: string | undefined
  /** All others. Default none. */
  readonly other?: ReadonlyArray<ProxyTlv> | undefined
}

/** A PROXY protocol header: who is at the other end of a connection that somebody relays. */
export interface ProxyHeader {
  /** 1 is a line of text, 2 is binary. */
  readonly version: 1 | 2
  /**
   * `"PROXY"`: the connection is relayed for somebody else. `"LOCAL"`: the proxy speaks for itself, for example to see
   * whether the server is alive; what the connection itself says of its ends is true. `UNKNOWN` of version 1 is `"LOCAL"`.
   */
  readonly command: "PROXY" | "LOCAL"
  /** The client's end, where the header says it. */
  readonly source?: NetAddress.SocketAddress | undefined
  /** The end that the client connected to, where the header says it. */
  readonly destination?: NetAddress.SocketAddress | undefined
  /** Version 2: what else the header says. */
  readonly tlvs: ProxyTlvs
}

/** What was seen so far of a header: all of it, with how many bytes it had; not enough; or why it is none. */
export type Decoded =
  | { readonly _tag: "complete"; readonly header: ProxyHeader; readonly size: number }
  | { readonly _tag: "incomplete" }
  | { readonly _tag: "malformed"; readonly detail: string }

export const incomplete: Decoded = { _tag: "incomplete" }

export const malformed = (detail: string): Decoded => ({ _tag: "malformed", detail })

/** Both ends of a connection, which a header can only name in one family. */
export type Ends =
  | { readonly family: "inet" | "inet6"; readonly ends: readonly [NetAddress.InetAddress, NetAddress.InetAddress] }
  | { readonly family: "unix"; readonly ends: readonly [string, string] }
  | { readonly family: "none" }

const mapped = (address: NetAddress.InetAddress): NetAddress.InetAddress =>
  NetAddress.isInetAddressV4(address)
    ? NetAddress.inetAddressUnsafe(NetAddress.toIpv4Mapped(address.address), address.port)
    : address

/** The ends in the family that fits both: an IPv4 address beside an IPv6 one is written as an IPv6 one. */
export const endsOf = ({ destination, source }: ProxyHeader): Ends => {
  if (NetAddress.isInetAddress(source) && NetAddress.isInetAddress(destination)) {
    const ends = [NetAddress.toCanonical(source), NetAddress.toCanonical(destination)] as const
    return ends.every(NetAddress.isInetAddressV4)
      ? { family: "inet", ends }
      : { family: "inet6", ends: [mapped(ends[0]), mapped(ends[1])] }
  }
  const path = (end: NetAddress.SocketAddress | undefined) =>
    end === undefined ? "" : NetAddress.isUnixPathAddress(end) ? end.path : undefined
  const [from, to] = [path(source), path(destination)]
  return from === undefined || to === undefined || from + to === ""
    ? { family: "none" }
    : { family: "unix", ends: [from, to] }
}
