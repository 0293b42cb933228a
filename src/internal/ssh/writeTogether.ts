import type { Duplex } from "node:stream"
import { passYoung } from "../bytes/youngBuffers.ts"

/**
 * Has all that is written in one turn of the event loop leave in one write: ssh2 writes packet by packet, and each write costs
 * more than the packet. The end of one command and the beginning of the next go together then, as do the packets of an upload.
 */
export const writeTogether = (duplex: Duplex): void => {
  const write: (chunk: Uint8Array, ...rest: Array<any>) => boolean = duplex.write.bind(duplex)
  let held = false
  const release = () => {
    held = false
    duplex.uncork()
  }
  duplex.write = (chunk: Uint8Array, ...rest: Array<any>) => {
    // each packet of ssh2's is in memory of its own
    passYoung(chunk.length)
    if (!held) {
      held = true
      duplex.cork()
      process.nextTick(release)
    }
    return write(chunk, ...rest)
  }
}
