import * as Effect from "effect/Effect"
import * as MutableRef from "effect/MutableRef"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as NodeTls from "node:tls"
import { TlsHandshake } from "../../errors/DialError.ts"
import { close, withAddressesOf } from "../net/duplex.ts"
import type { Hop } from "../net/hop.ts"
import { guardErrors } from "../net/owner.ts"
import { format, hostOf } from "../net/target.ts"
import { select } from "./context.ts"
import * as Failure from "./failure.ts"
import { nobody, type Peer, peerOf, remember } from "./info.ts"
import type { ResolvedTls } from "./options.ts"

export { leadsBeyond, type TlsInfo, tlsInfo } from "./info.ts"

/** One side of one handshake. */
interface Side {
  readonly role: Failure.Role
  readonly options: ResolvedTls
  /** The name of the peer in errors. */
  readonly servername: string
  readonly start: () => NodeTls.TLSSocket
  /** Whom we have met so far, and what it offered. */
  readonly peer: (socket: NodeTls.TLSSocket) => Peer
  readonly offered: () => ReadonlyArray<string>
  /** Is told when the handshake failed. */
  readonly failed: () => void
  /** Is told when the peer is accepted. */
  readonly accepted: (socket: NodeTls.TLSSocket, peer: Peer) => void
}

/**
 * What OpenSSL says of the peer's certificate. Node tells it of sockets that it made itself only, so this asks the handle
 * as Node does; where that has changed, no certificate is good.
 */
const verifyError = (socket: NodeTls.TLSSocket): Error | undefined => {
  const ssl: unknown = Reflect.get(socket, "ssl")
  const verifyError: unknown = typeof ssl === "object" && ssl !== null ? Reflect.get(ssl, "verifyError") : undefined
  if (typeof verifyError !== "function") return new Error("this version of Node does not say whether it is valid")
  const error: unknown = Reflect.apply(verifyError, ssl, [])
  return error instanceof Error ? error : undefined
}

/** Whom the handshake has met: nobody, while no certificate has come and when the socket is gone. */
const shown = (socket: NodeTls.TLSSocket): Peer => {
  const certificate: NodeTls.DetailedPeerCertificate | null | undefined = socket.getPeerCertificate(true)
  return certificate === null || certificate === undefined ? nobody : peerOf(certificate)
}

/** Node verifies what a client is shown by a server, not the other way round. */
const refusal = (socket: NodeTls.TLSSocket, circumstances: Failure.Circumstances): TlsHandshake | undefined => {
  const { options, role } = circumstances
  const error = role === "server" && options.requestClientCertificate && options.verify
    ? verifyError(socket)
    : undefined
  return error === undefined ? Failure.pinFailure(circumstances) : Failure.clientRefused(error, circumstances)
}

/** Why there can be no handshake on a stream: on these Node waits for ever, or ends the process. */
const unusable = (duplex: Duplex, side: Side): TlsHandshake | undefined =>
  duplex.destroyed || duplex.readableEnded
    ? Failure.closedByPeer({ ...side, peer: nobody, offered: [] })
    : duplex.readableEncoding === null
    ? undefined
    : new TlsHandshake({
      check: "protocol",
      code: "ERR_STREAM_WRAP",
      servername: side.servername,
      detail: `the stream gives text (${duplex.readableEncoding}), not bytes`
    })

/** Where the two sides hear of success and of failure. */
const events = {
  client: { success: "secureConnect", failure: ["error", "close"] },
  // a failed handshake is "_tlsError" only, and a peer that hangs up only an end
  server: { success: "secure", failure: ["error", "_tlsError", "close", "end"] }
} as const

const established = (duplex: Duplex, side: Side): Effect.Effect<NodeTls.TLSSocket, TlsHandshake, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<NodeTls.TLSSocket, TlsHandshake>((resume) => {
      const problem = unusable(duplex, side)
      if (problem !== undefined) return resume(Effect.fail(problem))
      const { failure, success } = events[side.role]
      const socket = guardErrors(side.start())
      const circumstances = (): Failure.Circumstances => ({
        role: side.role,
        options: side.options,
        servername: side.servername,
        peer: side.peer(socket),
        offered: side.offered()
      })
      const stop = () => {
        socket.off(success, onSecure)
        for (const event of failure) socket.off(event, onFailure)
      }
      const fail = (error: TlsHandshake) => {
        stop()
        socket.destroy()
        side.failed()
        resume(Effect.fail(error))
      }
      const onSecure = () => {
        const met = circumstances()
        const refused = refusal(socket, met)
        if (refused !== undefined) return fail(refused)
        stop()
        side.accepted(socket, met.peer)
        resume(Effect.succeed(withAddressesOf(duplex, socket)))
      }
      const onFailure = (cause?: unknown) =>
        fail(
          cause instanceof Error
            ? Failure.handshakeFailed(cause, circumstances())
            : Failure.closedByPeer(circumstances())
        )
      socket.on(success, onSecure)
      for (const event of failure) socket.on(event, onFailure)
      const { keyLog } = side.options
      if (keyLog !== undefined) socket.on("keylog", keyLog)
      return Effect.sync(() => void socket.destroy())
    }),
    close,
    { interruptible: true }
  )

