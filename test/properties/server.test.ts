import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { SocketAddress } from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { EventSink } from "../../src/internal/events.ts"
import * as Connection from "../../src/services/Connection.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as TcpServer from "../../src/services/TcpServer.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { between, seeded } from "../support/cases.ts"

/** A client: when it comes, how long each of its requests takes, and how it goes. */
const Visit = Schema.Struct({
  at: between(0, 300),
  requests: Schema.Array(Schema.Literals([0, 0, 1, 30, 90, 200])).check(Schema.isMaxLength(4)),
  /** It waits for each answer, or sends all requests at once. */
  patient: Schema.Boolean,
  /** How long it waits before it leaves. */
  stays: Schema.Literals([0, 0, 5, 150]),
  leaving: Schema.Literals(["end", "end", "close", "reset"])
})

const Server = Schema.Struct({
  maxConnections: between(1, 4),
  overflow: Schema.Literals(["wait", "reject"]),
  drainAt: between(0, 400),
  drainTimeout: between(0, 150)
})

const Link = Schema.Struct({
  latency: Schema.Literals([0, 0, 1, 20]),
  fragment: Schema.Literals([65_536, 2, 1])
})

/** What became of a client. */
interface Client {
  readonly dialledAt: number
  /** By which the server knows it, once it is connected, and since when it is. */
  readonly connected: { readonly port: number; readonly at: number } | undefined
  readonly answers: ReadonlyArray<string>
  /** Whether it has had all that it wanted and then the end. */
  readonly served: boolean
  /** When it was done with the server. */
  readonly leftAt: number
}

/** What the server did for a client. */
interface Handling {
  readonly port: number
  answered: number
  /** Whether it has heard the client's end. */
  complete: boolean
  endedAt: number
  exit: Exit.Exit<unknown, unknown> | undefined
}

const portOf = (address: Option.Option<SocketAddress>): number =>
  Option.match(address, { onNone: () => 0, onSome: (address) => "port" in address ? address.port : 0 })

const answerTo = (request: number, millis: number) => `${request} took ${millis}`

const visit = Effect.fnUntraced(function*(wants: typeof Visit.Type) {
  yield* Effect.sleep(wants.at)
  const dialledAt = yield* Clock.currentTimeMillis
  const answers: Array<string> = []
  let connected: Client["connected"]
  const exit = yield* Effect.gen(function*() {
    const duplex = yield* Dialer.Dialer.use((dialer) => dialer.dial("server:7000"))
    const connection = yield* Connection.fromDuplex(duplex)
    connected = { port: portOf(connection.localAddress), at: yield* Clock.currentTimeMillis }
    const answer = Effect.map(connection.readLine(), (line) => void answers.push(line))
    for (const [request, millis] of wants.requests.entries()) {
      yield* connection.write(`${request} ${millis}\n`)
      if (wants.patient) yield* answer
    }
    if (wants.stays > 0) yield* Effect.sleep(wants.stays)
    if (wants.leaving === "reset" && "resetAndDestroy" in duplex && typeof duplex.resetAndDestroy === "function") {
      duplex.resetAndDestroy()
    }
    if (wants.leaving !== "end") return false
    yield* connection.closeWrite
    while (answers.length < wants.requests.length) yield* answer
    return yield* Effect.as(connection.readExactly(1), false).pipe(
      Effect.catchReason("TcpError", "EndOfStream", () => Effect.succeed(true))
    )
  }).pipe(Effect.scoped, Effect.exit)
  const client: Client = {
    dialledAt,
    connected,
    answers,
    served: Exit.isSuccess(exit) && exit.value,
    leftAt: yield* Clock.currentTimeMillis
  }
  if (Exit.isFailure(exit)) {
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    if (error === undefined) return yield* Effect.failCause(exit.cause)
    const { _tag } = error.reason
    if (error._tag === "DialError") assert.strictEqual(_tag, "Refused")
    else assert.include(["EndOfStream", "Reset", "Closed"], _tag)
  }
  return client
})

