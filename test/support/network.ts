import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Dialer from "../../src/services/Dialer.ts"
import * as Listener from "../../src/services/Listener.ts"
import * as TestNetwork from "../../src/testing/TestNetwork.ts"
import { leavesNothing } from "./leaks.ts"

/** The networks a suite runs on; bind `127.0.0.1` port 0 and dial the address that comes back. */
export const networks = {
  "on loopback": () => Layer.merge(Dialer.layer, Listener.layer),
  "on the test network": () => TestNetwork.layer(),
  "on the test network, byte by byte": () => TestNetwork.layer({ defaults: { fragment: 1 } }),
  "on a test network that takes its time": () =>
    TestNetwork.layer({ seed: 7, defaults: { latency: { min: 0, max: "2 millis" }, fragment: { min: 1, max: 4000 } } })
}

/** Which network a suite is on, for the few things that differ. */
export type NetworkName = keyof typeof networks

/** Defines a test: real time, a network of its own, and nothing may be left behind. */
export type NetworkTest = (
  title: string,
  body: () => Effect.Effect<unknown, unknown, Dialer.Dialer | Listener.Listener | Scope.Scope>,
  timeout?: number
) => void

/** What a suite is made of. */
export type NetworkSuite = (test: NetworkTest, network: NetworkName) => void

const describeOn = (network: NetworkName, name: string, suite: NetworkSuite) =>
  describe(`${name} ${network}`, () =>
    suite(
      (title, body, timeout) =>
        it.live(title, () => leavesNothing(Effect.provide(Effect.scoped(body()), networks[network]())), timeout),
      network
    ))

/** Runs one suite over real loopback and over the test network, where everything has to look the same. */
export const describeOnNetworks = (name: string, suite: NetworkSuite): void => {
  describeOn("on loopback", name, suite)
  describeOn("on the test network", name, suite)
  describeOn("on the test network, byte by byte", name, suite)
}

/** The same, and once more where what is sent comes later, in pieces of any size. */
export const describeParity = (name: string, suite: NetworkSuite): void => {
  describeOnNetworks(name, suite)
  describeOn("on a test network that takes its time", name, suite)
}
