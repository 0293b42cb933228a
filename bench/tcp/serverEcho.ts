/** A request and its answer of 64 bytes each, on 64 connections: the server's side. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Framing } from "hawser"
import type { Suite } from "../harness/benchmark.ts"
import { serve } from "./hawser.ts"
import * as NodeSocket from "./nodeSocket.ts"
import { answerTo, lineFeed, Partial } from "./peers/protocol.ts"
import { serve as serveRaw } from "./peers/server.ts"

const requests = Framing.delimited("\n")

const hawser = () =>
  serve((connection) => connection.runFrames(requests, (request) => connection.write(answerTo(request))))

const hawserFrames = () =>
  serve((connection) =>
    Stream.runForEachArray(connection.frames(requests), (frames) => connection.writeAll(frames.map(answerTo)))
  )

/** Answers all messages that came together with one write. */
const raw = () =>
  serveRaw((socket) => {
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

const nodeSocket = () =>
  NodeSocket.serve(Effect.fnUntraced(function*(socket) {
    const { pull, write, writeAll } = yield* NodeSocket.open(socket)
    const partial = new Partial()
    for (;;) {
      const answers: Array<Buffer> = []
      for (const piece of yield* pull) {
        const bytes = partial.take(piece)
        let from = 0
        for (let end: number; (end = bytes.indexOf(lineFeed, from)) !== -1; from = end + 1) {
          answers.push(answerTo(bytes.subarray(from, end)))
        }
        if (from < bytes.length) partial.keep(bytes.subarray(from))
      }
      const [first, ...others] = answers
      if (first !== undefined) yield* others.length === 0 ? write(first) : writeAll([first, ...others])
    }
  }))

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [{
    name: "server echo c=64",
    unit: "requests",
    checkLimit: 100,
    measures: "server",
    peer: new URL("peers/ask.ts", import.meta.url),
    contenders: { "hawser": hawser, "hawser-frames": hawserFrames, "raw": raw, "node-socket": nodeSocket },
    pairs: [
      { contender: "hawser", baseline: "raw", atLeast: 0.95 },
      { contender: "hawser", baseline: "node-socket", atLeast: 1.2 },
      { contender: "hawser-frames", baseline: "raw" },
      { contender: "node-socket", baseline: "raw" }
    ]
  }]
}

export default suite
