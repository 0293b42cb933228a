import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { parse } from "../../../../src/internal/ssh/config/line.ts"

const wordsOf = (text: string): Result.Result<ReadonlyArray<string>, string> =>
  Result.map(parse(text), (line) => line === undefined ? [] : [line.keyword, ...line.words])

describe("a line of ssh_config", () => {
  const table: ReadonlyArray<readonly [text: string, words: ReadonlyArray<string>]> = [
    ["Port 22", ["port", "22"]],
    [" \tPort\t 22 \r", ["port", "22"]],
    ["Port=22", ["port", "22"]],
    ["Port = 22", ["port", "22"]],
    ["Port =22", ["port", "22"]],
    ["SetEnv A=1 B=\"x y\"", ["setenv", "A=1", "B=x y"]],
    ["User \"a b\"c 'd\"e'", ["user", "a bc", "d\"e"]],
    ["User a\\ b \"c\\\"d\" e\\f \\\\", ["user", "a b", "c\"d", "e\\f", "\\"]],
    ["\"User\" bob", ["user", "bob"]],
    ["User bob # who", ["user", "bob"]],
    ["User bob#who", ["user", "bob#who"]],
    ["# User bob", []],
    ["   # User bob", []],
    ["", []],
    [" \t ", []]
  ]
  for (const [text, words] of table) {
    it(`${JSON.stringify(text)} is ${words.length === 0 ? "nothing" : words.join(" | ")}`, () => {
      assert.deepStrictEqual(Result.getOrThrow(wordsOf(text)), words)
    })
  }

  it("keeps what follows the keyword as it is written", () => {
    const line = Result.getOrThrow(parse("ProxyCommand  nc -X \"5\" %h # 'x "))
    assert.deepInclude(line, { keyword: "proxycommand", rest: "nc -X \"5\" %h # 'x" })
  })

  it("says what is wrong with it", () => {
    assert.deepStrictEqual(wordsOf("Port"), Result.fail("nothing follows \"port\""))
    assert.deepStrictEqual(wordsOf("User \"bob"), Result.fail("a quote is not closed"))
  })

  it.effect.prop("is understood or refused, whatever it is", { text: Schema.String }, ({ text }) =>
    Effect.sync(() => {
      const line = parse(text)
      if (Result.isSuccess(line) && line.success !== undefined) {
        assert.strictEqual(line.success.keyword, line.success.keyword.toLowerCase())
        assert.notStrictEqual(line.success.rest, "")
      }
    }), { arbitrary: { runs: 500 } })

  const Piece = Schema.Literals(["Host", "Port", " ", "\t", "=", "\"", "'", "\\", "#", "a", "b*", "\r", "\f", "%h"])

  it.effect.prop(
    "is understood or refused, whatever it is made of",
    { pieces: Schema.Array(Piece) },
    ({ pieces }) =>
      Effect.sync(() => {
        const line = parse(pieces.join(""))
        if (Result.isSuccess(line)) { for (const word of line.success?.words ?? []) assert.notInclude(word, "\0") }
      }),
    { arbitrary: { runs: 500 } }
  )

  const Word = Schema.Array(Schema.Literals(["a", " ", "#", "=", "'", "\\", "ß"])).check(Schema.isMinLength(1))

  it.effect.prop(
    "gives back the words that were quoted for it",
    { words: Schema.Array(Word) },
    ({ words }) =>
      Effect.sync(() => {
        const plain = words.map((word) => word.join(""))
        const quoted = plain.map((word) => `"${word.replaceAll(/["'\\]/g, String.raw`\$&`)}"`)
        assert.deepStrictEqual(
          wordsOf(`Host x ${quoted.join(" ")}`),
          Result.succeed<ReadonlyArray<string>>(["host", "x", ...plain])
        )
      }),
    { arbitrary: { runs: 200 } }
  )
})
