/** Connecting, for the raw clients. */
import * as Net from "node:net"
import { clientOptions } from "./protocol.ts"

export const connect = (port: number): Promise<Net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = Net.connect({ ...clientOptions, port })
    socket.once("error", reject)
    socket.once("connect", () => {
      socket.off("error", reject).on("error", () => {})
      resolve(socket)
    })
  })

export const connectMany = (port: number, count: number): Promise<ReadonlyArray<Net.Socket>> =>
  Promise.all(Array.from({ length: count }, () => connect(port)))
