import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { expectation, type Expected, type Verdict } from "../../../src/internal/bytes/expectation.ts"
import { fragments, Sizes } from "../../support/fragments.ts"

/** Looks at bytes that come in pieces; gives the verdict, with how many bytes were used of all. */
const look = (
  expected: Expected,
  bytes: Uint8Array,
  sizes: ReadonlyArray<number>,
  limit = 1000
): Verdict | undefined => {
  const see = expectation(expected, limit)
  let before = 0
  for (const piece of [new Uint8Array(), ...fragments(bytes, sizes)]) {
    const verdict = see(piece)
    if (verdict?._tag === "Complete") return { ...verdict, used: before + verdict.used }
    if (verdict !== undefined) return verdict
    before += piece.length
  }
  return undefined
}

const complete = (used: number): Verdict => ({ _tag: "Complete", used })
const wrong = (at: number): Verdict => ({ _tag: "Wrong", at })

const cases: Record<string, readonly [Expected, string, Verdict | undefined]> = {
  "text that is there": ["PING\r\n", "PING\r\nmore", complete(6)],
  "text that is not there yet": ["PING\r\n", "PING\r", undefined],
  "other text, at its first wrong byte": ["PING\r\n", "PIXX", wrong(2)],
  "text of several bytes a character": ["ю\n", "ю\nя", complete(3)],
  "no text": ["", "x", complete(0)],
  "bytes": [Uint8Array.of(5, 1, 0), "\x05\x01\x00\x05", complete(3)],
  "an expression, as soon as it is found": [/\r\n\r\n/, "GET / HTTP/1.1\r\n\r\nbody", complete(18)],
  "an expression that is anchored": [/^GET .*\r\n/, "GET /\r\nHost", complete(7)],
  "an expression that is greedy at its end": [/\d+/, "ab123", complete(3)],
  "an expression with characters of several bytes": [/ю./u, "aюяz", complete(5)],
  "an expression that remembers": [/b/gy, "ab", complete(2)],
  "an expression that is never found": [/x/, "abc", undefined],
  "what a predicate accepts first": [
    (bytes) => bytes.length > 0 && bytes.length === (bytes[0] ?? 0),
    "\x03abc",
    complete(3)
  ]
}

describe("expectations", () => {
  for (const [name, [expected, bytes, verdict]] of Object.entries(cases)) {
    it.effect.prop(
      `see ${name}, however it is cut`,
      { sizes: Sizes },
      ({ sizes }) => Effect.sync(() => assert.deepStrictEqual(look(expected, Buffer.from(bytes), sizes), verdict)),
      { arbitrary: { runs: 20 } }
    )
  }

  it("look only so far", () => {
    const bytes = Buffer.alloc(2000, "a")
    assert.deepStrictEqual(look(/b/, bytes, [7]), wrong(1000))
    assert.deepStrictEqual(look(() => false, bytes, [7]), wrong(1000))
    assert.deepStrictEqual(look((seen) => seen.length === 1000, bytes, [7]), complete(1000))
    assert.deepStrictEqual(look(bytes, bytes, [7]), complete(2000))
  })
})
