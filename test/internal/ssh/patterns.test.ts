import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { matches, matchesAny, matchesList } from "../../../src/internal/ssh/patterns.ts"

describe("patterns of ssh_config", () => {
  const Text = Schema.Array(Schema.Literals(["a", "b", "."])).check(Schema.isMaxLength(8))
  const Pattern = Schema.Array(Schema.Literals(["a", "b", ".", "*", "?"])).check(Schema.isMaxLength(8))

  it.effect.prop(
    "match as regular expressions do",
    { text: Text, pattern: Pattern },
    ({ pattern, text }) =>
      Effect.sync(() => {
        const source = pattern.map((char) => char === "*" ? ".*" : char === "?" ? "." : `[${char}]`).join("")
        const isMatch = new RegExp(`^(?:${source})$`).test(text.join(""))
        assert.strictEqual(matches(text.join(""), pattern.join("")), isMatch)
      }),
    { arbitrary: { runs: 1000 } }
  )

  it("do not take for ever", () => {
    assert.isFalse(matches("a".repeat(20_000), `${"*a".repeat(200)}b`))
  })

  it("in a list need one that matches and none that is negated", () => {
    assert.isTrue(matchesList("web", "db,w*"))
    assert.isFalse(matchesList("web", "w*,!web"))
    assert.isFalse(matchesList("web", "!web,w*"))
    assert.isFalse(matchesList("web", "!db"))
    assert.isFalse(matchesList("web", ""))
    assert.isTrue(matchesAny("web,db", ["web,db"]))
    assert.isFalse(matchesAny("web", ["web,db"]))
  })
})
