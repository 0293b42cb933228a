/** A raw server that counts what it receives, and says how much it was when the client has ended. */
import { serve } from "./server.ts"

export default () =>
  serve((socket) => {
    let size = 0
    socket.on("data", (bytes) => size += bytes.length)
    socket.on("end", () => socket.end(`${size}\n`))
  }, { allowHalfOpen: true })
