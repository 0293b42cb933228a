/** One connection on which 64 requests are always on their way: the client's side, which asks again for each answer. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Connection, Framing, type TcpError } from "hawser"
import type { Socket } from "node:net"
import type { Address, Client, Round, Suite } from "../harness/benchmark.ts"
import { connectMany } from "./hawser.ts"
import { connect } from "./peers/connect.ts"
import { lineFeed, Partial, requestAt } from "./peers/protocol.ts"

const outstanding = 64

const first = Array.from({ length: outstanding }, (_, i) => requestAt(i))

/** What is on its way in a round. */
class Pipeline {
  readonly round: Round
  answered = 0
  private asked = outstanding

  constructor(round: Round) {
    this.round = round
  }

  get isEmpty(): boolean {
    return this.answered === this.asked
  }

  /** Takes an answer and gives what is asked next, if anything is. */
  next(answer: Uint8Array): Buffer | undefined {
    this.answered++
    this.round.seen?.(answer)
    return this.round.over || this.asked >= this.round.limit ? undefined : requestAt(this.asked++)
  }
}

const answers = Framing.delimited("\n")

/** What ends a round, since handlers run until the peer ends. */
const over = Effect.fail("over" as const)

type Handled = Effect.Effect<void, TcpError.TcpError | "over">

const hawser =
  (run: (connection: Connection.Connection, pipeline: Pipeline) => Handled) =>
  async (address: Address): Promise<Client> => {
    const [connection] = await connectMany(address, 1)
    if (connection === undefined) throw new Error("no connection")
    return (round) => {
      const pipeline = new Pipeline(round)
      return Effect.runPromise(
        Effect.andThen(connection.writeAll(first), run(connection, pipeline)).pipe(
          Effect.catchIf((error) => error === "over", () => Effect.void),
          Effect.map(() => pipeline.answered)
        )
      )
    }
  }

/** Each answer in a handler of its own. */
const pushed = hawser((connection, pipeline) =>
  connection.runFrames(answers, (answer): Handled => {
    const request = pipeline.next(answer)
    return request !== undefined ? connection.write(request) : pipeline.isEmpty ? over : Effect.void
  })
)

/** Answers as they come, several at once. */
const pulled = hawser((connection, pipeline) =>
  Stream.runForEachArray(connection.frames(answers), (batch): Handled => {
    const requests: Array<Buffer> = []
    for (const answer of batch) {
      const request = pipeline.next(answer)
      if (request !== undefined) requests.push(request)
    }
    return requests.length > 0 ? connection.writeAll(requests) : pipeline.isEmpty ? over : Effect.void
  })
)

const askOn = (socket: Socket, round: Round, corked: boolean): Promise<number> =>
  new Promise((resolve, reject) => {
    const pipeline = new Pipeline(round)
    const partial = new Partial()
    const onClose = () => reject(new Error("the server hung up"))
    const onData = (chunk: Buffer) => {
      const bytes = partial.take(chunk)
      if (corked) socket.cork()
      let from = 0
      for (let end: number; (end = bytes.indexOf(lineFeed, from)) !== -1; from = end + 1) {
        const request = pipeline.next(bytes.subarray(from, end))
        if (request !== undefined) socket.write(request)
      }
      if (corked) socket.uncork()
      if (from < bytes.length) partial.keep(bytes.subarray(from))
      if (!pipeline.isEmpty) return
      socket.off("data", onData).off("close", onClose)
      resolve(pipeline.answered)
    }
    socket.on("data", onData).on("close", onClose)
    socket.write(Buffer.concat(first))
  })

const raw = (corked: boolean) => async (address: Address): Promise<Client> => {
  const socket = await connect(address)
  return (round) => askOn(socket, round, corked)
}

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [{
    name: "pipelined",
    unit: "requests",
    checkLimit: 10_000,
    measures: "client",
    peer: new URL("peers/answerer.ts", import.meta.url),
    contenders: { "hawser": pushed, "hawser-frames": pulled, "raw": raw(false), "raw-cork": raw(true) },
    pairs: [
      { contender: "hawser", baseline: "raw", atLeast: 5 },
      { contender: "hawser", baseline: "raw-cork", atLeast: 0.9 },
      { contender: "hawser-frames", baseline: "raw-cork" }
    ]
  }]
}

export default suite
