/** Benchmarks that must not be measured: contenders that do not do the same, and one that does not do it for long. */
import type { Benchmark, StartClient, Suite } from "../../bench/harness/benchmark.ts"

const benchmark = (name: string, contenders: Readonly<Record<string, StartClient>>): Benchmark => ({
  name,
  unit: "things",
  checkLimit: 3,
  measures: "client",
  peer: new URL("../../bench/tcp/peers/accepter.ts", import.meta.url),
  contenders,
  pairs: []
})

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [
    benchmark("counting", {
      honest: () => ({ limit }) => Promise.resolve(limit),
      lazy: () => ({ limit }) => Promise.resolve(limit - 1)
    }),
    benchmark("at once", { hasty: () => ({ limit }) => Promise.resolve(Math.min(limit, 3)) })
  ]
}

export default suite
