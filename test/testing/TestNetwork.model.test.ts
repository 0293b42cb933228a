/** Whatever is done to a connection and its network, what is read is what was written, and nothing stays behind. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Duplex } from "node:stream"
import { MemoryDuplex } from "../../src/internal/memory/duplex.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { between, Link, linkOptions, seeded } from "../support/cases.ts"

const db = { host: "db", port: 5432 }

const Side = Schema.Literals(["client", "server"])

/** What a program or the network does next. */
const Step = Schema.Union([
  Schema.Struct({ do: Schema.Literal("dial") }),
  Schema.Struct({ do: Schema.Literal("write"), side: Side, size: Schema.Literals([1, 2, 30, 700, 20_000]) }),
  Schema.Struct({ do: Schema.Literal("read"), side: Side, size: Schema.Literals([1, 50, 100_000]) }),
  Schema.Struct({ do: Schema.Literals(["write", "end"]), side: Side, size: Schema.Literals([1, 1000]) }),
  Schema.Struct({ do: Schema.Literal("wait"), millis: Schema.Literals([0, 1, 40, 500, 10_000]) }),
  Schema.Struct({ do: Schema.Literal("link"), link: Link }),
  Schema.Struct({ do: Schema.Literals(["partition", "repair", "hold", "release"]) }),
  Schema.Struct({ do: Schema.Literals(["destroy", "reset"]), side: Side }),
  Schema.Struct({ do: Schema.Literals(["crash", "bounce", "resetAll"]), host: Schema.Literals(["client", "db"]) })
])
type Step = typeof Step.Type

const isFault = (step: Step) => ["destroy", "reset", "crash", "bounce", "resetAll"].includes(step.do)

const isCrash = (step: Step) => step.do === "crash" || step.do === "bounce"

/** What one end has written and read. */
class End {
  written = 0
  read = 0
  /** Whether the end of the stream was read. */
  ended = false

  readonly duplex: Duplex
  private readonly salt: number
  constructor(duplex: Duplex, salt: number) {
    this.duplex = duplex
    this.salt = salt
    duplex.on("end", () => this.ended = true)
  }

  write(size: number): void {
    if (this.duplex.writableEnded || this.duplex.destroyed) return
    this.duplex.write(Buffer.from(Array.from({ length: size }, (_, index) => this.byteAt(this.written + index))))
    this.written += size
  }

  take(most: number, from: End): void {
    while (most > 0) {
      const piece: Buffer | null = this.duplex.read(Math.min(most, this.duplex.readableLength) || undefined)
      if (piece === null) return
      for (const byte of piece) assert.strictEqual(byte, from.byteAt(this.read++))
      most -= piece.length
    }
  }

  private byteAt(offset: number): number {
    return (offset * 31 + this.salt + (offset >> 8)) & 0xff
  }
}

class Pair {
  readonly client: End
  readonly server: End
  constructor(client: Duplex, server: Duplex, number: number) {
    this.client = new End(client, 2 * number)
    this.server = new End(server, 2 * number + 1)
  }

  other(side: "client" | "server"): End {
    return side === "client" ? this.server : this.client
  }

  check(): void {
    for (const side of ["client", "server"] as const) {
      const [reader, writer] = [this[side], this.other(side)]
      assert.isAtMost(reader.read, writer.written, "nothing is read that was not written")
      if (reader.ended && !writer.duplex.destroyed) {
        assert.isTrue(writer.duplex.writableEnded, "the end is not read before it was written")
        assert.strictEqual(reader.read, writer.written, "the end is read behind everything else")
      }
    }
  }
}

