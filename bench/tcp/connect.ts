/** Connecting and closing, 16 at once: the client's side and the server's. */
import * as Effect from "effect/Effect"
import { TcpClient } from "hawser"
import * as Net from "node:net"
import type { Address, Round, Suite } from "../harness/benchmark.ts"
import * as Hawser from "./hawser.ts"
import * as NodeSocket from "./nodeSocket.ts"
import accepter from "./peers/accepter.ts"
import { sum } from "./peers/ask.ts"
import { clientOptions } from "./peers/protocol.ts"
import visit, { concurrency } from "./peers/visit.ts"

/**
 * Waits until the peer has accepted everything that was opened: connections are taken in their order, and they are open
 * before they are taken. The next contender's round finds an idle server.
 */
const settle = (address: Address) => visit(address)({ over: false, limit: 1, seen: undefined })

/** `concurrency` fibers that do something again and again. */
const inParallel = <E, R>(again: Effect.Effect<unknown, E, R>, round: Round) => {
  const many = Effect.gen(function*() {
    let done = 0
    do {
      yield* again
    } while (++done < round.limit && !round.over)
    return done
  })
  return Effect.map(Effect.all(Array.from({ length: concurrency }, () => many), { concurrency: "unbounded" }), sum)
}

const hawserClient = (address: Address) => {
  const runtime = Hawser.client(address)
  const target = { host: "127.0.0.1", port: address.port }
  return (round: Round) =>
    runtime.runPromise(TcpClient.TcpClient.use((tcp) => inParallel(Effect.scoped(tcp.connect(target)), round)))
}

const nodeSocketClient = (address: Address) => (round: Round) =>
  Effect.runPromise(
    inParallel(Effect.scoped(Effect.flatMap(NodeSocket.dial(address), (socket) => socket.reader)), round)
  )

const openAndClose = (port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = Net.connect({ ...clientOptions, port })
    socket.on("error", reject).on("connect", () => {
      socket.destroy()
      resolve()
    })
  })

const rawClient = ({ port }: Address) => async (round: Round) => {
  const many = async () => {
    let done = 0
    do {
      await openAndClose(port)
    } while (++done < round.limit && !round.over)
    return done
  }
  return sum(await Promise.all(Array.from({ length: concurrency }, many)))
}

const hawserServer = () => Hawser.serve((connection) => Effect.asVoid(connection.closed))

const nodeSocketServer = () =>
  NodeSocket.serve((socket) => Effect.flatMap(socket.reader, ({ pull }) => Effect.forever(pull)))

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    {
      name: "connect client",
      unit: "connections",
      checkLimit: 20,
      measures: "client",
      settle,
      peer: new URL("peers/accepter.ts", import.meta.url),
      contenders: { "hawser": hawserClient, "raw": rawClient, "node-socket": nodeSocketClient },
      pairs: [
        { contender: "hawser", baseline: "raw", atLeast: 0.92 },
        { contender: "hawser", baseline: "node-socket" },
        { contender: "node-socket", baseline: "raw" }
      ]
    },
    {
      name: "connect server",
      unit: "connections",
      checkLimit: 20,
      measures: "server",
      peer: new URL("peers/visit.ts", import.meta.url),
      contenders: { "hawser": hawserServer, "raw": accepter, "node-socket": nodeSocketServer },
      pairs: [
        { contender: "hawser", baseline: "raw", atLeast: 0.85 },
        { contender: "hawser", baseline: "node-socket" },
        { contender: "node-socket", baseline: "raw" }
      ]
    }
  ]
}

export default suite
