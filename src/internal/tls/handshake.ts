import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as NodeTls from "node:tls"
import { type TlsCheck, TlsHandshake } from "../../errors/DialError.ts"
import { close, guardErrors } from "../net/duplex.ts"
import type { Hop } from "../net/hop.ts"
import { hostOf } from "../net/target.ts"
import type { ResolvedTls } from "./options.ts"

/** Which check a code of OpenSSL, of Node or of the system speaks of. */
export const checkOf = (code: string): TlsCheck => {
  switch (code) {
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "ERR_TLS_CERT_ALTNAME_FORMAT":
      return "name"
    case "CERT_HAS_EXPIRED":
      return "expired"
    case "CERT_NOT_YET_VALID":
      return "notYetValid"
    case "CERT_REVOKED":
      return "revoked"
    case "EPROTO":
      return "protocol"
  }
  if (
    /CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_(EXPIRED|REVOKED|UNKNOWN)|RETURN_A_CERTIFICATE/
      .test(code)
  ) {
    // an alert: it is the peer that does not like our certificate; or the client that has none for us
    return "clientCertificate"
  }
  if (code.startsWith("ERR_")) return "protocol"
  // the system's errors are those without underscores; all others are what OpenSSL says of a certificate
  return /^E[A-Z]+$/.test(code) ? "closed" : "issuer"
}

const handshakeError = (cause: NodeJS.ErrnoException, servername: string) => {
  const code = cause.code ?? "ECONNRESET"
  return new TlsHandshake({ check: checkOf(code), code, servername, detail: cause.message, cause })
}

/** What a connection's TLS layer agreed on. */
export interface TlsInfo {
  /** `"TLSv1.3"`. */
  readonly protocol: string
  /** The cipher suite's standard name. */
  readonly cipher: string
  /** The protocol that was agreed on by ALPN, if any. */
  readonly alpn: string | undefined
  /** The peer's certificate, if it sent one. */
  readonly peer: {
    readonly subject: string
    readonly issuer: string
    readonly validFrom: Date
    readonly validTo: Date
    readonly fingerprint256: string
  } | undefined
}

const describe = (socket: NodeTls.TLSSocket): TlsInfo => {
  const certificate = socket.getPeerX509Certificate()
  return {
    protocol: socket.getProtocol() ?? "unknown",
    cipher: socket.getCipher().standardName,
    alpn: socket.alpnProtocol === null || socket.alpnProtocol === false ? undefined : socket.alpnProtocol,
    peer: certificate === undefined ? undefined : {
      subject: certificate.subject,
      issuer: certificate.issuer,
      validFrom: new Date(certificate.validFrom),
      validTo: new Date(certificate.validTo),
      fingerprint256: certificate.fingerprint256
    }
  }
}

/** Written down when a handshake is complete: a socket that is closed has forgotten. */
const agreed = new WeakMap<Duplex, TlsInfo>()

/** Says that a stream leads beyond its TLS, if it has any: the peer at its end is not the one that was verified. */
export const leadsBeyond = <D extends Duplex>(duplex: D): D => {
  agreed.delete(duplex)
  return duplex
}

/** The TLS details of a stream, when it is one, between us and the peer at its end. */
export const tlsInfo = (duplex: Duplex): TlsInfo | undefined => agreed.get(duplex)

const established = (
  start: () => NodeTls.TLSSocket,
  event: "secureConnect" | "secure",
  servername: string
): Effect.Effect<NodeTls.TLSSocket, TlsHandshake, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<NodeTls.TLSSocket, TlsHandshake>((resume) => {
      const socket = guardErrors(start())
      const settle = (result: Effect.Effect<NodeTls.TLSSocket, TlsHandshake>) => {
        socket.off(event, onSecure).off("error", onError).off("_tlsError", onError).off("close", onClose).off(
          "end",
          onClose
        )
        resume(result)
      }
      const onSecure = () => {
        agreed.set(socket, describe(socket))
        settle(Effect.succeed(socket))
      }
      const onError = (cause: Error) => settle(Effect.fail(handshakeError(cause, servername)))
      const onClose = () =>
        settle(Effect.fail(
          new TlsHandshake({
            check: "closed",
            code: "ECONNRESET",
            servername,
            detail: "the peer closed the connection"
          })
        ))
      // the server side reports a failed handshake as "_tlsError" only, and of a peer that hangs up it sees only the end
      socket.once(event, onSecure).once("error", onError).once("_tlsError", onError).once("close", onClose).once(
        "end",
        onClose
      )
      return Effect.sync(() => void socket.destroy())
    }),
    close,
    { interruptible: true }
  )

/** The client's side of a TLS handshake on a connection that is open already. */
export const client = (
  duplex: Duplex,
  options: ResolvedTls,
  host: string
): Effect.Effect<NodeTls.TLSSocket, TlsHandshake, Scope.Scope> => {
  const servername = options.servername ?? host
  return established(
    () =>
      NodeTls.connect({
        socket: duplex,
        host: servername,
        secureContext: options.context,
        rejectUnauthorized: options.verify,
        // RFC 6066, section 3: an address is no server name
        ...(Net.isIP(servername) === 0 ? { servername } : {}),
        ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] })
      }),
    "secureConnect",
    servername
  )
}

const alpnList = (protocols: ReadonlyArray<string>) =>
  Buffer.concat(protocols.flatMap((name) => [Buffer.from([Buffer.byteLength(name)]), Buffer.from(name)]))

/**
 * What OpenSSL says of the client's certificate. Node sets `authorized` only on sockets that its own `tls.Server` made,
 * so this asks the handle as `tls.Server` does; where that has changed, no certificate is accepted.
 */
const verifyClient = (socket: NodeTls.TLSSocket): Error | undefined => {
  const ssl: unknown = Reflect.get(socket, "ssl")
  const verifyError: unknown = typeof ssl === "object" && ssl !== null ? Reflect.get(ssl, "verifyError") : undefined
  if (typeof verifyError !== "function") return new Error("this version of Node does not say whether it is valid")
  const error: unknown = Reflect.apply(verifyError, ssl, [])
  return error instanceof Error ? error : undefined
}

/** The server's side of a TLS handshake. */
export const server = Effect.fnUntraced(function*(duplex: Duplex, options: ResolvedTls) {
  const socket = yield* established(
    () =>
      new NodeTls.TLSSocket(duplex, {
        isServer: true,
        secureContext: options.context,
        requestCert: options.requestClientCertificate,
        rejectUnauthorized: options.requestClientCertificate,
        ...(options.alpn === undefined ? {} : { ALPNProtocols: alpnList(options.alpn) })
      }),
    "secure",
    "the client"
  )
  // Node clears this only on sockets that its own tls.Server made, and node:http2 waits until it is cleared
  Reflect.set(socket, "secureConnecting", false)
  const refusal = options.requestClientCertificate && options.verify ? verifyClient(socket) : undefined
  if (refusal === undefined) return socket
  return yield* new TlsHandshake({
    check: "clientCertificate",
    code: "code" in refusal && typeof refusal.code === "string" ? refusal.code : "CERT_REJECTED",
    servername: "the client",
    detail: refusal.message
  })
})

/** TLS as a step of a path. */
export const tlsHop = (options: ResolvedTls): Hop => ({
  name: "tls",
  via: Effect.succeed,
  handshake: (duplex, target) => client(duplex, options, hostOf(target))
})
