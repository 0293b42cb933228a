/** What the tests of flow control have in common: pieces of a stream, and how many are under way. */
import * as Grpc from "@grpc/grpc-js"
import * as ProtoLoader from "@grpc/proto-loader"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"

export const flowProto = fileURLToPath(new URL("protos/flow.proto", import.meta.url))

export const pieceSize = 64 * 1024

export const piece = { data: Buffer.alloc(pieceSize, "0123456789abcdef") }

/** The methods of the service, for grpc-js. */
export const flowMethods = () => {
  const service = ProtoLoader.loadSync(flowProto)["flow.Flow"]
  if (service === undefined || "format" in service) throw new Error("flow.proto defines no Flow")
  return service
}

/** Counts the pieces that one side has given away and the other has taken. */
export class Flow {
  /** So many pieces are sent, and then the stream ends. */
  readonly total: number
  given = 0
  taken = 0
  mostAhead = 0

  constructor(total: number) {
    this.total = total
  }

  get isComplete(): boolean {
    return this.given >= this.total
  }

  give(): void {
    this.given++
    this.mostAhead = Math.max(this.mostAhead, this.given - this.taken)
  }

  take(): void {
    this.taken++
  }
}

/** Some turns of the event loop, in which the other side does what it can. */
export const slowly: Effect.Effect<void> = Effect.callback((resume) => {
  const turn = (left: number): void => {
    if (left === 0) resume(Effect.void)
    else setImmediate(turn, left - 1)
  }
  turn(3)
})

/** What streams of grpc-js that write have in common. */
interface Writing {
  write(piece: object): boolean
  once(event: "drain", listener: () => void): unknown
  end(): unknown
}

/** Sends pieces for as long as the stream wants more. */
export const giveAll = (stream: Writing, flow: Flow): void => {
  while (!flow.isComplete) {
    flow.give()
    if (!stream.write(piece)) return void stream.once("drain", () => giveAll(stream, flow))
  }
  stream.end()
}

/** What streams of grpc-js that read have in common. */
interface Reading {
  on(event: "data", listener: () => void): unknown
  pause(): unknown
  resume(): unknown
}

/** Takes pieces, one in some turns of the event loop. */
export const takeSlowly = (stream: Reading, flow: Flow): void => {
  stream.on("data", () => {
    flow.take()
    stream.pause()
    Effect.runFork(Effect.map(slowly, () => stream.resume()))
  })
}

/** A server of grpc-js that gives and takes. */
export const flowPeer = Effect.fnUntraced(function*(flow: Flow) {
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => new Grpc.Server()),
    (server) => Effect.sync(() => server.forceShutdown())
  )
  server.addService(flowMethods(), {
    Down: (call: Grpc.ServerWritableStream<object, object>) => giveAll(call, flow),
    Up: (call: Grpc.ServerReadableStream<object, object>, reply: Grpc.sendUnaryData<object>) => {
      takeSlowly(call, flow)
      call.on("end", () => reply(null, {}))
    },
    Echo: (call: Grpc.ServerUnaryCall<object, object>, reply: Grpc.sendUnaryData<object>) => reply(null, call.request)
  })
  return yield* Effect.callback<number, Error>((resume) => {
    server.bindAsync(
      "127.0.0.1:0",
      Grpc.ServerCredentials.createInsecure(),
      (error, port) => resume(error === null ? Effect.succeed(port) : Effect.fail(error))
    )
  })
})
