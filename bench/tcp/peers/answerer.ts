/** A raw server that answers each message, all that came together with one write. */
import { answerTo, lineFeed, Partial } from "./protocol.ts"
import { serve } from "./server.ts"

export default () =>
  serve((socket) => {
    const partial = new Partial()
    socket.on("data", (chunk) => {
      const bytes = partial.take(chunk)
      const answers: Array<Buffer> = []
      let from = 0
      for (let end: number; (end = bytes.indexOf(lineFeed, from)) !== -1; from = end + 1) {
        answers.push(answerTo(bytes.subarray(from, end)))
      }
      if (from < bytes.length) partial.keep(bytes.subarray(from))
      const [first, ...others] = answers
      if (first !== undefined) socket.write(others.length === 0 ? first : Buffer.concat(answers))
    })
  })
