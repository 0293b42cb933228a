/** A network of its own for each case of a property. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Dialer from "../../src/services/Dialer.ts"
import type * as Listener from "../../src/services/Listener.ts"
import * as NetworkRule from "../../src/testing/NetworkRule.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { type Cut, type Link, linkOptions, offsetOf } from "./cases.ts"

/** What a case says about its network. */
export interface Simulated {
  readonly seed: number
  readonly link: typeof Link.Type
}

/** With room for what a side says before it closes a connection, which then has only so long to leave. */
export const roomy = <A extends Simulated>(input: A): A => ({
  ...input,
  link: { ...input.link, bufferSize: Math.max(input.link.bufferSize, 1000) }
})

/** Longer than it takes until everybody has heard that a connection is closed. */
const afterwards = "1 minute"

/** Runs a case to its end in simulated time. One that hangs fails as `Stalled`; nothing may be open afterwards. */
export const simulated = <A, E>(
  { link, seed }: Simulated,
  body: Effect.Effect<A, E, Dialer.Dialer | Listener.Listener | TestNetwork.TestNetwork | Scope.Scope>
) =>
  Effect.gen(function*() {
    const network = yield* TestNetwork.TestNetwork
    yield* network.run(Effect.andThen(Effect.scoped(body), Effect.sleep(afterwards)))
    assert.deepStrictEqual(yield* network.connections, [])
  }).pipe(Effect.provide(TestNetwork.layer({ seed, defaults: linkOptions(link) })))

/** Cuts the network's connections where `size` bytes would be sent, at least one; gives after how many. */
export const cutting = Effect.fnUntraced(function*(cut: typeof Cut.Type, size: number) {
  const network = yield* TestNetwork.TestNetwork
  const offset = offsetOf(cut, size)
  const rules = { reset: NetworkRule.resetAt, end: NetworkRule.endAt, corrupt: NetworkRule.corruptAt }
  yield* network.rule(NetworkRule.when({ toServer: cut.toServer }, rules[cut.kind](offset)))
  return offset
})
