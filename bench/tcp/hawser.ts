/** Hawser's clients and servers as the benchmarks use them: open until the process ends. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import { type Connection, Dialer, Listener, TcpClient, TcpServer } from "hawser"
import type { Address } from "../harness/benchmark.ts"

/** Runs effects that need a client, over the network or over what `dialer` makes of it. */
export const client = <E = never>(dialer: Layer.Layer<Dialer.Dialer, E> = Dialer.layer) =>
  ManagedRuntime.make(TcpClient.layer.pipe(Layer.provide(dialer)))

/** Opens connections that stay open. */
export const connectMany = ({ port }: Address, count: number): Promise<ReadonlyArray<Connection.Connection>> => {
  const scope = Scope.makeUnsafe()
  return client().runPromise(
    TcpClient.TcpClient.use((tcp) =>
      Effect.forEach(
        Array.from({ length: count }),
        () => Scope.provide(tcp.connect({ host: "127.0.0.1", port }), scope),
        { concurrency: 16 }
      )
    )
  )
}

/** Serves with the default options, for as many connections as come. */
export const serve = <E>(
  handler: (connection: Connection.Connection) => Effect.Effect<void, E>,
  options: Omit<TcpServer.Options, "port" | "host"> = {}
): Promise<Address> =>
  ManagedRuntime.make(
    TcpServer.layer({ maxConnections: 20_000, ...options }).pipe(Layer.provide(Listener.layer))
  ).runPromise(
    TcpServer.TcpServer.use((server) =>
      Effect.as(Effect.forkDetach(server.serve(handler)), {
        port: NetAddress.isInetAddress(server.address) ? server.address.port : 0
      })
    )
  )
