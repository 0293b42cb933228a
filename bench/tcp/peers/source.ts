/** A raw server that sends 256 MiB to whoever connects, and ends. */
import { chunk, chunks, pour } from "./pour.ts"
import { serve } from "./server.ts"

export default () => serve((socket) => pour(socket.resume(), chunk, chunks))
