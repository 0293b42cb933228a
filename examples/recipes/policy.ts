import { Layer, Schedule } from "effect"
import { Dialer, Policy, Proxy } from "hawser"

// patience with a target that restarts, and leaving one alone that is gone
export const Network = Policy.layer({
  retry: Schedule.exponential("100 millis").pipe(Schedule.jittered),
  connectTimeout: "30 seconds",
  tryTimeout: "2 seconds",
  circuitBreaker: { failures: 5, openFor: "1 minute" },
  maxConnectionsPerTarget: 10
}).pipe(
  // ALL_PROXY, HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as curl reads them
  Layer.provide(Proxy.layerEnv()),
  Layer.provide(Dialer.layer)
)
