import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Schedule } from "effect"
import { TcpClient } from "hawser"
import { NetworkRule, TestNetwork, TestPeers } from "hawser/testing"

/** What is tested: up to five attempts, two seconds for each step of them, and pauses of 1, 2, 4 and 8 seconds between. */
const priceOf = (item: string) =>
  TcpClient.TcpClient.use((tcp) =>
    tcp.requestString("prices:7000", `${item}\n`, { connectTimeout: "2 seconds", timeout: "2 seconds" })
  ).pipe(
    Effect.retry({ while: (error) => error.isRetryable, schedule: Schedule.exponential("1 second"), times: 4 }),
    Effect.provide(TcpClient.layer)
  )

/** A server that knows one price. */
const prices = TestPeers.scripted({
  address: "prices:7000",
  script: [TestPeers.expect("apple\n"), TestPeers.reply("0.30\n")]
})

/** Seconds since the test began, as no time passes but the test's own. */
const seconds = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1000)

const lan = TestNetwork.simulated({ defaults: { latency: "50 millis" } })

describe("asking for a price", () => {
  it.effect("takes a round trip for the connection and one for the answer", () =>
    Effect.gen(function*() {
      yield* prices
      assert.strictEqual(yield* priceOf("apple"), "0.30\n")
      assert.strictEqual(yield* seconds, 0.2)
    }).pipe(lan))

  it.effect("goes on until a partition is over", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const server = yield* prices
      yield* network.partition("client", "prices")
      yield* Effect.forkScoped(Effect.delay(network.repair("client", "prices"), "8 seconds"))
      assert.strictEqual(yield* priceOf("apple"), "0.30\n")
      // the third attempt began after 7 seconds; it was under way when the network was whole again
      const attempts = (yield* network.events).filter(({ what }) => what === "connect")
      assert.deepStrictEqual(attempts.map(({ at }) => at), [0, 3000, 7000])
      assert.strictEqual(yield* server.accepted, 1)
    }).pipe(lan))

  it.effect("gives up after five attempts", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      yield* prices
      yield* network.partition("prices")
      const error = yield* Effect.flip(priceOf("apple"))
      assert.strictEqual(error.message, "prices:7000: timed out after 2s while waiting for the connection")
      assert.strictEqual(yield* seconds, 5 * 2 + 1 + 2 + 4 + 8)
    }).pipe(lan))

  it.effect("gives up at once when nobody has the name", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(priceOf("apple"))
      assert.strictEqual(error.message, "prices:7000: the name \"prices\" has no address (ENOTFOUND)")
      assert.strictEqual(yield* seconds, 0)
    }).pipe(lan))

  it.effect("asks again when the answer is lost: whatever is asked for can happen twice", () =>
    Effect.gen(function*() {
      const network = yield* TestNetwork.TestNetwork
      const server = yield* prices
      yield* network.rule(NetworkRule.when({ from: "prices", connection: 1 }, NetworkRule.resetAt(0)))
      assert.strictEqual(yield* priceOf("apple"), "0.30\n")
      assert.strictEqual(
        yield* server.asString,
        "#1 received \"apple\\n\"\n#1 sent \"0.30\\n\"\n#1 peer reset\n#2 received \"apple\\n\"\n#2 sent \"0.30\\n\""
      )
    }).pipe(lan))
})
