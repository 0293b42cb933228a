/**
 * What the proxies among the peers have in common.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { isHostPort } from "effect/net/Host"
import { formatSocketAddress } from "effect/net/NetAddress"
import type * as Redacted from "effect/Redacted"
import type { Duplex } from "node:stream"
import type { TcpErrorReason } from "../../errors/TcpError.ts"
import { relay } from "../../internal/net/relay.ts"
import * as Target from "../../internal/net/target.ts"
import type { Request } from "../../internal/proxy/request.ts"
import type { Credentials } from "../../internal/proxy/settings.ts"
import { Dialer } from "../../services/Dialer.ts"
import * as Peer from "./peer.ts"

/**
 * What every proxy can be told.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProxyPeerOptions extends Peer.PeerOptions {
  /** Whom it serves, together with `password`. Default: everybody. */
  readonly username?: string | undefined
  /** Goes with `username`. Default: the empty password. */
  readonly password?: Redacted.Redacted | undefined
  /**
   * Which code a request is refused with (a SOCKS reply, an HTTP status), given its target, such as `"db:5432"`; nothing is
   * dialled then. `undefined` lets it pass. Default: none is refused.
   */
  readonly refuse?: ((target: string) => number | undefined) | undefined
  /** Where the host of a target is looked for. Default: under its own name, as the Dialer finds it. */
  readonly resolve?: ((host: string) => string) | undefined
}

/**
 * What a client asked a proxy for.
 *
 * **Details**
 *
 * - `outcome`: `"dialing"` until it is known whether the target can be reached; then `"granted"` or `"refused"`.
 * - `code`: what the client was told, a SOCKS reply or an HTTP status. Not there as long as it was told nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProxyRequest {
  /** As the client gave it, such as `"db:5432"` or `"[::1]:80"`. */
  readonly target: string
  readonly outcome: "dialing" | "granted" | "refused"
  readonly code?: number
}

/**
 * A proxy that is running.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProxyPeer extends Peer.Peer {
  /** What `Proxy.layer` takes: `"socks5://127.0.0.1:41843"`. Holds no credentials. */
  readonly url: string
  /** What was asked for, oldest first. Clients that were turned away before they asked are not among it. */
  readonly requests: Effect.Effect<ReadonlyArray<ProxyRequest>>
}

/**
 * Who a proxy serves.
 *
 * @internal
 */
export const credentialsOf = ({ password, username }: ProxyPeerOptions): Credentials | undefined =>
  username === undefined ? undefined : { username, password }

/**
 * Runs a proxy, whose clients say where they want to as `request` understands it.
 *
 * @internal
 */
export const start = Effect.fnUntraced(function*(
  protocol: "socks5" | "http",
  options: ProxyPeerOptions,
  request: (stream: Duplex) => Effect.Effect<Request, TcpErrorReason>
) {
  const dialer = yield* Dialer
  const requests: Array<ProxyRequest> = []

  const reach = (target: Target.Target) =>
    dialer.dial(
      isHostPort(target) && options.resolve !== undefined
        ? { host: options.resolve(Target.hostOf(target)), port: target.port }
        : target
    )

  const peer = yield* Peer.start(
    options,
    Effect.fnUntraced(function*(stream: Duplex) {
      const asked = yield* request(stream)
      const target = Target.format(asked.target)
      const index = requests.push({ target, outcome: "dialing" }) - 1
      const answered = (outcome: "granted" | "refused", code: number) => {
        requests[index] = { target, outcome, code }
      }
      const refusal = options.refuse?.(target)
      if (refusal !== undefined) return answered("refused", asked.refuse(refusal))
      const reached = yield* Effect.tapError(
        reach(asked.target),
        ({ reason }) => Effect.sync(() => answered("refused", asked.refuse(reason)))
      )
      answered("granted", asked.grant())
      return yield* relay(stream, reached)
    })
  )
  const scheme = protocol === "http" && options.tls !== undefined ? "https" : protocol
  const running: ProxyPeer = {
    ...peer,
    url: `${scheme}://${formatSocketAddress(peer.address)}`,
    requests: Effect.sync(() => [...requests])
  }
  return running
})
