/** What 10,000 idle connections cost a server, of which each has been answered once. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Suite } from "../harness/benchmark.ts"
import * as Hawser from "./hawser.ts"
import * as NodeSocket from "./nodeSocket.ts"
import * as Raw from "./peers/server.ts"

const hawser = () =>
  Hawser.serve((connection) =>
    Effect.forever(Effect.flatMap(connection.readBatch, (pieces) => connection.writeAll(pieces)))
  )

const hawserStream = () => Hawser.serve((connection) => Stream.run(connection.reads, connection.writes))

const raw = () => Raw.serve((socket) => void socket.on("data", (bytes) => socket.write(bytes)))

const nodeSocket = () =>
  NodeSocket.serve((socket) =>
    Effect.flatMap(
      NodeSocket.open(socket),
      ({ pull, writeAll }) => Effect.forever(Effect.flatMap(pull, (pieces) => writeAll(pieces)))
    )
  )

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [{
    name: "idle memory",
    unit: "connections",
    checkLimit: 10_000,
    measures: "memory",
    peer: new URL("peers/holder.ts", import.meta.url),
    contenders: { "hawser": hawser, "hawser-stream": hawserStream, "raw": raw, "node-socket": nodeSocket },
    pairs: [
      { contender: "hawser", baseline: "raw", atLeast: 0.5 },
      { contender: "hawser-stream", baseline: "raw" },
      { contender: "hawser", baseline: "node-socket" }
    ]
  }]
}

export default suite
