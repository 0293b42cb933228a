/** Hawser's clients and servers as the benchmarks use them: open until the process ends. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import { type Connection, Dialer, Listener, TcpClient, TcpServer, type TlsConfigError } from "hawser"
import type { Address } from "../harness/benchmark.ts"

/** The way to an address: what is between the client and the network. */
export type Path = (address: Address) => Layer.Layer<Dialer.Dialer, TlsConfigError.TlsConfigError, Dialer.Dialer>

/** Runs effects that need a client. */
export const client = (address: Address, path?: Path) =>
  ManagedRuntime.make(
    TcpClient.layer.pipe(
      Layer.provide(path === undefined ? Dialer.layer : Layer.provide(path(address), Dialer.layer))
    )
  )

/** Opens connections that stay open. */
export const connectMany = (
  address: Address,
  count: number,
  path?: Path
): Promise<ReadonlyArray<Connection.Connection>> => {
  const scope = Scope.makeUnsafe()
  return client(address, path).runPromise(
    TcpClient.TcpClient.use((tcp) =>
      Effect.forEach(
        Array.from({ length: count }),
        () => Scope.provide(tcp.connect({ host: "127.0.0.1", port: address.port }), scope),
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
