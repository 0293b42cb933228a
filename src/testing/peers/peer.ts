/**
 * What all peers have in common: an address, connections, and a scope that ends both.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import type { DialTarget } from "../../internal/net/target.ts"
import { opening } from "../../internal/server/opening.ts"
import * as Serving from "../../internal/server/serving.ts"
import type { TlsOptions } from "../../internal/tls/options.ts"
import * as Listener from "../../services/Listener.ts"

/**
 * What every peer can be told.
 *
 * @category models
 * @since 0.1.0
 */
export interface PeerOptions {
  /** Where to listen. Default `"127.0.0.1:0"`: a port of this host that the network chooses. */
  readonly address?: DialTarget | undefined
  /** TLS on every connection: `cert` and `key` are required, as `TestCertificates` makes them. Default none. */
  readonly tls?: TlsOptions | undefined
}

/**
 * A peer that is running. It ends with the scope that it was started in, and all its connections with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Peer {
  /** Where it listens, with the real port. Can be dialled as it is. */
  readonly address: SocketAddress
  /** How many connections are open now. */
  readonly connections: Effect.Effect<number>
  /** How many there have been, with those that are open. */
  readonly accepted: Effect.Effect<number>
}

/**
 * Runs something for each connection that is made to an address, in a fiber and a scope of its own, for as long as the scope
 * lives. Connections are counted from 1.
 *
 * @internal
 */
export const start = Effect.fnUntraced(function*<R>(
  options: PeerOptions,
  run: (stream: Duplex, connection: number) => Effect.Effect<void, unknown, R>
): Effect.fn.Return<
  Peer,
  TcpError | TlsConfigError,
  Listener.Listener | Scope.Scope | Exclude<R, Scope.Scope>
> {
  const scope = yield* Effect.scope
  const listener = yield* Listener.Listener
  const open = yield* opening({ tls: options.tls, timeout: Duration.seconds(10) })
  const listening = yield* Scope.fork(scope)
  const bound = yield* Scope.provide(listener.bind(options.address ?? "127.0.0.1:0"), listening)
  let accepted = 0
  const source: Serving.Source = {
    bound,
    stopListening: Scope.close(listening, Exit.void),
    maxConnections: Infinity,
    reject: false,
    served: 0
  }
  const serving = Serving.serve(source, {
    run: (duplex) => {
      const connection = ++accepted
      return open === undefined
        ? run(duplex, connection)
        : Effect.flatMap(open(duplex), ({ stream }) => run(stream, connection))
    },
    failed: (cause) => Effect.logDebug("a connection to a peer failed", cause),
    rejected: () => {},
    drainTimeout: 0
  })
  // a listener that is gone, as that of a host which crashed, is the end of a peer and no error of its test
  yield* Effect.forkIn(Effect.ignore(serving), scope, { startImmediately: true })
  return {
    address: bound.address,
    connections: Effect.sync(() => source.served),
    accepted: Effect.sync(() => accepted)
  }
})
