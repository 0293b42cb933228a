import * as Http2 from "node:http2"
import { type GrpcErrorReason, type Metadata, reasonFromCode } from "../../../errors/GrpcError.ts"
import * as Details from "./details.ts"
import { decodeMetadata, type RawHeaders, single } from "./metadata.ts"

/** The codes of gRPC's statuses. */
export const Code = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16
} as const

const codeNames = new Map<number, string>(
  Object.entries(Code).map(([name, code]) => [
    code,
    code === Code.ok ? "OK" : `${name[0]?.toUpperCase()}${name.slice(1)}`
  ])
)

/** How metrics and logs call a status: `"NotFound"`. */
export const codeName = (code: number): string => codeNames.get(code) ?? "Unknown"

/** How a call ended. */
export interface Status {
  readonly code: number
  readonly message: string
  /** What came with it, when it came from the peer. */
  readonly trailers: RawHeaders | undefined
}

/** A status that this side makes. */
export const ownStatus = (code: number, message: string): Status => ({ code, message, trailers: undefined })

/**
 * The header `grpc-message`: UTF-8, all but printable ASCII percent-encoded, and the percent sign too. So are spaces at
 * either end: HTTP/2 drops headers that have some.
 */
export const encodeMessage = (message: string): string => {
  if (/^(?:[!-$&-~](?:[ -$&-~]*[!-$&-~])?)?$/.test(message)) return message
  const bytes = Buffer.from(message)
  return Array.from(bytes, (byte, index) => {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x25
    const isInside = index > 0 && index < bytes.length - 1
    return isPlain || (byte === 0x20 && isInside)
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
  }).join("")
}

/** The text of a header `grpc-message`. What is not an escape stays as it is, as gRPC demands. */
export const decodeMessage = (header: string): string => {
  if (!header.includes("%")) return header
  const bytes: Array<number> = []
  for (let at = 0; at < header.length; at++) {
    const hex = header[at] === "%" ? /^[0-9a-fA-F]{2}/.exec(header.slice(at + 1, at + 3))?.[0] : undefined
    if (hex === undefined) bytes.push(header.charCodeAt(at) & 0xff)
    else {
      bytes.push(Number.parseInt(hex, 16))
      at += 2
    }
  }
  return Buffer.from(bytes).toString("utf8")
}

/** The status that trailers say, or `undefined` when they say none. */
export const statusOf = (trailers: RawHeaders): Status | undefined => {
  const code = single(trailers, "grpc-status")
  if (code === undefined) return undefined
  const message = decodeMessage(single(trailers, "grpc-message") ?? "")
  return /^\d{1,9}$/.test(code)
    ? { code: Number(code), message, trailers }
    : { code: Code.unknown, message: `the server's grpc-status is not a number`, trailers }
}

/** A server or a proxy that does not speak gRPC (gRPC's http-grpc-status-mapping). */
export const statusOfHttp = (status: number, detail: string): Status => {
  const code = (() => {
    switch (status) {
      case 400:
        return Code.internal
      case 401:
        return Code.unauthenticated
      case 403:
        return Code.permissionDenied
      case 404:
        return Code.unimplemented
      case 429:
      case 502:
      case 503:
      case 504:
        return Code.unavailable
      default:
        return Code.unknown
    }
  })()
  return ownStatus(code, detail)
}

const { constants } = Http2

/** HTTP/2's error codes, in the order of their numbers (RFC 9113, section 7). */
const resetNames = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED"
]

export const resetName = (code: number): string => resetNames[code] ?? `error ${code}`

/** What a reset stream is (gRPC over HTTP/2, Errors). */
export const statusOfReset = (code: number): Status => {
  const message = `the server reset the stream (${resetName(code)})`
  switch (code) {
    case constants.NGHTTP2_REFUSED_STREAM:
      return ownStatus(Code.unavailable, message)
    case constants.NGHTTP2_CANCEL:
      return ownStatus(Code.cancelled, message)
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return ownStatus(Code.resourceExhausted, message)
    case constants.NGHTTP2_INADEQUATE_SECURITY:
      return ownStatus(Code.permissionDenied, message)
    default:
      return ownStatus(Code.internal, message)
  }
}

/** What the error of a status says. */
export const reasonOf = ({ code, message, trailers }: Status): GrpcErrorReason => {
  if (trailers === undefined) return reasonFromCode(code, message)
  const metadata: Metadata = decodeMetadata(trailers)
  const details = metadata.binary[Details.detailsTrailer]?.[0]
  return reasonFromCode(code, message, metadata, details === undefined ? [] : Details.decode(details))
}
