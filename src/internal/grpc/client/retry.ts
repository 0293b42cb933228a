import { single } from "../wire/metadata.ts"
import { Code } from "../wire/status.ts"
import type { Outcome } from "./exchange.ts"

/** A retry policy as it is carried out; times are in milliseconds. */
export interface Retry {
  readonly maxAttempts: number
  readonly initialBackoff: number
  readonly maxBackoff: number
  readonly backoffMultiplier: number
  readonly retryableCodes: ReadonlySet<number>
}

/** A hedging policy as it is carried out; times are in milliseconds. */
export interface Hedging {
  readonly maxAttempts: number
  readonly hedgingDelay: number
  readonly nonFatalCodes: ReadonlySet<number>
}

/** When a call is attempted again, or beside itself. Times are in milliseconds. */
export interface Strategy {
  /** When another attempt is started beside the last one, of those that were started so far. */
  readonly hedgeAfter: (started: number) => number | undefined
  /** When another attempt is started because one has failed; `undefined` when its failure is the call's. */
  readonly retryAfter: (outcome: Outcome, started: number) => number | undefined
  readonly isHedging: boolean
  /** Whether an outcome ends a call that has other attempts under way. */
  readonly isFatal: (outcome: Outcome) => boolean
  /** Told how the call came out. */
  readonly ended: (outcome: Outcome) => void
}

const never = () => undefined
const nothing = () => {}

/** One attempt and no more. */
export const once: Strategy = {
  hedgeAfter: never,
  retryAfter: never,
  isHedging: false,
  isFatal: () => true,
  ended: nothing
}

/** Keeps retries from making an overload worse: each failure takes a token, each success gives some back (gRFC A6). */
export class Throttle {
  private readonly maxTokens: number
  private readonly tokenRatio: number
  private tokens: number

  constructor(maxTokens: number, tokenRatio: number) {
    this.maxTokens = maxTokens
    this.tokenRatio = tokenRatio
    this.tokens = maxTokens
  }

  succeeded(): void {
    this.tokens = Math.min(this.maxTokens, this.tokens + this.tokenRatio)
  }

  failed(): void {
    this.tokens = Math.max(0, this.tokens - 1)
  }

  get allows(): boolean {
    return this.tokens > this.maxTokens / 2
  }
}

/** What the server says of making the call again: when, never, or nothing. */
const pushbackOf = (outcome: Outcome): number | "never" | undefined => {
  const header = outcome.trailers === undefined ? undefined : single(outcome.trailers, "grpc-retry-pushback-ms")
  if (header === undefined) return undefined
  return /^\d{1,9}$/.test(header) ? Number(header) : "never"
}

/** Tells the throttle of a failure; whether another attempt may be made. */
const mayGoOn = (throttle: Throttle | undefined, counts: boolean, pushback: number | "never" | undefined): boolean => {
  if (counts || pushback === "never") throttle?.failed()
  return pushback !== "never" && throttle?.allows !== false
}

/** Retries by a service config. `random` gives numbers from 0 to 1. */
export const retrying = (policy: Retry, throttle: Throttle | undefined, random: () => number): Strategy => {
  let backoff = policy.initialBackoff
  return {
    hedgeAfter: never,
    isHedging: false,
    isFatal: () => true,
    retryAfter: (outcome, started) => {
      const retryable = outcome.failure === undefined && policy.retryableCodes.has(outcome.code)
      const pushback = pushbackOf(outcome)
      if (!mayGoOn(throttle, retryable, pushback) || !retryable || started >= policy.maxAttempts) return undefined
      if (typeof pushback === "number") {
        backoff = policy.initialBackoff
        return pushback
      }
      const wait = backoff * (0.8 + 0.4 * random())
      backoff = Math.min(policy.maxBackoff, backoff * policy.backoffMultiplier)
      return wait
    },
    ended: (outcome) => {
      if (outcome.code === Code.ok) throttle?.succeeded()
    }
  }
}

/** Hedges by a service config. */
export const hedging = (policy: Hedging, throttle: Throttle | undefined): Strategy => {
  const isFatal = (outcome: Outcome) => outcome.failure === undefined && !policy.nonFatalCodes.has(outcome.code)
  return {
    isHedging: true,
    isFatal,
    hedgeAfter: (started) =>
      started < policy.maxAttempts && throttle?.allows !== false ? policy.hedgingDelay : undefined,
    retryAfter: (outcome, started) => {
      const fatal = isFatal(outcome)
      const pushback = pushbackOf(outcome)
      if (!mayGoOn(throttle, !fatal, pushback) || fatal || started >= policy.maxAttempts) return undefined
      return typeof pushback === "number" ? pushback : 0
    },
    ended: (outcome) => {
      if (outcome.code === Code.ok) throttle?.succeeded()
    }
  }
}
