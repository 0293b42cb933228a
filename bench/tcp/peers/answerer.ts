/** A raw server that answers messages where they are, all that came together with one write: next to no work of its own. */
import { answerInPlace, size } from "./protocol.ts"
import { serve } from "./server.ts"

export default () =>
  serve((socket) => {
    /** How many bytes of the next chunk belong to a message that has begun. */
    let begun = 0
    socket.on("data", (chunk) => {
      for (let at = begun; at < chunk.length; at += size) answerInPlace(chunk, at)
      begun = (((begun - chunk.length) % size) + size) % size
      socket.write(chunk)
    })
  })
