/** As much as goes, one way: receiving, sending, and receiving into something that keeps no bytes. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Connection } from "hawser"
import type { Round, Suite } from "../harness/benchmark.ts"
import { chunk, chunks, pour } from "./peers/pour.ts"
import { byStream, hawser, rawReceive, rawSend } from "./transfer.ts"

const byRead = Effect.fnUntraced(function*(connection: Connection.Connection, seen: Round["seen"]) {
  let size = 0
  yield* Effect.catchReason(
    Effect.gen(function*() {
      while (true) {
        const bytes = yield* connection.read()
        size += bytes.length
        seen?.(bytes)
      }
    }),
    "TcpError",
    "EndOfStream",
    () => Effect.void
  )
  return size
})

const byConsume = (connection: Connection.Connection, seen: Round["seen"]) =>
  Effect.suspend(() => {
    let size = 0
    return Effect.map(
      connection.consume((bytes) => {
        size += bytes.length
        seen?.(bytes)
      }),
      () => size
    )
  })

/** Ends our side and reads what the peer has counted. */
const counted = (connection: Connection.Connection) =>
  Effect.map(Effect.andThen(connection.closeWrite, connection.readLine()), Number)

const bytes = Stream.take(Stream.fromEffectRepeat(Effect.succeed(chunk)), chunks)

const bySink = (connection: Connection.Connection) =>
  Effect.andThen(Stream.run(bytes, connection.writes), counted(connection))

const byWrite = Effect.fnUntraced(function*(connection: Connection.Connection) {
  for (let i = 0; i < chunks; i++) yield* connection.write(chunk)
  return yield* counted(connection)
})

const source = new URL("peers/source.ts", import.meta.url)

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    {
      name: "bulk read",
      unit: "MiB",
      checkLimit: 1,
      measures: "client",
      peer: source,
      contenders: { "hawser": hawser(byStream), "hawser-read": hawser(byRead), "raw": rawReceive() },
      pairs: [
        { contender: "hawser", baseline: "raw", atLeast: 0.97 },
        { contender: "hawser-read", baseline: "raw", atLeast: 0.97 }
      ]
    },
    {
      name: "bulk write",
      unit: "MiB",
      checkLimit: 1,
      measures: "client",
      peer: new URL("peers/sink.ts", import.meta.url),
      contenders: {
        "hawser": hawser(bySink),
        "hawser-write": hawser(byWrite),
        "raw": rawSend((socket) => pour(socket, chunk, chunks))
      },
      pairs: [
        { contender: "hawser", baseline: "raw", atLeast: 0.97 },
        { contender: "hawser-write", baseline: "raw", atLeast: 0.97 }
      ]
    },
    {
      name: "bulk sink",
      unit: "MiB",
      checkLimit: 1,
      measures: "client",
      peer: source,
      contenders: { "hawser": hawser(byConsume), "raw": rawReceive() },
      pairs: [{ contender: "hawser", baseline: "raw", atLeast: 1.2 }]
    }
  ]
}

export default suite
