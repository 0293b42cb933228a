import { type TlsCheck, TlsHandshake } from "../../errors/DialError.ts"
import { describeCertificate, type Peer, type PeerCertificate } from "./info.ts"
import type { ResolvedTls } from "./options.ts"

/** Which side of a handshake we are. */
export type Role = "client" | "server"

/** What is known about a handshake that failed. */
export interface Circumstances {
  readonly role: Role
  readonly options: ResolvedTls
  /** The name of the peer: what its certificate has to be for, when it is a server. */
  readonly servername: string
  readonly peer: Peer
  /** The protocols that the client offered by ALPN, when we are the server. */
  readonly offered: ReadonlyArray<string>
}

/** An alert about a certificate: it is the peer that does not like ours. */
const certificateAlert =
  /ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)|CERTIFICATE_REQUIRED|RETURN_A_CERTIFICATE/

/**
 * Which check a code of OpenSSL, of Node or of the system speaks of. `met` says whether the handshake had come as far as
 * the peer's certificate: a server has one alert for having nothing in common and for missing a client's certificate.
 */
export const checkOf = (code: string, role: Role = "client", met = true): TlsCheck => {
  switch (code) {
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "ERR_TLS_CERT_ALTNAME_FORMAT":
      return "name"
    case "CERT_HAS_EXPIRED":
      return "expired"
    case "CERT_NOT_YET_VALID":
      return "notYetValid"
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return "selfSigned"
    case "EPROTO":
      return "protocol"
  }
  if (/CERT_REVOKED|\bCRL_|_CRL\b|_CRL_/.test(code)) return "revoked"
  if (/UNRECOGNIZED_NAME/.test(code)) return "name"
  if (/HANDSHAKE_FAILURE/.test(code)) return role === "client" && met ? "clientCertificate" : "protocol"
  if (certificateAlert.test(code)) {
    if (role === "client" || code.endsWith("RETURN_A_CERTIFICATE")) return "clientCertificate"
    return code.endsWith("_EXPIRED") ? "expired" : code.endsWith("_REVOKED") ? "revoked" : "issuer"
  }
  if (code.startsWith("ERR_STREAM_")) return "closed"
  if (code.startsWith("ERR_")) return "protocol"
  // the system's errors are those without underscores; all others are what OpenSSL says of a certificate
  return /^E[A-Z]+$/.test(code) ? "closed" : "issuer"
}

interface Story {
  readonly expected: string
  readonly received: string
}

const quoted = (names: ReadonlyArray<string>) => names.map((name) => `"${name}"`).join(", ") || "none"

const named = ({ issuer, subject }: PeerCertificate) =>
  subject === issuer ? `"${subject}", issued by itself` : `"${subject}", issued by "${issuer}"`

/** What is wrong with the certificates that the peer sent. */
const certificateStory = (check: TlsCheck, code: string, circumstances: Circumstances): Story | undefined => {
  const chain = circumstances.peer.chain.map(describeCertificate)
  const [own] = chain
  if (own === undefined) return undefined
  const now = new Date()
  switch (check) {
    case "name":
      return {
        expected: `a certificate for "${circumstances.servername}"`,
        received: `one for ${own.subjectAltName ?? `"${own.subject}", without names`}`
      }
    case "expired": {
      const { subject, validTo } = chain.find(({ validTo }) => validTo < now) ?? own
      return {
        expected: `certificates that are valid at ${now.toISOString()}`,
        received: `"${subject}", valid until ${validTo.toISOString()}`
      }
    }
    case "notYetValid": {
      const { subject, validFrom } = chain.find(({ validFrom }) => validFrom > now) ?? own
      return {
        expected: `certificates that are valid at ${now.toISOString()}`,
        received: `"${subject}", valid from ${validFrom.toISOString()}`
      }
    }
    case "revoked":
      return code === "CERT_REVOKED"
        ? { expected: "certificates that are not revoked", received: `${named(own)}, which are not all good any more` }
        : { expected: "a current revocation list of each issuer", received: `${named(own)}, without one` }
    case "selfSigned":
    case "issuer":
      return { expected: "a certificate that a trusted authority issued for this purpose", received: named(own) }
    default:
      return undefined
  }
}

