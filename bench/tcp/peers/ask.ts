/** The raw side of ping-pong: each socket asks, waits for the line feed that ends the answer, and asks again. */
import type { Socket } from "node:net"
import type { Address, Client, Round } from "../../harness/benchmark.ts"
import { connectMany, type Open } from "./connect.ts"
import { lineFeed, Partial, requestAt } from "./protocol.ts"

const askOn = (socket: Socket, round: Round): Promise<number> =>
  new Promise((resolve, reject) => {
    const partial = new Partial()
    let done = 0
    const onClose = () => reject(new Error("the server hung up"))
    const onData = (chunk: Buffer) => {
      const bytes = partial.take(chunk)
      const end = bytes.indexOf(lineFeed)
      if (end === -1) return partial.keep(bytes)
      round.seen?.(bytes)
      done++
      if (!round.over && done < round.limit) {
        socket.write(requestAt(done))
        return
      }
      socket.off("data", onData).off("close", onClose)
      resolve(done)
    }
    socket.on("data", onData).on("close", onClose)
    socket.write(requestAt(0))
  })

export const sum = (amounts: ReadonlyArray<number>) => amounts.reduce((a, b) => a + b, 0)

/** A client of so many connections. */
export const asking = (concurrency: number, open?: Open) => async (address: Address): Promise<Client> => {
  const sockets = await connectMany(address, concurrency, open)
  return async (round) => sum(await Promise.all(sockets.map((socket) => askOn(socket, round))))
}

export default asking(64)
