/** Receiving as fast as it goes, 256 MiB for each connection; counting what comes. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Connection, TcpClient, type TcpError } from "hawser"
import * as Net from "node:net"
import type { Address, Round, StartClient, Suite } from "../harness/benchmark.ts"
import * as Hawser from "./hawser.ts"
import { clientOptions } from "./peers/protocol.ts"

const mebibyte = 1024 * 1024

/** Connects and receives again and again, one connection at a time, and gives MiB. */
export const repeat = async (round: Round, receive: () => Promise<number>) => {
  let bytes = 0
  let times = 0
  do {
    bytes += await receive()
  } while (!round.over && ++times < round.limit)
  return bytes / mebibyte
}

/** Receives with `drain` until the peer ends. */
const hawser = (
  drain: (
    connection: Connection.Connection,
    count: (bytes: Uint8Array) => void
  ) => Effect.Effect<void, TcpError.TcpError>
): StartClient =>
({ port }) => {
  const runtime = Hawser.client()
  return (round) =>
    repeat(round, () => {
      let size = 0
      const count = (bytes: Uint8Array) => {
        size += bytes.length
        round.seen?.(bytes)
      }
      return runtime.runPromise(
        TcpClient.TcpClient.use((tcp) => tcp.connect({ host: "127.0.0.1", port })).pipe(
          Effect.flatMap((connection) => drain(connection, count)),
          Effect.map(() => size),
          Effect.scoped
        )
      )
    })
}

const byStream = hawser((connection, count) =>
  Stream.runForEach(connection.reads, (bytes) => Effect.sync(() => count(bytes)))
)

const byRead = hawser((connection, count) =>
  Effect.forever(Effect.map(connection.read(), count)).pipe(
    Effect.catchReason("TcpError", "EndOfStream", () => Effect.void)
  )
)

const raw = ({ port }: Address) => (round: Round) =>
  repeat(round, () =>
    new Promise((resolve, reject) => {
      let size = 0
      const socket = Net.connect({ ...clientOptions, port })
      socket.on("data", (bytes) => {
        size += bytes.length
        round.seen?.(bytes)
      })
      socket.on("end", () => resolve(size)).on("error", reject)
    }))

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [{
    name: "bulk read",
    unit: "MiB",
    checkLimit: 1,
    measures: "client",
    peer: new URL("peers/source.ts", import.meta.url),
    contenders: { "hawser": byStream, "hawser-read": byRead, "raw": raw },
    pairs: [
      { contender: "hawser", baseline: "raw", atLeast: 0.97 },
      { contender: "hawser-read", baseline: "raw", atLeast: 0.97 }
    ]
  }]
}

export default suite
