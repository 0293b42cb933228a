/** The clients whose methods give promises and take and give async iterables: nice-grpc, and connect-node's of gRPC. */
import { createClient as createConnectClient } from "@connectrpc/connect"
import { createGrpcTransport } from "@connectrpc/connect-node"
import { createChannel, createClient } from "nice-grpc"
import type { Address, Client, Round } from "../harness/benchmark.ts"
import { sum } from "../tcp/peers/ask.ts"
import { repeat } from "../tcp/transfer.ts"
import { Bench, type Message } from "./definition.ts"
import { Bench as EsBench } from "./generated/bench_pb.ts"
import { bigMessageAt, checkSummary, messageAt, messages, type Received, streamLength, Tally } from "./messages.ts"

/** The client of the service, as both have it, and how the messages are made that it takes. */
interface Library<Request> {
  readonly messageAt: (index: number) => Request
  readonly connect: (address: Address) => {
    readonly echo: (request: Request) => Promise<Received>
    readonly down: (request: { readonly count: number }) => AsyncIterable<Received>
    readonly up: (requests: AsyncIterable<Request>) => Promise<{ readonly count: number; readonly bytes: unknown }>
  }
}

const contendersOf = <Request>({ connect, messageAt }: Library<Request>) => ({
  unary: (concurrency: number) => (address: Address): Client => {
    const client = connect(address)
    const ask = async (round: Round) => {
      const tally = new Tally(round)
      let done = 0
      do {
        tally.add(await client.echo(messageAt(done++)))
      } while (!round.over && done < round.limit)
      return tally.total(done)
    }
    return async (round) => sum(await Promise.all(Array.from({ length: concurrency }, () => ask(round))))
  },
  serverStream: (address: Address): Client => {
    const client = connect(address)
    return (round) =>
      repeat(round, async () => {
        const tally = new Tally(round)
        for await (const message of client.down({ count: streamLength })) tally.add(message)
        return tally.total(streamLength)
      })
  },
  clientStream: (address: Address): Client => {
    const client = connect(address)
    const pour = async function*() {
      yield* messages(messageAt)
    }
    return (round) => repeat(round, async () => checkSummary(await client.up(pour()), round))
  }
})

export const niceGrpc = contendersOf<Message>({
  messageAt,
  connect: ({ port }) => createClient(Bench, createChannel(`127.0.0.1:${port}`))
})

export const connectNode = contendersOf({
  messageAt: bigMessageAt,
  connect: ({ port }) => createConnectClient(EsBench, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }))
})
