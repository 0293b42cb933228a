/** Listening on a free port of 127.0.0.1, for the raw servers. */
import * as Net from "node:net"
import type { Address } from "../../harness/benchmark.ts"
import { serverOptions } from "./protocol.ts"

export const listen = (server: Net.Server): Promise<Address> =>
  new Promise((resolve, reject) => {
    server.once("error", reject)
    // the longest backlog that the system allows: clients that come faster than they are accepted must not be dropped
    server.listen({ host: "127.0.0.1", port: 0, backlog: 65_535 }, () => {
      const address = server.address()
      resolve({ port: address === null || typeof address === "string" ? 0 : address.port })
    })
  })

/** Serves each socket; one that fails costs only itself. */
export const serve = (handle: (socket: Net.Socket) => void, options: Net.ServerOpts = {}): Promise<Address> =>
  listen(Net.createServer({ ...serverOptions, ...options }, (socket) => handle(socket.on("error", () => {}))))
