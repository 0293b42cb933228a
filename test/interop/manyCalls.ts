/**
 * A program of its own that makes calls of every kind and with every ending, and says what they leave behind:
 * `node --expose-gc test/interop/manyCalls.ts DIRECTION CALLS`. Prints the heap before and after them, in bytes, and what there
 * is more of afterwards than before: handles, HTTP/2 streams, timers, fibers. Some calls come before and do not count.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import { createHook } from "node:async_hooks"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import type { Client } from "./client.ts"
import { type Direction, directions } from "./directions.ts"
import * as Path from "./path.ts"

const alive = new Map<number, string>()
const watched = /^(?:HTTP2|TCP|PIPE|TLS|ZLIB)|^Timeout$/

createHook({
  init: (id, type) => {
    if (watched.test(type)) alive.set(id, type)
  },
  destroy: (id) => alive.delete(id)
}).enable()

let fibers = 0
const countFibers = Layer.succeed(Metric.FiberRuntimeMetrics)({
  recordFiberStart: () => void fibers++,
  recordFiberEnd: () => void fibers--
})

let warnings = 0
process.on("warning", () => void warnings++)

const testService = (method: string) => `grpc.testing.TestService/${method}`

const piece = { payload: { body: new Uint8Array(100) } }
const pieces = Stream.fromIterable([piece, piece, piece])
const sizes = { responseParameters: [{ size: 100 }, { size: 100 }, { size: 100 }] }
const failing = { responseStatus: { code: 2, message: "as asked" } }

/** One call in each of the ways in which calls go. */
const calls = (client: Client): ReadonlyArray<Effect.Effect<unknown, unknown>> => {
  const begun = Effect.flatMap(
    client.open(testService("FullDuplexCall")),
    (call) => Effect.andThen(call.send(sizes), call.receive)
  )
  return [
    client.unary(testService("EmptyCall"), {}),
    client.unary(testService("UnaryCall"), { responseSize: 100, ...piece }),
    client.unary(testService("UnaryCall"), failing),
    client.unary(testService("UnaryCall"), { responseSize: 100, ...piece }, { compression: "gzip", timeout: 60_000 }),
    client.unary(testService("UnimplementedCall"), {}),
    client.clientStream(testService("StreamingInputCall"), pieces),
    Stream.runDrain(client.serverStream(testService("StreamingOutputCall"), sizes)),
    Stream.runDrain(Stream.take(client.serverStream(testService("StreamingOutputCall"), sizes), 1)),
    Stream.runDrain(client.bidi(testService("FullDuplexCall"), Stream.make(sizes))),
    Stream.runDrain(client.bidi(testService("FullDuplexCall"), Stream.make(failing))),
    // cancelled by the end of their scope, by hand, by interruption and by their deadline
    Effect.scoped(begun),
    // not before they have begun: grpc-js leaves the streams of such calls open
    Effect.scoped(
      Effect.flatMap(
        client.open(testService("StreamingInputCall")),
        (call) => Effect.andThen(call.headers, call.cancel)
      )
    ),
    Effect.timeoutOption(Effect.scoped(Effect.andThen(begun, Effect.never)), "2 millis"),
    Stream.runDrain(client.bidi(testService("FullDuplexCall"), Stream.never, { timeout: 2 }))
  ]
}

const run = Effect.fnUntraced(function*(client: Client, count: number) {
  const kinds = calls(client)
  yield* Effect.forEach(
    Array.from({ length: count }, (_, index) => kinds[index % kinds.length]!),
    // how they end is tested elsewhere
    (call) => Effect.exit(call),
    { concurrency: 50, discard: true }
  )
})

const gc = Effect.gen(function*() {
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.()
    yield* Effect.sleep("20 millis")
  }
  return process.memoryUsage().heapUsed
})

const count = () => {
  const kinds: Record<string, number> = { fibers, warnings }
  for (const type of alive.values()) kinds[type] = (kinds[type] ?? 0) + 1
  return kinds
}

const program = Effect.fnUntraced(function*({ connect, serve }: Direction, calls: number) {
  const path = yield* Path.Path
  const client = yield* connect(path, (yield* serve(path)).address)
  yield* run(client, calls)
  const before = yield* gc
  const had = count()
  yield* run(client, calls)
  const after = yield* gc
  const more = Object.entries(count()).map(([kind, has]) => [kind, has - (had[kind] ?? 0)] as const)
  // timers of the connections come and go
  return { before, after, more: Object.fromEntries(more.filter(([, more]) => more > 2)) }
}, Effect.scoped)

const [, , direction = "", total] = process.argv
const chosen: Direction | undefined = new Map(Object.entries<Direction>(directions)).get(direction)
if (chosen === undefined) throw new Error(`no direction ${direction}`)

Effect.runFork(
  program(chosen, Number(total)).pipe(
    Effect.provide(Layer.merge(Path.layer(Layer.merge(Dialer.layer, Listener.layer)), countFibers)),
    Effect.onExit((exit) =>
      Effect.sync(() => {
        process.stdout.write(Exit.isSuccess(exit) ? JSON.stringify(exit.value) : String(exit.cause))
        process.exit(0)
      })
    )
  )
)
