import { assert, describe, it } from "@effect/vitest"
import { expand } from "../../../../src/internal/ssh/config/nameList.ts"

describe("lists of algorithms", () => {
  const defaults = ["b", "a1", "a2"]
  const supported = ["a1", "a2", "a3", "b", "c"]
  const table: ReadonlyArray<readonly [list: string, names: ReadonlyArray<string>]> = [
    ["a3,b", ["a3", "b"]],
    ["a*", ["a1", "a2", "a3"]],
    ["unknown,c", ["c"]],
    ["unknown", []],
    ["+a3,b", ["b", "a1", "a2", "a3"]],
    ["+unknown", ["b", "a1", "a2"]],
    ["^c,a2", ["c", "a2", "b", "a1"]],
    ["-a*", ["b"]],
    ["-*", []],
    ["c,c", ["c"]]
  ]
  for (const [list, names] of table) {
    it(`${list} is ${names.length === 0 ? "nothing" : names.join(", ")}`, () => {
      assert.deepStrictEqual(expand(list, { defaults, supported }), names)
    })
  }
})
