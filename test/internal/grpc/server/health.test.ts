import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Health from "../../../../src/internal/grpc/server/health.ts"
import { implementationOf } from "../../../support/implementations.ts"

const make = Effect.fnUntraced(function*(services: ReadonlyArray<string> = ["acme.Orders"]) {
  const health = yield* Health.make(services)
  const method = (name: string) => implementationOf(health.implementations, `grpc.health.v1.Health/${name}`)
  const watched = Effect.fnUntraced(function*(service: string) {
    const messages = yield* Queue.unbounded<unknown>()
    const fiber = yield* Effect.forkChild(
      Stream.runForEach(method("Watch").stream({ service }), (message) => Queue.offer(messages, message))
    )
    return { next: Queue.take(messages), end: Fiber.join(fiber) }
  })
  return {
    ...health,
    check: (service: string) => method("Check").effect({ service }),
    list: method("List").effect({}),
    watched
  }
})

describe("health of a server", () => {
  it.effect("is serving until something else is said", () =>
    Effect.gen(function*() {
      const { check, setStatus } = yield* make()
      assert.deepStrictEqual(yield* check(""), { status: "SERVING" })
      assert.deepStrictEqual(yield* check("acme.Orders"), { status: "SERVING" })
      yield* setStatus("acme.Orders", "NOT_SERVING")
      assert.deepStrictEqual(yield* check("acme.Orders"), { status: "NOT_SERVING" })
      assert.deepStrictEqual(yield* check(""), { status: "SERVING" })
      yield* setStatus("acme.Orders", "SERVING")
      assert.deepStrictEqual(yield* check("acme.Orders"), { status: "SERVING" })
    }))

  it.effect("is not found for a service that is not there, until something is said of it", () =>
    Effect.gen(function*() {
      const { check, setStatus } = yield* make()
      const error = yield* Effect.flip(check("acme.Nobody"))
      assert.strictEqual(error._tag, "NotFound")
      yield* setStatus("acme.Nobody", "SERVING")
      assert.deepStrictEqual(yield* check("acme.Nobody"), { status: "SERVING" })
    }))

  it.effect("is listed, up to a hundred services", () =>
    Effect.gen(function*() {
      const { list, setStatus } = yield* make()
      yield* setStatus("", "NOT_SERVING")
      assert.deepStrictEqual(yield* list, {
        statuses: { "": { status: "NOT_SERVING" }, "acme.Orders": { status: "SERVING" } }
      })
      const crowded = yield* make(Array.from({ length: 100 }, (_, index) => `acme.Service${index}`))
      assert.strictEqual((yield* Effect.flip(crowded.list))._tag, "ResourceExhausted")
    }))

  it.effect("is told to who watches, at once and whenever it changes", () =>
    Effect.gen(function*() {
      const { setStatus, watched } = yield* make()
      const orders = yield* watched("acme.Orders")
      assert.deepStrictEqual(yield* orders.next, { status: "SERVING" })
      yield* setStatus("acme.Orders", "NOT_SERVING")
      assert.deepStrictEqual(yield* orders.next, { status: "NOT_SERVING" })
      // neither what stays the same nor another service is news
      yield* setStatus("acme.Orders", "NOT_SERVING")
      yield* setStatus("", "NOT_SERVING")
      yield* Effect.yieldNow
      yield* setStatus("acme.Orders", "SERVING")
      assert.deepStrictEqual(yield* orders.next, { status: "SERVING" })
    }))

  it.effect("is unknown of a service that is not there, for who watches", () =>
    Effect.gen(function*() {
      const { setStatus, watched } = yield* make()
      const nobody = yield* watched("acme.Nobody")
      assert.deepStrictEqual(yield* nobody.next, { status: "SERVICE_UNKNOWN" })
      yield* setStatus("acme.Nobody", "NOT_SERVING")
      assert.deepStrictEqual(yield* nobody.next, { status: "NOT_SERVING" })
    }))

  it.effect("is what it is now, for who watches and is slow", () =>
    Effect.gen(function*() {
      const { implementations, setStatus } = yield* make()
      const { stream } = implementationOf(implementations, "grpc.health.v1.Health/Watch")
      const seen = yield* stream({ service: "" }).pipe(
        Stream.tap(() =>
          Effect.forEach(Array.from({ length: 1001 }), (_, index) =>
            setStatus("", index % 2 === 0 ? "NOT_SERVING" : "SERVING"))
        ),
        Stream.take(2),
        Stream.runCollect
      )
      assert.deepStrictEqual(seen, [{ status: "SERVING" }, { status: "NOT_SERVING" }])
    }))

  it.effect("is not serving while the server drains, and nobody is kept waiting", () =>
    Effect.gen(function*() {
      const { check, drain, list, setStatus, watched } = yield* make()
      const orders = yield* watched("acme.Orders")
      const nobody = yield* watched("acme.Nobody")
      assert.deepStrictEqual(yield* orders.next, { status: "SERVING" })
      assert.deepStrictEqual(yield* nobody.next, { status: "SERVICE_UNKNOWN" })
      yield* drain
      assert.deepStrictEqual(yield* orders.next, { status: "NOT_SERVING" })
      yield* orders.end
      yield* nobody.end
      yield* setStatus("acme.Orders", "SERVING")
      yield* setStatus("acme.Nobody", "SERVING")
      assert.deepStrictEqual(yield* check("acme.Orders"), { status: "NOT_SERVING" })
      assert.strictEqual((yield* Effect.flip(check("acme.Nobody")))._tag, "NotFound")
      const notServing = { status: "NOT_SERVING" }
      assert.deepStrictEqual(yield* list, { statuses: { "": notServing, "acme.Orders": notServing } })
      const late = yield* watched("")
      assert.deepStrictEqual(yield* late.next, notServing)
      yield* late.end
    }))
})
