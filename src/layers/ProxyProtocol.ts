/**
 * The PROXY protocol of HAProxy: a relay tells the server behind it who the client is.
 *
 * The relay writes one header at the very beginning of a connection, before TLS or anything else. `ProxyProtocol.layer`
 * is the sending side, a step of the path like any other; the reading side is the option `proxyProtocol` of `TcpServer`,
 * whose connections then have the client's address as their `remoteAddress`.
 *
 * **Details**
 *
 * - Version 1 is a line of text with two addresses, version 2 is binary and can say more, such as the name that the client
 *   asked for (`tlvs`). Both are read; which one is written is an option.
 * - Without `source` and `destination` the header names the two ends of the connection itself. Where there is nothing to
 *   name, as on a unix socket, it says `UNKNOWN` (version 1) or `LOCAL` (version 2). An IPv4 address beside an IPv6 one is
 *   written as an IPv6 one.
 * - A server reads a header from the sources it trusts and from nobody else. These have to send one: the protocol forbids
 *   to guess, because a client could write its own where the proxy wrote none. A header has at most 107 bytes in version 1
 *   and 4112 in version 2; whatever follows it belongs to the connection. A checksum that is there is verified.
 *
 * The error of its own is `InvalidTarget`, with each dial: an address or a field that no header can carry.
 *
 * **Gotchas**
 *
 * Nothing answers the header. A server that does not expect one takes it for the first bytes of its own protocol.
 *
 * **Example** (Relaying connections to a server that wants to know the clients)
 *
 * ```ts
 * import { Effect, Layer, Option, Stream } from "effect"
 * import { Connection, Dialer, Listener, ProxyProtocol, TcpServer } from "hawser"
 *
 * const relay = Effect.gen(function*() {
 *   const dialer = yield* Dialer.Dialer
 *   const server = yield* TcpServer.TcpServer
 *   return yield* server.serve(Effect.fnUntraced(function*(client) {
 *     const source = Option.getOrUndefined(client.remoteAddress)
 *     const announced = Dialer.through(dialer, ProxyProtocol.hop({ source }))
 *     const backend = yield* Effect.flatMap(announced.dial("backend.internal:8080"), Connection.fromDuplex)
 *     yield* Effect.all([Stream.run(client.reads, backend.writes), Stream.run(backend.reads, client.writes)], {
 *       concurrency: 2
 *     })
 *   }))
 * })
 *
 * const Live = TcpServer.layer({ port: 8080 }).pipe(Layer.provide(Listener.layer), Layer.merge(Dialer.layer))
 *
 * const program = Effect.provide(relay, Live)
 * ```
 *
 * @see https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { proxyProtocolHop, type SendOptions } from "../internal/proxy/proxyProtocolHop.ts"
import * as Dialer from "../services/Dialer.ts"

export type {
  /**
   * A PROXY protocol header, as a server reads it.
   *
   * @category models
   * @since 0.1.0
   */
  ProxyHeader,
  /**
   * A field of a header that has no name of its own.
   *
   * @category models
   * @since 0.1.0
   */
  ProxyTlv,
  /**
   * What a version 2 header says beside the addresses.
   *
   * @category models
   * @since 0.1.0
   */
  ProxyTlvs
} from "../internal/proxy/proxyHeader.ts"

export type {
  /**
   * Whose headers a server believes.
   *
   * @category models
   * @since 0.1.0
   */
  ProxyProtocolOptions
} from "../internal/proxy/proxyProtocol.ts"

export type {
  /**
   * What the header says that each connection begins with.
   *
   * @category models
   * @since 0.1.0
   */
  SendOptions
} from "../internal/proxy/proxyProtocolHop.ts"

/**
 * The header as a step of a path, for `Dialer.through`: where each connection names a client of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const hop = (options: SendOptions = {}): Dialer.Hop => proxyProtocolHop(options)

/**
 * A Dialer whose connections begin with a PROXY header. Each call makes a new layer. Building it never fails; settings
 * that cannot be used fail each dial with `InvalidTarget`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: SendOptions = {}): Layer.Layer<Dialer.Dialer, never, Dialer.Dialer> =>
  Dialer.layerThrough(Effect.sync(() => hop(options)))
