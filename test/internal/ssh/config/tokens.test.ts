import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { expand, expandHome, expandTokens, expandVariables } from "../../../../src/internal/ssh/config/tokens.ts"

const tokens = { h: "%p", p: "22", n: "${HOME}" }
const environment = { HOME: "/home/%h", EMPTY: "" }

describe("tokens of ssh_config", () => {
  it("stand for what they stand for, once", () => {
    assert.deepStrictEqual(expandTokens("%h:%p%%p", tokens), Result.succeed("%p:22%p"))
    assert.deepStrictEqual(expandVariables("${HOME}%h${EMPTY}$HOME", environment), Result.succeed("/home/%h%h$HOME"))
    assert.deepStrictEqual(expand("${HOME}/%h/%n%%", tokens, environment), Result.succeed("/home/%h/%p/${HOME}%"))
  })

  it("are refused where they stand for nothing", () => {
    assert.deepStrictEqual(expandTokens("%q", tokens), Result.fail("\"%q\" stands for nothing here"))
    assert.deepStrictEqual(expandTokens("%", tokens), Result.fail("a \"%\" stands at the end"))
    assert.deepStrictEqual(expandVariables("${NOT}", environment), Result.fail("the environment has no \"NOT\""))
    for (const name of ["constructor", "__proto__", ""]) {
      assert.isTrue(Result.isFailure(expandVariables(`\${${name}}`, {})))
    }
    for (const key of ["c", "_"]) assert.isTrue(Result.isFailure(expandTokens(`%${key}`, {})))
    assert.deepStrictEqual(expand("a${HOME", tokens, environment), Result.fail("a \"${\" is not closed"))
    assert.isTrue(Result.isFailure(expand("%q${HOME}", tokens, environment)))
    assert.isTrue(Result.isFailure(expand("${NOT}", tokens, environment)))
  })

  it.effect.prop(
    "leave alone what has none",
    { text: Schema.String },
    ({ text }) =>
      Effect.sync(() => {
        const plain = text.replaceAll(/[%$]/g, "")
        assert.deepStrictEqual(expand(plain, tokens, environment), Result.succeed(plain))
        assert.deepStrictEqual(expandTokens(text.replaceAll("%", "%%"), tokens), Result.succeed(text))
        expand(text, tokens, environment)
      }),
    { arbitrary: { runs: 300 } }
  )

  it("make the user's own folder of `~`, and no other", () => {
    const user = { home: "/home/joe", username: "joe" }
    for (
      const [path, full] of [["~", "/home/joe/"], ["~/a", "/home/joe/a"], ["~//a", "/home/joe/a"], [
        "~joe/a",
        "/home/joe/a"
      ], [
        "/~",
        "/~"
      ]] as const
    ) assert.deepStrictEqual(expandHome(path, user), Result.succeed(full))
    assert.deepStrictEqual(expandHome("~/a", { ...user, home: "/" }), Result.succeed("/a"))
    assert.isTrue(Result.isFailure(expandHome("~bob/a", user)))
  })
})
