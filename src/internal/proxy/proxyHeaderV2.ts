import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import { crc32c } from "./crc32c.ts"
import {
  type Decoded,
  endsOf,
  incomplete,
  malformed,
  type ProxyHeader,
  type ProxyTlv,
  type ProxyTlvs
} from "./proxyHeader.ts"

/** How a header begins: twelve bytes that begin no other protocol. */
export const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1")

/** Signature, version and command, family, and how long the rest is. */
const fixedSize = 16

/** How much may follow the fixed part. The protocol's own limit is 64 KiB, which nobody sends. */
const maxRest = 4096

/** The longest header that is read. */
export const maxSize = fixedSize + maxRest

const families = { none: 0, inet: 1, inet6: 2, unix: 3 } as const

/** How many bytes each end has, by family. */
const endSizes = [0, 6, 18, 108] as const

const types = { alpn: 0x01, authority: 0x02, crc32c: 0x03, noop: 0x04, uniqueId: 0x05, ssl: 0x20, netns: 0x30 } as const

const uint16 = (value: number) => Buffer.of(value >> 8, value & 0xff)

const octets = (address: NetAddress.IpAddress) =>
  NetAddress.isIpv4Address(address) ? NetAddress.ipv4ToOctets(address) : NetAddress.ipv6ToOctets(address)

const encodeEnds = (header: ProxyHeader): { readonly family: number; readonly bytes: Buffer } => {
  const named = endsOf(header)
  const family = families[named.family]
  switch (named.family) {
    case "none":
      return { family, bytes: Buffer.alloc(0) }
    case "unix": {
      const bytes = Buffer.alloc(2 * endSizes[3])
      for (const [index, path] of named.ends.entries()) bytes.write(path, index * endSizes[3], endSizes[3])
      return { family, bytes }
    }
    default: {
      const [source, destination] = named.ends
      return {
        family,
        bytes: Buffer.concat([
          Buffer.from(octets(source.address)),
          Buffer.from(octets(destination.address)),
          uint16(source.port),
          uint16(destination.port)
        ])
      }
    }
  }
}

const listTlvs = (tlvs: ProxyTlvs): ReadonlyArray<ProxyTlv> => [
  ...(["alpn", "authority", "uniqueId", "ssl", "netns"] as const).flatMap((name) => {
    const value = tlvs[name]
    return value === undefined
      ? []
      : [{ type: types[name], value: typeof value === "string" ? Buffer.from(value) : value }]
  }),
  ...tlvs.other ?? []
]

const encodeTlv = ({ type, value }: ProxyTlv) => Buffer.concat([Buffer.of(type), uint16(value.length), value])

const refuse = ({ destination, source, tlvs }: ProxyHeader): string | undefined => {
  const long = [source, destination].some((end) =>
    NetAddress.isUnixPathAddress(end) && Buffer.byteLength(end.path) > endSizes[3]
  )
  if (long) return `a socket path is longer than ${endSizes[3]} bytes`
  if (tlvs.uniqueId !== undefined && tlvs.uniqueId.length > 128) return "the unique id is longer than 128 bytes"
  const wrong = tlvs.other?.find(({ type }) => !Number.isInteger(type) || type < 0 || type > 0xff)
  return wrong === undefined ? undefined : `${wrong.type} is no type of a field; those are 0 to 255`
}

/** The header in binary, or why there is none; with `checksum` the receiver can tell whether it was damaged. */
export const encode = (header: ProxyHeader, checksum: boolean): Result.Result<Buffer, string> => {
  const refusal = refuse(header)
  if (refusal !== undefined) return Result.fail(refusal)
  const { bytes, family } = encodeEnds(header)
  const tlvs = listTlvs(header.tlvs)
  const rest = [
    bytes,
    ...tlvs.map(encodeTlv),
    ...(checksum ? [encodeTlv({ type: types.crc32c, value: Buffer.alloc(4) })] : [])
  ]
  const size = rest.reduce((sum, { length }) => sum + length, 0)
  if (size > maxRest) return Result.fail(`the header is longer than ${maxSize} bytes`)
  const encoded = Buffer.concat([
    signature,
    // the upper half of the first is the version, of the second the family; 1 is a stream, and a command of its own
    Buffer.of(0x20 | (header.command === "PROXY" ? 1 : 0), family === 0 ? 0 : (family << 4) | 1),
    uint16(size),
    ...rest
  ])
  // computed with zeros in its own place, which is at the end
  if (checksum) encoded.writeUInt32BE(crc32c(encoded), encoded.length - 4)
  return Result.succeed(encoded)
}

