/**
 * What a script is made of.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Expected } from "../../internal/bytes/expectation.ts"
import type * as Connection from "../../services/Connection.ts"

/**
 * One thing that a script does: what `expect`, `expectEnd`, `reply`, `end`, `reset` and `run` make.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<R = never> =
  | { readonly _tag: "Expect"; readonly expected: Expected; readonly options: ExpectOptions }
  | { readonly _tag: "ExpectEnd" }
  | { readonly _tag: "Reply"; readonly answer: Answer | ((request: Uint8Array) => Answer) }
  | { readonly _tag: "End" }
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Run"; readonly body: (connection: Connection.Connection) => Effect.Effect<unknown, unknown, R> }

/**
 * What can be sent: bytes, or text in UTF-8.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = string | Uint8Array

/**
 * How something is expected.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExpectOptions {
  /** How errors call it. Default: the text itself, the expression, or the predicate's name. */
  readonly description?: string | undefined
  /** How many bytes an expression or a predicate may look at. Default 65536. */
  readonly maxSize?: number | undefined
}

/**
 * Waits for bytes and takes them; what follows is for the next step.
 *
 * **Details**
 *
 * - Text (UTF-8) and bytes: exactly these. The first byte that is another one fails the script.
 * - An expression: the shortest beginning in which it is found, as UTF-8, so `/\r\n/` is everything up to the end of a line
 *   and `/^GET .*\r\n\r\n/s` a request. Anchor it with `^` or anything may come before. What is greedy at its end takes as
 *   little as it can: `/\d+/` is one digit.
 * - A predicate: the shortest beginning that it accepts; it is asked after every byte, and must not keep the bytes.
 *
 * In which pieces the bytes arrive makes no difference to any of them.
 *
 * @category steps
 * @since 0.1.0
 */
export const expect = (
  expected: string | Uint8Array | RegExp | ((bytes: Uint8Array) => boolean),
  options: ExpectOptions = {}
): Step => ({ _tag: "Expect", expected, options })

/**
 * Waits for the client to end its side, and fails the script when it sends anything before.
 *
 * @category steps
 * @since 0.1.0
 */
export const expectEnd: Step = { _tag: "ExpectEnd" }

/**
 * Sends something, or what a function makes of the bytes that the last `expect` took.
 *
 * @category steps
 * @since 0.1.0
 */
export const reply = (answer: Answer | ((request: Uint8Array) => Answer)): Step => ({ _tag: "Reply", answer })

/**
 * Ends the peer's side (half-close). The client can go on sending.
 *
 * @category steps
 * @since 0.1.0
 */
export const end: Step = { _tag: "End" }

/**
 * Breaks the connection. What was sent right before may be lost with it, as on any network, and a client whose connection is
 * reset before it has sent anything may see that as a connection that was refused.
 *
 * @category steps
 * @since 0.1.0
 */
export const reset: Step = { _tag: "Reset" }

/**
 * Does anything else with the connection: waits, reads frames, upgrades to TLS. Where it gives a `Connection`, as `upgradeTls`
 * does, the script goes on with that one. What it reads and writes itself is not in the transcript; what it fails with is
 * the `cause` of the `ScriptError`.
 *
 * @category steps
 * @since 0.1.0
 */
export const run = <E, R>(
  body: (connection: Connection.Connection) => Effect.Effect<unknown, E, R>
): Step<R> => ({ _tag: "Run", body })
