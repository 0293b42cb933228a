import { Effect } from "effect"
import { TestNetwork } from "hawser/testing"

/** Runs a test on a network of its own, in simulated time. */
export const simulated = (options?: TestNetwork.NetworkOptions) => <A, E, R>(test: Effect.Effect<A, E, R>) =>
  TestNetwork.TestNetwork.use((network) => network.run(Effect.scoped(test))).pipe(
    Effect.provide(TestNetwork.layer(options))
  )
