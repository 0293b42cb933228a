/** A request and its answer of 64 bytes each, found by the line feed that ends it: the client's side. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { Connection } from "hawser"
import type { Socket } from "node:net"
import type { Address, Benchmark, Round, Suite } from "../harness/benchmark.ts"
import { connectMany, type Path } from "./hawser.ts"
import * as NodeSocket from "./nodeSocket.ts"
import { asking, sum } from "./peers/ask.ts"
import { connectMany as connectRaw } from "./peers/connect.ts"
import { lineFeed, Partial, requestAt } from "./peers/protocol.ts"

const ask = Effect.fnUntraced(function*(connection: Connection.Connection, round: Round) {
  let done = 0
  do {
    yield* connection.write(requestAt(done++))
    const answer = yield* connection.readUntil("\n", { includeMarker: true })
    round.seen?.(answer)
  } while (!round.over && done < round.limit)
  return done
})

/** A client of so many connections. */
export const hawser = (concurrency: number, path?: Path) => async (address: Address) => {
  const connections = await connectMany(address, concurrency, path)
  return (round: Round) =>
    Effect.runPromise(
      Effect.map(
        Effect.forEach(connections, (connection) => ask(connection, round), { concurrency: "unbounded" }),
        sum
      )
    )
}

const askSocket = Effect.fnUntraced(
  function*({ pull, write }: Effect.Success<ReturnType<typeof NodeSocket.open>>, round: Round) {
    const partial = new Partial()
    let done = 0
    do {
      yield* write(requestAt(done++))
      for (let complete = false; !complete;) {
        for (const piece of yield* pull) {
          const bytes = partial.take(piece)
          complete = bytes.includes(lineFeed)
          if (complete) round.seen?.(bytes)
          else partial.keep(bytes)
        }
      }
    } while (!round.over && done < round.limit)
    return done
  }
)

const nodeSocket = (concurrency: number) => async (address: Address) => {
  const scope = Scope.makeUnsafe()
  const sockets = await Effect.runPromise(Scope.provide(
    Effect.forEach(
      Array.from({ length: concurrency }),
      () => Effect.flatMap(NodeSocket.dial(address), NodeSocket.open),
      { concurrency: 16 }
    ),
    scope
  ))
  return (round: Round) =>
    Effect.runPromise(
      Effect.map(Effect.forEach(sockets, (socket) => askSocket(socket, round), { concurrency: "unbounded" }), sum)
    )
}

const askForAwait = async (socket: Socket, chunks: AsyncIterator<Buffer>, round: Round) => {
  const partial = new Partial()
  let done = 0
  socket.write(requestAt(0))
  // what `for await` does, without ending the socket when the round is over
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    const bytes = partial.take(next.value)
    if (!bytes.includes(lineFeed)) {
      partial.keep(bytes)
      continue
    }
    round.seen?.(bytes)
    done++
    if (round.over || done >= round.limit) break
    socket.write(requestAt(done))
  }
  return done
}

const forAwait = (concurrency: number) => async (address: Address) => {
  const sockets = await connectRaw(address, concurrency)
  const iterators = sockets.map((socket) => ({ socket, chunks: socket[Symbol.asyncIterator]() }))
  return async (round: Round) =>
    sum(await Promise.all(iterators.map(({ chunks, socket }) => askForAwait(socket, chunks, round))))
}

const pingPong = (concurrency: number, atLeast: number): Benchmark => ({
  name: `ping-pong c=${concurrency}`,
  unit: "requests",
  checkLimit: 100,
  measures: "client",
  peer: new URL("peers/answerer.ts", import.meta.url),
  contenders: {
    "hawser": hawser(concurrency),
    "raw": asking(concurrency),
    "for-await": forAwait(concurrency),
    "node-socket": nodeSocket(concurrency)
  },
  pairs: [
    { contender: "hawser", baseline: "raw", atLeast },
    { contender: "hawser", baseline: "for-await", atLeast: 1 },
    { contender: "hawser", baseline: "node-socket", atLeast: 1 },
    { contender: "node-socket", baseline: "raw" }
  ]
})

const suite: Suite = { url: import.meta.url, benchmarks: [pingPong(1, 0.95), pingPong(64, 0.88)] }

export default suite
