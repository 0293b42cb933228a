/**
 * Effect builds a layer value once per program. A layer that wraps a Dialer must be built once per path all the same, or
 * two paths become one and a proxy is bypassed without a word. This runs the four programs in which that shows.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LayerMap from "effect/LayerMap"
import { DialError, Refused } from "../../src/errors/DialError.ts"
import { Dialer } from "../../src/services/Dialer.ts"

/** A layer under test: it needs a Dialer and gives one. */
export type Wrapper = Layer.Layer<Dialer, unknown, Dialer>

/** The names of the Dialers that were asked: how often, and in which order, is up to the wrapper. */
type Asked = Set<string>

/** What the end of each path does when it is asked. */
export type Answer = Dialer["Service"]["dial"]

const refuse: Answer = () =>
  Effect.fail(
    new DialError({ target: "nowhere.test:1", hop: "direct", reason: new Refused({ address: "nowhere.test:1" }) })
  )

const answering = (dial: Answer): Dialer["Service"] => ({ connectTimeout: Duration.seconds(5), dial })

const recording = (name: string, asked: Asked, below: Dialer["Service"]): Dialer["Service"] => ({
  ...below,
  dial: (target, options) =>
    Effect.suspend(() => {
      asked.add(name)
      return below.dial(target, options)
    })
})

const baseOf = (asked: Asked, answer: Answer) => (name: string): Layer.Layer<Dialer> =>
  Layer.sync(Dialer, () => recording(name, asked, answering(answer)))

/** Something in the middle of a path that notices what passes. */
const spy = (name: string, asked: Asked): Layer.Layer<Dialer, never, Dialer> =>
  Layer.effect(Dialer, Effect.map(Effect.service(Dialer), (below) => recording(name, asked, below)))

/** Where the wrapper cannot be built, the rest of the program goes on. */
const path = (wrapper: Wrapper, below: Layer.Layer<Dialer>): Layer.Layer<Dialer> =>
  wrapper.pipe(Layer.provide(below), Layer.catchCause(() => Layer.succeed(Dialer, answering(refuse))))

const dial = (dialer: Dialer["Service"]) => Effect.ignore(Effect.scoped(dialer.dial("target.test:1")))

const dialHere = Effect.flatMap(Effect.service(Dialer), dial)

class Left extends Context.Service<Left, Dialer["Service"]>()("test/memoisation/Left") {}
class Right extends Context.Service<Right, Dialer["Service"]>()("test/memoisation/Right") {}

/** Each program, with the Dialers that have to be asked, in alphabetical order. */
export const programs: ReadonlyArray<{
  readonly name: string
  readonly expected: Array<string>
  readonly run: (wrapper: Wrapper, answer?: Answer) => Effect.Effect<Asked>
}> = [
  {
    name: "over two Dialers in one mergeAll",
    expected: ["left", "right"],
    run: Effect.fnUntraced(function*(wrapper, answer = refuse) {
      const asked: Asked = new Set()
      const base = baseOf(asked, answer)
      const layer = Layer.mergeAll(
        Layer.effect(Left, Effect.service(Dialer)).pipe(Layer.provide(path(wrapper, base("left")))),
        Layer.effect(Right, Effect.service(Dialer)).pipe(Layer.provide(path(wrapper, base("right"))))
      )
      yield* Effect.andThen(Left.use(dial), Right.use(dial)).pipe(Effect.provide(layer))
      return asked
    })
  },
  {
    name: "over two Dialers in nested provides",
    expected: ["inner", "outer"],
    run: Effect.fnUntraced(function*(wrapper, answer = refuse) {
      const asked: Asked = new Set()
      const base = baseOf(asked, answer)
      yield* dialHere.pipe(
        Effect.andThen(Effect.provide(dialHere, path(wrapper, base("inner")))),
        Effect.provide(path(wrapper, base("outer")))
      )
      return asked
    })
  },
  {
    name: "over itself",
    expected: ["bottom", "middle"],
    run: Effect.fnUntraced(function*(wrapper, answer = refuse) {
      const asked: Asked = new Set()
      const base = baseOf(asked, answer)
      const lower = spy("middle", asked).pipe(Layer.provide(path(wrapper, base("bottom"))))
      yield* Effect.provide(dialHere, path(wrapper, lower))
      return asked
    })
  },
  {
    name: "in the lookup of a LayerMap",
    expected: ["first", "second"],
    run: Effect.fnUntraced(function*(wrapper, answer = refuse) {
      const asked: Asked = new Set()
      const base = baseOf(asked, answer)
      yield* Effect.scoped(Effect.gen(function*() {
        const paths = yield* LayerMap.make((name: string) => path(wrapper, base(name)), {
          idleTimeToLive: Infinity
        })
        yield* Effect.provide(dialHere, paths.get("first"))
        yield* Effect.provide(dialHere, paths.get("second"))
      }))
      return asked
    })
  }
]

/**
 * Tests that one layer value, used for several paths, keeps them apart. A wrapper that dials while it is built needs an
 * `answer` with which it can be built: Effect does not share what failed.
 */
export const keepsPathsApart = (name: string, make: () => Wrapper, answer: Answer = refuse): void => {
  describe(`${name} keeps two paths apart`, () => {
    for (const program of programs) {
      it.live(
        program.name,
        () =>
          Effect.map(
            program.run(make(), answer),
            (asked) => assert.deepStrictEqual([...asked].toSorted(), program.expected)
          )
      )
    }
  })
}
