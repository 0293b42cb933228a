import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Forward from "../../../../src/internal/ssh/config/forward.ts"

const environment = { DIR: "/run/app" }

const parse = (direction: Forward.Direction, ...words: ReadonlyArray<string>) =>
  Result.merge(Forward.parse(direction, words, environment))

describe("forwardings of ssh_config", () => {
  const tcp = (host: string | undefined, port: number) => ({ host, port })
  const table: ReadonlyArray<readonly [Forward.Direction, ReadonlyArray<string>, Forward.Forward]> = [
    ["localforward", ["80", "web:81"], { listen: tcp(undefined, 80), target: tcp("web", 81) }],
    ["localforward", ["[::1]:80", "[::2]:81"], { listen: tcp("::1", 80), target: tcp("::2", 81) }],
    ["localforward", ["*:80", "web:81"], { listen: tcp("*", 80), target: tcp("web", 81) }],
    ["localforward", ["${DIR}/a", "web:81"], { listen: { path: "/run/app/a" }, target: tcp("web", 81) }],
    ["localforward", ["a:80", "/b"], { listen: tcp("a", 80), target: { path: "/b" } }],
    ["localforward", ["/a\\:b", "/c"], { listen: { path: "/a:b" }, target: { path: "/c" } }],
    ["remoteforward", ["0", "web:81"], { listen: tcp(undefined, 0), target: tcp("web", 81) }],
    ["remoteforward", ["1080"], { listen: tcp(undefined, 1080), target: undefined }],
    ["dynamicforward", ["127.0.0.1:1080"], { listen: tcp("127.0.0.1", 1080), target: undefined }]
  ]
  for (const [direction, words, forward] of table) {
    it(`${direction} ${words.join(" ")} is understood`, () => {
      assert.deepStrictEqual(parse(direction, ...words), forward)
    })
  }

  it("are refused where they make no sense", () => {
    assert.strictEqual(parse("localforward", "80"), "the target is missing")
    assert.strictEqual(parse("localforward", "80", "web:1", "x"), "\"x\" is one word too many")
    assert.strictEqual(parse("localforward", "${NOT}", "web:1"), "the environment has no \"NOT\"")
    for (
      const words of [["0", "web:1"], ["80", "web"], ["80", "web:0"], ["x", "web:1"], ["a:b:c", "d:1"], ["[a", "b:1"], [
        "80",
        "web:99999"
      ], ["80", "web:1\\"]]
    ) {
      assert.strictEqual(parse("localforward", ...words), "this is no forwarding")
    }
    assert.strictEqual(parse("dynamicforward", "a:b:80"), "this is no forwarding")
  })

  it.effect.prop(
    "are understood or refused, whatever they are",
    { words: Schema.Array(Schema.String), direction: Schema.Literals(Forward.directions) },
    ({ direction, words }) => Effect.sync(() => void Forward.parse(direction, words, environment)),
    { arbitrary: { runs: 300 } }
  )

  it.effect.prop(
    "are the same after they were printed",
    {
      port: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65535 })),
      host: Schema.Literals(["a", "::1", "10.0.0.1"])
    },
    ({ host, port }) =>
      Effect.sync(() => {
        const forward: Forward.Forward = { listen: tcp(host, port), target: tcp(host, port) }
        assert.deepStrictEqual(parse("localforward", ...Forward.format("localforward", forward).split(" ")), forward)
      })
  )
})
