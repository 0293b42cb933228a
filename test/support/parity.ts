/** What networks are compared by: how something fails, as data in which nothing is left to chance. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { CloseReason } from "../../src/services/Connection.ts"

/** Ports and folders differ from run to run. */
export const withoutChance = (text: string): string =>
  text.replace(/(\[?127\.0\.0\.1\]?|localhost|\[::1\]):[1-9]\d*/g, "$1:port").replace(/\/\S*\/hawser-\w+\//g, "")

/** What the library's errors have in common. */
export interface Failure {
  readonly _tag: string
  readonly message: string
  readonly reason?: { readonly _tag: string; readonly cause?: unknown }
  readonly hop?: string
}

const plain = (value: unknown): unknown =>
  typeof value === "string" ? withoutChance(value) : Duration.isDuration(value) ? Duration.format(value) : value

interface Told extends Readonly<Record<string, unknown>> {
  readonly error: string
  readonly message: string
}

const isSystemError = (cause: unknown): cause is Error & { readonly code: unknown } =>
  cause instanceof Error && "code" in cause

/** Everything that an error says: what it is, where it was, the fields of its reason, and what it tells people. */
const told = ({ _tag: error, hop, message, reason }: Failure): Told => {
  const { _tag = "", ...fields } = reason ?? {}
  return {
    error: `${error}: ${_tag}`,
    ...(hop === undefined ? {} : { hop: withoutChance(hop) }),
    ...Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plain(value)])),
    ...(isSystemError(reason?.cause) ? { cause: reason.cause.code } : {}),
    message: withoutChance(message)
  }
}

/** How an effect fails, which it must. */
export const failureOf = <A, E extends Failure, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), told)

/** The same in a line. */
export const lineOf = <A, E extends Failure, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(failureOf(effect), ({ error, message }) => `${error}: ${message}`)

/** How a connection came to its end: who closed it, or what broke it. */
export const endOf = (closed: Effect.Effect<CloseReason>) =>
  Effect.map(closed, (reason): unknown => reason._tag === "Broken" ? told(reason.error) : reason._tag)
