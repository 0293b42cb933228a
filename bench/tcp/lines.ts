/** Lines of 100 bytes as strings; counting them. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Framing, TcpClient } from "hawser"
import * as Net from "node:net"
import * as Readline from "node:readline"
import { StringDecoder } from "node:string_decoder"
import type { Address, Client, Suite } from "../harness/benchmark.ts"
import { client } from "./hawser.ts"
import { clientOptions } from "./peers/protocol.ts"
import { repeat } from "./transfer.ts"

const hawser = (address: Address): Client => {
  const runtime = client(address)
  return (round) => {
    const receive = TcpClient.TcpClient.use((tcp) => tcp.connect({ host: "127.0.0.1", port: address.port })).pipe(
      Effect.flatMap((connection) => {
        let count = 0
        return connection.frames(Framing.lines()).pipe(
          Stream.runForEachArray((lines) =>
            Effect.sync(() => {
              for (const line of lines) {
                count++
                round.seen?.(line)
              }
            })
          ),
          Effect.map(() => count)
        )
      }),
      Effect.scoped
    )
    return repeat(round, () => runtime.runPromise(receive))
  }
}

/** Node's readline as a stream of lines that the reader holds back, which is what is compared. */
const readline = ({ port }: Address): Client => (round) =>
  repeat(round, async () => {
    let count = 0
    const input = Net.connect({ ...clientOptions, port })
    for await (const line of Readline.createInterface({ input, crlfDelay: Infinity })) {
      count++
      round.seen?.(line)
    }
    return count
  })

/** Node's readline with a listener, which no reader holds back. */
const readlineEvents = ({ port }: Address): Client => (round) =>
  repeat(round, () =>
    new Promise((resolve, reject) => {
      let count = 0
      const input = Net.connect({ ...clientOptions, port }).on("error", reject)
      Readline.createInterface({ input, crlfDelay: Infinity })
        .on("line", (line) => {
          count++
          round.seen?.(line)
        })
        .on("close", () => resolve(count))
    }))

/** The fastest way by hand: decodes each chunk as a whole and splits the text. */
const raw = ({ port }: Address): Client => (round) =>
  repeat(round, () =>
    new Promise((resolve, reject) => {
      let count = 0
      let rest = ""
      const decoder = new StringDecoder("utf8")
      const socket = Net.connect({ ...clientOptions, port })
      const onLine = (text: string) => {
        const line = text.endsWith("\r") ? text.slice(0, -1) : text
        count++
        round.seen?.(line)
      }
      socket.on("data", (bytes) => {
        const lines = (rest + decoder.write(bytes)).split("\n")
        rest = lines.pop() ?? ""
        for (const line of lines) onLine(line)
      })
      socket.on("error", reject).on("end", () => {
        if (rest !== "") onLine(rest)
        resolve(count)
      })
    }))

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [{
    name: "lines",
    unit: "lines",
    checkLimit: 1,
    measures: "client",
    peer: new URL("peers/linesSource.ts", import.meta.url),
    contenders: { "hawser": hawser, "raw": raw, "readline": readline, "readline-events": readlineEvents },
    pairs: [
      { contender: "hawser", baseline: "readline", atLeast: 1.5 },
      { contender: "hawser", baseline: "raw", atLeast: 0.8 },
      { contender: "hawser", baseline: "readline-events" }
    ]
  }]
}

export default suite
