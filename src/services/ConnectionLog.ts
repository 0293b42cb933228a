/**
 * A log of what connections do: dials, connections, SSH sessions, gRPC calls, the last so many of them in memory and, if
 * wanted, all of them in a file.
 *
 * Provide the layer and everything in this library reports to it; without it nothing is recorded and nothing is spent.
 *
 * **Details**
 *
 * Events say what happened to which connection, with addresses, sizes and error messages; never payloads, never secrets.
 *
 * **Gotchas**
 *
 * It records what runs in its context: provide it to the program, next to the services, not under a single one of them.
 *
 * **Example** (Printing what happened)
 *
 * ```ts
 * import { Console, Effect, Layer } from "effect"
 * import { ConnectionLog, Dialer, TcpClient } from "hawser"
 *
 * const program = Effect.gen(function*() {
 *   const tcp = yield* TcpClient.TcpClient
 *   const log = yield* ConnectionLog.ConnectionLog
 *   yield* Effect.ignore(tcp.requestString("127.0.0.1:7000", "hello\n"))
 *   yield* Console.log(yield* log.asString())
 * }).pipe(
 *   Effect.provide(Layer.merge(
 *     TcpClient.layer.pipe(Layer.provide(Dialer.layer)),
 *     ConnectionLog.layer({ maxEvents: 100 })
 *   ))
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as PlatformError from "effect/PlatformError"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { type EventInput, EventSink } from "../internal/events.ts"

/**
 * One event. `at` is in milliseconds since 1970; `source` is `"dial"`, `"tcp"`, `"ssh"` or `"grpc"`; `id` names the
 * connection, session or call; `event` is what happened and `detail` what a person wants to know about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectionEvent extends EventInput {
  readonly at: number
}

/**
 * The service: `events` are the recorded ones, oldest first; `asString` is the same as lines of text, the last `count` of
 * them or all.
 *
 * @category services
 * @since 0.1.0
 */
export class ConnectionLog extends Context.Service<ConnectionLog, {
  readonly events: Effect.Effect<ReadonlyArray<ConnectionEvent>>
  readonly asString: (count?: number) => Effect.Effect<string>
}>()("hawser/ConnectionLog") {}

// a peer may have chosen words of a detail, but not where a line ends
const line = ({ at, source, id, event, detail }: ConnectionEvent) =>
  `${new Date(at).toISOString()} ${source} ${id} ${event}: ${detail.replaceAll(/[\r\n]+/g, " ")}`

const make = Effect.fnUntraced(function*(maxEvents: number, also: (event: ConnectionEvent) => void) {
  const clock = yield* Clock.Clock
  const events: Array<ConnectionEvent> = []
  const record = (input: EventInput) => {
    const event = { ...input, at: clock.currentTimeMillisUnsafe() }
    events.push(event)
    if (events.length > maxEvents) events.shift()
    also(event)
  }
  const log = ConnectionLog.of({
    events: Effect.sync(() => [...events]),
    asString: (count = Infinity) =>
      Effect.sync(() => events.slice(Math.max(0, events.length - count)).map(line).join("\n"))
  })
  return Context.make(ConnectionLog, log).pipe(Context.add(EventSink, record))
})

/**
 * Keeps the last `maxEvents` events in memory, default 300.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: { readonly maxEvents?: number | undefined } = {}): Layer.Layer<ConnectionLog> =>
  Layer.effectContext(make(options.maxEvents ?? 300, () => {}))

/**
 * The same, and appends every event to a file as a line of text. What was recorded is in the file when the layer's scope
 * has ended. Fails when the file cannot be opened; should writing fail later, the log goes on in memory.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFile = (options: {
  /** The file to append to; it is created when it does not exist. */
  readonly file: string
  /** How many events are kept in memory. Default 300. */
  readonly maxEvents?: number | undefined
}): Layer.Layer<ConnectionLog, PlatformError.PlatformError, FileSystem.FileSystem> =>
  Layer.effectContext(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(options.file, { flag: "a" })
    const lines = yield* Queue.make<string, Cause.Done>()
    const writer = yield* Effect.forkScoped(
      Stream.fromQueue(lines).pipe(
        Stream.runForEachArray((batch) => file.writeAll(Buffer.from(batch.join("")))),
        Effect.ignore({ log: true })
      )
    )
    yield* Effect.addFinalizer(() => Effect.andThen(Queue.end(lines), Fiber.await(writer)))
    return yield* make(options.maxEvents ?? 300, (event) => Queue.offerUnsafe(lines, `${line(event)}\n`))
  }))
