import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import type { Duplex } from "node:stream"
import {
  DialError,
  type DialErrorReason,
  InvalidTarget,
  ProxyAuthentication,
  Refused
} from "../../src/errors/DialError.ts"
import { Rate } from "../../src/internal/net/rate.ts"
import * as Policy from "../../src/layers/Policy.ts"
import * as Dialer from "../../src/services/Dialer.ts"
import { leavesNothing } from "../support/leaks.ts"
import { keepsPathsApart } from "../support/memoisation.ts"
import { ScriptedDuplex } from "../support/scripted.ts"
import { closedBy, closedPort, rawServer } from "../support/servers.ts"

const target = "db.test:5432"

const refused = new Refused({ address: target })

/** What one dial of the scripted Dialer comes to: an error, or a stream; after some time, or never. */
type Outcome = { readonly reason?: DialErrorReason; readonly after?: Duration.Input } | "silent"

/** A Dialer that does what it is told, dial by dial, and then succeeds; it notes when it was asked. */
const scripted = (...outcomes: ReadonlyArray<Outcome>) => {
  const seen = {
    at: [] as Array<number>,
    timeouts: [] as Array<number>,
    targets: [] as Array<string>,
    open: 0,
    most: 0
  }
  const answer = (outcome: Outcome): Effect.Effect<Duplex, DialError, Scope.Scope> =>
    outcome === "silent"
      ? Effect.never
      : Effect.delay(
        outcome.reason === undefined
          ? Effect.acquireRelease(
            Effect.sync(() => {
              seen.most = Math.max(seen.most, ++seen.open)
              return new ScriptedDuplex()
            }),
            () => Effect.sync(() => seen.open--)
          )
          : Effect.fail(new DialError({ target, hop: "direct", reason: outcome.reason })),
        outcome.after ?? 0
      )
  const layer = Layer.succeed(Dialer.Dialer, {
    connectTimeout: Duration.seconds(10),
    dial: (_target, options) =>
      Effect.clockWith((clock) => {
        seen.at.push(clock.currentTimeMillisUnsafe())
        seen.timeouts.push(Duration.toMillis(Duration.fromInputUnsafe(options?.connectTimeout ?? 0)))
        return answer(outcomes[seen.at.length - 1] ?? {})
      })
  })
  return { seen, layer }
}

const dial = (to: string = target, options?: Dialer.DialOptions) =>
  Dialer.Dialer.use((dialer) => dialer.dial(to, options))

/** Dials, closes at once, and gives how it ended. */
const attempt = (to?: string, options?: Dialer.DialOptions) => Effect.exit(Effect.scoped(dial(to, options)))

const tagOf = (exit: Exit.Exit<unknown, DialError>) => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? error.value.reason._tag : "ok"
}

/** Runs an effect over a policy over a scripted Dialer, while the clock goes on. */
const over = <A, E>(
  policy: Policy.PolicyOptions,
  base: { readonly layer: Layer.Layer<Dialer.Dialer> },
  effect: Effect.Effect<A, E, Dialer.Dialer | Scope.Scope>,
  time: Duration.Input = "10 minutes"
) =>
  Effect.gen(function*() {
    const fiber = yield* effect.pipe(
      Effect.provide(Policy.layer(policy).pipe(Layer.provide(base.layer))),
      Effect.forkChild({ startImmediately: true })
    )
    yield* TestClock.adjust(time)
    return yield* Fiber.join(fiber)
  })

describe("no policy", () => {
  it.effect("dials once and hands on what comes, with the time of the Dialer below", () =>
    Effect.gen(function*() {
      const base = scripted({ reason: refused })
      assert.strictEqual(tagOf(yield* over({}, base, attempt())), "Refused")
      assert.deepStrictEqual([base.seen.at, base.seen.timeouts], [[0], [10_000]])
      assert.deepStrictEqual(
        yield* over({}, base, Dialer.Dialer.useSync((dialer) => dialer.connectTimeout)),
        Duration.seconds(10)
      )
    }))
  it.effect("refuses what is no target itself", () =>
    Effect.gen(function*() {
      const base = scripted()
      const exit = yield* over({}, base, attempt("nowhere"))
      const error = Exit.findErrorOption(exit)
      assert.deepStrictEqual(error._tag === "Some" && [error.value.hop, error.value.reason._tag], [
        "policy",
        "InvalidTarget"
      ])
      assert.deepStrictEqual(base.seen.at, [])
    }))
})