const run = (
  options: { readonly seed: number; readonly link: typeof Link.Type; readonly steps: ReadonlyArray<Step> }
) =>
  Effect.gen(function*() {
    const network = yield* TestNetwork.TestNetwork
    const { dial } = yield* Dialer.Dialer
    const scope = yield* Scope.Scope
    const bound = yield* Effect.acquireRelease(Scope.make(), Scope.close)
    let listening = bound
    let accept = (yield* Scope.provide(Listener.Listener.use(({ bind }) => bind(db)), listening)).accept
    const pairs: Array<Pair> = []
    const buffers: Array<number> = [options.link.bufferSize]
    const connect = Effect.gen(function*() {
      const client = yield* Effect.exit(Effect.timeout(dial(db), "3 seconds"))
      if (Exit.isFailure(client)) return
      const server = yield* Effect.exit(Effect.timeout(accept, "1 second"))
      if (Exit.isSuccess(server)) pairs.push(new Pair(client.value, server.value, pairs.length))
      else client.value.destroy()
    })
    const advancing = Effect.fnUntraced(function*(effect: Effect.Effect<void, never, Scope.Scope>) {
      const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.isDefined(fiber.pollUnsafe())
    })
    const listenAgain = Effect.gen(function*() {
      yield* Scope.close(listening, Exit.void)
      listening = yield* Effect.acquireRelease(Scope.make(), Scope.close)
      const again = yield* Effect.exit(
        Scope.provide(Listener.Listener.use(({ bind }) => bind(db)), listening)
      )
      if (Exit.isSuccess(again)) accept = again.value.accept
    })
    const take = (step: Step) =>
      Effect.gen(function*() {
        const pair = pairs.at(-1)
        switch (step.do) {
          case "dial":
            yield* advancing(connect)
            break
          case "write":
            pair?.[step.side].write(step.size)
            break
          case "read":
            pair?.[step.side].take(step.size, pair.other(step.side))
            break
          case "end":
            pair?.[step.side].duplex.end()
            break
          case "destroy":
            pair?.[step.side].duplex.destroy()
            break
          case "reset": {
            const duplex = pair?.[step.side].duplex
            if (duplex instanceof MemoryDuplex) duplex.resetAndDestroy()
            break
          }
          case "wait":
            yield* TestClock.adjust(step.millis)
            break
          case "link":
            buffers.push(step.link.bufferSize)
            yield* network.link("client", "db", linkOptions(step.link))
            break
          case "partition":
          case "repair":
          case "hold":
          case "release":
            yield* network[step.do]("client", "db")
            break
          case "crash":
            yield* network.crash(step.host)
            break
          case "bounce":
            yield* network.bounce(step.host)
            yield* listenAgain
            break
          case "resetAll":
            yield* network.resetAll
            break
        }
      })
    yield* advancing(connect)
    for (const step of options.steps) {
      yield* Scope.provide(take(step), scope)
      for (const pair of pairs) {
        pair.check()
        for (const side of ["client", "server"] as const) {
          const { duplex } = pair[side]
          const underWay = pair.other(side).written - pair.other(side).duplex.writableLength - pair[side].read
          assert.isAtMost(
            underWay,
            Math.max(...buffers) + duplex.readableHighWaterMark + 65_536 + pair.other(side).duplex.writableLength,
            "no more is under way than the buffers hold"
          )
        }
      }
    }

    // everything is repaired, and both sides read and end
    for (const host of ["client", "db"]) {
      const up = yield* network.host(host)
      if (Exit.isFailure(yield* Effect.exit(Effect.scoped(up.listener.bind(`${host}:1`))))) yield* network.bounce(host)
    }
    yield* network.repair("client", "db")
    yield* network.release("client", "db")
    for (const { client, server } of pairs) {
      for (const [end, from] of [[client, server], [server, client]] as const) {
        end.duplex.on("readable", () => end.take(Infinity, from))
        end.take(Infinity, from)
        end.duplex.end()
      }
    }
    yield* TestClock.adjust("1 hour")
    for (const pair of pairs) {
      pair.check()
      if (!options.steps.some(isFault)) {
        for (const side of ["client", "server"] as const) {
          assert.isTrue(pair[side].ended, `the ${side} comes to the end`)
          assert.strictEqual(pair[side].read, pair.other(side).written, "everything arrives")
        }
      }
      // who had sent everything before the other host crashed reads on for ever
      const { client, server } = pair
      assert.isTrue(
        client.duplex.destroyed && server.duplex.destroyed || options.steps.some(isCrash),
        "both ends are closed"
      )
      assert.isTrue(client.duplex.destroyed || server.duplex.destroyed, "one end is closed")
      client.duplex.destroy()
      server.duplex.destroy()
    }
    yield* TestClock.adjust("1 hour")
    assert.deepStrictEqual(yield* network.connections, [])
    return {
      read: pairs.map(({ client, server }) => [client.read, server.read]),
      events: yield* network.events
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(
      TestNetwork.layer({ seed: options.seed, defaults: linkOptions(options.link) }).pipe(
        Layer.provideMerge(TestClock.layer())
      )
    )
  )

const inputs = {
  seed: between(0, 1_000_000),
  link: Link,
  steps: Schema.Array(Step).check(Schema.isMaxLength(25))
}

describe("a network on which anything may happen", () => {
  it.effect.prop(
    "brings what was written, in order, then the end, and closes everything in the end",
    inputs,
    (options) => Effect.asVoid(run(options)),
    seeded(1000)
  )

  it.effect.prop(
    "does the same again for the same seed",
    inputs,
    (options) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* run(options), yield* run(options))
      }),
    seeded(100)
  )
})
