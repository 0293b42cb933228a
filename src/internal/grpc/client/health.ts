import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { builtIn } from "../proto/builtIn.ts"
import * as Definitions from "../proto/definitions/health.ts"
import type { Values } from "../proto/schema.ts"
import type { CallError, CallOptions } from "./callOptions.ts"
import type { Calls } from "./calls.ts"

/** What a server says of a service: whether it wants calls, or that it does not know. */
export type HealthStatus = "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN" | "UNKNOWN"

const method = (name: string) =>
  Result.getOrThrow(
    builtIn("grpc/health/v1/health.proto", Definitions.health).method(`grpc.health.v1.Health/${name}`)
  )

const statusOf = ({ status }: Values): HealthStatus =>
  status === "SERVING" || status === "NOT_SERVING" || status === "SERVICE_UNKNOWN" ? status : "UNKNOWN"

/** Asks once (`grpc.health.v1.Health/Check`). */
export const check = (
  calls: Calls,
  service: string,
  options?: CallOptions
): Effect.Effect<HealthStatus, CallError> =>
  Effect.suspend(() => Effect.map(calls.unary(method("Check"), { service }, options), ({ value }) => statusOf(value)))

/** What the server says now and whenever it changes (`grpc.health.v1.Health/Watch`). */
export const watch = (
  calls: Calls,
  service: string,
  options?: CallOptions
): Stream.Stream<HealthStatus, CallError> =>
  Stream.suspend(() => Stream.map(calls.serverStream(method("Watch"), { service }, options), statusOf))
