/** What a run found: per pair of contenders the ratio of each round, and the median of these. */
import type { Benchmark } from "./benchmark.ts"
import type { Samples } from "./measure.ts"

/** A line of the JSON file. `ratio` above 1 means that the contender is faster, or needs less memory. */
export interface Result {
  readonly group: string
  readonly name: string
  readonly contender: string
  readonly baseline: string
  /** The median of `ratios`. */
  readonly ratio: number
  readonly rounds: number
  /** The ratio of each round. */
  readonly ratios: ReadonlyArray<number>
  /** The least that one unit cost each of them in any round: seconds of processor time; for memory, bytes of heap. */
  readonly cost: number
  readonly baselineCost: number
  readonly atLeast?: number | undefined
}

const sorted = (numbers: ReadonlyArray<number>) => numbers.toSorted((a, b) => a - b)

const median = (numbers: ReadonlyArray<number>) => {
  const ordered = sorted(numbers)
  const middle = ordered.length >> 1
  const [low = NaN, high = NaN] = ordered.length % 2 === 1
    ? [ordered[middle], ordered[middle]]
    : ordered.slice(middle - 1, middle + 1)
  return (low + high) / 2
}

/** Noise only adds to a cost. */
const leastCost = (samples: Samples, contender: string) =>
  Math.min(...(samples.get(contender) ?? []).map(({ cost }) => cost))

export const resultsOf = (group: string, benchmark: Benchmark, samples: Samples): ReadonlyArray<Result> =>
  benchmark.pairs.map(({ atLeast, baseline, contender }) => {
    const base = samples.get(baseline) ?? []
    const ratios = (samples.get(contender) ?? []).map(({ rate }, round) => rate / (base[round]?.rate ?? NaN))
    return {
      group,
      name: benchmark.name,
      contender,
      baseline,
      ratio: median(ratios),
      rounds: ratios.length,
      ratios,
      cost: leastCost(samples, contender),
      baselineCost: leastCost(samples, baseline),
      ...(atLeast === undefined ? {} : { atLeast })
    }
  })

const columns = ["name", "contender", "baseline", "ratio", "spread", "wanted", "rate", "cost per unit", "of baseline"]
const widths = [20, 14, 16, 6, 11, 7, 22, 14, 14]

const line = (cells: ReadonlyArray<string>) =>
  cells.map((cell, i) => i < 3 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)).join(" ").trimEnd()

export const heading = line(columns)

const rateOf = (benchmark: Benchmark, rate: number) =>
  benchmark.measures === "memory"
    ? `${(1 / rate / 1024).toFixed(1)} KiB each`
    : `${rate >= 1000 ? rate.toFixed(0) : rate.toPrecision(3)} ${benchmark.unit}/s`

const costOf = (benchmark: Benchmark, cost: number) =>
  benchmark.measures === "memory" ? `${(cost / 1024).toFixed(1)} KiB heap` : `${(cost * 1e6).toPrecision(3)} us CPU`

/** The lines of the table for one benchmark. */
export const table = (
  benchmark: Benchmark,
  results: ReadonlyArray<Result>,
  samples: Samples
): ReadonlyArray<string> =>
  results.map(({ atLeast, baseline, baselineCost, contender, cost, name, ratio, ratios }) => {
    const own = samples.get(contender) ?? []
    const ordered = sorted(ratios)
    return line([
      name,
      contender,
      baseline,
      ratio.toFixed(2),
      `${ordered.at(0)?.toFixed(2)}-${ordered.at(-1)?.toFixed(2)}`,
      atLeast === undefined ? "" : `${ratio >= atLeast ? "" : "! "}${atLeast}`,
      rateOf(benchmark, median(own.map(({ rate }) => rate))),
      costOf(benchmark, cost),
      costOf(benchmark, baselineCost)
    ])
  })
