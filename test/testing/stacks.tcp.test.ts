/** TCP over every way: its bulk and its half-close, and who the client is. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { onStacks, stacks } from "../support/stacks.ts"
import { tcp } from "../support/stackTraffic.ts"

onStacks("TCP over the test network", stacks.all, (way) => tcp(way, 300_000))

onStacks(
  "A PROXY header over the test network",
  stacks.announced,
  (way) => Effect.map(tcp(way, 1000), (clients) => assert.deepStrictEqual(clients, ["10.0.0.1"]))
)
