import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { NameNotFound } from "../../../../src/errors/DialError.ts"
import { dns } from "../../../../src/internal/grpc/client/resolver.ts"
import type { Lookup, Resolver } from "../../../../src/internal/net/resolve.ts"
import * as Target from "../../../../src/internal/net/target.ts"
import { until } from "../../../support/channels.ts"
import { leavesNothing } from "../../../support/leaks.ts"

const found = (...hosts: ReadonlyArray<string>): Lookup => Effect.succeed(hosts.map((host) => ({ host, port: 443 })))

const notFound = (code: string): Lookup => Effect.fail(new NameNotFound({ name: "greeter", code }))

const resolve = (resolver: Resolver) => dns("greeter", 443, { interval: Duration.seconds(30), resolver })

describe("dns", () => {
  it.effect("gives all addresses of a name, again and again", () =>
    leavesNothing(Effect.gen(function*() {
      let asked = 0
      const lists: Array<ReadonlyArray<string>> = []
      yield* resolve(() => ++asked === 1 ? [found("::1"), found("10.0.0.1", "10.0.0.2")] : [found(), found("10.0.0.3")])
        .pipe(
          Stream.runForEach((list) => Effect.sync(() => lists.push(list.map(Target.format)))),
          Effect.forkScoped({ startImmediately: true })
        )
      yield* until(() => lists.length === 1)
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(asked, 1)
      yield* TestClock.adjust("1 second")
      yield* until(() => lists.length === 2)
      assert.deepStrictEqual(lists, [["[::1]:443", "10.0.0.1:443", "10.0.0.2:443"], ["10.0.0.3:443"]])
    })))

  it.effect("needs only one of its questions answered", () =>
    Effect.gen(function*() {
      const [list] = yield* Stream.runCollect(
        Stream.take(resolve(() => [notFound("ESERVFAIL"), found("10.0.0.1")]), 1)
      )
      assert.deepStrictEqual(list?.map(Target.format), ["10.0.0.1:443"])
    }))

  it.effect("fails where there is no address, with what may pass if that is among the reasons", () =>
    Effect.gen(function*() {
      const failure = (...lookups: ReadonlyArray<Lookup>) =>
        Effect.map(
          Effect.flip(Stream.runDrain(resolve(() => lookups))),
          ({ hop, message, target }) => [hop, target, message]
        )
      const [hop, target, message] = yield* failure(notFound("ENOTFOUND"), notFound("EAI_AGAIN"))
      assert.deepStrictEqual([hop, target], ["dns", "greeter:443"])
      assert.include(message, "EAI_AGAIN")
      assert.include((yield* failure(found(), found()))[2], "NotFound")
    }))
})
