import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { PassThrough } from "node:stream"
import { Dialer, layerThrough } from "../../src/services/Dialer.ts"
import { type Answer, keepsPathsApart, programs, type Wrapper } from "./memoisation.ts"

const shared = (): Wrapper => Layer.effect(Dialer, Effect.map(Effect.service(Dialer), (below) => ({ ...below })))

const dialsWhenBuilt = (): Wrapper =>
  Layer.effect(
    Dialer,
    Effect.gen(function*() {
      const below = yield* Dialer
      yield* below.dial("jump.test:22")
      return below
    })
  )

const connect: Answer = () => Effect.sync(() => new PassThrough())

describe("the memoisation check", () => {
  for (const { expected, name, run } of programs) {
    it.live(`finds a shared wrapper ${name}`, () =>
      Effect.map(run(shared()), (asked) => assert.notDeepEqual([...asked].toSorted(), expected)))
    it.live(`finds a shared wrapper that dials when it is built, ${name}`, () =>
      Effect.map(run(dialsWhenBuilt(), connect), (asked) => assert.notDeepEqual([...asked].toSorted(), expected)))
  }
})

keepsPathsApart(
  "a wrapper made with layerThrough",
  () => layerThrough(Effect.succeed({ name: "plain", via: Effect.succeed, handshake: Effect.succeed }))
)

keepsPathsApart("a wrapper that dials when it is built, made fresh,", () => Layer.fresh(dialsWhenBuilt()), connect)
