/** A raw server that sends 32 MiB of lines of 100 bytes to whoever connects, and ends. */
import { pour } from "./pour.ts"
import { serve } from "./server.ts"

const line = (index: number) => `${`${index} the quick brown fox jumps over the lazy dog `.padEnd(99, "-")}\n`

const lines = Buffer.from(Array.from({ length: 655 }, (_, index) => line(index)).join(""))

export default () => serve((socket) => pour(socket.resume(), lines, 512))
