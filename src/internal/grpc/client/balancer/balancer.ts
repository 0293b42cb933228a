import type * as Arr from "effect/Array"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DialError } from "../../../../errors/DialError.ts"
import type * as Target from "../../../net/target.ts"
import type { Connection } from "../connection.ts"
import type { Connect, Endpoint, EndpointState } from "../endpoint.ts"

/** Spreads calls over the addresses of a server. */
export interface Balancer {
  readonly state: () => EndpointState
  /** Why there is no connection, while the state is `transientFailure`. */
  readonly failure: () => DialError | undefined
  /** A connection for one call, if one is there. */
  readonly pick: () => Connection | undefined
  /** Has an idle balancer connect. */
  readonly connect: () => void
  /** The addresses from now on, each once: those that stay keep their connections. */
  readonly update: (targets: Arr.NonEmptyReadonlyArray<Target.Target>) => Effect.Effect<void>
}

/** What a balancer builds on. */
export interface Parts {
  /** A connection that is closed once it takes no more calls and has none. */
  readonly connect: (target: Target.Target) => Connect
  readonly endpoint: (
    connect: Connect,
    onChange: () => void
  ) => Effect.Effect<Endpoint, never, Scope.Scope>
  /** Is told after each change of what the balancer says. */
  readonly onChange: () => void
}

/** Makes a balancer that lives as long as the scope. */
export type Make = (
  parts: Parts,
  targets: Arr.NonEmptyReadonlyArray<Target.Target>
) => Effect.Effect<Balancer, never, Scope.Scope>