const protocolStory = (code: string, { offered, options, role }: Circumstances): Story | undefined => {
  const peer = role === "client" ? "server" : "client"
  if (/NO_APPLICATION_PROTOCOL/.test(code)) {
    return {
      expected: `one of the protocols ${quoted(options.alpn ?? [])}`,
      received: role === "client" ? "a server that speaks none of them" : `an offer of ${quoted(offered)}`
    }
  }
  if (/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW/.test(code)) {
    return { expected: options.versions, received: `a ${peer} that speaks only others` }
  }
  if (/HANDSHAKE_FAILURE|CIPHER/.test(code)) {
    return { expected: "a cipher suite in common", received: `a ${peer} that has none` }
  }
  return /WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|RECORD_LAYER_FAILURE/.test(code)
    ? { expected: "TLS", received: `a ${peer} that does not speak it` }
    : undefined
}

const clientCertificateStory = (code: string, circumstances: Circumstances): Story | undefined => {
  if (circumstances.role === "client") {
    return {
      expected: "a client certificate that the server accepts",
      received: circumstances.options.presents ? "ours" : "none"
    }
  }
  return circumstances.peer.chain.length === 0
    ? { expected: "a client certificate", received: "none" }
    : certificateStory(checkOf(code), code, circumstances)
}

const storyOf = (check: TlsCheck, code: string, circumstances: Circumstances) =>
  check === "protocol"
    ? protocolStory(code, circumstances)
    : check === "clientCertificate"
    ? clientCertificateStory(code, circumstances)
    : check === "closed"
    ? undefined
    : certificateStory(check, code, circumstances)

const make = (
  check: TlsCheck,
  code: string,
  { servername }: Circumstances,
  story: Story | undefined,
  cause?: Error
): TlsHandshake =>
  new TlsHandshake({
    check,
    code,
    servername,
    detail: story === undefined ? reasonIn(cause) : `expected ${story.expected}, got ${story.received}`,
    ...story,
    ...(cause === undefined ? {} : { cause })
  })

/** OpenSSL's message is full of its source files; what it means is beside it. */
const reasonIn = (cause: Error | undefined): string =>
  cause === undefined
    ? "the peer closed the connection"
    : "reason" in cause && typeof cause.reason === "string"
    ? cause.reason
    : cause.message

/** What an error of a TLS socket means. */
export const handshakeFailed = (cause: NodeJS.ErrnoException, circumstances: Circumstances): TlsHandshake => {
  const code = cause.code ?? "ECONNRESET"
  const check = checkOf(code, circumstances.role, circumstances.peer.chain.length > 0)
  return make(check, code, circumstances, storyOf(check, code, circumstances), cause)
}

/** The connection was closed in the middle. */
export const closedByPeer = (circumstances: Circumstances): TlsHandshake =>
  make("closed", "ECONNRESET", circumstances, undefined)

/** OpenSSL does not accept the client's certificate. */
export const clientRefused = (cause: NodeJS.ErrnoException, circumstances: Circumstances): TlsHandshake => {
  const code = cause.code ?? "CERT_REJECTED"
  return make("clientCertificate", code, circumstances, clientCertificateStory(code, circumstances), cause)
}

/** What is wrong with the peer's key, when certain ones are expected. */
export const pinFailure = (circumstances: Circumstances): TlsHandshake | undefined => {
  const { options: { pins }, peer: { chain: [own] } } = circumstances
  if (pins.length === 0) return undefined
  const received = own === undefined ? "no certificate" : describeCertificate(own).pin
  return pins.includes(received)
    ? undefined
    : make("pin", "PIN_MISMATCH", circumstances, { expected: pins.join(" or "), received })
}
