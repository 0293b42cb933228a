import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { DialError, Refused } from "../../src/errors/DialError.ts"
import * as KeepWarm from "../../src/layers/KeepWarm.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { describeOnNetworks } from "../support/network.ts"
import { ScriptedDuplex, turn } from "../support/scripted.ts"
import { read, readAll, turns, write } from "../support/streams.ts"

const target = "db.test:5432"

/** A Dialer whose connections are numbered by target; it notes which are open. */
const scripted = (refuse: (dial: number) => boolean = () => false) => {
  const made: Array<ScriptedDuplex> = []
  const open = new Set<string>()
  const layer = Layer.succeed(Dialer.Dialer, {
    connectTimeout: Duration.seconds(10),
    dial: (to) =>
      Effect.suspend(() => {
        const number = made.push(new ScriptedDuplex())
        const duplex = made[number - 1]!
        const name = `${number} ${String(Reflect.get(Object(to), "host") ?? to)}`
        return refuse(number)
          ? Effect.fail(new DialError({ target, hop: "direct", reason: new Refused({ address: target }) }))
          : Effect.acquireRelease(
            Effect.sync(() => {
              open.add(name)
              return duplex
            }),
            () =>
              Effect.sync(() => {
                open.delete(name)
                duplex.destroy()
              })
          )
      })
  })
  return { made, open, layer }
}

const dial = (to = target) => Dialer.Dialer.use((dialer) => dialer.dial(to))

/** Runs an effect over kept connections; afterwards nothing may be open. */
const over = <A, E>(
  base: ReturnType<typeof scripted>,
  options: KeepWarm.KeepWarmOptions,
  effect: Effect.Effect<A, E, Dialer.Dialer | Scope.Scope>
) =>
  Effect.gen(function*() {
    const result = yield* Effect.scoped(
      Effect.provide(Effect.scoped(effect), KeepWarm.layer(options).pipe(Layer.provide(base.layer)))
    )
    assert.deepStrictEqual([...base.open], [])
    return result
  })

describe("KeepWarm.layer", () => {
  it.effect("dials the first time, and then takes what is ready and dials another in its place", () => {
    const base = scripted()
    return over(
      base,
      {},
      Effect.gen(function*() {
        assert.strictEqual(yield* dial(), base.made[0])
        yield* turn
        assert.strictEqual(base.made.length, 2)
        assert.strictEqual(yield* dial(), base.made[1])
        yield* turn
        assert.deepStrictEqual([...base.open], ["1 db.test", "2 db.test", "3 db.test"])
      })
    )
  })

  it.effect("keeps as many as it is told, the oldest first, each given to one dial", () => {
    const base = scripted()
    return over(
      base,
      { minIdle: 3 },
      Effect.gen(function*() {
        yield* dial()
        yield* turn
        assert.strictEqual(base.made.length, 4)
        const taken = yield* Effect.all([dial(), dial(), dial()], { concurrency: 3 })
        assert.deepStrictEqual(taken.map((duplex) => base.made.findIndex((made) => made === duplex)), [1, 2, 3])
        yield* turn
        assert.strictEqual(base.made.length, 7)
      })
    )
  })

  it.effect("keeps targets apart", () => {
    const base = scripted()
    return over(
      base,
      {},
      Effect.gen(function*() {
        yield* Effect.scoped(dial())
        yield* turn
        yield* Effect.scoped(dial("other.test:1"))
        yield* turn
        assert.deepStrictEqual([...base.open], ["2 db.test", "4 other.test"])
      })
    )
  })

  it.effect("closes what nobody takes when its time is over, and dials none in its place", () => {
    const base = scripted()
    return over(
      base,
      { idleTimeToLive: "20 seconds" },
      Effect.gen(function*() {
        yield* Effect.scoped(dial())
        yield* turn
        yield* TestClock.adjust("19 seconds")
        assert.deepStrictEqual([...base.open], ["2 db.test"])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual([...base.open], [])
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(base.made.length, 2)
        assert.strictEqual(yield* dial(), base.made[2])
      })
    )
  })

  it.effect("does not close what was taken when the time is over", () => {
    const base = scripted()
    return over(
      base,
      { idleTimeToLive: "20 seconds" },
      Effect.gen(function*() {
        yield* Effect.scoped(dial())
        yield* turn
        const taken = yield* dial()
        yield* TestClock.adjust("1 hour")
        assert.isFalse(taken.destroyed)
        assert.deepStrictEqual([...base.open], ["2 db.test"])
      })
    )
  })

  it.effect("closes one that is given back with the scope it was dialled in", () => {
    const base = scripted()
    return over(
      base,
      {},
      Effect.gen(function*() {
        yield* Effect.scoped(dial())
        yield* turn
        yield* Effect.scoped(dial())
        assert.isTrue(base.made[1]?.destroyed)
      })
    )
  })

  it.effect("does not give what fails its check or says nothing for a second", () => {
    const base = scripted()
    const checked: Array<number> = []
    return over(
      base,
      {
        minIdle: 3,
        healthCheck: (duplex) => {
          const number = base.made.findIndex((made) => made === duplex)
          checked.push(number)
          return number === 1 ? Effect.succeed(false) : number === 2 ? Effect.never : Effect.succeed(true)
        }
      },
      Effect.gen(function*() {
        yield* dial()
        yield* turn
        const fiber = yield* Effect.forkChild(dial(), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Fiber.join(fiber), base.made[3])
        assert.deepStrictEqual(checked, [1, 2, 3])
        assert.deepStrictEqual(base.made.slice(0, 4).map(({ destroyed }) => destroyed), [false, true, true, false])
      })
    )
  })

  it.effect("closes the connection whose check is interrupted", () => {
    const base = scripted()
    return over(
      base,
      { healthCheck: () => Effect.never },
      Effect.gen(function*() {
        yield* dial()
        yield* turn
        const fiber = yield* Effect.forkChild(dial(), { startImmediately: true })
        yield* turn
        yield* Fiber.interrupt(fiber)
        assert.isTrue(base.made[1]?.destroyed)
      })
    )
  })

  it.effect("forgets what has failed in the background, and gives the error of a dial of its own", () => {
    const base = scripted((number) => number > 1)
    return over(
      base,
      {},
      Effect.gen(function*() {
        yield* Effect.scoped(dial())
        yield* turn
        assert.strictEqual(base.made.length, 2)
        const { hop, reason } = yield* Effect.flip(dial())
        assert.deepStrictEqual([hop, reason._tag], ["direct", "Refused"])
        // a target that cannot be reached is not dialled in the background
        yield* turn
        assert.strictEqual(base.made.length, 3)
      })
    )
  })

  it.effect("gives up the target that was not dialled for the longest time when there are too many", () => {
    const base = scripted()
    return over(
      base,
      { maxTargets: 2 },
      Effect.gen(function*() {
        for (const to of ["a.test:1", "b.test:1", "a.test:1", "c.test:1"]) {
          yield* Effect.scoped(dial(to))
          yield* turn
        }
        assert.deepStrictEqual([...base.open], ["5 a.test", "7 c.test"])
      })
    )
  })

  it.effect("refuses what is no target itself", () =>
    Effect.gen(function*() {
      const { hop, reason } = yield* Effect.flip(over(scripted(), {}, dial("nowhere")))
      assert.deepStrictEqual([hop, reason._tag], ["keep-warm", "InvalidTarget"])
    }))
})

