import * as Duration from "effect/Duration"
import type { GrpcErrorReason } from "../../../errors/GrpcError.ts"
import { Code, codeName } from "../wire/status.ts"
import { type Hedging, type Retry, Throttle } from "./retry.ts"

/** The names of the statuses that are not OK. */
export type StatusName = GrpcErrorReason["_tag"]

/** Makes a call again when an attempt has failed (gRFC A6). */
export interface RetryPolicy {
  /** Attempts in all, the first one included. At most 5 are made. */
  readonly maxAttempts: number
  /** How long to wait before the second attempt, give or take a fifth. */
  readonly initialBackoff: Duration.Input
  /** The longest wait. */
  readonly maxBackoff: Duration.Input
  /** How many times as long each further wait is. */
  readonly backoffMultiplier: number
  /** The statuses after which there is another attempt. */
  readonly retryableStatuses: ReadonlyArray<StatusName>
}

/** Makes several attempts, each some time after the other, and takes the first good answer (gRFC A6). */
export interface HedgingPolicy {
  /** Attempts in all, the first one included. At most 5 are made. */
  readonly maxAttempts: number
  /** How long after an attempt the next one is started. Default: all are started at once. */
  readonly hedgingDelay?: Duration.Input | undefined
  /** The statuses that do not end the call while there are other attempts. Default: none. */
  readonly nonFatalStatuses?: ReadonlyArray<StatusName> | undefined
}

/** What is said of some methods. */
export interface MethodConfig {
  /**
   * Which methods: `"acme.Orders/Create"`, all of a service as `"acme.Orders"`, or all as `""`. What is said of a method
   * itself counts more than what is said of its service.
   */
  readonly names: ReadonlyArray<string>
  /** How long a call may take; calls may ask for less. Default: no limit. */
  readonly timeout?: Duration.Input | undefined
  /** Whether calls wait for a connection. Default: the channel's. */
  readonly waitForReady?: boolean | undefined
  /** The largest request, in bytes. Default: the channel's. */
  readonly maxRequestSize?: number | undefined
  /** The largest response, in bytes. Default: the channel's. */
  readonly maxResponseSize?: number | undefined
  /** Default: no retry. Where there is `hedging` too, that is what is done. */
  readonly retry?: RetryPolicy | undefined
  readonly hedging?: HedgingPolicy | undefined
}

/** How a service wants to be called (gRPC service config). */
export interface ServiceConfig {
  readonly methods?: ReadonlyArray<MethodConfig> | undefined
  /**
   * Keeps retries and hedges from making an overload worse: every failure takes one of `maxTokens`, every success gives
   * `tokenRatio` back, and with half of them or less there are no retries. Default: no limit.
   */
  readonly retryThrottling?: { readonly maxTokens: number; readonly tokenRatio: number } | undefined
}

/** What a service config says of one method; times are in milliseconds. */
export interface MethodPolicy {
  readonly timeout: number | undefined
  readonly waitForReady: boolean | undefined
  readonly maxRequestSize: number | undefined
  readonly maxResponseSize: number | undefined
  readonly retry: Retry | undefined
  readonly hedging: Hedging | undefined
}

/** More attempts than these nobody makes, whatever a config says. */
const mostAttempts = 5

const codes = new Map(Object.values(Code).map((code) => [codeName(code), code]))

const codesOf = (names: ReadonlyArray<StatusName>): ReadonlySet<number> =>
  new Set(names.flatMap((name) => codes.get(name) ?? []))

const policy = (
  { hedging, maxRequestSize, maxResponseSize, retry, timeout, waitForReady }: MethodConfig
): MethodPolicy => ({
  timeout: timeout === undefined ? undefined : Duration.toMillis(timeout),
  waitForReady,
  maxRequestSize,
  maxResponseSize,
  retry: retry === undefined || hedging !== undefined ? undefined : {
    maxAttempts: Math.min(mostAttempts, retry.maxAttempts),
    initialBackoff: Duration.toMillis(retry.initialBackoff),
    maxBackoff: Duration.toMillis(retry.maxBackoff),
    backoffMultiplier: retry.backoffMultiplier,
    retryableCodes: codesOf(retry.retryableStatuses)
  },
  hedging: hedging === undefined ? undefined : {
    maxAttempts: Math.min(mostAttempts, hedging.maxAttempts),
    hedgingDelay: Duration.toMillis(hedging.hedgingDelay ?? 0),
    nonFatalCodes: codesOf(hedging.nonFatalStatuses ?? [])
  }
})

/** A service config, ready to be asked before every call. */
export interface Policies {
  readonly of: (method: string) => MethodPolicy | undefined
  readonly throttle: Throttle | undefined
}

const none = () => undefined

/** Gets a service config ready. */
export const policies = (config: ServiceConfig | undefined): Policies => {
  if (config === undefined) return { of: none, throttle: undefined }
  const byName = new Map<string, MethodPolicy>()
  for (const method of config.methods ?? []) {
    const made = policy(method)
    for (const name of method.names) byName.set(name, made)
  }
  const throttling = config.retryThrottling
  return {
    of: (method) => byName.get(method) ?? byName.get(method.slice(0, method.indexOf("/"))) ?? byName.get(""),
    throttle: throttling === undefined ? undefined : new Throttle(throttling.maxTokens, throttling.tokenRatio)
  }
}
