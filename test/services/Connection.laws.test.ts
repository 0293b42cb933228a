import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Framing from "../../src/services/Framing.ts"
import { connectedPair } from "../support/connections.ts"
import { networks } from "../support/network.ts"
import { turns } from "../support/streams.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** A read, how many pieces are sent before and during it, and how it is brought to an end if it is not done by then. */
const Step = Schema.Struct({
  operation: Schema.Literals([
    "any",
    "exactly",
    "marker",
    "maxSize",
    "markerAndSize",
    "until",
    "batch",
    "frame",
    "push",
    "consume",
    "putBack"
  ]),
  ending: Schema.Literals(["interrupt", "timeout"]),
  marker: Schema.Literals(["\n", "ab", "\r\n\r\n"]),
  size: Schema.Literals([1, 3, 9, 1000, 65_536, 70_000]),
  before: between(0, 2),
  during: between(0, 2),
  turns: between(0, 3)
})

/** Some letters, over and over: short pieces for markers, long ones for large reads. */
const Piece = Schema.Struct({
  letters: Schema.NonEmptyArray(Schema.Literals(["a", "b", "\n", "\r"])).check(Schema.isMaxLength(7)),
  times: Schema.Literals([1, 1, 1, 2, 700, 30_000])
})

const lines = Framing.delimited("\n", { maxSize: Infinity })

describe("Connection laws", () => {
  for (const [name, network] of Object.entries(networks)) {
    it.live.prop(
      `no byte is lost or repeated, whichever reads finish, time out, fail or are interrupted, ${name}`,
      {
        pieces: Schema.Array(Piece).check(Schema.isMaxLength(12)),
        steps: Schema.Array(Step).check(Schema.isMaxLength(20))
      },
      ({ pieces, steps }) =>
        Effect.gen(function*() {
          const { client, server } = yield* connectedPair
          const large = name.endsWith("byte by byte") ? 40 : 30_000
          const waiting = pieces.map(({ letters, times }) => letters.join("").repeat(Math.min(times, large)))
          const sent = waiting.join("")
          let got = ""
          const take = (bytes: Uint8Array) => void (got += Buffer.from(bytes).toString("latin1"))
          // nobody may be reading, so this does not wait until there is room
          const send = (count: number) =>
            Effect.forkChild(server.writeAll(waiting.splice(0, count)), { startImmediately: true })
          for (const step of steps) {
            yield* send(step.before)
            yield* turns(step.turns)
            const timeout = step.ending === "timeout" ? { timeout: "1 millis" as const } : {}
            const operation = {
              any: () => client.read(timeout),
              exactly: () => client.readExactly(step.size),
              marker: () => client.read({ marker: step.marker, ...timeout }),
              maxSize: () => client.read({ maxSize: step.size, ...timeout }),
              markerAndSize: () => client.read({ marker: step.marker, maxSize: step.size, ...timeout }),
              until: () => client.readUntil(step.marker, { includeMarker: true, maxSize: Infinity }),
              batch: () => Effect.map(client.readBatch, (batch) => Buffer.concat(batch)),
              frame: () => Effect.map(client.readFrame(lines), (line) => Buffer.concat([line, Buffer.from("\n")])),
              // some frames, of which the last one fails
              push: () => {
                let left = step.size
                return Effect.as(
                  Effect.exit(client.runFrames(lines, (line) =>
                    Effect.suspend(() => {
                      take(line)
                      take(Buffer.from("\n"))
                      return --left > 0 ? Effect.void : Effect.fail("enough")
                    }))),
                  Buffer.alloc(0)
                )
              },
              consume: () => Effect.as(client.consume(take), Buffer.alloc(0)),
              putBack: () =>
                Effect.map(client.takeBuffered, (bytes) => {
                  take(bytes)
                  return Buffer.alloc(0)
                })
            }[step.operation]()
            if (step.operation === "putBack") {
              const back = Math.min(step.size, got.length)
              yield* client.unread(Buffer.from(got.slice(got.length - back)))
              got = got.slice(0, got.length - back)
            }
            const fiber = yield* Effect.forkChild(operation, { startImmediately: true })
            yield* send(step.during)
            yield* turns(step.turns)
            if (step.ending === "timeout") yield* Effect.sleep("1 millis")
            yield* Fiber.interrupt(fiber)
            const exit = yield* Fiber.await(fiber)
            if (Exit.isSuccess(exit)) take(exit.value)
          }
          yield* send(waiting.length)
          yield* server.closeWrite
          yield* Stream.runForEach(client.reads, (bytes) => Effect.sync(() => take(bytes)))
          if (got !== sent) assert.fail(`${got.length} bytes came of ${sent.length}`)
        }).pipe(Effect.scoped, Effect.provide(network())),
      { arbitrary: { runs: 150 }, timeout: 120_000 }
    )
  }
})
