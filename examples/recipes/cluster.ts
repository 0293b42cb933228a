import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Schedule, Stream } from "effect"
import { Listener, TcpServer } from "hawser"

// the same program runs in every process: node cluster.ts
const program = TcpServer.TcpServer.use((server) =>
  Effect.andThen(
    Effect.log("listening", server.address),
    server.serve((connection) => Stream.run(connection.reads, connection.writes)) // in the workers
  )
)

const Live = TcpServer.layerCluster({
  port: 7000,
  workers: 4, // default: one for each processor
  maxConnections: 1000, // of each worker
  drainTimeout: "30 seconds",
  restart: Schedule.spaced("1 second") // workers that end without being asked to
}).pipe(Layer.provide(Listener.layer))

// SIGINT and SIGTERM drain: no new connections, then up to 30 seconds for those that are open
export const main = () => NodeRuntime.runMain(Effect.provide(program, Live))
