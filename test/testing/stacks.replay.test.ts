/** The same seed gives the same events in the same order, whatever libraries and event loop do in between. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { nameOf, over, type Stack } from "../support/stacks.ts"
import { grpc, ssh, tcp } from "../support/stackTraffic.ts"

/** Without TLS, whose certificates and signatures have another size each time. */
const ways: ReadonlyArray<Stack> = [[], ["http", "socks4"], ["socks5", "ssh"]]

const traffic = {
  TCP: (way) => tcp(way, 20_000),
  SSH: (way) => ssh(way, 20_000),
  gRPC: (way) => grpc(way, false)
} satisfies Record<string, Parameters<typeof over>[1]>

const rough = (seed: number) => ({
  seed,
  defaults: {
    fragment: { min: 1, max: 5000 },
    latency: { min: "1 millis", max: "40 millis" },
    bandwidth: 10_000_000
  }
} as const)

describe("The test network, run again", () => {
  for (const [protocol, run] of Object.entries(traffic)) {
    for (const way of ways) {
      it.effect(`repeats itself with ${protocol} over ${nameOf(way)}`, () =>
        Effect.gen(function*() {
          const [first, second, other] = yield* Effect.forEach([1, 1, 2], (seed) =>
            // each begins at the same time
            Effect.provide(over(way, run, rough(seed)), TestClock.layer(), { local: true }))
          assert.deepStrictEqual(second, first)
          assert.notDeepEqual(other, first)
        }), 30_000)
    }
  }
})
