/**
 * A cluster as a program of its own, for tests: `node --import ./test/support/source.ts test/support/clusterServer.ts`.
 * Its primary prints the address; a connection is told which process serves it, and answered line by line:
 * `crash` ends the process, `slow` is answered when the next line has come.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Schedule } from "effect"
import { formatSocketAddress } from "effect/net/NetAddress"
import { type Connection, Listener, TcpServer } from "hawser"
import Cluster from "node:cluster"

const options: TcpServer.ClusterOptions = JSON.parse(process.env["CLUSTER_OPTIONS"] ?? "{}")

const answer = (connection: Connection.Connection) =>
  Effect.gen(function*() {
    yield* connection.write(`${process.pid}\n`)
    while (true) {
      const line = yield* connection.readLine()
      if (line === "crash") process.exit(1)
      yield* connection.write(`${line === "slow" ? `${line} ${yield* connection.readLine()}` : line}\n`)
      if (line === "slow") return
    }
  })

const program = TcpServer.TcpServer.use((server) => {
  if (Cluster.isPrimary) process.stdout.write(`${formatSocketAddress(server.address)}\n`)
  return server.serve(answer)
})

NodeRuntime.runMain(
  program.pipe(Effect.provide(
    TcpServer.layerCluster({ drainTimeout: "20 seconds", restart: Schedule.spaced("10 millis"), ...options }).pipe(
      Layer.provide(Listener.layer)
    )
  )),
  { disableErrorReporting: true }
)