describe("TcpServer", () => {
  it.effect.prop(
    "serves no more than maxConnections at once, and on drain everyone it has accepted",
    { server: Server, link: Link, visits: Schema.Array(Visit).check(Schema.isMaxLength(9)) },
    ({ link, server, visits }) =>
      Effect.gen(function*() {
        const network = yield* TestNetwork.TestNetwork
        const handlings: Array<Handling> = []
        const rejected: Array<number> = []
        let serving = 0
        let drained: { readonly at: number; readonly serving: number } | undefined
        const handler = Effect.fnUntraced(function*(connection: Connection.Connection) {
          const handling: Handling = {
            port: portOf(connection.remoteAddress),
            answered: 0,
            complete: false,
            endedAt: 0,
            exit: undefined
          }
          handlings.push(handling)
          serving++
          assert.isAtMost(serving, server.maxConnections)
          assert.isUndefined(drained, "a connection was accepted after the drain had begun")
          yield* Effect.gen(function*() {
            for (;;) {
              const line = yield* connection.readLine()
              const [request, millis] = line.split(" ").map(Number)
              if (millis! > 0) yield* Effect.sleep(millis!)
              yield* connection.write(`${answerTo(request!, millis!)}\n`)
              handling.answered++
            }
          }).pipe(
            Effect.catchReason("TcpError", "EndOfStream", () => Effect.sync(() => handling.complete = true)),
            Effect.onExit((exit) =>
              Effect.map(Clock.currentTimeMillis, (now) => {
                serving--
                handling.exit = exit
                handling.endedAt = now
              })
            )
          )
        })
        const sink = (event: { readonly event: string }) => {
          if (event.event === "rejected") rejected.push(serving)
        }
        const program = Effect.gen(function*() {
          const services = yield* Layer.build(TcpServer.layer({ ...server, host: "server", port: 7000 }))
          const running = yield* Effect.forkChild(
            Context.get(services, TcpServer.TcpServer).serve(handler).pipe(Effect.provideService(EventSink, sink)),
            { startImmediately: true }
          )
          const clients = yield* Effect.forkChild(
            Effect.forEach(visits, visit, { concurrency: "unbounded" }),
            { startImmediately: true }
          )
          yield* Effect.sleep(server.drainAt)
          drained = { at: yield* Clock.currentTimeMillis, serving }
          yield* Fiber.interrupt(running)
          const stoppedAt = yield* Clock.currentTimeMillis
          return { clients: yield* Fiber.join(clients), stoppedAt, drained }
        })
        const outcome = yield* network.run(Effect.scoped(program))
        yield* network.settle
        assert.deepStrictEqual(yield* network.connections, [])

        const deadline = outcome.drained.at + server.drainTimeout
        assert.strictEqual(serving, 0)
        const lastEnd = Math.max(outcome.drained.at, ...handlings.map(({ endedAt }) => endedAt))
        assert.isAtMost(lastEnd, deadline)
        assert.strictEqual(outcome.stoppedAt, lastEnd)
        for (const { endedAt, exit } of handlings) {
          assert(exit !== undefined)
          const interrupted = Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
          if (interrupted) assert.strictEqual(endedAt, deadline, "interrupted before the time was over")
        }
        for (const serving of rejected) assert.strictEqual(serving, server.maxConnections, "rejected for no reason")

        const connected = outcome.clients.filter(({ connected }) => connected !== undefined)
        for (const [index, client] of outcome.clients.entries()) {
          const wants = visits[index]!
          const handling = handlings.filter(({ port }) => port === client.connected?.port)
          assert.isAtMost(handling.length, 1)
          const all = wants.requests.map((millis, request) => answerTo(request, millis))
          assert.deepStrictEqual(client.answers, all.slice(0, client.answers.length))
          if (client.connected === undefined) {
            assert.isAtLeast(client.dialledAt + 2 * link.latency, outcome.drained.at, "refused before the drain")
          } else if (handling[0] === undefined) {
            assert.deepStrictEqual(client.answers, [])
            // turned away, or it has waited until the drain, or until it was tired of it
            const waited = server.overflow === "wait" && client.connected.at < outcome.drained.at
            if (waited && client.leftAt >= outcome.drained.at) {
              assert.strictEqual(outcome.drained.serving, server.maxConnections, "not served although there was room")
            }
          } else {
            const { answered, complete, exit } = handling[0]
            assert.isAtMost(client.answers.length, answered)
            const wasCut = exit !== undefined && Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
            if (wants.leaving === "end" && !wasCut) {
              assert.isTrue(complete)
              assert.isTrue(client.served, "a client that was accepted was not served")
            }
          }
        }
        // whose request the server had got before the drain, and whose connection came after it
        const late = connected.filter(({ connected }) => connected!.at >= outcome.drained.at).length
        const unserved = connected.length - handlings.length
        if (server.overflow === "wait") assert.strictEqual(rejected.length, 0)
        else {
          assert.isAtLeast(unserved, rejected.length)
          assert.isAtMost(unserved, rejected.length + late)
        }
      }).pipe(
        Effect.scoped,
        Effect.provide(TestNetwork.layer({ defaults: link }))
      ),
    seeded(1000)
  )
})