describe("retry", () => {
  const retry = Schedule.spaced("1 second")

  it.effect("tries again as the schedule says", () =>
    Effect.gen(function*() {
      const base = scripted({ reason: refused }, { reason: refused })
      assert.strictEqual(tagOf(yield* over({ retry }, base, attempt())), "ok")
      assert.deepStrictEqual(base.seen.at, [0, 1000, 2000])
    }))
  it.effect("gives the last error when the schedule is over", () =>
    Effect.gen(function*() {
      const base = scripted({ reason: refused }, { reason: refused }, { reason: refused })
      const exit = yield* over({ retry: Schedule.recurs(1) }, base, attempt())
      assert.strictEqual(tagOf(exit), "Refused")
      assert.strictEqual(base.seen.at.length, 2)
    }))
  it.effect("does not try again what cannot succeed", () =>
    Effect.gen(function*() {
      const base = scripted({ reason: new ProxyAuthentication({ detail: "no" }) })
      assert.strictEqual(tagOf(yield* over({ retry }, base, attempt())), "ProxyAuthentication")
      assert.strictEqual(base.seen.at.length, 1)
    }))
  it.effect("gives each try its own time, and all of them together the dial's", () =>
    Effect.gen(function*() {
      const silent = { reason: refused, after: "2 seconds" } as const
      const base = scripted(silent, silent, silent, silent)
      const exit = yield* over(
        { retry, tryTimeout: "4 seconds" },
        base,
        attempt(target, { connectTimeout: "7 seconds" })
      )
      assert.strictEqual(tagOf(exit), "ConnectTimeout")
      assert.deepStrictEqual(base.seen.at, [0, 3000, 6000])
      assert.deepStrictEqual(base.seen.timeouts, [4000, 4000, 1000])
      const error = Exit.findErrorOption(exit)
      assert.strictEqual(
        error._tag === "Some" && error.value.message,
        `${target} via policy: timed out after 7s while waiting for a try that succeeds`
      )
    }))
  it.effect("has 30 seconds when nobody says", () =>
    Effect.gen(function*() {
      const timeoutOf = (policy: Policy.PolicyOptions) =>
        over(policy, scripted(), Dialer.Dialer.useSync((dialer) => Duration.toSeconds(dialer.connectTimeout)))
      assert.strictEqual(yield* timeoutOf({ retry }), 30)
      assert.strictEqual(yield* timeoutOf({ retry, connectTimeout: "5 seconds" }), 5)
    }))
})

describe("a circuit breaker", () => {
  const circuitBreaker = { failures: 2, openFor: "1 minute" } as const

  it.effect("leaves a target alone that failed too often, then tries one dial, and closes when that succeeds", () =>
    Effect.gen(function*() {
      const base = scripted({ reason: refused }, { reason: refused }, { reason: refused })
      const tags = yield* over(
        { circuitBreaker },
        base,
        Effect.gen(function*() {
          const tags = [tagOf(yield* attempt()), tagOf(yield* attempt())]
          const open = yield* Effect.flip(Effect.scoped(dial()))
          assert.deepStrictEqual([open.hop, open.isRetryable], ["policy", true])
          assert.deepStrictEqual(
            open.reason._tag === "CircuitOpen" && Duration.toSeconds(open.reason.retryAfter),
            60
          )
          // another target is not concerned
          tags.push(tagOf(yield* attempt("other.test:1")))
          yield* Effect.sleep("1 minute")
          tags.push(tagOf(yield* attempt()), tagOf(yield* attempt()))
          return tags
        })
      )
      assert.deepStrictEqual(tags, ["Refused", "Refused", "Refused", "ok", "ok"])
    }))
  it.effect("lets one dial try whether the target is back, while the others fail", () =>
    Effect.gen(function*() {
      const base = scripted({ reason: refused }, { reason: refused }, { after: "5 seconds" })
      const tags = yield* over(
        { circuitBreaker },
        base,
        Effect.gen(function*() {
          yield* attempt()
          yield* attempt()
          yield* Effect.sleep("1 minute")
          return (yield* Effect.all([attempt(), attempt()], { concurrency: 2 })).map(tagOf)
        })
      )
      assert.deepStrictEqual(tags, ["ok", "CircuitOpen"])
    }))
  it.effect("counts a dial once however often it is tried, and nothing that says nothing about the target", () =>
    Effect.gen(function*() {
      const reason = new InvalidTarget({ input: "x", why: "no" })
      const base = scripted({ reason: refused }, { reason: refused }, { reason }, { reason }, { reason: refused })
      const tags = yield* over(
        { circuitBreaker, retry: Schedule.recurs(1) },
        base,
        Effect.gen(function*() {
          const tags: Array<string> = []
          for (let i = 0; i < 4; i++) tags.push(tagOf(yield* attempt()))
          return tags
        })
      )
      assert.deepStrictEqual(tags, ["Refused", "InvalidTarget", "InvalidTarget", "ok"])
    }))
  it.effect("does not count dials that are interrupted", () =>
    Effect.gen(function*() {
      const base = scripted("silent", "silent")
      const tag = yield* over(
        { circuitBreaker },
        base,
        Effect.gen(function*() {
          for (let i = 0; i < 2; i++) {
            yield* Fiber.interrupt(yield* Effect.forkChild(attempt(), { startImmediately: true }))
          }
          return tagOf(yield* attempt())
        })
      )
      assert.strictEqual(tag, "ok")
    }))
})

