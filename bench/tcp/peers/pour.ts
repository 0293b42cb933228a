/** Writing as fast as the other side reads. */
import type { Writable } from "node:stream"

export const chunkSize = 64 * 1024

/** What is sent in bulk: 64 KiB. */
export const chunk = Buffer.alloc(chunkSize, "0123456789abcdefghijklmnopqrstuvwxyz\r\n")

/** Writes `bytes` again and again, `times` times, then ends. */
export const pour = (to: Writable, bytes: Buffer, times: number): void => {
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
