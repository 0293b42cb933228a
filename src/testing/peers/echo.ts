/**
 * A peer that sends back what it gets.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { TcpError } from "../../errors/TcpError.ts"
import type { TlsConfigError } from "../../errors/TlsConfigError.ts"
import * as Connection from "../../services/Connection.ts"
import type { Listener } from "../../services/Listener.ts"
import * as Peer from "./peer.ts"

/**
 * An echo server that is running.
 *
 * @category models
 * @since 0.1.0
 */
export interface EchoPeer extends Peer.Peer {
  /** How many bytes it has sent back, over all connections. */
  readonly bytes: Effect.Effect<number>
}

/**
 * Sends back what it gets, for as long as the scope lives. It reads no faster than it can write, and ends its side of a
 * connection when the client has ended its own.
 *
 * Errors: as `Listener.bind`, and `TlsConfigError` where `tls` makes no sense.
 *
 * @category peers
 * @since 0.1.0
 */
export const echo: (
  options?: Peer.PeerOptions
) => Effect.Effect<EchoPeer, TcpError | TlsConfigError, Listener | Scope.Scope> = Effect.fn("TestPeers.echo")(
  function*(options: Peer.PeerOptions = {}) {
    let bytes = 0
    const peer = yield* Peer.start(
      options,
      (stream) =>
        Effect.flatMap(
          Connection.fromDuplex(stream, { role: "accepted" }),
          (connection) =>
            Stream.runForEachArray(connection.reads, (pieces) =>
              Effect.andThen(
                connection.writeAll(pieces),
                Effect.sync(() => {
                  for (const piece of pieces) {
                    bytes += piece.length
                  }
                })
              ))
        )
    )
    return { ...peer, bytes: Effect.sync(() => bytes) }
  }
)
