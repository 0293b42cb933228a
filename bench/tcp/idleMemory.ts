/** What 10,000 idle connections cost a server, of which each was served once. */
import * as Stream from "effect/Stream"
import type { Suite } from "../harness/benchmark.ts"
import * as Hawser from "./hawser.ts"
import * as Raw from "./peers/server.ts"

const hawser = () => Hawser.serve((connection) => Stream.run(connection.reads, connection.writes))

const raw = () => Raw.serve((socket) => void socket.on("data", (bytes) => socket.write(bytes)))

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [{
    name: "idle memory",
    unit: "connections",
    checkLimit: 10_000,
    measures: "memory",
    peer: new URL("peers/holder.ts", import.meta.url),
    contenders: { hawser, raw },
    pairs: [{ contender: "hawser", baseline: "raw", atLeast: 0.5 }]
  }]
}

export default suite