describe("a rate limit", () => {
  const times = (count: number, to?: string) => Effect.all(Array.from({ length: count }, () => attempt(to)))

  it.effect("allows so many dials at once and then evenly many, waiting for the turn", () =>
    Effect.gen(function*() {
      const base = scripted()
      yield* over({ rateLimit: { limit: 2, window: "1 second" } }, base, times(5))
      assert.deepStrictEqual(base.seen.at, [0, 0, 500, 1000, 1500])
    }))
  it.effect("takes each target for itself", () =>
    Effect.gen(function*() {
      const base = scripted()
      yield* over({ rateLimit: { limit: 1 } }, base, Effect.andThen(times(2), times(1, "other.test:1")))
      assert.deepStrictEqual(base.seen.at, [0, 1000, 1000])
    }))
  it.effect("fails where it is told to, and says when to come again", () =>
    Effect.gen(function*() {
      const base = scripted()
      const exits = yield* over({ rateLimit: { limit: 1, onExceeded: "fail" } }, base, times(2))
      assert.deepStrictEqual(exits.map(tagOf), ["ok", "RateLimited"])
      const { hop, isRetryable, reason } = yield* Effect.flip(exits[1]!)
      assert.deepStrictEqual([hop, isRetryable], ["policy", true])
      assert.strictEqual(reason._tag === "RateLimited" && Duration.toMillis(reason.retryAfter), 1000)
    }))
  it.effect("fails at once when the turn comes after the dial's time", () =>
    Effect.gen(function*() {
      const base = scripted()
      const tags = yield* over(
        { rateLimit: { limit: 1, window: "1 minute" } },
        base,
        Effect.gen(function*() {
          yield* attempt()
          const late = tagOf(yield* attempt(target, { connectTimeout: "59 seconds" }))
          // it has not used up a turn
          return [late, tagOf(yield* attempt(target, { connectTimeout: "61 seconds" }))]
        })
      )
      assert.deepStrictEqual(tags, ["RateLimited", "ok"])
      assert.deepStrictEqual([base.seen.at, base.seen.timeouts[1]], [[0, 60_000], 1000])
    }))
  it.effect("forgets targets whose past does not count any more", () =>
    Effect.gen(function*() {
      const rate = new Rate(2, Duration.seconds(1))
      for (let i = 0; i < 1000; i++) yield* rate.take(`host-${i}`, Duration.zero)
      assert.strictEqual(rate.size, 1000)
      yield* TestClock.adjust("1 second")
      yield* rate.take("one more", Duration.zero)
      assert.strictEqual(rate.size, 1)
    }))
})

