/** A raw TLS server that sends 256 MiB to whoever connects, and ends. */
import * as Tls from "node:tls"
import { certificate } from "./certificate.ts"
import { chunk, chunks, pour } from "./pour.ts"
import { serverOptions } from "./protocol.ts"
import { listen } from "./server.ts"

export default async () => {
  const { ca, server } = certificate()
  const { port } = await listen(
    Tls.createServer(
      { ...serverOptions, ...server },
      (socket) => pour(socket.resume().on("error", () => {}), chunk, chunks)
    )
  )
  return { port, ca }
}
