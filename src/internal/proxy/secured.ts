import * as Effect from "effect/Effect"
import * as Host from "effect/net/Host"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { type DialErrorReason, InvalidTarget, TlsHandshake } from "../../errors/DialError.ts"
import { checkOf } from "../tls/failure.ts"
import * as Handshake from "../tls/handshake.ts"
import * as TlsOptions from "../tls/options.ts"
import type { Proxy } from "./settings.ts"

type Step = (duplex: Duplex) => Effect.Effect<Duplex, DialErrorReason, Scope.Scope>

/** In TLS 1.3 a server refuses a client's certificate after the handshake, when it is asked for the tunnel already. */
const refusedLater = (servername: string) => (reason: DialErrorReason): DialErrorReason => {
  const cause: unknown = reason._tag === "ProxyProtocol" ? reason.cause : undefined
  if (!(cause instanceof Error) || !("code" in cause) || typeof cause.code !== "string") return reason
  const check = checkOf(cause.code)
  return check === "clientCertificate"
    ? new TlsHandshake({
      check,
      code: cause.code,
      servername,
      detail: "the proxy does not accept our certificate",
      cause
    })
    : reason
}

/** How to ask a proxy for something: inside TLS to the proxy itself, where its protocol wants that. */
export const secured = ({ address, tls }: Proxy): (duplex: Duplex, ask: Step) => ReturnType<Step> => {
  if (tls === undefined) return (duplex, ask) => ask(duplex)
  const host = Host.formatHost(address.host)
  let ready: TlsOptions.ResolvedTls | undefined
  // kept, so that files are read once and sessions can be taken up again
  const options = Effect.suspend(() =>
    ready === undefined
      ? Effect.tap(TlsOptions.resolve(tls), (resolved) => Effect.sync(() => ready = resolved))
      : Effect.succeed(ready)
  )
  return (duplex, ask) =>
    options.pipe(
      Effect.mapError((error) => new InvalidTarget({ input: "the proxy's settings", why: error.message })),
      Effect.flatMap((options) => Handshake.client(duplex, options, host)),
      Effect.flatMap((secure) => Effect.mapError(ask(secure), refusedLater(host)))
    )
}
