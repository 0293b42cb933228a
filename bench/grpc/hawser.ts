/** Hawser's client: typed, of the same definition that grpc-js has, and by name, of the text that it was made from. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Dialer, Grpc, type GrpcChannel, GrpcSchema } from "hawser"
import { fileURLToPath } from "node:url"
import type { Address, Client, Round } from "../harness/benchmark.ts"
import { sum } from "../tcp/peers/ask.ts"
import { connect as connectSocket } from "../tcp/peers/connect.ts"
import { repeat } from "../tcp/transfer.ts"
import { Bench, type Message } from "./definition.ts"
import { bigMessageAt, checkSummary, messageAt, messages, type Received, streamLength, Tally } from "./messages.ts"

/** The methods of the service, typed or by name. */
interface Methods<Request> {
  readonly messageAt: (index: number) => Request
  readonly echo: (request: Request) => Effect.Effect<Received, GrpcChannel.CallError>
  readonly down: (request: { readonly count: number }) => Stream.Stream<Received, GrpcChannel.CallError>
  readonly up: (
    requests: Stream.Stream<Request>
  ) => Effect.Effect<{ readonly count?: unknown; readonly bytes?: unknown }, GrpcChannel.CallError>
}

/** A channel that stays open. */
const open = (address: Address, path: Layer.Layer<Dialer.Dialer>, schema?: Grpc.ConnectOptions["schema"]) =>
  Grpc.Grpc.use((grpc) =>
    Scope.provide(grpc.connect({ url: `http://127.0.0.1:${address.port}`, schema }), Scope.makeUnsafe())
  ).pipe(Effect.provide(Layer.provide(Grpc.layer, path)))

type Path = (address: Address) => Layer.Layer<Dialer.Dialer>

const typed = (path: Path) => (address: Address): Promise<Methods<Message>> =>
  Effect.runPromise(
    Effect.gen(function*() {
      const channel = yield* open(address, path(address))
      return { ...yield* channel.client(Bench), messageAt }
    })
  )

const schema = GrpcSchema.fromFile(fileURLToPath(new URL("bench.proto", import.meta.url)))

const byName = (address: Address): Promise<Methods<object>> =>
  Effect.runPromise(
    Effect.map(open(address, Dialer.layer, schema), (channel) => ({
      messageAt: bigMessageAt,
      echo: (request) => channel.unary("bench.v1.Bench/Echo", request),
      down: (request) => channel.serverStream("bench.v1.Bench/Down", request),
      up: (requests) => channel.clientStream("bench.v1.Bench/Up", requests)
    }))
  )

const contendersOf = <Request>(connect: (address: Address) => Promise<Methods<Request>>) => ({
  unary: (concurrency: number) => async (address: Address): Promise<Client> => {
    const { echo, messageAt } = await connect(address)
    const ask = Effect.fnUntraced(function*(round: Round) {
      const tally = new Tally(round)
      let done = 0
      do {
        tally.add(yield* echo(messageAt(done++)))
      } while (!round.over && done < round.limit)
      return tally.total(done)
    })
    return (round) =>
      Effect.runPromise(Effect.map(
        Effect.all(Array.from({ length: concurrency }, () => ask(round)), { concurrency: "unbounded" }),
        sum
      ))
  },
  serverStream: async (address: Address): Promise<Client> => {
    const { down } = await connect(address)
    return (round) =>
      repeat(round, () => {
        const tally = new Tally(round)
        return Effect.runPromise(Effect.map(
          Stream.runForEach(down({ count: streamLength }), (message) => Effect.sync(() => tally.add(message))),
          () => tally.total(streamLength)
        ))
      })
  },
  clientStream: async (address: Address): Promise<Client> => {
    const { messageAt, up } = await connect(address)
    return (round) =>
      repeat(round, () =>
        Effect.runPromise(Effect.map(
          up(Stream.fromIterable(messages(messageAt))),
          (summary) => checkSummary(summary, round)
        )))
  }
})

/** The default way. */
export const hawser = contendersOf(typed(() => Dialer.layer))

export const hawserByName = contendersOf(byName)

/** Through one more step, which does nothing to the connection: a proxy would be measured with it. */
export const hawserThroughHop = contendersOf(typed(() =>
  Layer.provide(
    Dialer.layerThrough(Effect.succeed({ name: "nothing", via: Effect.succeed, handshake: Effect.succeed })),
    Dialer.layer
  )
))

/** Over a socket of `node:net` as it is, with nothing of Hawser's Dialer. */
export const hawserDirect = contendersOf(typed((address) =>
  Layer.succeed(Dialer.Dialer, {
    dial: () => Effect.promise(() => connectSocket(address)),
    connectTimeout: Duration.seconds(10)
  })
))