const pathOf = (bytes: Buffer) => {
  // a name that begins with NUL is one of Linux's abstract ones
  const end = bytes.indexOf(0, 1)
  const path = bytes.toString("utf8", 0, end === -1 ? undefined : end)
  return path === "\0" || path === "" ? undefined : NetAddress.unixPathAddress(path)
}

const decodeEnds = (family: number, bytes: Buffer): Pick<ProxyHeader, "source" | "destination"> => {
  if (family === families.none) return {}
  if (family === families.unix) {
    return { source: pathOf(bytes.subarray(0, endSizes[3])), destination: pathOf(bytes.subarray(endSizes[3])) }
  }
  const size = endSizes[family === families.inet ? 1 : 2] - 2
  const end = (index: 0 | 1) => {
    const address = bytes.subarray(index * size, (index + 1) * size)
    const ip = family === families.inet
      ? NetAddress.ipv4FromBytesUnsafe(address)
      : NetAddress.ipv6FromBytesUnsafe(address)
    return NetAddress.inetAddressUnsafe(ip, bytes.readUInt16BE(2 * size + 2 * index))
  }
  return { source: end(0), destination: end(1) }
}

/** Whether the checksum at `at` is that of the header, computed with zeros in its place. */
const isIntact = (header: Buffer, at: number) =>
  header.readUInt32BE(at) ===
    crc32c(Buffer.concat([header.subarray(0, at), Buffer.alloc(4), header.subarray(at + 4)]))

/** The fields from `at` to the end, or what is wrong with them. */
const decodeTlvs = (header: Buffer, at: number): ProxyTlvs | string => {
  const tlvs: { -readonly [K in keyof ProxyTlvs]: ProxyTlvs[K] } = {}
  const other: Array<ProxyTlv> = []
  for (let start = at, end; start < header.length; start = end) {
    if (start + 3 > header.length) return "a field has no length"
    const type = header[start]!
    end = start + 3 + header.readUInt16BE(start + 1)
    if (end > header.length) return "a field is longer than the header"
    // a copy, because what was received is in a buffer that may be used again
    const value = Buffer.from(header.subarray(start + 3, end))
    switch (type) {
      case types.alpn:
        tlvs.alpn = value.toString()
        break
      case types.authority:
        tlvs.authority = value.toString()
        break
      case types.crc32c:
        if (value.length !== 4 || !isIntact(header, start + 3)) return "the checksum is wrong"
        break
      case types.noop:
        break
      case types.uniqueId:
        if (value.length > 128) return "the unique id is longer than 128 bytes"
        tlvs.uniqueId = value
        break
      case types.ssl:
        tlvs.ssl = value
        break
      case types.netns:
        tlvs.netns = value.toString()
        break
      default:
        other.push({ type, value })
    }
  }
  return other.length === 0 ? tlvs : { ...tlvs, other }
}

/** Reads a header from the first bytes of a connection, which begin as one of version 2 does. */
export const decode = (bytes: Buffer): Decoded => {
  if (bytes.length < fixedSize) return incomplete
  const [command, family, protocol] = [bytes[12]!, bytes[13]! >> 4, bytes[13]! & 0xf]
  if (command !== 0x20 && command !== 0x21) return malformed("it names no version and command of this protocol")
  const endSize = endSizes[family]
  if (endSize === undefined || protocol > 2) return malformed("it names no address family and protocol")
  const rest = bytes.readUInt16BE(14)
  if (rest > maxRest) return malformed(`it is longer than ${maxSize} bytes`)
  const size = fixedSize + rest
  if (bytes.length < size) return incomplete
  // the proxy speaks for itself, and what else the header says is to be ignored
  if (command === 0x20) return { _tag: "complete", size, header: { version: 2, command: "LOCAL", tlvs: {} } }
  const header = bytes.subarray(0, size)
  const start = fixedSize + 2 * endSize
  if (start > size) return malformed("it has no room for its addresses")
  const tlvs = decodeTlvs(header, start)
  if (typeof tlvs === "string") return malformed(tlvs)
  // datagrams have no connection: the addresses are not those of this one
  const ends = protocol === 1 ? decodeEnds(family, header.subarray(fixedSize, start)) : {}
  return { _tag: "complete", size, header: { version: 2, command: "PROXY", ...ends, tlvs } }
}
