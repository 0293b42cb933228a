/** The client of grpc-js as it is generated, with its callbacks and events. */
import * as GrpcJs from "@grpc/grpc-js"
import type { Address, Client, Round } from "../harness/benchmark.ts"
import { sum } from "../tcp/peers/ask.ts"
import { repeat } from "../tcp/transfer.ts"
import { Bench, type Message, type Summary, type Wanted } from "./definition.ts"
import { checkSummary, messageAt, messages, streamLength, Tally } from "./messages.ts"

type Callback<A> = (error: GrpcJs.ServiceError | null, value?: A) => void

interface BenchClient extends GrpcJs.Client {
  readonly echo: (request: Message, callback: Callback<Message>) => GrpcJs.ClientUnaryCall
  readonly down: (request: Wanted) => GrpcJs.ClientReadableStream<Message>
  readonly up: (callback: Callback<Summary>) => GrpcJs.ClientWritableStream<Message>
}

const constructor: any = GrpcJs.makeGenericClientConstructor(Bench, "bench.v1.Bench")

/** With the types that code generators add. */
const BenchClient: new(address: string, credentials: GrpcJs.ChannelCredentials) => BenchClient = constructor

const connect = ({ port }: Address) => new BenchClient(`127.0.0.1:${port}`, GrpcJs.credentials.createInsecure())

/** One worker: each answer asks for the next. */
const ask = (client: BenchClient, round: Round): Promise<number> =>
  new Promise((resolve, reject) => {
    const tally = new Tally(round)
    let done = 0
    const next = () => {
      client.echo(messageAt(done++), (error, answer) => {
        if (error !== null || answer === undefined) return reject(error)
        tally.add(answer)
        if (round.over || done >= round.limit) resolve(tally.total(done))
        else next()
      })
    }
    next()
  })

export const unary = (concurrency: number) => (address: Address): Client => {
  const client = connect(address)
  return async (round) => sum(await Promise.all(Array.from({ length: concurrency }, () => ask(client, round))))
}

export const serverStream = (address: Address): Client => {
  const client = connect(address)
  return (round) =>
    repeat(round, () =>
      new Promise((resolve, reject) => {
        const tally = new Tally(round)
        client.down({ count: streamLength })
          .on("data", (message: Message) => tally.add(message))
          .on("end", () => resolve(tally.total(streamLength)))
          .on("error", reject)
      }))
}

export const clientStream = (address: Address): Client => {
  const client = connect(address)
  return (round) =>
    repeat(round, () =>
      new Promise((resolve, reject) => {
        const call = client.up((error, summary) => {
          if (error !== null || summary === undefined) reject(error)
          else resolve(checkSummary(summary, round))
        })
        const rest = messages(messageAt)
        const pour = () => {
          for (const message of rest) {
            if (!call.write(message)) {
              call.once("drain", pour)
              return
            }
          }
          call.end()
        }
        pour()
      }))
}
