import * as Effect from "effect/Effect"
import { AuthenticationFailed, type SshErrorReason } from "../../../errors/SshError.ts"
import { type Exchange, type Reply, request } from "./exchange.ts"

/**
 * How an attempt came out; `GivenUp` is the end of one that the server did not decide. A note is for those who read the
 * error.
 */
export type Outcome =
  | Extract<Reply, { readonly _tag: "Accepted" }>
  | Extract<Reply, { readonly _tag: "Refused" }> & { readonly note?: string }
  | { readonly _tag: "GivenUp"; readonly note: string }

export const givenUp = (note: string): Outcome => ({ _tag: "GivenUp", note })

/** One way to log in, ready to be tried. */
export interface Attempt {
  /** The method's name in the protocol (RFC 4252). */
  readonly method: "none" | "password" | "publickey" | "keyboard-interactive"
  /** Which one of several of this method, for those who read the error. */
  readonly detail?: string | undefined
  /** It is only made where the server does not accept this other method. */
  readonly insteadOf?: Attempt["method"] | undefined
  /** The same for all attempts that would send the same. */
  readonly identity?: string | undefined
  readonly run: (exchange: Exchange, username: string) => Effect.Effect<Outcome, SshErrorReason>
}

const named = ({ detail, method }: Attempt, note?: string): string => {
  const words = [detail, note].filter((words) => words !== undefined)
  return words.length === 0 ? method : `${method} (${words.join("; ")})`
}

/** `SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE` */
const noMoreMethods = 14

/**
 * Tries one way after the other until the server lets us in.
 *
 * An attempt whose method the server does not want now is kept for later: a server may ask for several methods in an order
 * of its own (RFC 4252, section 5.1), and after each success all that failed before count again.
 */
export class Login {
  private waiting: ReadonlyArray<Attempt>
  private failed: Array<Attempt> = []
  private readonly tried: Array<string> = []
  private remaining: ReadonlyArray<string> | undefined

  constructor(attempts: ReadonlyArray<Attempt>) {
    this.waiting = attempts
  }

  /** Ends when the server has let us in. */
  readonly run = (exchange: Exchange, username: string): Effect.Effect<void, SshErrorReason> =>
    Effect.andThen(
      exchange.opened,
      Effect.repeat(this.once(exchange, username), { until: ({ _tag }) => _tag === "Accepted" })
    )

  private readonly once = Effect.fnUntraced({ self: this }, function*(
    exchange: Exchange,
    username: string
  ): Effect.fn.Return<Outcome, SshErrorReason> {
    const attempt = this.next()
    if (attempt === undefined) {
      this.remaining ??= yield* this.accepted(exchange, username)
      return yield* this.failure()
    }
    this.tried.push(named(attempt))
    const outcome = yield* attempt.run(exchange, username)
    this.learn(attempt, outcome)
    return outcome
  })

  /** What it means for the login that the server hangs up: where it has enough of attempts, the login has failed. */
  endedBy(goodbye: Error & { readonly code?: unknown }): AuthenticationFailed | undefined {
    const last = this.tried.at(-1)
    // what the server says has a number, by which OpenSSH means anything (RFC 4253, section 11.1)
    const isAbout = goodbye.code === noMoreMethods ||
      (typeof goodbye.code === "number" && /auth/i.test(goodbye.message))
    if (last === undefined || !isAbout) return undefined
    this.tried.splice(-1, 1, `${last}: ${goodbye.message}`)
    return this.failure()
  }

  /**
   * What would have been accepted, where no attempt came so far that the server said it: asks, but not in the middle of
   * another dialogue, which had begun because its method was accepted.
   */
  private accepted(exchange: Exchange, username: string): Effect.Effect<ReadonlyArray<string>> {
    if (exchange.hasAsked()) return Effect.succeed([...new Set(this.failed.map(({ method }) => method))])
    return Effect.map(
      exchange.ask("none", request(username, "none")),
      (reply) => reply._tag === "Refused" ? reply.remaining : []
    )
  }

  private failure(): AuthenticationFailed {
    return new AuthenticationFailed({ tried: this.tried, remaining: this.remaining ?? [] })
  }

  private learn(attempt: Attempt, outcome: Outcome): void {
    if (outcome._tag === "Accepted") return
    if (outcome.note !== undefined) this.tried.splice(-1, 1, named(attempt, outcome.note))
    if (outcome._tag === "Refused") this.remaining = outcome.remaining
    if (outcome._tag === "Refused" && outcome.partial) this.waiting = [...this.failed.splice(0), ...this.waiting]
    else this.failed.push(attempt)
  }

  private next(): Attempt | undefined {
    const { failed, remaining } = this
    const isOpen = ({ identity, insteadOf, method }: Attempt) =>
      (remaining === undefined || remaining.includes(method)) &&
      (insteadOf === undefined || remaining?.includes(insteadOf) === false) &&
      (identity === undefined || failed.every((other) => other.identity !== identity))
    const next = this.waiting.find(isOpen)
    this.waiting = this.waiting.filter((attempt) => attempt !== next)
    return next
  }
}
