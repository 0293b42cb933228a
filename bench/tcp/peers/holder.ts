/** A raw client that opens connections, waits until each is served, and holds them. */
import type { Socket } from "node:net"
import type { Address, Client } from "../../harness/benchmark.ts"
import { connect } from "./connect.ts"

/** How many are opened at once. */
const concurrency = 100

const served = (socket: Socket): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once("data", () => resolve()).once("close", () => reject(new Error("the server hung up"))).write("x")
  })

export default (address: Address): Client => {
  const held: Array<Socket> = []
  return async ({ limit }) => {
    let left = limit
    const open = async () => {
      while (left-- > 0) {
        const socket = await connect(address)
        held.push(socket)
        await served(socket)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, open))
    return limit
  }
}
