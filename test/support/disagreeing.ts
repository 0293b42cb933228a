/** A benchmark whose contenders do not do the same. */
import type { Suite } from "../../bench/harness/benchmark.ts"

const suite: Suite = {
  url: import.meta.url,
  benchmarks: [{
    name: "counting",
    unit: "things",
    checkLimit: 3,
    measures: "client",
    peer: new URL("../../bench/tcp/peers/accepter.ts", import.meta.url),
    contenders: {
      honest: () => ({ limit }) => Promise.resolve(limit),
      lazy: () => ({ limit }) => Promise.resolve(limit - 1)
    },
    pairs: [{ contender: "lazy", baseline: "honest" }]
  }]
}

export default suite
