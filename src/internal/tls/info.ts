import * as Crypto from "node:crypto"
import type { Duplex } from "node:stream"
import type * as NodeTls from "node:tls"
import * as Pin from "./pin.ts"

/** A certificate, as its fields say. */
export interface PeerCertificate {
  /** Whom it names: `"CN=db.example.com"`. */
  readonly subject: string
  /** Who issued it. */
  readonly issuer: string
  /** The names and addresses it is for, as OpenSSL writes them: `"DNS:db.example.com, IP Address:10.0.0.1"`. */
  readonly subjectAltName: string | undefined
  /** The first moment of its validity. */
  readonly validFrom: Date
  /** The last moment of its validity. */
  readonly validTo: Date
  /** The SHA-256 of the whole certificate, in hex with colons. */
  readonly fingerprint256: string
  /** The SHA-256 of its public key, as the option `pin` takes it: `"sha256/..."`. */
  readonly pin: string
}

/** What a connection's TLS layer agreed on. */
export interface TlsInfo {
  /** `"TLSv1.3"`. */
  readonly protocol: string
  /** The cipher suite's standard name. */
  readonly cipher: string
  /** The protocol that was agreed on by ALPN, if any. */
  readonly alpn: string | undefined
  /** The name that the client asked for (SNI), if any: none for an address. */
  readonly servername: string | undefined
  /** Whether an earlier session was taken up: no certificate was sent, the peer is the one that was verified then. */
  readonly resumed: boolean
  /** The peer's certificate, if it sent one. */
  readonly peer: PeerCertificate | undefined
  /** The peer's certificate, then those of its issuers as far as they are known. Empty when it sent none. */
  readonly peerChain: ReadonlyArray<PeerCertificate>
}

/** Whom a handshake met. */
export interface Peer {
  /** Its certificates as they are (DER), its own first. */
  readonly chain: ReadonlyArray<Buffer>
  /** When the first of them expires (epoch milliseconds). */
  readonly expires: number
}

/** A peer without a certificate. */
export const nobody: Peer = { chain: [], expires: Infinity }

/** The fields that we look at of a certificate as Node has taken it apart. */
interface NodeCertificate {
  readonly raw?: Buffer
  readonly valid_to: string
  readonly issuerCertificate?: NodeCertificate
}

/**
 * The peer, from what Node gives on `getPeerCertificate(true)`. Its other way, `getPeerX509Certificate`, takes the chain
 * out of the connection, so that Node's own checks no longer see it.
 */
export const peerOf = (certificate: NodeCertificate): Peer => {
  const chain: Array<Buffer> = []
  let expires = Infinity
  let current: NodeCertificate | undefined = certificate
  // a root is its own issuer; where there is no certificate, there is an object without fields
  while (current?.raw !== undefined && !chain.includes(current.raw)) {
    chain.push(current.raw)
    expires = Math.min(expires, Date.parse(current.valid_to))
    current = current.issuerCertificate
  }
  return { chain, expires }
}

/** Reads a certificate. This costs more than all the rest of `TlsInfo`, so it is done for those who look at it. */
export const describeCertificate = (der: Buffer): PeerCertificate => {
  const certificate = new Crypto.X509Certificate(der)
  return {
    subject: certificate.subject,
    issuer: certificate.issuer,
    subjectAltName: certificate.subjectAltName,
    validFrom: new Date(certificate.validFrom),
    validTo: new Date(certificate.validTo),
    fingerprint256: certificate.fingerprint256,
    pin: Pin.ofPublicKey(certificate.publicKey.export({ type: "spki", format: "der" }))
  }
}

const describe = (socket: NodeTls.TLSSocket, servername: string | undefined, { chain }: Peer): TlsInfo => {
  let described: ReadonlyArray<PeerCertificate> | undefined
  const peerChain = () => described ??= chain.map(describeCertificate)
  return {
    protocol: socket.getProtocol() ?? "unknown",
    cipher: socket.getCipher().standardName,
    alpn: socket.alpnProtocol === null || socket.alpnProtocol === false ? undefined : socket.alpnProtocol,
    servername,
    resumed: socket.isSessionReused(),
    get peer() {
      return peerChain()[0]
    },
    get peerChain() {
      return peerChain()
    }
  }
}

/** Written down when a handshake is complete: a socket that is closed has forgotten. */
const agreed = new WeakMap<Duplex, TlsInfo>()

/** Writes down what a handshake agreed on. */
export const remember = (socket: NodeTls.TLSSocket, servername: string | undefined, peer: Peer): void =>
  void agreed.set(socket, describe(socket, servername, peer))

/** Says that a stream leads beyond its TLS, if it has any: the peer at its end is not the one that was verified. */
export const leadsBeyond = <D extends Duplex>(duplex: D): D => {
  agreed.delete(duplex)
  return duplex
}

/** The TLS details of a stream, when it is one, between us and the peer at its end. */
export const tlsInfo = (duplex: Duplex): TlsInfo | undefined => agreed.get(duplex)
