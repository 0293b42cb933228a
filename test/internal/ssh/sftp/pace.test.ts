import { assert, describe, it } from "@effect/vitest"
import { Pace } from "../../../../src/internal/ssh/sftp/pace.ts"

const MiB = 1024 * 1024

/** A pace that has seen answers of so many bytes, each after so many milliseconds. */
const paced = (...answers: ReadonlyArray<readonly [millis: number, bytes: number]>) => {
  let granted = 0
  let now = 0
  const pace = new Pace((bytes) => {
    granted += bytes
  }, () => now)
  for (const [millis, bytes] of answers) {
    const askedAt = now
    const before = pace.delivered
    now += millis
    pace.answered(askedAt)
    pace.arrived(bytes)
    pace.measured(askedAt, before)
  }
  return { pace, granted: () => granted }
}

describe("Pace", () => {
  it("has 2 MiB under way on a short way, however fast, and lets the server send no more than ssh2 does", () => {
    const { granted, pace } = paced([0.5, 100_000], [1, MiB])
    assert.strictEqual(new Pace(() => {}, () => 0).window, 2 * MiB)
    assert.strictEqual(pace.window, 2 * MiB)
    assert.strictEqual(granted(), 0)
  })

  it("has twice what a long way holds under way, and lets the server send as much", () => {
    const { granted, pace } = paced([20, 100_000], [20, 2 * MiB])
    assert.closeTo(pace.window, 4 * MiB, MiB / 2)
    assert.closeTo(granted(), pace.window - 1.5 * MiB, MiB / 4)
  })

  it("grows while more brings more, and not beyond 32 MiB", () => {
    const windows = [2, 4, 8, 16, 32, 64].map((_, at, sizes) =>
      paced(...sizes.slice(0, at + 1).map((size) => [50, size * MiB] as const)).pace.window / MiB
    )
    for (const [at, expected] of [4, 8, 16, 32, 32, 32].entries()) assert.closeTo(windows[at]!, expected, 1)
    const { granted, pace } = paced([50, 8 * MiB], [50, MiB], [50, MiB])
    assert.closeTo(pace.window, 16 * MiB, MiB)
    assert.closeTo(granted(), pace.window - 1.5 * MiB, MiB / 4)
  })

  it("is shared by all that read, who have two requests each at the least", () => {
    const { pace } = paced([20, 100_000], [20, 4 * MiB])
    pace.readers = 4
    assert.closeTo(pace.share(1000), pace.window / 4, 1)
    pace.readers = 1000
    assert.strictEqual(pace.share(255 * 1024), 2 * 255 * 1024)
  })
})
