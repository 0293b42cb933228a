import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DialError } from "../../../../errors/DialError.ts"
import type * as Target from "../../../net/target.ts"
import type { Connection } from "../connection.ts"
import type { Endpoint, EndpointState } from "../endpoint.ts"

/** Spreads calls over the addresses of a server. */
export interface Balancer {
  readonly state: () => EndpointState
  /** Why there is no connection, while the state is `transientFailure`. */
  readonly failure: () => DialError | undefined
  /** A connection for one call, if one is there. */
  readonly pick: () => Connection | undefined
  /** Has an idle balancer connect. */
  readonly connect: () => void
  /** The addresses from now on, at least one and each once: those that stay keep their connections. */
  readonly update: (targets: ReadonlyArray<Target.Target>) => Effect.Effect<void>
}

/** What a balancer builds on. */
export interface Parts {
  readonly connect: (target: Target.Target) => Effect.Effect<Connection, DialError, Scope.Scope>
  readonly endpoint: (
    connect: Effect.Effect<Connection, DialError, Scope.Scope>,
    onChange: () => void
  ) => Effect.Effect<Endpoint, never, Scope.Scope>
  /** Is told after each change of what the balancer says. */
  readonly onChange: () => void
}

/** Makes a balancer that lives as long as the scope. */
export type Make = (
  parts: Parts,
  targets: ReadonlyArray<Target.Target>
) => Effect.Effect<Balancer, never, Scope.Scope>
