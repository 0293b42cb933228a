import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Marker, Search } from "../../../src/internal/bytes/markerSearch.ts"

const letters = (max: number) =>
  Schema.Array(Schema.Literals(["a", "b"])).check(Schema.isMinLength(1), Schema.isMaxLength(max))

describe("Marker", () => {
  it.prop(
    "finds what a search over all bytes at once finds, in any cutting, and looks at each byte once",
    { pieces: Schema.Array(letters(6)).check(Schema.isMaxLength(20)), marker: letters(5) },
    ({ marker, pieces }) => {
      const sought = new Marker(Buffer.from(marker.join("")))
      const search = new Search()
      let found = -1
      for (const piece of pieces) {
        found = sought.scan(search, Buffer.from(piece.join("")))
        if (found !== -1) break
      }
      const whole = pieces.flat().join("").indexOf(marker.join(""))
      assert.strictEqual(found, whole === -1 ? -1 : whole + marker.length)
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "finds the last marker within some bytes, and the first one again after a reset",
    { bytes: letters(24), marker: letters(3), unit: Schema.Literals([1, 2]), size: Schema.Int },
    ({ bytes, marker, size, unit }) => {
      const text = bytes.join("")
      const window = Math.abs(size) % (text.length + 1)
      const sought = new Marker(Buffer.from(marker.join("")), unit)
      const search = new Search()
      const starts = Array.from({ length: window }, (_, i) => i).filter((i) =>
        i % unit === 0 && i + marker.length <= window && text.startsWith(marker.join(""), i)
      )
      assert.strictEqual(
        sought.lastEnd(Buffer.from(text), window),
        starts.length === 0 ? 0 : starts.at(-1)! + marker.length
      )
      const first = sought.scan(search, Buffer.from(text))
      search.reset()
      assert.strictEqual(sought.scan(search, Buffer.from(text)), first)
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "in two-byte units finds only what is aligned",
    { pieces: Schema.Array(letters(6)).check(Schema.isMaxLength(20)) },
    ({ pieces }) => {
      const sought = new Marker(Buffer.from("ab"), 2)
      const search = new Search()
      let found = -1
      for (const piece of pieces) {
        found = sought.scan(search, Buffer.from(piece.join("")))
        if (found !== -1) break
      }
      const units: ReadonlyArray<string> = pieces.flat().join("").match(/../g) ?? []
      const whole = units.indexOf("ab")
      assert.strictEqual(found, whole === -1 ? -1 : 2 * whole + 2)
    },
    { arbitrary: { runs: 2000 } }
  )
})
