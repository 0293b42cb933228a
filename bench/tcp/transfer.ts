/** Transfers in bulk: connections that are opened, received from or sent to until the end, and closed; counted in MiB. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Connection, TcpClient, type TcpError } from "hawser"
import type { Socket } from "node:net"
import type { Round, StartClient } from "../harness/benchmark.ts"
import { client, type Path } from "./hawser.ts"
import { connect, type Open } from "./peers/connect.ts"

/** Does something until the round is over and gives the sum of what it gave. */
export const repeat = async (round: Round, work: () => Promise<number>): Promise<number> => {
  let amount = 0
  let times = 0
  do {
    amount += await work()
  } while (++times < round.limit && !round.over)
  return amount
}

const mebibyte = 1024 * 1024

/** Opens a connection for each transfer; `use` gives the bytes that were transferred. */
export const hawser = (
  use: (
    connection: Connection.Connection,
    seen: Round["seen"]
  ) => Effect.Effect<number, TcpError.TcpError>,
  path?: Path
): StartClient =>
(address) => {
  const runtime = client(address, path)
  const target = { host: "127.0.0.1", port: address.port }
  return (round) =>
    repeat(round, () =>
      runtime.runPromise(
        TcpClient.TcpClient.use((tcp) => tcp.connect(target)).pipe(
          Effect.flatMap((connection) => use(connection, round.seen)),
          Effect.map((size) => size / mebibyte),
          Effect.scoped
        )
      ))
}

/** Receives as a Stream. */
export const byStream = (connection: Connection.Connection, seen: Round["seen"]) =>
  Effect.suspend(() => {
    let size = 0
    return connection.reads.pipe(
      Stream.runForEachArray((pieces) =>
        Effect.sync(() => {
          for (const bytes of pieces) {
            size += bytes.length
            seen?.(bytes)
          }
        })
      ),
      Effect.map(() => size)
    )
  })

/** Receives with a `data` listener. */
export const rawReceive = (open: Open = connect): StartClient => (address) => (round) =>
  repeat(round, async () => {
    const socket = await open(address)
    return new Promise((resolve, reject) => {
      let size = 0
      socket.on("data", (bytes) => {
        size += bytes.length
        round.seen?.(bytes)
      })
      socket.on("end", () => resolve(size / mebibyte)).on("error", reject)
    })
  })

/** Sends with `send` and gives what the peer says it has received. */
export const rawSend = (send: (socket: Socket) => void): StartClient => (address) => (round) =>
  repeat(round, async () => {
    const socket = await connect(address)
    return new Promise((resolve, reject) => {
      let said = ""
      socket.on("data", (bytes) => said += bytes.toString())
      socket.on("end", () => resolve(Number(said) / mebibyte)).on("error", reject)
      send(socket)
    })
  })
