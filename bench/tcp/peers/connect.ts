/** Connecting, for the raw clients. */
import * as Net from "node:net"
import type { Address } from "../../harness/benchmark.ts"
import { clientOptions } from "./protocol.ts"

/** Opens a socket: plain, or TLS, or through a proxy. */
export type Open = (address: Address) => Promise<Net.Socket>

/** Waits until a socket is connected. */
export const connected = <S extends Net.Socket>(socket: S): Promise<S> =>
  new Promise((resolve, reject) => {
    socket.once("error", reject)
    socket.once("connect", () => {
      socket.off("error", reject).on("error", () => {})
      resolve(socket)
    })
  })

export const connect: Open = ({ port }) => connected(Net.connect({ ...clientOptions, port }))

export const connectMany = (address: Address, count: number, open = connect): Promise<ReadonlyArray<Net.Socket>> =>
  Promise.all(Array.from({ length: count }, () => open(address)))
