import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { TlsHandshake } from "../../errors/DialError.ts"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import { within } from "../net/deadline.ts"
import { closeOwned } from "../net/duplex.ts"
import { type ProxyHeaderError, type ProxyProtocolOptions, receiver } from "../proxy/proxyProtocol.ts"
import { server as tlsServer } from "../tls/handshake.ts"
import { resolveServer, type TlsOptions } from "../tls/options.ts"

export interface OpeningOptions {
  readonly proxyProtocol?: ProxyProtocolOptions | undefined
  readonly tls?: TlsOptions | undefined
  /** For all of it together. */
  readonly timeout: Duration.Duration
}

/** A connection behind its PROXY header and its TLS handshake, and the ends of it, where the header says them. */
export interface Opened {
  readonly stream: Duplex
  readonly remoteAddress: SocketAddress | undefined
  readonly localAddress: SocketAddress | undefined
}

/** What has to happen on a connection before anybody can use it; closes it with the scope. */
export type Opening = (duplex: Duplex) => Effect.Effect<Opened, ProxyHeaderError | TlsHandshake, Scope.Scope>

/** What a server does first with each connection, or `undefined` when there is nothing to do. */
export const opening = Effect.fnUntraced(function*(
  { proxyProtocol, timeout, tls }: OpeningOptions
): Effect.fn.Return<Opening | undefined, TcpError | TlsConfigError, Scope.Scope> {
  if (proxyProtocol === undefined && tls === undefined) return undefined
  const header = proxyProtocol === undefined ? undefined : yield* receiver(proxyProtocol)
  const resolved = tls === undefined ? undefined : yield* resolveServer(tls)

  const shake = Effect.fnUntraced(function*(duplex: Duplex) {
    const client = header === undefined ? undefined : Option.getOrUndefined(yield* header(duplex))
    return {
      stream: resolved === undefined ? duplex : yield* tlsServer(duplex, resolved),
      remoteAddress: client?.source,
      localAddress: client?.destination
    }
  })
  const late = new TlsHandshake({
    check: "closed",
    code: "ETIMEDOUT",
    servername: "the client",
    detail: `not done after ${Duration.format(timeout)}`
  })
  return (duplex) =>
    Effect.andThen(
      Effect.addFinalizer((exit) => closeOwned(duplex, exit)),
      within(shake(duplex), timeout, () => Effect.fail(late))
    )
})
