/** The raw client of a server that is measured: connects, ends, waits for the server's end; 16 connections at once. */
import * as Net from "node:net"
import type { Address, Client, Round } from "../../harness/benchmark.ts"
import { sum } from "./ask.ts"
import { clientOptions } from "./protocol.ts"

export const concurrency = 16

const visit = (port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = Net.connect({ ...clientOptions, port })
    socket.on("error", reject).on("close", () => resolve()).end()
    socket.resume()
  })

const visitAgain = async (port: number, round: Round) => {
  let done = 0
  do {
    await visit(port)
  } while (++done < round.limit && !round.over)
  return done
}

export default ({ port }: Address): Client => async (round) =>
  sum(await Promise.all(Array.from({ length: concurrency }, () => visitAgain(port, round))))