describeOnNetworks("connections in reserve", (test) => {
  /** A listener, and a dial of it that has connections in reserve and says when one is there. */
  const warm = Effect.gen(function*() {
    const { accept, address } = yield* (yield* Listener.Listener).bind({ host: "127.0.0.1", port: 0 })
    const arrived = yield* Queue.unbounded<void>()
    const noticed = Dialer.layerThrough(Effect.succeed({
      name: "noticed",
      via: Effect.succeed,
      handshake: (duplex) => Effect.as(Queue.offer(arrived, undefined), duplex)
    }))
    const context = yield* Layer.build(KeepWarm.layer().pipe(Layer.provide(noticed)))
    return {
      accept,
      dial: Context.get(context, Dialer.Dialer).dial(address),
      /** Waits for the next connection that was dialled, whoever it is for. */
      dialled: Effect.andThen(Queue.take(arrived), turns(2))
    }
  })

  test("are dialled before they are wanted, and hold what the server says first", () =>
    Effect.gen(function*() {
      const { accept, dial, dialled } = yield* warm
      yield* dial
      yield* accept
      const reserve = yield* accept
      yield* Effect.andThen(dialled, dialled)
      yield* write(reserve, "hello")
      const client = yield* dial
      assert.isNull(client.readableFlowing)
      assert.strictEqual(String(yield* read(client, 5)), "hello")
      yield* write(client, "used")
      assert.strictEqual(String(yield* read(reserve, 4)), "used")
      yield* dialled
    }))

  test("that the server has ended are closed, and not given to anybody", () =>
    Effect.gen(function*() {
      const { accept, dial, dialled } = yield* warm
      yield* dial
      yield* accept
      const reserve = yield* accept
      yield* Effect.andThen(dialled, dialled)
      reserve.end()
      assert.strictEqual((yield* readAll(reserve)).bytes.length, 0)
      const client = yield* dial
      const server = yield* accept
      yield* write(client, "fresh")
      assert.strictEqual(String(yield* read(server, 5)), "fresh")
      yield* Effect.andThen(dialled, dialled)
    }))
})

keepsPathsApart("KeepWarm.layer", () => KeepWarm.layer())
