import type { GrpcErrorReason } from "../../../errors/GrpcError.ts"

/** The names of the statuses that are not OK. */
export type StatusName = GrpcErrorReason["_tag"]

/** Makes a call again after an attempt failed (gRFC A6). */
export interface RetryPolicy {
  /** Attempts in all, the first one included: 2 to 5. */
  readonly maxAttempts: number
  /** In milliseconds. */
  readonly initialBackoff: number
  /** In milliseconds. */
  readonly maxBackoff: number
  readonly backoffMultiplier: number
  readonly retryableStatuses: ReadonlySet<number>
}

/** Makes several attempts at once, each some time after the other, and takes the first good answer (gRFC A6). */
export interface HedgingPolicy {
  /** Attempts in all, the first one included: 2 to 5. */
  readonly maxAttempts: number
  /** In milliseconds. */
  readonly hedgingDelay: number
  readonly nonFatalStatuses: ReadonlySet<number>
}

/** What a service config says of a method. Times are in milliseconds. */
export interface MethodPolicy {
  readonly timeout: number | undefined
  readonly waitForReady: boolean | undefined
  readonly maxRequestSize: number | undefined
  readonly maxResponseSize: number | undefined
  readonly retry: RetryPolicy | undefined
  readonly hedging: HedgingPolicy | undefined
}
