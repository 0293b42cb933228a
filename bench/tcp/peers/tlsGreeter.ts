/** A raw TLS server that sends one byte after the handshake: `r` when the client has resumed a session, else `f`. */
import * as Tls from "node:tls"
import { certificate } from "./certificate.ts"
import { serverOptions } from "./protocol.ts"
import { listen } from "./server.ts"

export default async () => {
  const { ca, server } = certificate()
  const { port } = await listen(
    Tls.createServer({ ...serverOptions, ...server }, (socket) => {
      socket.on("error", () => {}).resume().write(socket.isSessionReused() ? "r" : "f")
    })
  )
  return { port, ca }
}
