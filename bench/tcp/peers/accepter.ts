/** A raw server that accepts, waits for the end, and ends too. */
import { serve } from "./server.ts"

export default () => serve((socket) => void socket.resume())