describe("a limit of dials in flight", () => {
  it.effect("lets the others wait, whatever their target, but not for connections that are made", () =>
    Effect.gen(function*() {
      const slow = { after: "1 second" } as const
      const base = scripted(slow, slow, slow)
      yield* over(
        { maxConcurrentDials: 2 },
        base,
        Effect.all([dial("a.test:1"), dial("b.test:1"), dial("c.test:1")], { concurrency: 3 })
      )
      assert.deepStrictEqual([base.seen.at, base.seen.most], [[0, 0, 1000], 3])
    }))
  it.effect("ends the waiting when the dial's time is over", () =>
    Effect.gen(function*() {
      const base = scripted({ after: "5 seconds" })
      const exits = yield* over(
        { maxConcurrentDials: 1 },
        base,
        Effect.all([attempt(), attempt(target, { connectTimeout: "2 seconds" })], { concurrency: 2 })
      )
      assert.deepStrictEqual(exits.map(tagOf), ["ok", "ConnectTimeout"])
      assert.match(String(exits[1]), /one of the dials in flight to end/)
    }))
  it.effect("gives a place back when its dial fails or is interrupted, while waiting too", () =>
    Effect.gen(function*() {
      const base = scripted("silent", { reason: refused })
      const tags = yield* over(
        { maxConcurrentDials: 1 },
        base,
        Effect.gen(function*() {
          const first = yield* Effect.forkChild(attempt(), { startImmediately: true })
          const waiting = yield* Effect.forkChild(attempt(), { startImmediately: true })
          yield* Fiber.interrupt(waiting)
          yield* Fiber.interrupt(first)
          return [tagOf(yield* attempt()), tagOf(yield* attempt())]
        })
      )
      assert.deepStrictEqual(tags, ["Refused", "ok"])
    }))
})

describe("a limit of connections to a target", () => {
  it.effect("counts those that are open until they are closed, each target for itself", () =>
    Effect.gen(function*() {
      const base = scripted()
      yield* over(
        { maxConnectionsPerTarget: 1 },
        base,
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          yield* Scope.provide(dial(), scope)
          yield* dial("other.test:1")
          const late = yield* Effect.forkChild(attempt(), { startImmediately: true })
          yield* Effect.sleep("3 seconds")
          assert.deepStrictEqual(base.seen.at, [0, 0])
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual(tagOf(yield* Fiber.join(late)), "ok")
        })
      )
      assert.deepStrictEqual(base.seen.at, [0, 0, 3000])
    }))
  it.effect("ends the waiting when the dial's time is over", () =>
    Effect.gen(function*() {
      const base = scripted()
      const exit = yield* over({ maxConnectionsPerTarget: 1 }, base, Effect.andThen(dial(), attempt()))
      assert.strictEqual(tagOf(exit), "ConnectTimeout")
      assert.match(String(exit), /one of the target's connections to close/)
    }))
  it.effect("does not count a dial that failed", () =>
    Effect.gen(function*() {
      const base = scripted({ reason: refused })
      const tags = yield* over(
        { maxConnectionsPerTarget: 1 },
        base,
        Effect.gen(function*() {
          return [tagOf(yield* Effect.exit(dial())), tagOf(yield* Effect.exit(dial()))]
        })
      )
      assert.deepStrictEqual(tags, ["Refused", "ok"])
    }))
})

describe("a policy over real sockets", () => {
  it.live("reaches a server that comes up late, and closes what it opened", () =>
    leavesNothing(Effect.gen(function*() {
      const server = yield* rawServer()
      const nobody = yield* closedPort
      const seen: Array<number> = []
      // the way to the server leads nowhere twice
      const detour = Dialer.layerThrough(Effect.succeed({
        name: "detour",
        via: () => Effect.sync(() => `127.0.0.1:${seen.push(1) < 3 ? nobody : server.port}`),
        handshake: Effect.succeed
      }))
      const policy = Policy.layer({
        retry: Schedule.spaced("1 millis"),
        maxConcurrentDials: 1,
        maxConnectionsPerTarget: 1,
        circuitBreaker: {},
        rateLimit: { limit: 100 }
      })
      yield* Effect.scoped(dial()).pipe(Effect.provide(policy.pipe(Layer.provide(detour), Layer.provide(Dialer.layer))))
      yield* closedBy(yield* server.next)
      assert.strictEqual(seen.length, 3)
    })))
})

keepsPathsApart("Policy.layer", () =>
  Policy.layer({
    maxConcurrentDials: 1,
    maxConnectionsPerTarget: 1,
    circuitBreaker: {},
    rateLimit: { limit: 100 },
    retry: Schedule.recurs(0)
  }))
