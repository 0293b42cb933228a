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

const plain = () => layerThrough(Effect.succeed({ name: "plain", via: Effect.succeed, handshake: Effect.succeed }))

/** Each of the two is new for each path, but what is made of them is one value. */
const stack = (): Wrapper => plain().pipe(Layer.provide(plain()))

const connect: Answer = () => Effect.sync(() => new PassThrough())

describe("the memoisation check", () => {
  for (const { expected, name, run } of programs) {
    it.live(`finds a shared wrapper ${name}`, () =>
      Effect.map(run(shared()), (asked) => assert.notDeepEqual([...asked].toSorted(), expected)))
    it.live(`finds a shared wrapper that dials when it is built, ${name}`, () =>
      Effect.map(run(dialsWhenBuilt(), connect), (asked) => assert.notDeepEqual([...asked].toSorted(), expected)))
    it.live(`finds a shared stack of wrappers ${name}`, () =>
      Effect.map(run(stack()), (asked) => assert.notDeepEqual([...asked].toSorted(), expected)))
  }
})

keepsPathsApart("a wrapper made with layerThrough", plain)

keepsPathsApart("a stack of wrappers, made fresh,", () => Layer.fresh(stack()))

keepsPathsApart("a wrapper that dials when it is built, made fresh,", () => Layer.fresh(dialsWhenBuilt()), connect)
