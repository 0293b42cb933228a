import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import { type Decoded, endsOf, incomplete, malformed, type ProxyHeader } from "./proxyHeader.ts"

/** How a line begins. */
export const prefix = "PROXY "

/** The longest line, with its CRLF. */
const maxLine = 107

/** The header as a line of text. Addresses that version 1 cannot name make it `UNKNOWN`. */
export const encode = (header: ProxyHeader): Buffer => {
  const named = endsOf(header)
  if (header.command === "LOCAL" || named.family === "none" || named.family === "unix") {
    return Buffer.from(`${prefix}UNKNOWN\r\n`)
  }
  const [source, destination] = named.ends
  return Buffer.from(
    [
      `${prefix}${named.family === "inet" ? "TCP4" : "TCP6"}`,
      NetAddress.formatIp(source.address),
      NetAddress.formatIp(destination.address),
      source.port,
      `${destination.port}\r\n`
    ].join(" ")
  )
}

const isAddress = { TCP4: NetAddress.isInetAddressV4, TCP6: NetAddress.isInetAddressV6 }

const end = (address = "", port = "") =>
  Result.flatMap(
    NetAddress.ipFromString(address),
    // what is no number as it should be written is made one that is no port
    (ip) => NetAddress.inetAddress(ip, /^(?:0|[1-9]\d{0,4})$/.test(port) ? Number(port) : -1)
  )

const parse = (line: string): ProxyHeader | undefined => {
  const [family = "", ...fields] = line.slice(prefix.length).split(" ")
  // whatever follows is to be ignored
  if (family === "UNKNOWN") return { version: 1, command: "LOCAL", tlvs: {} }
  const [source, destination, sourcePort, destinationPort, ...more] = fields
  if ((family !== "TCP4" && family !== "TCP6") || destinationPort === undefined || more.length > 0) return undefined
  const ends = Result.all([end(source, sourcePort), end(destination, destinationPort)])
  return Result.isFailure(ends) || !ends.success.every(isAddress[family])
    ? undefined
    : { version: 1, command: "PROXY", source: ends.success[0], destination: ends.success[1], tlvs: {} }
}

/** Reads a header from the first bytes of a connection, which begin as one of version 1 does. */
export const decode = (bytes: Buffer): Decoded => {
  const end = bytes.subarray(0, maxLine).indexOf("\r\n")
  if (end === -1) return bytes.length < maxLine ? incomplete : malformed(`no line of at most ${maxLine} bytes`)
  const header = parse(bytes.toString("latin1", 0, end))
  return header === undefined
    ? malformed("the line names no protocol, two addresses and two ports")
    : { _tag: "complete", header, size: end + 2 }
}
