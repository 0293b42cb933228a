/**
 * A network in memory, for tests: what dials and what listens run on it unchanged, without sockets.
 *
 * `layer` gives a `Dialer` and a `Listener` that are connected to each other and to nothing else. A server binds any host
 * name it likes, a client dials that name.
 *
 * **Details**
 *
 * - A host is known once something was bound on it, or when `hosts` names it; so are `localhost` and the loopback
 *   addresses. Dialling an unknown name fails with `NameNotFound`, an unknown address with `Unreachable`, a known host on
 *   which nobody listens with `Refused`. Each name has an address (10.0.0.2 and on), and can be dialled by it.
 * - Connections behave as TCP does on one machine: bytes arrive in order and at a later turn of the event loop, never
 *   inside the write; what is written in one turn may arrive as one piece; a writer waits only once `bufferSize` bytes
 *   are under way; each side can be ended by itself; closing with bytes unread resets the connection; the first write
 *   to a closed peer is lost and the next one fails.
 * - No time passes on this network, so it works under a `TestClock` as well as in real time. A dial takes one turn of
 *   the event loop and never times out.
 * - When the layer's scope ends, everything on the network is closed.
 *
 * **Gotchas**
 *
 * Bytes are memory here, not packets: what the operating system alone does (backlogs, keep-alive, routing) is not
 * imitated. Keep one test on loopback beside those on this network.
 *
 * A scope that closes a stream whose peer does not read waits up to two seconds, of real time under a `TestClock` too, for
 * what is still to be sent. With the default `bufferSize` there is hardly ever anything.
 *
 * **Example** (Testing a client against a server, byte by byte)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Connection, Listener, TcpClient } from "hawser"
 * import { TestNetwork } from "hawser/testing"
 *
 * const test = Effect.gen(function*() {
 *   const listener = yield* Listener.Listener
 *   const tcp = yield* TcpClient.TcpClient
 *   const { accept } = yield* listener.bind({ host: "db", port: 5432 })
 *   const client = yield* tcp.connect("db:5432")
 *   const server = yield* Connection.fromDuplex(yield* accept)
 *   yield* client.write("ping\n")
 *   return yield* server.readLine() // "ping", however it was cut up
 * }).pipe(
 *   Effect.scoped,
 *   Effect.provide(TcpClient.layer.pipe(Layer.provideMerge(TestNetwork.layer({ fragment: 1 }))))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DialError } from "../errors/DialError.ts"
import { MemoryNetwork } from "../internal/memory/network.ts"
import { close } from "../internal/net/duplex.ts"
import { parseTarget, reported } from "../internal/net/hop.ts"
import * as Target from "../internal/net/target.ts"
import * as Dialer from "../services/Dialer.ts"
import * as Listener from "../services/Listener.ts"

/**
 * How the network behaves.
 *
 * @category models
 * @since 0.1.0
 */
export interface NetworkOptions {
  /** Hosts that exist although nothing listens on them (yet): dialling them is refused. Default: none. */
  readonly hosts?: ReadonlyArray<string> | undefined
  /**
   * Deliver in pieces of at most this many bytes, each in a turn of the event loop of its own; 1 is byte by byte. Default
   * 65536, as a socket reads.
   */
  readonly fragment?: number | undefined
  /**
   * How many bytes each direction of a connection holds before its writer has to wait. Default 4 MiB, about what Linux
   * gives. Two HTTP/2 ends stop for ever when it is smaller than their flow-control window (64 KiB unless set).
   */
  readonly bufferSize?: number | undefined
}

/**
 * A connection of which at least one end is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenConnection {
  /** What was dialled, such as `"db:5432"`. */
  readonly target: string
  /** Which ends are open. */
  readonly open: ReadonlyArray<"client" | "server">
}

/**
 * The network itself.
 *
 * **Details**
 *
 * - `connections`: those of which an end is open, oldest first; a test that leaks nothing finds it empty.
 * - `reset(host)`: breaks all connections to a host, named as in a dial, without its port (for a unix socket its path).
 *   Reads and writes on both sides fail with `ECONNRESET`; what had arrived before can still be read. Gives how many
 *   connections it broke. To break a single one, call `resetAndDestroy` on one of its streams, as on a `net.Socket`.
 *
 * @category services
 * @since 0.1.0
 */
export class TestNetwork extends Context.Service<TestNetwork, {
  readonly connections: Effect.Effect<ReadonlyArray<OpenConnection>>
  readonly reset: (host: string) => Effect.Effect<number>
}>()("hawser/testing/TestNetwork") {}

const atLeastOne = (bytes: number) => Math.max(1, Math.floor(bytes))

/** The next turn of the event loop. */
const turn = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

const dialer = (network: MemoryNetwork) =>
  Dialer.Dialer.of({
    connectTimeout: Duration.seconds(10),
    dial: Effect.fn("Dialer.dial")(function*(input) {
      const target = yield* parseTarget(input, "direct")
      yield* turn
      const dial = Effect.mapError(
        Effect.acquireRelease(network.connect(target), close),
        (reason) => new DialError({ target: Target.format(target), hop: "direct", reason })
      )
      return yield* reported(dial, target, "direct")
    })
  })

const listener = (network: MemoryNetwork) =>
  Listener.Listener.of({
    bind: Effect.fn("Listener.bind")(function*(input, options) {
      const target = yield* Listener.parseAddress(input)
      const { accept, address, receive } = yield* Effect.acquireRelease(
        network.listen(target, options?.pending ?? 128),
        (bound) => Effect.sync(bound.close)
      )
      return { accept, address, receive }
    })
  })

const testNetwork = (network: MemoryNetwork) =>
  TestNetwork.of({
    connections: Effect.sync(() =>
      network.openLinks().map(({ client, server, target }) => ({
        target,
        open: [...(client.destroyed ? [] : ["client" as const]), ...(server.destroyed ? [] : ["server" as const])]
      }))
    ),
    reset: Effect.fn("TestNetwork.reset")(function*(host) {
      const broken = network.reset(host)
      // both ends have heard of it when this is done
      yield* turn
      return broken
    })
  })

/**
 * A network of its own for each call, with nobody on it yet.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: NetworkOptions = {}
): Layer.Layer<Dialer.Dialer | Listener.Listener | TestNetwork> =>
  Layer.effectContext(
    Effect.acquireRelease(
      Effect.sync(() => {
        const network = new MemoryNetwork({
          bufferSize: atLeastOne(options.bufferSize ?? 4 * 1024 * 1024),
          pieceSize: atLeastOne(options.fragment ?? 64 * 1024)
        })
        for (const host of options.hosts ?? []) network.addHost(host)
        return network
      }),
      (network) => Effect.sync(() => network.close())
    ).pipe(Effect.map((network) =>
      Context.make(Dialer.Dialer, dialer(network)).pipe(
        Context.add(Listener.Listener, listener(network)),
        Context.add(TestNetwork, testNetwork(network))
      )
    ))
  )
