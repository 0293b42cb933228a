import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Agenda } from "../../../src/internal/memory/agenda.ts"

const drain = (agenda: Agenda<string>, now = Infinity) => {
  const taken: Array<string> = []
  for (let next = agenda.take(now); next !== undefined; next = agenda.take(now)) taken.push(next.what)
  return taken
}

describe("Agenda", () => {
  it("gives what is due, by time and then in the order in which it was added", () => {
    const agenda = new Agenda<string>()
    agenda.add(2, "c")
    agenda.add(1, "a")
    agenda.add(1, "b")
    agenda.add(2.5, "d")
    assert.strictEqual(agenda.first?.due, 1)
    assert.deepStrictEqual(drain(agenda, 2), ["a", "b", "c"])
    assert.strictEqual(agenda.first?.due, 2.5)
  })

  it("takes back what was added, once", () => {
    const agenda = new Agenda<string>()
    const remove = agenda.add(1, "a")
    agenda.add(2, "b")
    remove()
    remove()
    assert.deepStrictEqual(drain(agenda), ["b"])
    const late = agenda.add(3, "c")
    agenda.clear()
    agenda.add(4, "d")
    late()
    assert.deepStrictEqual(drain(agenda), ["d"])
  })

  const Step = Schema.Struct({
    due: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
    removes: Schema.Boolean,
    which: Schema.Int
  })
  it.effect.prop(
    "keeps its order whatever is added and taken back",
    { steps: Schema.Array(Step).check(Schema.isMinLength(30)) },
    ({ steps }) =>
      Effect.sync(() => {
        const agenda = new Agenda<string>()
        const added: Array<{ readonly due: number; readonly what: string; readonly remove: () => void }> = []
        const gone = new Set<string>()
        steps.forEach(({ due, removes, which }, index) => {
          const what = `${index}`
          added.push({ due: due, what, remove: agenda.add(due, what) })
          const victim = added[Math.abs(which) % added.length]
          if (removes && victim !== undefined) {
            victim.remove()
            gone.add(victim.what)
          }
        })
        const expected = added.filter(({ what }) => !gone.has(what)).toSorted((a, b) => a.due - b.due)
        assert.deepStrictEqual(drain(agenda), expected.map(({ what }) => what))
        return true
      }),
    { arbitrary: { runs: 300 } }
  )
})