/**
 * The client's side of a TLS handshake on a connection that is open already. Sessions are taken up with whom they were
 * begun: `peer` names it.
 */
export const client = (
  duplex: Duplex,
  options: ResolvedTls,
  host: string,
  peer: string = host
): Effect.Effect<NodeTls.TLSSocket, TlsHandshake, Scope.Scope> =>
  Effect.suspend(() => {
    const { sessions } = options
    const servername = options.servername ?? host
    // RFC 6066, section 3: an address is no server name
    const asked = Net.isIP(servername) === 0 ? servername : undefined
    const session = sessions?.take(peer)
    let met = nobody
    /** The ticket of a peer that is not accepted yet, or what to do with those of one that is. */
    let early: Buffer | undefined
    let keep: ((ticket: Buffer) => void) | undefined
    return established(duplex, {
      role: "client",
      options,
      servername,
      start: () => {
        const socket = NodeTls.connect({
          socket: duplex,
          host: servername,
          secureContext: MutableRef.get(options.contexts).general,
          rejectUnauthorized: options.verify,
          checkServerIdentity: (host, certificate) => {
            // Node has just taken this apart: looking at it again would cost as much once more
            met = peerOf(certificate)
            return NodeTls.checkServerIdentity(host, certificate)
          },
          ...(asked === undefined ? {} : { servername: asked }),
          ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
          ...(session === undefined ? {} : { session: session.ticket })
        })
        // Node does not ask for the name where the certificate is no good, and destroys the socket
        socket.prependOnceListener("secure", () => {
          if (verifyError(socket) !== undefined) met = shown(socket)
        })
        if (sessions !== undefined) {
          socket.on("session", (ticket: Buffer) => keep === undefined ? void (early = ticket) : keep(ticket))
        }
        return socket
      },
      peer: (socket) => {
        if (session !== undefined && socket.isSessionReused()) return session.peer
        // an alert may come when the peer has shown its certificate and nobody has looked yet
        return met === nobody ? shown(socket) : met
      },
      offered: () => options.alpn ?? [],
      failed: () => session === undefined ? undefined : sessions?.drop(peer),
      accepted: (socket, met) => {
        remember(socket, asked, met)
        if (sessions === undefined) return
        if (session !== undefined && met !== session.peer) sessions.drop(peer)
        const once = socket.getProtocol() === "TLSv1.3"
        keep = (ticket) => sessions.put(peer, { ticket, peer: met, once })
        if (early !== undefined) keep(early)
      }
    })
  })

/** The server's side of a TLS handshake. */
export const server = (
  duplex: Duplex,
  options: ResolvedTls
): Effect.Effect<NodeTls.TLSSocket, TlsHandshake, Scope.Scope> =>
  Effect.suspend(() => {
    const { alpn } = options
    const contexts = MutableRef.get(options.contexts)
    let offered: ReadonlyArray<string> = []
    return established(duplex, {
      role: "server",
      options,
      servername: "the client",
      start: () =>
        new NodeTls.TLSSocket(duplex, {
          isServer: true,
          secureContext: contexts.general,
          requestCert: options.requestClientCertificate,
          rejectUnauthorized: options.requestClientCertificate,
          ...(contexts.named.size === 0 ? {} : {
            SNICallback: (servername, callback) => callback(null, select(contexts, servername))
          }),
          ...(alpn === undefined ? {} : {
            ALPNCallback: ({ protocols }) => {
              offered = protocols
              return alpn.find((protocol) => protocols.includes(protocol))
            }
          })
        }),
      peer: (socket) => options.requestClientCertificate ? shown(socket) : nobody,
      offered: () => offered,
      failed: () => {},
      accepted: (socket, peer) => {
        // Node clears this only on sockets that its own tls.Server made, and node:http2 waits until it is cleared
        Reflect.set(socket, "secureConnecting", false)
        const servername: unknown = Reflect.get(socket, "servername")
        remember(socket, typeof servername === "string" ? servername : undefined, peer)
      }
    })
  })

/** TLS as a step of a path. */
export const tlsHop = (options: ResolvedTls): Hop => ({
  name: "tls",
  via: Effect.succeed,
  handshake: (duplex, target) => client(duplex, options, hostOf(target), format(target))
})
