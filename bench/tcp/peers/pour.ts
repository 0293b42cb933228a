/** Writing as fast as the other side reads. */
import type { Writable } from "node:stream"

/** What is sent in bulk. */
export const chunk: Buffer = Buffer.alloc(64 * 1024, "0123456789abcdefghijklmnopqrstuvwxyz\r\n")

/** How many chunks are 256 MiB, which is what each connection transfers. */
export const chunks = 4096

/** Writes `bytes` again and again, `times` times, then ends. */
export const pour = (to: Writable, bytes: Uint8Array, times: number): void => {
  let left = times
  const write = () => {
    while (left > 0) {
      left--
      if (!to.write(bytes)) return
    }
    to.off("drain", write).end()
  }
  to.on("drain", write)
  write()
}
